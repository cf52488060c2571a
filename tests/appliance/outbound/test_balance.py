"""Operators' words about a SIM's credit, in several wordings."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from appliance.outbound.balance import Balance, BalanceErrors, Balances, Operator, load_balances

WORDINGS = [
    ("*804#", "Your balance is 25.50 Birr, valid until 30/12/2026.", Balance(2550)),
    ("*804#", "Dear customer, your account\r\nbalance: ETB 1,204.5", Balance(120450)),
    ("*804#", "Main 3.00 Birr", Balance(300)),
    ("*804#", "ቀሪ ሂሳብዎ 12.25 ብር ነው", Balance(1225)),
    (
        "*804#",
        "Balance 0.00 ETB. Bundle: 950 SMS, expires on 2026-12-01",
        Balance(0, "950 SMS", dt.date(2026, 12, 1)),
    ),
    ("*704#", "Airtime balance: 7 ETB", Balance(700)),
    (
        "*704#",
        "You have 80 SMS valid till 5 Dec 2026. Airtime is Birr 2.10",
        Balance(210, "80 SMS", dt.date(2026, 12, 5)),
    ),
    ("*999#", "Your balance is 4 Birr", Balance(400)),  # a code that no entry names
]


@pytest.mark.parametrize(("code", "text", "want"), WORDINGS)
def test_answer_in_a_known_wording_is_read(code: str, text: str, want: Balance) -> None:
    assert load_balances().answer(code, text) == want


@pytest.mark.parametrize("text", ["", "Connection problem or invalid MMI code.", "1. Buy 2. Gift 3. Next"])
def test_answer_about_something_else_is_none(text: str) -> None:
    assert load_balances().answer("*804#", text) is None


def test_text_counts_from_the_operators_sender_only() -> None:
    known = load_balances()
    assert known.text("Ethio Telecom", "Your balance is 2 Birr") == Balance(200)
    assert known.text("+251911234567", "Your balance is 2 Birr") is None


def test_day_that_no_calendar_has_is_not_read() -> None:
    found = load_balances().answer("*804#", "10 SMS expires 31/02/2026")
    assert found == Balance(None, "10 SMS", None)


def test_amount_beyond_reason_is_not_believed() -> None:
    assert load_balances().answer("*804#", "balance is 99999999999") is None


def test_pattern_without_a_known_group_is_refused_with_its_place() -> None:
    with pytest.raises(BalanceErrors, match=re.escape("X: patterns[1]: want a group")):
        Balances([Operator("X", "*1#", (r"(?P<amount>\d+)", r"(?P<money>\d+)"))])


def test_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "balances.toml").write_text("[[operator]\n")
    with pytest.raises(BalanceErrors, match=r"balances\.toml"):
        load_balances(tmp_path / "balances.toml")


def test_hostile_text_is_read_in_no_time() -> None:
    load_balances().text("994", "SMS expir 1" * 5_000 + "balance " * 5_000)
