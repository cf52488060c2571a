"""No state waits for ever unseen: each open one, its owner dead, is swept to an end by a stepped clock."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import BUILT_MS
from appliance.message import OUTBOUND_MOVES, Inbound, Lane, Outbound, OutboundState
from appliance.store import campaigns, inbound, outbound, parts, sessions, webhooks
from appliance.store.database import known_migrations
from appliance.store.inbound import INBOUND_MOVES
from appliance.store.parts import Part
from appliance.store.sessions import SessionRow
from appliance.store.states import FINAL, OPEN, as_markdown
from appliance.store.webhooks import Attempt

NOW = BUILT_MS + 300 * 86_400_000
HOUR = 3_600_000
WEEK = 7 * 24 * HOUR
DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for migration in known_migrations():
        connection.executescript(migration.sql)
    yield connection
    connection.close()


def state_of(db: sqlite3.Connection, table: str, row_id: int = 1) -> str:
    return str(db.execute(f"SELECT state FROM {table} WHERE id = ?", (row_id,)).fetchone()[0])


def step_until(ended: Callable[[], bool], sweep: Callable[[int], Any], *, limit_ms: int) -> int:
    """Step the clock, each step longer than the last, and sweep; returns the time at which it had ended."""
    at, step = NOW, 1_000
    while not ended():
        assert at - NOW <= limit_ms, "nobody ever looked"
        sweep(at)
        at += step
        step = min(2 * step, HOUR)
    return at


def test_every_state_of_the_schema_is_open_or_final(db: sqlite3.Connection) -> None:
    for table in {*OPEN, *FINAL} - {"turn", "inbound_part", "kannel_report"}:
        (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        found = re.search(r"state\s+TEXT NOT NULL[^,]*?CHECK \(state IN \(([^)]*)\)\)", sql, re.DOTALL)
        assert found is not None, table
        states = set(re.findall(r"'(\w+)'", found[1]))
        assert states == {*OPEN[table], *FINAL.get(table, ())}, table
        assert not {*OPEN[table]} & FINAL.get(table, frozenset()), table


def test_tables_of_moves_agree_with_who_owes_what() -> None:
    assert {str(state) for state in OUTBOUND_MOVES} == {*OPEN["outbound"], *FINAL["outbound"]}
    assert {str(state) for state in INBOUND_MOVES} == {*OPEN["inbound"], *FINAL["inbound"]}


def test_docs_have_the_table() -> None:
    assert as_markdown() in (DOCS / "states.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize("state", sorted(OPEN["outbound"]))
def test_outbound_message_whose_owner_died_comes_to_an_end(
    db: sqlite3.Connection, lane: Lane, state: str
) -> None:
    row = outbound.insert(db, Outbound(recipient="+1", text="x", lane=lane), NOW)
    if state != "queued":
        assert outbound.claim(db, row, channel="m", now_ms=NOW, modem="m") is not None
    if state == "uncertain":
        outbound.settle_whole(db, row, OutboundState.UNCERTAIN, NOW, "lost")
    elif state == "sent":
        outbound.settle_part(
            db, outbound.PartResult(outbound_id=row, sequence=1, attempt=1, outcome="sent", tp_mr=1), NOW
        )
    assert state_of(db, "outbound") == state
    step_until(
        lambda: state_of(db, "outbound") in FINAL["outbound"],
        lambda at: outbound.sweep(db, at),
        limit_ms=WEEK,
    )
    open_parts = "SELECT count(*) FROM outbound_part WHERE state = 'sending'"
    assert db.execute(open_parts).fetchone() == (0,)
    reason = db.execute("SELECT reason FROM outbound").fetchone()[0]
    assert len(reason) > 10, "a human reason"


def test_message_in_the_air_at_a_crash_is_doubted_at_the_start_and_not_after_its_lease(
    db: sqlite3.Connection,
) -> None:
    row = outbound.insert(db, Outbound(recipient="+1", text="x"), NOW)
    outbound.claim(db, row, channel="m", now_ms=NOW, modem="m")
    outbound.recover(db, NOW + 1)
    assert state_of(db, "outbound") == "uncertain"


def test_accepted_message_is_found_by_who_looks(db: sqlite3.Connection) -> None:
    message = Inbound(channel="http", sender="+1", recipient="", text="x", received_at_ms=NOW)
    inbound.accept(db, message)
    assert [each.id for each in inbound.waiting_after(db, 0, 10)] == [1]


def test_part_whose_others_never_come_is_handed_over(db: sqlite3.Connection) -> None:
    part = Part(
        channel="m", sender="+1", recipient="", reference=1, reference_bits=8, total=2, sequence=1,
        encoding="gsm7", data=b"hello", received_at_ms=NOW,
    )  # fmt: skip
    parts.accept_part(db, part)
    handed: list[Any] = []
    at = step_until(
        lambda: bool(handed), lambda at: handed.extend(parts.hand_over_overdue(db, at)), limit_ms=HOUR
    )
    assert handed[0].inbound.partial and at - NOW >= parts.PARTS_WAIT_MS


def test_alarm_of_a_session_becomes_a_message(db: sqlite3.Connection) -> None:
    sessions.save(db, "+1", SessionRow("a", "s", b"{}", NOW + HOUR, NOW + 5_000), NOW)
    woken: list[Any] = []
    step_until(lambda: bool(woken), lambda at: woken.extend(sessions.wake_due(db, at)), limit_ms=HOUR)


@pytest.mark.parametrize("endpoint", ["active", "paused", "gone"])
def test_webhook_delivery_that_nobody_takes_is_dead_within_its_week(
    db: sqlite3.Connection, endpoint: str
) -> None:
    db.execute(
        "INSERT INTO webhook_endpoint (client_id, url, secret, created_at_ms) VALUES (1,'u','whsec_AA',0)"
    )
    for _ in range(3):  # one is pending, the others wait for it
        webhooks.emit(db, 1, "message.sent", {}, "+1", NOW)
    assert {state for (state,) in db.execute("SELECT state FROM webhook_delivery")} == {"pending", "waiting"}
    db.execute("UPDATE webhook_endpoint SET state = ?", (endpoint,))

    def sweep(at: int) -> None:
        for each in webhooks.due_endpoints(db, at):
            for due in webhooks.due_deliveries(db, each, at, 4):
                webhooks.settle(db, Attempt(due.delivery_id, 500, "HTTP 500", None, 0.0), at)
        webhooks.give_up_stale(db, webhooks.stale(db, at, 100), at)

    def ended() -> bool:
        return db.execute(
            "SELECT count(*) FROM webhook_delivery WHERE state IN ('waiting', 'pending')"
        ).fetchone() == (0,)

    step_until(ended, sweep, limit_ms=WEEK + 2 * HOUR)
    reasons = {reason for (reason,) in db.execute("SELECT reason FROM webhook_delivery")}
    assert reasons <= {"HTTP 500", "not told within 7 days"} and reasons


def test_stale_delivery_lets_the_younger_one_behind_it_be_told(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO webhook_endpoint (client_id, url, secret, created_at_ms) VALUES (1,'u','whsec_AA',0)"
    )
    webhooks.emit(db, 1, "message.sent", {}, "+1", NOW)
    webhooks.emit(db, 1, "message.delivered", {}, "+1", NOW + WEEK)
    at = NOW + WEEK + 1
    assert webhooks.give_up_stale(db, webhooks.stale(db, at, 100), at) == 1
    assert [state_of(db, "webhook_delivery", row) for row in (1, 2)] == ["dead", "pending"]


@pytest.mark.parametrize("state", ["scheduled", "running"])
def test_campaign_is_due_again_whoever_left_it(db: sqlite3.Connection, state: str) -> None:
    db.execute("INSERT INTO client (id, name, created_at_ms) VALUES (1, 'c', 1)")
    db.execute("INSERT INTO contact_group (id, client_id, name, created_at_ms) VALUES (1, 1, 'g', 1)")
    db.execute(
        "INSERT INTO campaign (id, client_id, name, group_id, group_name, body, per_minute, start_at_ms,"
        " state, next_slice_ms, made_by, created_at_ms)"
        " VALUES (1, 1, 'n', 1, 'g', '{}', 60, ?, ?, ?, 'k', ?)",
        (NOW + 5_000, state, NOW + 5_000, NOW),
    )
    due: list[Any] = []
    step_until(lambda: bool(due), lambda at: due.extend(campaigns.due_campaigns(db, at, 8)), limit_ms=HOUR)
    done = campaigns.commit_slice(db, campaigns.Slice(1, 0, [], True, 1.0), NOW + 10_000)
    assert done.state == "done"
