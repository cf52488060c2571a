"""What the page and the trace read, on a database with the real schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from appliance.store import views
from appliance.store.database import known_migrations

T0 = 1_795_000_020_000
PERSON = "+251911234567"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    for migration in known_migrations():
        db.executescript(migration.sql)
    yield db
    db.close()


def came_in(db: sqlite3.Connection, at_ms: int, *, sender: str = PERSON, channel: str = "http") -> int:
    row = db.execute(
        "INSERT INTO inbound (channel, sender, text, received_at_ms, state, handled_at_ms)"
        " VALUES (?, ?, 'HELP', ?, 'handled', ?) RETURNING id",
        (channel, sender, at_ms, at_ms + 40),
    ).fetchone()
    return int(row[0])


def went_out(
    db: sqlite3.Connection,
    at_ms: int,
    *,
    state: str = "queued",
    to: str = PERSON,
    reply_to: int | None = None,
    sent: int | None = None,
) -> int:
    row = db.execute(
        "INSERT INTO outbound (recipient, text, lane, state, created_at_ms, in_reply_to, sent_at_ms)"
        " VALUES (?, 'We help', 'reply', ?, ?, ?, ?) RETURNING id",
        (to, state, at_ms, reply_to, sent),
    ).fetchone()
    return int(row[0])


def test_recent_messages_are_newest_first_and_a_reply_stands_above_its_question(
    db: sqlite3.Connection,
) -> None:
    first = came_in(db, T0)
    reply = went_out(db, T0, reply_to=first)
    came_in(db, T0 - 5, channel="timer")
    later = came_in(db, T0 + 9, sender="127")
    found = [(row.kind, row.id) for row in views.recent_messages(db, 10)]
    assert found == [("in", later), ("out", reply), ("in", first)]
    assert len(views.recent_messages(db, 2)) == 2


def test_messages_with_one_person_leave_out_everybody_else(db: sqlite3.Connection) -> None:
    came_in(db, T0)
    came_in(db, T0, sender="+251922000000")
    went_out(db, T0 + 1, to="+251922000000")
    assert {row.number for row in views.messages_with(db, PERSON, 10)} == {PERSON}


def test_life_is_found_from_either_side(db: sqlite3.Connection) -> None:
    question = came_in(db, T0)
    answers = [went_out(db, T0 + 40, reply_to=question), went_out(db, T0 + 40, reply_to=question)]
    for kind, number in (("in", question), ("out", answers[1])):
        life = views.life_of(db, kind, number)
        assert life is not None and life.inbound is not None
        assert life.inbound.row.id == question
        assert [one.row.id for one in life.outbound] == answers
    assert views.life_of(db, "in", 99) is views.life_of(db, "out", 99) is None


def test_life_of_a_message_that_answers_nothing_has_no_inbound(db: sqlite3.Connection) -> None:
    life = views.life_of(db, "out", went_out(db, T0))
    assert life is not None and life.inbound is None
    assert life.outbound[0].next_attempt_ms == 0


def test_life_steps_are_the_trace_with_its_ends_from_the_columns(db: sqlite3.Connection) -> None:
    number = went_out(db, T0, state="sent", sent=T0 + 3000)
    db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason)"
        " VALUES ('out', ?, ?, 'sending', 'us', 'attempt 1')",
        (number, T0 + 20),
    )
    life = views.life_of(db, "out", number)
    assert life is not None
    steps = [(step.at_ms - T0, step.state) for step in life.outbound[0].steps]
    assert steps == [(0, "queued"), (20, "sending"), (3000, "sent")]


def test_sessions_count_only_those_that_have_not_ended(db: sqlite3.Connection) -> None:
    for number, (state, ends) in enumerate((("A", T0 + 1), ("A", T0 + 1), ("B", T0 + 1), ("A", T0))):
        db.execute(
            "INSERT INTO session (sender, app, state, body, expires_at_ms, updated_at_ms)"
            " VALUES (?, 'booking', ?, x'7b7d', ?, 0)",
            (f"+25191100000{number}", state, ends),
        )
    found = [(row.app, row.state, row.count) for row in views.sessions_by_state(db, T0)]
    assert found == [("booking", "A", 2), ("booking", "B", 1)]


def test_traffic_counts_each_minute_within_the_limits(db: sqlite3.Connection) -> None:
    for at_ms in (T0 - 1, T0, T0 + 59_999, T0 + 60_000):
        came_in(db, at_ms)
    came_in(db, T0, channel="timer")
    went_out(db, T0, state="sent", sent=T0 + 61_000)
    went_out(db, T0)
    assert views.traffic_by_minute(db, T0, T0 + 120_000) == [(T0, 2, 0), (T0 + 60_000, 1, 1)]
