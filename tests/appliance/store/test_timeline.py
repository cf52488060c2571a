"""Which stored times move when the clock is set, and that none was forgotten."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from appliance.clock import BUILT_MS, Line
from appliance.store import timeline
from appliance.store.database import known_migrations
from appliance.store.timeline import MOVES, STAYS

NOW = BUILT_MS + 300 * 86_400_000
BY = 40 * 86_400_000
LINE = Line("boot", NOW, NOW, False, True, NOW - 1_000_000)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for migration in known_migrations():
        connection.executescript(migration.sql)
    yield connection
    connection.close()


def put(db: sqlite3.Connection, table: str, **values: Any) -> None:
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute(
        f"INSERT INTO {table} ({','.join(values)}) VALUES ({','.join('?' * len(values))})",
        tuple(values.values()),
    )


def shift(db: sqlite3.Connection, by_ms: int = BY, since_ms: int = 0) -> int:
    return timeline.shift(db, LINE, by_ms, NOW, since_ms)


def outbound(db: sqlite3.Connection, row_id: int, **values: Any) -> None:
    usual: dict[str, Any] = {"recipient": "+1", "text": "x", "lane": "reply", "created_at_ms": NOW - 1_000}
    usual |= {"expires_at_ms": NOW + 9_000, "deadline_ms": NOW + 9_000}
    put(db, "outbound", **usual | {"id": row_id} | values)


def times(db: sqlite3.Connection, row_id: int) -> tuple[Any, ...]:
    row = db.execute(
        "SELECT created_at_ms, next_attempt_ms, expires_at_ms, deadline_ms FROM outbound WHERE id = ?",
        (row_id,),
    ).fetchone()
    return tuple(row)


def test_every_column_with_a_time_moves_or_stays(db: sqlite3.Connection) -> None:
    """A new table's deadline must not wait forty days more, or end at once, because nobody thought of it."""
    forgotten = []
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table in ("session", "timeline"):
            continue
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            if not column.endswith("_ms") or column in STAYS.get(table, ()):
                continue
            moved = re.compile(rf"\b{column} = ")
            if not any(moved.search(each.partition(" WHERE ")[0]) for each in MOVES.get(table, ())):
                forgotten.append(f"{table}.{column}")
    assert forgotten == []


def test_named_columns_exist(db: sqlite3.Connection) -> None:
    for table, columns in STAYS.items():
        assert columns <= {row[1] for row in db.execute(f"PRAGMA table_info({table})")}, table


def test_queued_message_keeps_its_age_and_what_is_left_of_its_validity(db: sqlite3.Connection) -> None:
    outbound(db, 1, next_attempt_ms=NOW + 500, attempts=1)
    shift(db)
    assert times(db, 1) == (NOW - 1_000 + BY, NOW + 500 + BY, NOW + 9_000 + BY, NOW + 9_000 + BY)


def test_message_of_no_particular_time_stays_at_the_head_of_its_queue(db: sqlite3.Connection) -> None:
    outbound(db, 1)
    shift(db)
    assert times(db, 1)[1] == 0


def test_message_wished_for_at_an_hour_of_the_calendar_stays_there(db: sqlite3.Connection) -> None:
    outbound(db, 1, next_attempt_ms=NOW + 5_000)
    before = times(db, 1)
    shift(db)
    assert times(db, 1) == before


def test_message_that_has_ended_is_history(db: sqlite3.Connection) -> None:
    outbound(db, 1, state="failed", deadline_ms=None)
    before = times(db, 1)
    shift(db)
    assert times(db, 1) == before


def test_report_still_finds_its_part(db: sqlite3.Connection) -> None:
    outbound(db, 1, state="sent", sent_at_ms=NOW - 10)
    part = {"outbound_id": 1, "sequence": 1, "attempt": 1, "turn": 1, "modem": "m", "recipient": "+1"}
    put(db, "outbound_part", **part, state="sent", tp_mr=7, sent_at_ms=NOW - 10)
    shift(db)
    assert db.execute("SELECT sent_at_ms FROM outbound_part").fetchone() == (NOW - 10 + BY,)


def test_session_and_hold_end_together(db: sqlite3.Connection) -> None:
    body = {"expires_at_ms": NOW + 10, "wakes": {"booking": NOW + 7}, "wake_at_ms": None, "app": "booking"}
    body["data"] = {"holds": [["AB12", NOW + 7]], "seats": 3, "number": "+251911000001"}
    put(
        db, "session", sender="+1", app="booking", state="s", body=orjson.dumps(body),
        expires_at_ms=NOW + 10, wake_at_ms=NOW + 7, updated_at_ms=NOW - 5,
    )  # fmt: skip
    put(
        db, "booking", code="AB12", departure_id=1, holder="+1", language="en", seats=1, numbers="1",
        price_santim=5, state="held", held_at_ms=NOW - 5, expires_at_ms=NOW + 7,
    )  # fmt: skip
    shift(db)
    row = db.execute("SELECT body, expires_at_ms, wake_at_ms, updated_at_ms FROM session").fetchone()
    assert row[1:] == (NOW + 10 + BY, NOW + 7 + BY, NOW - 5 + BY)
    moved = orjson.loads(row[0])
    assert moved["data"] == {"holds": [["AB12", NOW + 7 + BY]], "seats": 3, "number": "+251911000001"}
    assert moved["expires_at_ms"] == NOW + 10 + BY and moved["wakes"] == {"booking": NOW + 7 + BY}
    assert db.execute("SELECT held_at_ms, expires_at_ms FROM booking").fetchone() == (
        NOW - 5 + BY,
        NOW + 7 + BY,
    )


def test_session_that_cannot_be_read_stops_nothing(db: sqlite3.Connection) -> None:
    usual = {"app": "a", "state": "s", "expires_at_ms": NOW + 1, "updated_at_ms": NOW}
    put(db, "session", sender="+1", body=b"{", **usual)
    put(db, "session", sender="+2", body=b"{}", **usual)
    shift(db)
    rows = db.execute("SELECT expires_at_ms FROM session ORDER BY sender").fetchall()
    assert rows == [(NOW + 1,), (NOW + 1 + BY,)]


def test_rows_of_an_earlier_boot_keep_their_times(db: sqlite3.Connection) -> None:
    outbound(db, 1, created_at_ms=NOW - 50_000)
    outbound(db, 2, created_at_ms=NOW - 1_000)
    outbound(db, 3, created_at_ms=NOW - 50_000, state="sending")  # its lease is of now
    shift(db, since_ms=NOW - 10_000)
    assert [times(db, row)[3] - NOW - 9_000 for row in (1, 2, 3)] == [0, BY, BY]


def test_allowance_counted_in_a_time_to_come_is_not_spent_until_then(db: sqlite3.Connection) -> None:
    put(db, "allowance", channel="m", period="day", start_ms=NOW - 3_600_000, segments=9)
    shift(db, by_ms=-BY)
    assert db.execute("SELECT start_ms FROM allowance").fetchone() == (NOW - 3_600_000 - BY,)


@pytest.mark.parametrize(
    ("state", "start_ms", "slice_ms", "moved"),
    [
        ("scheduled", NOW, NOW, (BY, BY)),  # seed 50034: "at once" must not become "in twenty minutes"
        ("scheduled", NOW, NOW + 30_000, (BY, BY)),
        ("scheduled", NOW + 9_000, NOW + 9_000, (0, 0)),
        ("scheduled", NOW + 9_000, NOW + 39_000, (0, BY)),
        ("running", NOW + 9_000, NOW + 9_000, (0, BY)),
        ("done", NOW, NOW, (0, 0)),
    ],
)
def test_campaign_keeps_a_start_that_was_wished_for_and_no_other(
    db: sqlite3.Connection, state: str, start_ms: int, slice_ms: int, moved: tuple[int, int]
) -> None:
    put(
        db, "campaign", client_id=1, name="n", group_name="g", body="{}", per_minute=60, state=state,
        start_at_ms=start_ms, next_slice_ms=slice_ms, made_by="k", created_at_ms=NOW,
    )  # fmt: skip
    shift(db)
    row = db.execute("SELECT start_at_ms, next_slice_ms FROM campaign").fetchone()
    assert row == (start_ms + moved[0], slice_ms + moved[1])


def test_line_is_stored_with_the_move(db: sqlite3.Connection) -> None:
    shift(db)
    assert timeline.load(db) == LINE
    timeline.keep(db, LINE._replace(known=False))
    assert timeline.load(db) == LINE._replace(known=False)
