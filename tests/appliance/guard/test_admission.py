"""Loops and floods: who gets a turn, counted from the rows themselves (DOMAIN.md section 3)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.guard.admission import Admission
from appliance.guard.tiers import DAY_MS, HOUR_MS, MINUTE_MS, GuardSettings
from appliance.message import Inbound, Outbound
from appliance.store import guards, inbound, outbound, spend
from appliance.store.database import connect_writer, prepare

ALEM = "+251911000001"
NOW = 1_790_000_000_000
SETTINGS = GuardSettings(normal=(5, 9, 12), frequent=(7, 20, 40), agent=(9, 90, 900), all_a_minute=30)
LONG = "I am driving and will answer later"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(prepare(tmp_path / "x.db").path)) as db:
        yield db


@pytest.fixture
def admission() -> Admission:
    return Admission({"+251911999999"}, SETTINGS)


def message(text: str, at_ms: int = NOW, sender: str = ALEM, channel: str = "modem:one") -> Inbound:
    return Inbound(channel=channel, sender=sender, recipient="", text=text, received_at_ms=at_ms)


def told(language: str, until_ms: int) -> str:
    return f"too many until {until_ms}"


def states(db: sqlite3.Connection, admission: Admission, messages: list[Inbound]) -> list[str]:
    return [str(inbound.accept(db, each, guards.telling(admission, lambda: told)).state) for each in messages]


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


@pytest.mark.parametrize("jump_ms", [-365 * DAY_MS, -30 * HOUR_MS, 40 * DAY_MS, 3650 * DAY_MS])
def test_admission_clock_that_jumps_locks_nobody_out_and_frees_nobody(
    db: sqlite3.Connection, admission: Admission, jump_ms: int
) -> None:
    states(db, admission, [message(f"t{n}", NOW + n) for n in range(8)])
    after = NOW + jump_ms
    found = states(db, admission, [message(f"u{n}", after + n) for n in range(8)])
    assert found == ["accepted"] * 5 + ["guarded"] * 3
    assert states(db, admission, [message("later", after + 2 * MINUTE_MS)]) == ["accepted"]


def test_admission_over_the_limit_is_told_once_until_it_ends(
    db: sqlite3.Connection, admission: Admission
) -> None:
    states(db, admission, [message(f"t{n}", NOW + n * 1_000) for n in range(15)])
    said = "SELECT text, in_reply_to, lane, recipient FROM outbound"
    until = f"too many until {NOW + MINUTE_MS}"
    assert db.execute(said).fetchall() == [(until, 6, "reply", ALEM)]
    states(db, admission, [message(f"u{n}", NOW + MINUTE_MS + n) for n in range(9)])
    reasons = db.execute("SELECT reason, count(*) FROM inbound WHERE state = 'guarded' GROUP BY 1 ORDER BY 1")
    assert reasons.fetchall() == [("more than 5 texts in a minute", 10), ("more than 9 texts in an hour", 5)]
    assert [text for text, *_ in db.execute(said)] == [until, f"too many until {NOW + HOUR_MS}"]


def test_admission_who_goes_on_texting_is_answered_when_the_minute_is_over(
    db: sqlite3.Connection, admission: Admission
) -> None:
    found = states(db, admission, [message(f"t{n}", NOW + n * 5_000) for n in range(13)])
    assert found == ["accepted"] * 5 + ["guarded"] * 7 + ["accepted"]


def test_admission_stop_is_obeyed_whatever_the_limits_say(
    db: sqlite3.Connection, admission: Admission
) -> None:
    admission.stops = lambda text: text == "STOP"
    admission.braked = lambda db, sender, now_ms: "spend brake"
    states(db, admission, [message(f"t{n}", NOW + n) for n in range(40)])
    assert states(db, admission, [message("STOP", NOW + 50), message("more", NOW + 51)]) == [
        "accepted",
        "guarded",
    ]


def test_admission_person_with_paid_bookings_is_frequent_by_itself(
    db: sqlite3.Connection, admission: Admission
) -> None:
    db.execute("PRAGMA foreign_keys = OFF")
    for number in range(SETTINGS.frequent_after):
        assert admission.tier(db, ALEM) == "normal"
        db.execute(
            "INSERT INTO booking (code, departure_id, holder, language, seats, numbers, price_santim, state,"
            " held_at_ms, expires_at_ms) VALUES (?, 1, ?, 'en', 1, '1', 100, ?, 0, 0)",
            (f"C{number}", ALEM, "used" if number % 2 else "paid"),
        )
    assert admission.tier(db, ALEM) == "frequent"
    found = states(db, admission, [message(f"t{n}", NOW + n) for n in range(9)])
    assert found == ["accepted"] * 7 + ["guarded"] * 2


def test_admission_approved_agent_may_text_more_and_it_is_written_down(
    db: sqlite3.Connection, admission: Admission
) -> None:
    guards.set_tier(db, ALEM, "agent", NOW, "test")
    found = states(db, admission, [message(f"t{n}", NOW + n) for n in range(11)])
    assert found == ["accepted"] * 9 + ["guarded"] * 2
    assert db.execute("SELECT actor, action, what FROM audit").fetchall() == [
        ("test", "person.tier", f"{ALEM}: agent")
    ]
    guards.set_tier(db, ALEM, "", NOW, "test")
    assert guards.tier_of(db, admission, ALEM) == "normal"
    with pytest.raises(ValueError, match="tier: 'king'"):
        guards.set_tier(db, ALEM, "king", NOW, "test")


def test_admission_all_people_together_have_a_limit(db: sqlite3.Connection, admission: Admission) -> None:
    crowd = [message("hello", NOW + n, sender=f"+2519110001{n:02}") for n in range(32)]
    assert states(db, admission, crowd) == ["accepted"] * 30 + ["guarded"] * 2
    assert db.execute("SELECT count(*) FROM outbound").fetchone() == (0,)  # telling a crowd would cost more
    assert states(db, admission, [message("hello", NOW + 2 * MINUTE_MS)]) == ["accepted"]


def test_admission_second_delivery_of_a_text_is_not_counted(
    db: sqlite3.Connection, admission: Admission
) -> None:
    one = Inbound(
        channel="modem:one", sender=ALEM, recipient="", text="hi", received_at_ms=NOW, natural_key="k"
    )
    states(db, admission, [one] * 30)
    assert db.execute("SELECT minute FROM text_count WHERE who = ?", (ALEM,)).fetchone() == (1,)


def test_forget_old_keeps_what_still_counts(db: sqlite3.Connection, admission: Admission) -> None:
    states(db, admission, [message("old", NOW - 2 * DAY_MS), message("new", NOW, sender="+251911000002")])
    spend.count(db, ALEM, "reply", 0, 3, NOW - 2 * DAY_MS)
    guards.forget_old(db, NOW)
    assert db.execute("SELECT who FROM text_count ORDER BY who").fetchall() == [("",), ("+251911000002",)]
    assert db.execute("SELECT count(*) FROM spend").fetchone() == (0,)


def test_admission_counts_survive_a_restart(db: sqlite3.Connection, admission: Admission) -> None:
    states(db, admission, [message(f"t{n}", NOW + n) for n in range(5)])
    again = Admission(set(), SETTINGS)
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
