from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.store import ledger
from appliance.trial import AGENT, AGENT_PIN, Trial

ABEBE = "+251911111111"
HOUR_MS = 3_600_000


@pytest.fixture
def code(trial: Trial) -> str:
    """One booking of 890 birr, unpaid."""
    trial.text(ABEBE, "BOOK ADDIS HAWASSA FRIDAY 2")
    trial.text(ABEBE, "YES")
    return str(trial.sessions[ABEBE].data["holds"][0][0])


def said(trial: Trial, text: str, sender: str = AGENT) -> str:
    return trial.text(sender, text)[0].text


def paid(trial: Trial) -> int:
    return int(trial.db.execute("SELECT count(*) FROM payment").fetchone()[0])


def test_agent_with_the_right_pin_takes_cash_and_the_ledger_holds_it(trial: Trial, code: str) -> None:
    assert said(trial, f"PAY {code} {AGENT_PIN}").startswith("PAID")
    assert ledger.balance(trial.db, f"agent:{AGENT}") == 89_000
    assert ledger.balance(trial.db, ledger.SALES) == -89_000
    assert ledger.check(trial.db) == []


@pytest.mark.parametrize("text", ["PAY {code}", "pay {code} please", "PAY"])
def test_agent_without_a_pin_in_the_text_pays_nothing(trial: Trial, code: str, text: str) -> None:
    assert "your PIN" in said(trial, text.format(code=code))
    assert paid(trial) == 0


def test_agent_for_whom_no_pin_was_set_pays_nothing(trial: Trial, code: str) -> None:
    trial.db.execute("DELETE FROM agent")
    assert "No PIN is set" in said(trial, f"PAY {code} {AGENT_PIN}")
    assert paid(trial) == 0


def test_agent_three_wrong_pins_lock_the_number_for_an_hour(trial: Trial, code: str) -> None:
    assert "2 tries left" in said(trial, f"PAY {code} 1111")
    assert "1 try left" in said(trial, f"PAY {code} 2222")
    assert "too often" in said(trial, f"PAY {code} 3333")
    assert "too often" in said(trial, f"PAY {code} {AGENT_PIN}")
    assert paid(trial) == 0
    trial.pass_time(trial.now_ms + HOUR_MS + 1)
    trial.text(ABEBE, "BOOK ADDIS HAWASSA TOMORROW 1")
    trial.text(ABEBE, "YES")
    other = trial.sessions[ABEBE].data["holds"][0][0]
    assert said(trial, f"PAY {other} {AGENT_PIN}").startswith("PAID")


def test_agent_right_pin_forgets_the_wrong_ones(trial: Trial, code: str) -> None:
    said(trial, f"PAY {code} 1111")
    said(trial, f"PAY {code} {AGENT_PIN}")
    assert trial.db.execute("SELECT wrong FROM agent").fetchone() == (0,)


@pytest.mark.parametrize("pin", [AGENT_PIN, "9876"])
def test_agent_pin_stands_nowhere_afterwards(trial: Trial, code: str, pin: str) -> None:
    trial.db.execute(
        "INSERT INTO inbound (id, channel, sender, text, received_at_ms) VALUES (?, 'x', ?, ?, 0)",
        (trial.turns + 1, AGENT, f"PAY {code} {pin}"),
    )
    said(trial, f"PAY {code} {pin}")
    assert trial.db.execute("SELECT text FROM inbound").fetchone() == (f"PAY {code} ****",)
    assert pin not in str(trial.sessions[AGENT])


def test_person_who_is_no_agent_cannot_pay_with_a_pin(trial: Trial, code: str) -> None:
    assert "Pay at an agent" in said(trial, f"PAY {code} {AGENT_PIN}", ABEBE)
    assert paid(trial) == 0


def test_agent_refund_needs_the_pin_and_leaves_the_ledger_even(trial: Trial, code: str) -> None:
    said(trial, f"PAY {code} {AGENT_PIN}")
    said(trial, f"CANCEL {code}", ABEBE)
    owed = -ledger.balance(trial.db, ledger.REFUNDS)
    assert "your PIN" in said(trial, f"REFUND {code}")
    assert said(trial, f"REFUND {code} {AGENT_PIN}").startswith("REFUND")
    assert said(trial, f"REFUND {code} {AGENT_PIN}").startswith("Nothing")
    assert ledger.balance(trial.db, f"agent:{AGENT}") == 89_000 - owed
    assert ledger.balance(trial.db, ledger.REFUNDS) == 0
    assert ledger.check(trial.db) == []


def test_agent_commission_is_the_agents_own(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(
        {"conversation": {"apps": ["booking"]}, "payments": {"agents": [AGENT], "commission_percent": 5}}
    )
    trial.text(ABEBE, "BOOK ADDIS HAWASSA FRIDAY 2")
    trial.text(ABEBE, "YES")
    said(trial, f"PAY {trial.sessions[ABEBE].data['holds'][0][0]} {AGENT_PIN}")
    assert ledger.balance(trial.db, f"agent:{AGENT}") == 89_000 - 4_450
    assert ledger.balance(trial.db, ledger.COMMISSION) == 4_450
    assert ledger.check(trial.db) == []
