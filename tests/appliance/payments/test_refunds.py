from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.conversation.kit import Kit
from appliance.payments.service import CashWay, PaymentService, TelebirrAbsent
from appliance.payments.telebirr.emulator import Fault
from appliance.payments.words import PhraseWords
from appliance.store import payments, refunds
from appliance.store.effects import EffectRefused

DAY_S = 86_400.0


@pytest.fixture
async def sold(box: Any) -> Any:
    """A ticket of 890 birr paid by telebirr, and given back by its holder for 712."""
    await box.hold()
    await box.step()
    await box.telebirr.pay(box.number)
    await box.step(5)
    await box.effect("booking.cancel", code="AB3D5F", refund_santim=71_200)
    return box


async def test_refund_of_a_ticket_goes_back_by_telebirr_and_is_told(sold: Any) -> None:
    await sold.step()
    assert await sold.refund() == ("telebirr", "paid", 71_200)
    (order,) = sold.telebirr.orders.values()
    assert list(order.refunds.values()) == [71_200]
    assert (await sold.texts())[-1] == "712.00 ETB for AB3D5F went back to your telebirr."
    assert await sold.balance("wallet:telebirr") == 89_000 - 71_200
    assert await sold.balance("sales") == -(89_000 - 71_200)
    assert await sold.balance("refunds") == 0
    await sold.books_are_right()


@pytest.mark.parametrize("kind", ["silence", "reset", "status", "garbage"])
async def test_refund_whose_answer_was_lost_is_queried_and_never_asked_for_again(
    sold: Any, kind: str
) -> None:
    sold.timeout_s = 0.2
    await sold.restart()
    sold.telebirr.faults.append(Fault("refund", kind))
    await sold.step()
    assert (await sold.refund())[1] == "doubt"
    await sold.step(5)
    assert (await sold.refund())[1] == "paid"
    assert sold.asked("refund") == 1
    await sold.books_are_right()


async def test_refund_that_telebirr_never_got_is_for_a_person_in_the_end(sold: Any) -> None:
    sold.telebirr.faults.append(Fault("refund", "reset_before"))
    await sold.step()
    for _ in range(12):
        await sold.step(600)
    assert (await sold.refund())[1] == "doubt"
    await sold.step(DAY_S)
    assert (await sold.refund())[1] == "unclear"
    assert sold.asked("refund") == 1
    assert await sold.one("SELECT next_ms IS NULL FROM refund") == 1
    await sold.books_are_right()


@pytest.mark.parametrize(
    ("was_paid", "way", "state", "told"),
    [(True, "telebirr", "paid", "went back"), (False, "cash", "owed", "An agent pays it")],
)
async def test_refund_that_is_unclear_is_decided_by_a_person(
    sold: Any, was_paid: bool, way: str, state: str, told: str
) -> None:
    sold.telebirr.faults.append(Fault("refund", "reset_before"))
    await sold.step()
    await sold.step(DAY_S)
    words = PhraseWords(Kit({}))

    def decide(db: Any) -> Any:
        return payments.decide_refund(db, 1, was_paid=was_paid, words=words, now_ms=sold.now_ms, by="test")

    await sold.store.writer.run(decide)
    assert (await sold.refund())[:2] == (way, state)
    assert told in (await sold.texts())[-1]
    assert await sold.one("SELECT action FROM audit") == "refund.decide"
    with pytest.raises(EffectRefused, match="not_unclear"):
        await sold.store.writer.run(decide)
    await sold.books_are_right()


async def test_refund_that_telebirr_refuses_becomes_cash_once_the_queries_agree(sold: Any) -> None:
    sold.telebirr.faults.append(Fault("refund", "refuse"))
    await sold.step()
    assert (await sold.refund())[1] == "doubt"  # a refusal alone is not believed
    for seconds in (5, 10, 20, 40, 60, 60):
        await sold.step(seconds)
    assert await sold.refund() == ("cash", "owed", 71_200)
    assert "An agent pays it for the code AB3D5F" in (await sold.texts())[-1]
    await sold.effect("booking.refunded", "+251911000099", code="AB3D5F", amount_santim=71_200)
    assert (await sold.refund())[1] == "paid"
    assert sold.asked("refund") == 1
    await sold.books_are_right()


async def test_refund_refused_and_done_all_the_same_is_not_paid_twice(sold: Any) -> None:
    sold.telebirr.faults.append(Fault("refund", "refuse"))
    await sold.step()
    sold.telebirr.orders[sold.number].refund_status = "REFUND_SUCCESS"
    for seconds in (5, 10, 20, 40, 60):
        await sold.step(seconds)
    assert await sold.refund() == ("telebirr", "paid", 71_200)


@pytest.mark.parametrize(
    ("result", "wanted"), [("REFUND_SUCCESS", ("telebirr", "paid")), ("REFUND_FAILED", ("cash", "owed"))]
)
async def test_refund_under_way_is_watched_to_its_end(
    sold: Any, result: str, wanted: tuple[str, str]
) -> None:
    sold.telebirr.refund_result = "REFUNDING"
    await sold.step()
    await sold.step(60)
    assert (await sold.refund())[1] == "doubt"
    sold.telebirr.finish_refunds(result)
    await sold.step(300)
    assert (await sold.refund())[:2] == wanted
    await sold.books_are_right()


async def test_refund_without_a_token_waits_and_goes_through(sold: Any) -> None:
    sold.mono += 3600  # the token's time is over
    sold.telebirr.faults.append(Fault("token", "status", 500))
    await sold.step()
    assert ((await sold.refund())[1], sold.asked("refund")) == ("owed", 0)
    await sold.step(60)
    assert (await sold.refund())[1] == "paid"
    await sold.books_are_right()


async def test_refund_cut_off_by_a_crash_is_queried_first(sold: Any) -> None:
    sold.telebirr.faults.append(Fault("refund", "silence"))
    await sold.way.run_due()
    while sold.asked("refund") == 0:
        await asyncio.sleep(0)
    assert (await sold.refund())[1] == "asking"
    await sold.restart()
    assert (await sold.refund())[1] == "doubt"
    await sold.step()
    assert (await sold.refund())[1] == "paid"
    assert sold.asked("refund") == 1
    await sold.books_are_right()


async def test_refund_with_telebirr_switched_off_becomes_cash(sold: Any) -> None:
    absent = TelebirrAbsent(
        sold.store, PhraseWords(Kit({})), clock_ms=lambda: sold.now_ms, offer=sold.offered.extend
    )
    await absent.recover()
    await absent.run_due()
    assert await sold.refund() == ("cash", "owed", 71_200)
    assert "An agent pays it" in (await sold.texts())[-1]
    await sold.books_are_right()


async def test_cash_that_nobody_fetches_is_unclaimed_after_its_time_and_can_still_be_paid(box: Any) -> None:
    await box.hold()
    await box.effect(
        "booking.pay", "+251911000099", code="AB3D5F", method="cash", amount_santim=89_000, numbers=[1, 2]
    )
    await box.effect("booking.cancel", code="AB3D5F", refund_santim=71_200)
    cash = CashWay(box.store, lambda: box.now_ms)
    await cash.run_due()
    assert (await box.refund())[1] == "owed"
    box.now_ms += refunds.CASH_MS
    await cash.run_due()
    assert (await box.refund())[1] == "unclaimed"
    assert await box.balance("unclaimed") == -71_200
    await box.effect("booking.refunded", "+251911000099", code="AB3D5F", amount_santim=71_200)
    assert await box.balance("unclaimed") == 0
    assert await box.balance("agent:+251911000099") == 89_000 - 71_200
    await box.books_are_right()


async def test_service_tells_books_that_are_wrong_at_the_start(box: Any, caplog: Any) -> None:
    def spoil(db: Any) -> None:
        db.execute("INSERT INTO ledger_account (name, balance_santim) VALUES ('till', 5)")

    await box.store.writer.run(spoil)
    service = PaymentService(box.store, [CashWay(box.store, lambda: box.now_ms)])
    await service.start()
    await service.stop()
    assert service.state()["books"][0].startswith("all accounts: 5 santim")
    assert "the books are wrong" in caplog.text
