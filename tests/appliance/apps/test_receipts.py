from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.conversation.receipts import ReceiptErrors, load_wallets
from appliance.store import ledger
from appliance.trial import Trial

TODAY = dt.date(2026, 11, 22)
ABEBE, SARA = "+251911111234", "+251922225678"
REFERENCE = "DKM1FHSD4J"  # 22 November 2026
TELEBIRR = (
    "Dear Lidya\nYou have received ETB {amount} from ABEBE  KEBEDE(2519****{last}) on 22/11/2026 09:10:11. "
    "Your transaction number is {reference}. Your current E-Money Account balance is ETB 9,999.00. Thank you"
)


def money(amount: str = "890.00", last: str = "1234", reference: str = REFERENCE) -> str:
    return TELEBIRR.format(amount=amount, last=last, reference=reference)


@pytest.fixture
def box(make_trial: Callable[..., Trial]) -> Trial:
    settings = {"conversation": {"apps": ["booking"]}, "payments": {"wallets": ["telebirr", "mpesa", "cbe"]}}
    trial = make_trial(settings)
    trial.text(ABEBE, "BOOK ADDIS HAWASSA TOMORROW 2")
    trial.text(ABEBE, "YES")
    return trial


def state(box: Trial) -> list[tuple[str, str]]:
    bookings = box.db.execute("SELECT state FROM booking ORDER BY id").fetchall()
    receipts = box.db.execute("SELECT state FROM receipt ORDER BY id").fetchall()
    return [(kind, row[0]) for kind, rows in (("b", bookings), ("r", receipts)) for row in rows]


@pytest.mark.parametrize(
    ("sender", "text", "amount", "reference", "payer"),
    [
        ("127", money(), 89_000, REFERENCE, "2519****1234"),
        ("127", money("1,250.5"), 125_050, REFERENCE, "2519****1234"),
        (
            "127",
            f"Dear X you have received ETB 100.00 by transaction number {REFERENCE} from Awash"
            f" Bank to your account",
            10_000,
            REFERENCE,
            "",
        ),
        (
            "MPESA",
            "Dear A, you have received 100.00 Birr from SARA on 22/11/26. Transaction number"
            " UKM1ABCDEF. Balance 5",
            10_000,
            "UKM1ABCDEF",
            "",
        ),
        (
            "CBE",
            "Dear X your Account 1****1234 has been credited with ETB 500.00. Your Current"
            " Balance is ETB 1,000. "
            "https://apps.cbe.com.et/BranchReceipt/FT26326ABCDE",
            50_000,
            "FT26326ABCDE",
            "",
        ),
    ],
)
def test_receipt_of_a_wallet_is_read(sender: str, text: str, amount: int, reference: str, payer: str) -> None:
    receipt = load_wallets(["telebirr", "mpesa", "cbe"]).read(sender, text, TODAY)
    assert receipt is not None
    assert (receipt.amount_santim, receipt.reference, receipt.payer) == (amount, reference, payer)
    assert receipt.dated


@pytest.mark.parametrize(
    "text",
    [
        "You have transferred ETB 890.00 to LIDYA(2519****1234). transaction number is DKM1FHSD4J",
        "Win ETB 1,000,000! Text YES to play.",
        "Get 10% cash-back on ETB 890.00 received today",
        "",
    ],
)
def test_other_texts_of_a_wallet_pay_nothing(text: str) -> None:
    assert load_wallets(["telebirr"]).read("127", text, TODAY) is None


def test_receipt_over_the_air_pays_the_one_booking_it_fits_and_sends_the_ticket(box: Trial) -> None:
    (reply,) = box.text("127", money(), channel="modem:m0")
    assert reply.to == ABEBE and reply.text.startswith("TICKET ")
    assert state(box) == [("b", "paid"), ("r", "matched")]
    assert box.text("127", money(), channel="modem:m0") == []
    assert box.db.execute("SELECT count(*) FROM payment").fetchone() == (1,)


def test_receipt_over_http_pays_nothing(box: Trial) -> None:
    assert box.text("127", money(), channel="http") == []
    assert state(box) == [("b", "held")]


def test_receipt_from_a_person_is_no_receipt(box: Trial) -> None:
    box.text(ABEBE, money(), channel="modem:m0")
    assert state(box) == [("b", "held")]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (money(last="9999"), "open"),
        (money("889.00"), "open"),
        (money(reference="DA11FHSD4J"), "unclear"),  # dated in January
    ],
)
def test_receipt_that_does_not_fit_waits_for_a_person(box: Trial, text: str, kept: str) -> None:
    assert box.text("127", text, channel="modem:m0") == []
    assert state(box) == [("b", "held"), ("r", kept)]


def test_receipt_with_two_candidates_is_unclear(box: Trial) -> None:
    box.text(ABEBE, "BOOK HAWASSA ADDIS TOMORROW 2")
    box.text(ABEBE, "YES")
    assert box.text("127", money(), channel="modem:m0") == []
    assert state(box) == [("b", "held"), ("b", "held"), ("r", "unclear")]


def test_receipt_that_comes_late_is_honoured_while_there_are_seats(box: Trial) -> None:
    box.pass_time(box.now_ms + 2 * 3_600_000)
    (reply,) = box.text("127", money(), channel="modem:m0")
    assert reply.to == ABEBE and reply.text.startswith("TICKET ")
    assert state(box) == [("b", "paid"), ("r", "matched")]
    assert ledger.check(box.db) == []


def test_receipt_that_comes_when_the_seats_are_gone_is_owed_back(box: Trial) -> None:
    box.pass_time(box.now_ms + 2 * 3_600_000)
    box.db.execute("UPDATE departure SET state = 'cancelled'")
    (reply,) = box.text("127", money(), channel="modem:m0")
    assert reply.to == ABEBE and "An agent pays it back" in reply.text
    assert state(box) == [("b", "expired"), ("r", "returned")]
    assert box.db.execute("SELECT way, state, amount_santim FROM refund").fetchall() == [
        ("cash", "owed", 89_000)
    ]
    assert ledger.balance(box.db, ledger.REFUNDS) == -89_000
    assert ledger.check(box.db) == []


def test_receipt_that_fits_nothing_is_kept_as_money_received(box: Trial) -> None:
    box.text("127", money(last="9999"), channel="modem:m0")
    assert ledger.balance(box.db, ledger.RECEIVED) == -89_000
    assert ledger.balance(box.db, "wallet:telebirr") == 89_000
    assert ledger.check(box.db) == []


def test_person_claims_an_open_receipt_by_its_number_once(box: Trial) -> None:
    box.text("127", money(last="9999"), channel="modem:m0")
    (reply,) = box.text(ABEBE, f"i paid {REFERENCE}")
    assert reply.text.startswith("TICKET ")
    assert state(box) == [("b", "paid"), ("r", "matched")]
    box.text(SARA, "BOOK ADDIS HAWASSA TOMORROW 2")
    box.text(SARA, "YES")
    box.text(SARA, f"PAID {REFERENCE}")
    assert state(box) == [("b", "paid"), ("b", "held"), ("r", "matched")]


def test_claim_without_our_receipt_pays_nothing(box: Trial) -> None:
    box.text(ABEBE, f"i paid {REFERENCE}")
    box.text(ABEBE, money())
    assert state(box) == [("b", "held")]


def test_wallet_that_is_unknown_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReceiptErrors, match="want one of telebirr"):
        load_wallets(["paypal"])
    file = tmp_path / "receipts.toml"
    file.write_text('[[wallet]]\nname = "x"\nsenders = ["1"]\nreference = "A"\npatterns = ["got {amount}"]\n')
    with pytest.raises(ReceiptErrors, match=r"no .reference"):
        load_wallets(["x"], file)
