"""The line of time on disk, and what moves when the clock is set.

A deadline is stored as a moment, but what is meant is a length of time from when it was set. When the clock
jumps by a year, nobody has waited a year: so in one transaction with the new line, the moments that are
still to come move by the jump. What is history stays as it was written, and so does what somebody wished
for at an hour of the calendar (`send_at`, a campaign's start, a departure).

A new column with a time is named in MOVES or in STAYS; a test asks for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import orjson

from appliance.clock import BUILT_MS, Line

__all__ = ["MOVES", "STAYS", "keep", "load", "shift"]

# Statements by table: each moves the times of rows that are still open. :by the jump, :old the time before
# it, :since 0 or the moment before which the rows' times are those of an earlier boot, and are let alone.
_WISHED: Final = "state = 'queued' AND attempts = 0 AND next_attempt_ms > :old"  # by `send_at`
_LATER: Final = "CASE WHEN {0} > 0 THEN {0} + :by ELSE {0} END"

MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    # Parts before their messages, whose `deadline_ms` says which are open.
    "outbound_part": (
        "UPDATE outbound_part SET sent_at_ms = sent_at_ms + :by WHERE sent_at_ms >= :since"
        " AND state IN ('sent', 'uncertain')"
        " AND outbound_id IN (SELECT id FROM outbound WHERE deadline_ms IS NOT NULL)",
    ),
    "outbound": (
        "UPDATE outbound SET created_at_ms = created_at_ms + :by, expires_at_ms = expires_at_ms + :by,"
        f" deadline_ms = deadline_ms + :by, next_attempt_ms = {_LATER.format('next_attempt_ms')},"
        " sent_at_ms = sent_at_ms + :by"
        f" WHERE deadline_ms IS NOT NULL AND NOT ({_WISHED})"
        " AND (created_at_ms >= :since OR state IN ('sending', 'uncertain'))",
    ),
    "orphan_report": (
        "UPDATE orphan_report SET received_at_ms = received_at_ms + :by WHERE received_at_ms >= :since",
    ),
    "orphan_provider_report": (
        "UPDATE orphan_provider_report SET received_at_ms = received_at_ms + :by"
        " WHERE received_at_ms >= :since",
    ),
    "inbound_part": (
        "UPDATE inbound_part SET received_at_ms = received_at_ms + :by"
        " WHERE inbound_id IS NULL AND received_at_ms >= :since",
    ),
    "booking": (
        "UPDATE booking SET held_at_ms = held_at_ms + :by, expires_at_ms = expires_at_ms + :by"
        " WHERE state = 'held' AND held_at_ms >= :since",
    ),
    "telebirr_order": (
        "UPDATE telebirr_order SET due_ms = due_ms + :by, watch_until_ms = watch_until_ms + :by,"
        " next_ms = next_ms + :by WHERE next_ms IS NOT NULL AND made_ms >= :since",
    ),
    "refund": (
        "UPDATE refund SET next_ms = next_ms + :by, deadline_ms = deadline_ms + :by"
        " WHERE next_ms IS NOT NULL AND asked_ms >= :since",
    ),
    "agent": ("UPDATE agent SET locked_until_ms = locked_until_ms + :by WHERE locked_until_ms > :old",),
    "asking": ("UPDATE asking SET deadline_ms = deadline_ms + :by WHERE state = 'asking'",),
    "chat_person": (
        "UPDATE chat_person SET waiting_ms = waiting_ms + :by WHERE waiting_ms >= :since",
        "UPDATE chat_person SET banned_ms = banned_ms + :by WHERE banned_ms > :old",
    ),
    "chat_pair": (
        "UPDATE chat_pair SET began_ms = began_ms + :by, last_ms = last_ms + :by"
        " WHERE ended_ms IS NULL AND last_ms >= :since",
    ),
    "webhook_endpoint": (
        f"UPDATE webhook_endpoint SET retry_at_ms = {_LATER.format('retry_at_ms')},"
        " failing_since_ms = failing_since_ms + :by, old_until_ms = old_until_ms + :by",
    ),
    "webhook_event": (
        "UPDATE webhook_event SET at_ms = at_ms + :by WHERE at_ms >= :since"
        " AND id IN (SELECT event_id FROM webhook_delivery WHERE state IN ('waiting', 'pending'))",
    ),
    "webhook_delivery": (
        "UPDATE webhook_delivery SET next_attempt_ms = next_attempt_ms + :by"
        " WHERE state IN ('waiting', 'pending')",
    ),
    "kannel_report": (f"UPDATE kannel_report SET next_attempt_ms = {_LATER.format('next_attempt_ms')}",),
    "campaign": (
        "UPDATE campaign SET next_slice_ms = next_slice_ms + :by WHERE state = 'running'"
        " OR (state = 'scheduled' AND next_slice_ms > start_at_ms AND start_at_ms > created_at_ms)",
        # Nobody wished for a time: it was to start at once.
        "UPDATE campaign SET start_at_ms = start_at_ms + :by, next_slice_ms = next_slice_ms + :by,"
        " created_at_ms = created_at_ms + :by WHERE state = 'scheduled' AND start_at_ms <= created_at_ms",
    ),
    "idempotency": (
        "UPDATE idempotency SET created_at_ms = created_at_ms + :by WHERE created_at_ms >= :since",
    ),
    "text_count": (
        "UPDATE text_count SET minute_ms = minute_ms + :by, hour_ms = hour_ms + :by, day_ms = day_ms + :by,"
        f" told_until_ms = {_LATER.format('told_until_ms')} WHERE day_ms >= :since",
    ),
    "spend": ("UPDATE spend SET at_ms = at_ms + :by WHERE at_ms >= :since",),
    # What was counted in a period that has not begun yet was counted in this one, as far as anybody knows.
    "allowance": ("UPDATE allowance SET start_ms = start_ms + :by WHERE start_ms > :old + :by",),
    "allowance_recipient": (
        "UPDATE OR REPLACE allowance_recipient SET start_ms = start_ms + :by WHERE start_ms > :old + :by",
    ),
}

# Times that stay, by table: history, and wishes for a moment of the calendar.
STAYS: Final[Mapping[str, frozenset[str]]] = {
    "inbound_part": frozenset({"sent_at_ms"}),
    "ledger_transfer": frozenset({"at_ms"}),
    "telebirr_order": frozenset({"made_ms"}),
    "agent": frozenset({"set_ms"}),
    "asking": frozenset({"asked_ms", "settled_ms"}),
    "chat_flag": frozenset({"at_ms"}),
    "chat_digest": frozenset({"sent_ms"}),
    "inbound": frozenset({"sent_at_ms", "received_at_ms", "handled_at_ms"}),
    "undecoded": frozenset({"received_at_ms"}),
    "person": frozenset({"opted_out_ms", "first_seen_ms"}),
    "outbound": frozenset({"final_at_ms"}),
    "outbound_part": frozenset({"final_at_ms"}),
    "trace": frozenset({"at_ms"}),
    "timetable": frozenset({"imported_at_ms"}),
    "departure": frozenset({"departs_at_ms", "moved_ms", "manifest_ms"}),
    "pressure": frozenset({"since_ms"}),
    "booking": frozenset({"paid_at_ms", "used_at_ms", "ended_at_ms", "reminded_ms"}),
    "payment": frozenset({"at_ms"}),
    "webhook_endpoint": frozenset({"created_at_ms"}),
    "webhook_delivery": frozenset({"ended_at_ms"}),
    "chat_pair": frozenset({"ended_ms"}),
    "chat_block": frozenset({"at_ms"}),
    "chat_report": frozenset({"at_ms", "decided_ms"}),
    "question": frozenset({"asked_ms", "answered_ms"}),
    "waiting": frozenset({"at_ms", "told_ms"}),
    "refund": frozenset({"asked_ms", "paid_ms"}),
    "receipt": frozenset({"at_ms"}),
    "client": frozenset({"created_at_ms"}),
    "api_key": frozenset({"created_at_ms", "expires_at_ms", "revoked_at_ms"}),  # its end is a date
    "credit": frozenset({"at_ms"}),
    "client_usage": frozenset({"quarter_ms"}),  # a trigger moves the counts of what is open
    "client_latency": frozenset({"slot_ms", "took_ms"}),
    "price": frozenset({"from_ms"}),
    "template": frozenset({"updated_at_ms"}),
    "audit": frozenset({"at_ms"}),
    "kannel_report": frozenset({"created_at_ms"}),
    "inbound_rule": frozenset({"created_at_ms"}),
    "contact": frozenset({"consent_at_ms", "created_at_ms", "updated_at_ms"}),
    "contact_group": frozenset({"created_at_ms"}),
    "campaign": frozenset({"start_at_ms", "created_at_ms", "ended_at_ms"}),
    "sim_balance": frozenset({"bundle_end_ms", "said_at_ms"}),
}
_A_TIME: Final = range(BUILT_MS, BUILT_MS + 50 * 365 * 86_400_000)  # what such a number means in a session


def load(db: sqlite3.Connection) -> Line | None:
    """The line of time as it was stored last."""
    row = db.execute("SELECT boot, base_ms, system_ms, network, known, since_ms FROM timeline").fetchone()
    return None if row is None else Line(row[0], row[1], row[2], bool(row[3]), bool(row[4]), row[5])


def keep(db: sqlite3.Connection, line: Line) -> None:
    """Store the line."""
    db.execute(
        "INSERT OR REPLACE INTO timeline (id, boot, base_ms, system_ms, network, known, since_ms)"
        " VALUES (1, ?, ?, ?, ?, ?, ?)",
        line,
    )


def shift(db: sqlite3.Connection, line: Line, by_ms: int, old_ms: int, since_ms: int) -> int:
    """Store the line as it is after a jump of `by_ms` and move what is still to come; returns the rows moved.

    old_ms: the time before the jump. since_ms: 0, or the moment before which times belong to an earlier boot.
    """
    keep(db, line)
    values = {"by": by_ms, "old": old_ms, "since": since_ms}
    moved = sum(db.execute(each, values).rowcount for some in MOVES.values() for each in some)
    return moved + _shift_sessions(db, by_ms, since_ms)


def _shift_sessions(db: sqlite3.Connection, by_ms: int, since_ms: int) -> int:
    """The columns, and every time in the body: ends, alarms, and what apps keep (a hold's end)."""
    rows = db.execute(
        "SELECT sender, body, expires_at_ms, wake_at_ms FROM session WHERE updated_at_ms >= ?", (since_ms,)
    )
    moved = []
    for sender, body, expires_at_ms, wake_at_ms in rows:
        try:
            body = orjson.dumps(_moved(orjson.loads(body), by_ms))
        except orjson.JSONDecodeError:
            continue  # a body that cannot be read counts as none anyway
        wake_at_ms = None if wake_at_ms is None else wake_at_ms + by_ms
        moved.append((body, expires_at_ms + by_ms, wake_at_ms, sender))
    db.executemany(
        "UPDATE session SET body = ?, expires_at_ms = ?, wake_at_ms = ?, updated_at_ms = updated_at_ms"
        f" + {by_ms:d} WHERE sender = ?",
        moved,
    )
    return len(moved)


def _moved(value: Any, by_ms: int) -> Any:
    if isinstance(value, dict):
        return {key: _moved(each, by_ms) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, by_ms) for each in value]
    if isinstance(value, int) and value in _A_TIME:
        return value + by_ms
    return value
