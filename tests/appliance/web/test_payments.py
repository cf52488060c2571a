from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from appliance.conversation.kit import Kit
from appliance.payments.desk import PaymentDesk
from appliance.payments.service import PaymentService, ReceiptWay
from appliance.payments.words import PhraseWords
from appliance.store import effects, ledger, receipts
from appliance.store.booking_look import BookingLook
from appliance.store.effects import EffectContext
from appliance.store.timetable import import_sample
from appliance.web import Services, WebSettings, make_app

NOW_MS = 1_795_327_200_000  # 2026-11-22 06:00 UTC
ABEBE = "+251911111111"


class Callbacks:
    """telebirr's way as the pages know it."""

    def __init__(self) -> None:
        self.heard_of: list[Mapping[str, Any]] = []
        self.answer = (200, "COMPLETED")
        self.leads_to = ("pay", "https://telebirr.test/paygate?x=1")

    async def heard(self, message: Mapping[str, Any]) -> Any:
        self.heard_of.append(message)
        return type("Heard", (), {"status": self.answer[0], "why": self.answer[1]})()

    async def link(self, code: str) -> tuple[str, str]:
        return self.leads_to


class Desk:
    """The pages over a store with one booking of 890 birr (AB3D5F) and one receipt that fits no number."""

    def __init__(self, bench: Any) -> None:
        self.db = bench.store.db
        effects.load()
        import_sample(self.db, now_ms=NOW_MS, seats_per_bus=4)
        self.callbacks = Callbacks()
        self.offered: list[Any] = []
        service = PaymentService(bench.store, [ReceiptWay(bench.store)])
        self.desk = PaymentDesk(
            bench.store,
            service,
            PhraseWords(Kit({})),
            self.callbacks,
            clock_ms=lambda: NOW_MS,
            offer=self.offered.extend,
            agent_numbers=("+251911000900",),
        )
        trip = BookingLook(self.db).trips("Addis Ababa", "Hawassa", "2026-11-27", NOW_MS)[0]
        hold = {
            "service": trip.service, "date": "2026-11-27", "seats": 2, "code": "AB3D5F", "language": "en",
            "until_ms": NOW_MS + 1_800_000, "fare_santim": trip.fare_santim,
        }  # fmt: skip
        effects.apply(self.db, EffectContext(NOW_MS, ABEBE, 1), [("booking.hold", hold)])
        self.receipt("DKM1FHSD4J", 89_000)

    def receipt(self, reference: str, santim: int) -> None:
        receipts.write(
            self.db, wallet="telebirr", reference=reference, santim=santim, payer="2519****9999",
            now_ms=NOW_MS,
        )  # fmt: skip

    def state(self) -> tuple[str, str]:
        booking = self.db.execute("SELECT state FROM booking").fetchone()[0]
        return booking, self.db.execute("SELECT state FROM receipt ORDER BY id").fetchone()[0]


@pytest.fixture
async def desk(bench: Any) -> Desk:
    return Desk(bench)


@pytest.fixture
async def client(bench: Any, desk: Desk, make_server: Any, tmp_path: Any) -> Any:
    services = Services(
        store=bench.store,
        dispatcher=bench.dispatcher,
        settings=WebSettings(data_dir=tmp_path),
        payments=desk.desk,
        clock_ms=lambda: NOW_MS,
    )
    made: TestClient[Any, Any] = TestClient(make_server(make_app(services)))
    await made.start_server()
    yield made
    await made.close()


async def test_page_shows_money_without_a_booking_and_what_it_may_be_for(client: Any) -> None:
    page = await (await client.get("/payments")).text()
    assert "DKM1FHSD4J" in page and 'value="AB3D5F"' in page
    assert "wallet:telebirr" in page and "890.00" in page
    assert "The books are right" in page
    assert "outpost agent pin +251911000900" in page


async def test_receipt_placed_by_a_person_pays_and_sends_the_ticket(client: Any, desk: Desk) -> None:
    answer = await client.post("/payments/receipts/1", data={"code": "AB3D5F"}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/payments")
    assert desk.state() == ("paid", "matched")
    assert desk.db.execute("SELECT text FROM outbound").fetchone()[0].startswith("TICKET AB3D5F PAID")
    assert len(desk.offered) == 1
    audit = desk.db.execute("SELECT actor, action, what FROM audit").fetchall()
    assert audit == [("the page", "receipt.assign", "DKM1FHSD4J AB3D5F")]
    assert ledger.check(desk.db) == []


async def test_receipt_placed_twice_pays_once_and_says_so(client: Any, desk: Desk) -> None:
    await client.post("/payments/receipts/1", data={"other": "ab3d5f"})
    answer = await client.post("/payments/receipts/1", data={"code": "AB3D5F"})
    assert answer.status == 409 and "placed that money before" in await answer.text()
    assert desk.db.execute("SELECT count(*) FROM payment").fetchone() == (1,)


@pytest.mark.parametrize(
    ("code", "santim", "why"),
    [("ZZ9999", 89_000, "No booking has that code"), ("AB3D5F", 500, "has another price")],
)
async def test_receipt_that_cannot_be_placed_there_says_why(
    client: Any, desk: Desk, code: str, santim: int, why: str
) -> None:
    desk.receipt("DKM1FHSD5J", santim)
    answer = await client.post("/payments/receipts/2", data={"other": code})
    assert answer.status == 409 and why in await answer.text()
    assert desk.state()[0] == "held"
    assert desk.db.execute("SELECT state FROM receipt WHERE id = 2").fetchone() == ("open",)


async def test_receipt_sent_back_by_hand_leaves_the_books_even(client: Any, desk: Desk) -> None:
    await client.post("/payments/receipts/1", data={"returned": "yes"})
    assert desk.state() == ("held", "returned")
    assert ledger.balance(desk.db, "wallet:telebirr") == 0
    assert ledger.check(desk.db) == []


async def test_decision_asked_for_by_another_site_is_refused(client: Any, desk: Desk) -> None:
    headers = {"Origin": "https://evil.example"}
    for path in ("/payments/receipts/1", "/payments/refunds/1"):
        assert (await client.post(path, data={"code": "AB3D5F"}, headers=headers)).status == 403
    assert desk.state() == ("held", "open")


async def test_ledger_csv_has_both_sides_of_each_transfer(client: Any) -> None:
    answer = await client.get("/payments/ledger.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert (await answer.text()).splitlines() == [
        "transfer,at,kind,account,santim,code",
        "1,2026-11-22T06:00:00Z,receipt,wallet:telebirr,89000,",
        "1,2026-11-22T06:00:00Z,receipt,received,-89000,",
    ]


async def test_callback_is_answered_as_the_platform_expects(client: Any, desk: Desk) -> None:
    answer = await client.post("/payments/telebirr", json={"merch_order_id": "x"})
    assert (answer.status, await answer.json()) == (200, {"returnCode": "SUCCESS", "returnMsg": "OK"})
    assert desk.callbacks.heard_of == [{"merch_order_id": "x"}]


async def test_callback_that_is_refused_or_no_json_is_told_so(client: Any, desk: Desk) -> None:
    desk.callbacks.answer = (403, "signature")
    assert (await client.post("/payments/telebirr", json={})).status == 403
    for body in (b"[]", b"{", b"{" + b" " * 20_000 + b"}"):
        assert (await client.post("/payments/telebirr", data=body)).status == 400
    assert len(desk.callbacks.heard_of) == 1


@pytest.mark.parametrize(
    ("state", "words"), [("soon", "One moment"), ("paid", "is paid"), ("over", "any more")]
)
async def test_link_that_leads_nowhere_yet_says_why(client: Any, desk: Desk, state: str, words: str) -> None:
    desk.callbacks.leads_to = (state, "")
    answer = await client.get("/pay/ab3d5f")
    assert answer.status == 200 and words in await answer.text()
    assert ("Refresh" in answer.headers) == (state == "soon")


async def test_link_leads_to_telebirrs_page(client: Any) -> None:
    answer = await client.get("/pay/AB3D5F", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "https://telebirr.test/paygate?x=1")
