"""Loops and floods: who gets a turn, counted from the rows themselves (DOMAIN.md section 3)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.guard.admission import HOUR_MS, MINUTE_MS, Admission, GuardSettings
from appliance.message import Inbound, Outbound
from appliance.store import inbound, outbound
from appliance.store.database import connect_writer, prepare

ALEM = "+251911000001"
NOW = 1_790_000_000_000
LONG = "I am driving and will answer later"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(prepare(tmp_path / "x.db").path)) as db:
        yield db


@pytest.fixture
def admission() -> Admission:
    return Admission({"+251911999999"}, GuardSettings(per_minute=5, per_hour=9))


def message(text: str, at_ms: int = NOW, sender: str = ALEM, channel: str = "modem:one") -> Inbound:
    return Inbound(channel=channel, sender=sender, recipient="", text=text, received_at_ms=at_ms)


def states(db: sqlite3.Connection, admission: Admission, messages: list[Inbound]) -> list[str]:
    return [str(inbound.accept(db, each, admission.by_air).state) for each in messages]


def test_admission_fourth_identical_text_in_an_hour_is_guarded(
    db: sqlite3.Connection, admission: Admission
) -> None:
    found = states(db, admission, [message(LONG, NOW + n * 10 * MINUTE_MS) for n in range(5)])
    assert found == ["accepted"] * 3 + ["guarded"] * 2


def test_admission_identical_texts_over_hours_are_answered(
    db: sqlite3.Connection, admission: Admission
) -> None:
    assert states(db, admission, [message(LONG, NOW + n * HOUR_MS) for n in range(6)]) == ["accepted"] * 6


def test_admission_menu_choices_may_repeat(db: sqlite3.Connection, admission: Admission) -> None:
    found = states(db, admission, [message("1", NOW + n * 5 * MINUTE_MS) for n in range(6)])
    assert found == ["accepted"] * 6


def test_admission_other_text_in_between_ends_the_row(db: sqlite3.Connection, admission: Admission) -> None:
    texts = [LONG, LONG, "something else", LONG, LONG]
    found = states(db, admission, [message(text, NOW + n * 5 * MINUTE_MS) for n, text in enumerate(texts)])
    assert found == ["accepted"] * 5


def test_admission_echo_of_our_own_text_is_guarded(db: sqlite3.Connection, admission: Admission) -> None:
    states(db, admission, [message("hello there", NOW)])
    outbound.insert(db, Outbound(recipient=ALEM, text=LONG), NOW)
    assert states(db, admission, [message(LONG, NOW + 1)]) == ["guarded"]
    assert states(db, admission, [message(LONG, NOW + 1, sender="+251911000002")]) == ["accepted"]
    assert states(db, admission, [message(LONG, NOW + 25 * HOUR_MS)]) == ["accepted"]


def test_admission_flood_is_answered_up_to_the_limit_of_a_minute(
    db: sqlite3.Connection, admission: Admission
) -> None:
    found = states(db, admission, [message(f"t{n}", NOW + n) for n in range(8)])
    assert found == ["accepted"] * 5 + ["guarded"] * 3
    assert states(db, admission, [message("later", NOW + 2 * MINUTE_MS)]) == ["accepted"]
    reasons = db.execute("SELECT DISTINCT reason FROM inbound WHERE state = 'guarded'").fetchall()
    assert reasons == [("more than 5 texts in a minute",)]


def test_admission_steady_stream_is_answered_up_to_the_limit_of_an_hour(
    db: sqlite3.Connection, admission: Admission
) -> None:
    found = states(db, admission, [message(f"t{n}", NOW + n * 2 * MINUTE_MS) for n in range(11)])
    assert found == ["accepted"] * 9 + ["guarded"] * 2


def test_admission_clock_set_back_locks_nobody_out(db: sqlite3.Connection, admission: Admission) -> None:
    states(db, admission, [message(f"t{n}", NOW + n) for n in range(8)])
    assert states(db, admission, [message("after", NOW - 30 * HOUR_MS)]) == ["accepted"]


def test_admission_counts_survive_a_restart(db: sqlite3.Connection, admission: Admission) -> None:
    states(db, admission, [message(f"t{n}", NOW + n) for n in range(5)])
    again = Admission(set(), GuardSettings(per_minute=5, per_hour=9))
    assert states(db, again, [message("more", NOW + 9)]) == ["guarded"]


def test_admission_caller_who_carries_the_answer_is_not_counted(
    db: sqlite3.Connection, admission: Admission
) -> None:
    found = [inbound.accept(db, message(LONG, NOW + n), admission.sender).state for n in range(30)]
    assert {str(state) for state in found} == {"accepted"}


def test_admission_services_names_and_own_numbers_are_guarded_everywhere(
    db: sqlite3.Connection, admission: Admission
) -> None:
    for sender in ("127", "MPESA", "+251911999999"):
        assert admission.sender(db, message("hi", sender=sender))
        assert admission.by_air(db, message("hi", sender=sender))


@pytest.mark.parametrize("channel", ["http", "handset"])
def test_admission_what_did_not_come_by_air_is_not_counted(
    db: sqlite3.Connection, admission: Admission, channel: str
) -> None:
    found = states(db, admission, [message(LONG, NOW + n, channel=channel) for n in range(30)])
    assert found == ["accepted"] * 30


def test_admission_exempt_sender_gets_a_turn_every_time(db: sqlite3.Connection, admission: Admission) -> None:
    admission.exempt = lambda each: each.sender == "127" and each.channel.startswith("modem")
    assert states(db, admission, [message(LONG, sender="127") for _ in range(8)]) == ["accepted"] * 8
    assert states(db, admission, [message(LONG, sender="128")]) == ["guarded"]
    assert states(db, admission, [message(LONG, sender="127", channel="http")]) == ["guarded"]


def test_admission_timer_is_always_let_through(db: sqlite3.Connection, admission: Admission) -> None:
    assert states(db, admission, [message("", NOW, channel="timer") for _ in range(20)]) == ["accepted"] * 20
