"""How an outbound row changes state: the one place where it moves, is traced and its client is told.

For the ops in `outbound`, `status_reports` and `provider`, inside their transactions.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from appliance.message import OUTBOUND_MOVES, Lane, OutboundState
from appliance.store import webhooks

__all__ = ["DOUBT_GRACE_MS", "REPORT_WAIT_MS", "Change", "doubt", "move", "requeue", "sent_if_whole", "trace"]

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE

# A doubtful message waits this long for a status report that would settle it; then
# its lane decides (`outbound.REPEATED_LANES`).
DOUBT_GRACE_MS: Final[dict[str, int]] = {
    Lane.OTP: 20_000,
    Lane.REPLY: 2 * _MINUTE,
    Lane.NORMAL: 30 * _MINUTE,
    Lane.BULK: 30 * _MINUTE,
}
REPORT_WAIT_MS: Final = 72 * _HOUR  # beyond the usual TP-VP of an SMSC
_SENT: Final = "('sent', 'delivered')"


class Change(NamedTuple):
    """A message moved to `state`; what the page, the webhooks and the waiting tasks are told."""

    outbound_id: int
    state: str
    reason: str


def move(
    db: sqlite3.Connection,
    outbound_id: int,
    state: OutboundState,
    now_ms: int,
    reason: str,
    *,
    actor: str = "us",
) -> list[Change]:
    """The one place where an outbound row changes to a later state; backward moves change nothing."""
    row = db.execute("SELECT state, want_report FROM outbound WHERE id = ?", (outbound_id,)).fetchone()
    if row is None or state not in OUTBOUND_MOVES[OutboundState(row[0])]:
        return []
    deadline: int | None = None
    final: int | None = now_ms
    if state is OutboundState.SENT and row[1]:
        deadline, final = now_ms + REPORT_WAIT_MS, None
    db.execute(
        "UPDATE outbound SET state = ?, reason = ?, deadline_ms = ?, final_at_ms = ?,"
        " sent_at_ms = CASE WHEN ? = 'sent' THEN ? ELSE sent_at_ms END WHERE id = ?",
        (state, reason, deadline, final, state, now_ms, outbound_id),
    )
    trace(db, outbound_id, now_ms, state, actor, reason)
    _tell_client(db, outbound_id, now_ms, actor)
    return [Change(outbound_id, state, reason)]


def requeue(
    db: sqlite3.Connection, outbound_id: int, now_ms: int, next_attempt_ms: int, reason: str
) -> list[Change]:
    updated = db.execute(
        "UPDATE outbound SET state = 'queued', reason = ?, next_attempt_ms = ?, deadline_ms = expires_at_ms"
        " WHERE id = ? AND state IN ('sending', 'uncertain', 'unknown')",
        (reason, next_attempt_ms, outbound_id),
    )
    if updated.rowcount == 0:
        return []
    trace(db, outbound_id, now_ms, OutboundState.QUEUED, "us", reason)
    return [Change(outbound_id, OutboundState.QUEUED, reason)]


def doubt(db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str, actor: str) -> list[Change]:
    row = db.execute("SELECT lane, state FROM outbound WHERE id = ?", (outbound_id,)).fetchone()
    if row is None or OutboundState.UNCERTAIN not in OUTBOUND_MOVES[OutboundState(row[1])]:
        return []
    db.execute(
        "UPDATE outbound SET state = 'uncertain', reason = ?, doubted = doubted + 1, deadline_ms = ?"
        " WHERE id = ?",
        (reason, now_ms + DOUBT_GRACE_MS[row[0]], outbound_id),
    )
    trace(db, outbound_id, now_ms, OutboundState.UNCERTAIN, actor, reason)
    _tell_client(db, outbound_id, now_ms, actor)
    return [Change(outbound_id, OutboundState.UNCERTAIN, reason)]


def _tell_client(db: sqlite3.Connection, outbound_id: int, now_ms: int, actor: str) -> None:
    """Write the event of a client's message into the webhook outbox, in this transaction."""
    row = db.execute(
        "SELECT o.client_id, o.recipient, o.state, o.reason, o.lane, coalesce(m.segments, o.segments),"
        " o.attempts, o.doubted, coalesce(m.reference, ''), coalesce(m.units, 0)"
        " FROM outbound o LEFT JOIN client_message m ON m.outbound_id = o.id WHERE o.id = ?",
        (outbound_id,),
    ).fetchone()
    client_id, recipient, state, reason, lane, segments, attempts, doubted, reference, units = row
    if not client_id:
        return
    data = {
        "id": f"out_{outbound_id}",
        "reference": reference,
        "to": recipient,
        "status": state,
        "reason": reason,
        "said_by": actor,
        "lane": lane,
        "segments": segments,
        "units": units,
        "attempts": attempts,
        "may_be_double": bool(doubted),
    }
    webhooks.emit(db, client_id, f"message.{state}", data, recipient, now_ms)


def sent_if_whole(db: sqlite3.Connection, outbound_id: int, now_ms: int, actor: str) -> list[Change]:
    segments, sent = db.execute(
        "SELECT segments, (SELECT count(DISTINCT sequence) FROM outbound_part"
        f" WHERE outbound_id = o.id AND state IN {_SENT}) FROM outbound o WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if segments == 0 or sent < segments:
        return []
    return move(db, outbound_id, OutboundState.SENT, now_ms, "", actor=actor)


def trace(db: sqlite3.Connection, outbound_id: int, at_ms: int, state: str, actor: str, reason: str) -> None:
    db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason) VALUES ('out', ?, ?, ?, ?, ?)",
        (outbound_id, at_ms, state, actor, reason),
    )
