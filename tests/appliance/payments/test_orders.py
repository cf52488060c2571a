from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from appliance.payments.telebirr.emulator import Fault

HALF_HOUR_S = 1800.0


async def test_order_is_asked_for_once_and_its_link_goes_to_the_holder(box: Any) -> None:
    await box.hold()
    await box.step()
    assert await box.order() == "open"
    (text,) = await box.texts()
    assert text.startswith("Pay 890.00 ETB for AB3D5F by telebirr: http") and "prepay_id=" in text
    assert box.asked("preOrder") == 1
    await box.books_are_right()


async def test_order_with_a_public_address_sends_no_long_link(box: Any) -> None:
    box.public_url = "https://box.example"
    await box.restart()
    await box.hold()
    await box.step()
    assert await box.texts() == []
    state, address = await box.way.link("AB3D5F")
    assert state == "pay"
    async with aiohttp.ClientSession() as session, session.get(address) as page:
        assert page.status == 200 and "890.00 ETB" in await page.text()


async def test_order_that_is_paid_sells_the_seats_and_sends_the_ticket(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.telebirr.pay(box.number)
    await box.step(5)
    assert (await box.order(), await box.booking()) == ("paid", "paid")
    assert (await box.texts())[-1].startswith("TICKET AB3D5F PAID")
    assert await box.balance("wallet:telebirr") == 89_000
    assert await box.balance("sales") == -89_000
    assert await box.balance("received") == 0
    assert box.offered
    await box.books_are_right()


async def test_order_is_looked_at_with_back_off_then_each_minute(box: Any) -> None:
    await box.hold()
    await box.step()
    for seconds, looks in ((4, 0), (1, 1), (9, 1), (1, 2), (20, 3), (40, 4), (59, 4), (1, 5), (60, 6)):
        await box.step(seconds)
        assert box.asked("queryOrder") == looks, seconds


@pytest.mark.parametrize(
    "fault",
    [
        Fault("preOrder", "silence"),
        Fault("preOrder", "silence_before"),
        Fault("preOrder", "reset"),
        Fault("preOrder", "reset_before"),
        Fault("preOrder", "status", 502),
        Fault("preOrder", "status_before", 503),
        Fault("preOrder", "garbage"),
    ],
    ids=lambda fault: fault.kind,
)
async def test_order_of_unknown_fate_is_queried_and_another_number_takes_its_place(
    box: Any, fault: Fault
) -> None:
    box.timeout_s = 0.2
    await box.restart()
    box.telebirr.faults.append(fault)
    await box.hold()
    await box.step()
    assert await box.order() == "doubt"
    await box.step(5)
    calls = [(call, number) for call, number in box.telebirr.calls if call != "token"]
    first, second = calls[0][1], calls[2][1]
    assert calls[:3] == [("preOrder", first), ("queryOrder", first), ("preOrder", second)]
    assert first != second
    assert await box.order() == "open"
    await box.telebirr.pay(second)
    await box.step(10)
    assert await box.booking() == "paid"
    await box.books_are_right()


async def test_order_that_was_lost_and_paid_all_the_same_is_believed(box: Any) -> None:
    """Nobody could know how to pay it, but money is money."""
    box.telebirr.faults.append(Fault("preOrder", "status", 502))
    await box.hold()
    await box.step()
    await box.telebirr.pay(box.number)
    await box.step(5)
    assert await box.booking() == "paid"
    assert box.asked("preOrder") == 1
    await box.books_are_right()


async def test_order_paid_twice_by_two_numbers_gives_one_of_them_back(box: Any) -> None:
    box.telebirr.faults.append(Fault("preOrder", "status", 502))
    await box.hold()
    await box.step()
    first = box.number
    await box.step(5)
    await box.telebirr.pay(box.number)
    await box.step(5)
    await box.telebirr.pay(first)
    await box.step(60)
    await box.step(10)
    assert await box.booking() == "paid"
    assert await box.refund() == ("telebirr", "paid", 89_000)
    assert await box.balance("wallet:telebirr") == 89_000
    await box.books_are_right()


async def test_order_that_telebirr_refuses_leaves_the_other_ways(box: Any) -> None:
    box.telebirr.faults.append(Fault("preOrder", "refuse"))
    await box.hold()
    await box.step()
    await box.step(60)
    assert await box.order() == "refused"
    assert box.asked("preOrder") == 1 and box.asked("queryOrder") == 0
    assert await box.booking() == "held"
    assert "60200099" in box.way.state()["trouble"]
    assert (await box.way.link("AB3D5F"))[0] == "soon"  # who opens the link starts another try
    await box.step()
    assert (await box.way.link("AB3D5F"))[0] == "pay"


async def test_order_without_a_token_is_not_sent_and_tried_again(box: Any) -> None:
    box.telebirr.faults.extend([Fault("token", "status", 500), Fault("token", "garbage")])
    await box.hold()
    await box.step()
    assert (await box.order(), box.asked("preOrder")) == ("wanted", 0)
    await box.step(5)
    assert box.asked("preOrder") == 0
    await box.step(10)
    assert await box.order() == "open"
    await box.books_are_right()


async def test_order_with_nobody_listening_is_not_sent_and_stays_wanted(box: Any) -> None:
    await box.telebirr.stop()
    await box.hold()
    await box.step()
    assert await box.order() == "wanted"
    await box.step(HALF_HOUR_S)
    assert await box.order() == "closed"  # the seats' time is over and nothing was ever asked


async def test_token_refused_is_fetched_anew_and_the_order_goes_through(box: Any) -> None:
    box.telebirr.faults.append(Fault("preOrder", "token"))
    await box.hold()
    await box.step()
    assert await box.order() == "open"
    assert box.asked("token") == 2
    await box.books_are_right()


async def test_token_is_used_for_fifty_minutes(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.step(49 * 60)
    assert box.asked("token") == 1
    await box.hold("KJ7RTA", 1)
    await box.step(2 * 60)
    assert box.asked("token") == 2


async def test_late_money_is_honoured_while_there_are_seats(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.step(HALF_HOUR_S + 60)
    assert await box.one("SELECT trade_status FROM telebirr_order") == "ORDER_CLOSED"
    await box.telebirr.pay(box.number)
    await box.step(600)
    assert (await box.order(), await box.booking()) == ("paid", "paid")
    assert "TICKET" in (await box.texts())[-1]
    await box.books_are_right()


async def test_late_money_for_seats_that_are_gone_goes_back_by_telebirr(box: Any, anybody: str) -> None:
    await box.hold()
    await box.step()
    await box.step(HALF_HOUR_S + 1)
    await box.hold("KJ7RTA", 4, anybody)
    await box.telebirr.pay(next(iter(box.telebirr.orders)))
    await box.step(600)
    assert "It goes back to your telebirr" in (await box.texts())[1]
    await box.step(10)
    assert await box.refund() == ("telebirr", "paid", 89_000)
    assert (await box.texts())[-1] == "890.00 ETB for AB3D5F went back to your telebirr."
    assert await box.balance("wallet:telebirr") == 0
    await box.books_are_right()


async def test_money_for_a_booking_paid_in_cash_goes_back(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.effect(
        "booking.pay", "+251911000099", code="AB3D5F", method="cash", amount_santim=89_000, numbers=[1, 2]
    )
    await box.telebirr.pay(box.number)
    await box.step(5)
    await box.step(10)
    assert await box.refund() == ("telebirr", "paid", 89_000)
    assert await box.balance("agent:+251911000099") == 89_000
    await box.books_are_right()


async def test_order_unpaid_is_watched_for_a_day_more_and_more_seldom_and_then_closed(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.step(HALF_HOUR_S)
    looks = box.asked("queryOrder")
    for _ in range(24 * 60 - 1):
        await box.step_once(60)
    assert await box.order() == "open"
    assert box.asked("queryOrder") - looks < 20
    await box.step(60)
    assert await box.order() == "closed"
    assert await box.one("SELECT next_ms IS NULL FROM telebirr_order") == 1


async def test_order_nobody_could_ask_about_is_for_a_person(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.telebirr.stop()
    await box.step(HALF_HOUR_S + 1)
    await box.step(24 * 3600)
    assert await box.order() == "unclear"
    assert await box.one("SELECT next_ms IS NULL FROM telebirr_order") == 1


async def test_wrong_amount_is_kept_as_money_for_a_person(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.telebirr.pay(box.number, paid_santim=88_900)
    await box.step(5)
    assert (await box.order(), await box.booking()) == ("unclear", "held")
    assert await box.one("SELECT state FROM receipt") == "unclear"
    assert await box.balance("received") == -88_900
    await box.books_are_right()


async def test_money_seen_late_by_the_query_is_taken_then(box: Any) -> None:
    await box.hold()
    await box.step()
    await box.telebirr.pay(box.number, hidden=2)
    await box.step(5)
    assert await box.order() == "open"
    await box.step(10)
    await box.step(20)
    assert await box.order() == "paid"
    await box.books_are_right()


@pytest.mark.parametrize("point", ["asking", "asked"])
async def test_crash_while_asking_is_queried_before_anything_else(box: Any, point: str) -> None:
    """The intent is on disk; whether telebirr has it is what the query says."""
    await box.hold()
    if point == "asked":
        box.telebirr.faults.append(Fault("preOrder", "silence"))
    else:
        box.telebirr.faults.append(Fault("preOrder", "silence_before"))
    await box.way.run_due()
    while box.asked("preOrder") == 0:
        await asyncio.sleep(0)
    assert await box.order() == "asking"
    await box.restart()
    assert await box.order() == "doubt"
    await box.step()
    assert [call for call, _ in box.telebirr.calls if call != "token"][:3] == [
        "preOrder", "queryOrder", "preOrder",
    ]  # fmt: skip
    assert await box.order() == "open"
    await box.books_are_right()


# -- callbacks


class Door:
    """Where the emulator's callbacks come to: the box's own handler behind a real HTTP server."""

    def __init__(self, box: Any) -> None:
        self.box = box
        self.heard: list[tuple[int, str]] = []

    async def open(self) -> None:
        async def take(request: web.Request) -> web.Response:
            heard = await self.box.way.heard(json.loads(await request.read()))
            self.heard.append((heard.status, heard.why))
            return web.Response(status=heard.status)

        app = web.Application()
        app.router.add_post("/notify", take)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0][:2]
        merchant = self.box.way._client.merchant
        self.box.way._client.merchant = merchant._replace(notify_url=f"http://{host}:{port}/notify")


@pytest.fixture
async def door(box: Any) -> Any:
    made = Door(box)
    await made.open()
    await box.hold()
    await box.step()
    yield made
    await made.runner.cleanup()


@pytest.mark.parametrize("times", ["s", "ms", "text"])
async def test_callback_pays_at_once_whatever_form_its_times_have(box: Any, door: Door, times: str) -> None:
    box.telebirr.times = times
    await box.telebirr.pay(box.number)
    assert door.heard == [(200, "COMPLETED")]
    assert (await box.order(), await box.booking()) == ("paid", "paid")
    assert box.asked("queryOrder") == 0
    await box.books_are_right()


async def test_callback_twice_and_out_of_order_counts_once(box: Any, door: Door) -> None:
    await box.telebirr.pay(box.number, notify=("paid", "pending", "paid", "paid"))
    await box.step(5)
    assert [status for status, _ in door.heard] == [200] * 4
    assert await box.one("SELECT count(*) FROM payment") == 1
    assert len([text for text in await box.texts() if "TICKET" in text]) == 1
    await box.books_are_right()


@pytest.mark.parametrize("kind", ["forged", "unsigned"])
async def test_callback_with_a_wrong_signature_is_refused(box: Any, door: Door, kind: str) -> None:
    box.telebirr.orders[box.number].hidden = 9
    await box.telebirr.pay(box.number, notify=(kind,), hidden=9)
    assert door.heard == [(403, "signature")]
    assert (await box.order(), await box.booking()) == ("open", "held")
    assert box.way.forged == 1
    assert box.asked("queryOrder") == 0


async def test_callback_for_another_merchant_is_refused(box: Any, door: Door) -> None:
    await box.telebirr.pay(box.number, notify=("wrong_merchant",), hidden=9)
    assert door.heard == [(400, "merch_code is not ours")]
    assert await box.booking() == "held"


async def test_callback_of_another_amount_is_checked_by_a_query(box: Any, door: Door) -> None:
    await box.telebirr.pay(box.number, notify=("wrong_amount",))
    assert door.heard == [(400, "amount")]
    assert box.asked("queryOrder") == 1
    assert await box.booking() == "paid"  # the query said the right amount
    await box.books_are_right()


async def test_callback_after_everything_was_closed_is_still_honoured(box: Any, door: Door) -> None:
    await box.step(HALF_HOUR_S)
    await box.step(24 * 3600)
    assert await box.order() == "closed"
    await box.telebirr.pay(box.number)
    assert door.heard[-1] == (200, "COMPLETED")
    assert await box.booking() == "paid"
    await box.books_are_right()


async def test_callback_without_telebirrs_key_is_refused(box: Any, door: Door) -> None:
    box.way._verifier = None
    await box.telebirr.pay(box.number, hidden=9)
    assert door.heard == [(403, "signature")]


async def test_callback_of_money_that_came_by_sms_first_counts_once(box: Any, door: Door) -> None:
    order = box.telebirr.orders[box.number]
    order.trans_id = "DKM1FHSD4J"
    await box.effect(
        "booking.receipt", "127", wallet="telebirr", reference="DKM1FHSD4J", amount_santim=89_000,
        payer="2519****1111", state="matched", code="AB3D5F",
    )  # fmt: skip
    await box.effect(
        "booking.pay", "127", code="AB3D5F", method="receipt", reference="DKM1FHSD4J",
        amount_santim=89_000, numbers=[1, 2],
    )  # fmt: skip
    await box.telebirr.pay(box.number)
    assert await box.order() == "paid"
    assert await box.one("SELECT count(*) FROM receipt") == 1
    assert await box.balance("wallet:telebirr") == 89_000
    await box.books_are_right()
