"""What goes out, on disk: one op for each thing that can happen to an outbound message.

Ops run in the writer thread inside a group commit (see `writer.py`). Each returns the changes it made as
`Change` tuples, for the page and the webhooks. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from appliance.message import OUTBOUND_MOVES, Lane, Outbound, OutboundState
from appliance.store import webhooks
from appliance.store.bulk import BulkInsert

__all__ = [
    "Change",
    "Claim",
    "PartResult",
    "QueueKey",
    "QueuedRow",
    "active_keys",
    "cancel",
    "claim",
    "insert",
    "insert_many",
    "load_queue",
    "move",
    "recover",
    "refused_by",
    "release",
    "report",
    "retry",
    "settle_part",
    "settle_refusal",
    "settle_whole",
    "sweep",
    "trace",
]

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE

# How long a message of each lane is worth sending, where its maker did not say.
VALIDITY_MS: Final[dict[str, int]] = {
    Lane.OTP: 10 * _MINUTE,
    Lane.REPLY: 12 * _HOUR,
    Lane.NORMAL: 48 * _HOUR,
    Lane.BULK: 48 * _HOUR,
}
# A doubtful message waits this long for a status report that would settle it ...
DOUBT_GRACE_MS: Final[dict[str, int]] = {
    Lane.OTP: 20_000,
    Lane.REPLY: 2 * _MINUTE,
    Lane.NORMAL: 30 * _MINUTE,
    Lane.BULK: 30 * _MINUTE,
}
# ... and then these lanes send it once more (the person waits; a second copy harms nobody), while the
# others leave it `unknown` for a person or the client to judge.
REPEATED_LANES: Final = frozenset({Lane.OTP, Lane.REPLY})
REPORT_WAIT_MS: Final = 72 * _HOUR  # beyond the usual TP-VP of an SMSC
LEASE_MS: Final = 15 * _MINUTE  # ten parts at the slowest +CMGS seen; the pump settles long before
ORPHANS_KEPT: Final = 2_000
MATCH_DIGITS: Final = 8  # a report may name the recipient in national or international form

_SENT: Final = "('sent', 'delivered')"


class Change(NamedTuple):
    """A message moved to `state`; what the page, the webhooks and the waiting tasks are told."""

    outbound_id: int
    state: str
    reason: str


class QueueKey(NamedTuple):
    """The queue a message stands in: within it order is first in, first out."""

    route: str
    lane: str
    client_id: int


class QueuedRow(NamedTuple):
    """As much of a queued message as scheduling needs; the text is read at the claim."""

    id: int
    recipient: str
    key: QueueKey


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message handed to a channel, its intent on disk.

    attempt counts from 1. done: sequences of parts that an earlier attempt already sent.
    doubted: it may have gone out before, so the submit carries TP-RD. route: the queue it stood in, "" any
    modem. refused_by: the channels that refused it in earlier attempts.
    """

    outbound_id: int
    recipient: str
    text: str
    lane: str
    client_id: int
    attempt: int
    want_report: bool
    doubted: bool
    expires_at_ms: int | None
    done: frozenset[int]
    route: str = ""
    refused_by: frozenset[str] = frozenset()


class PartResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one SMS-SUBMIT. outcome: "sent", "refused" or "doubt"."""

    outbound_id: int
    sequence: int
    attempt: int
    outcome: str
    tp_mr: int | None = None
    reason: str = ""
    actor: str = "us"


_COLUMNS: Final = (
    "recipient, text, lane, in_reply_to, client_id, route, channel, state, want_report, created_at_ms,"
    " next_attempt_ms, expires_at_ms, deadline_ms, sent_at_ms, final_at_ms"
)
_INSERT: Final = f"INSERT INTO outbound ({_COLUMNS}) VALUES ({','.join('?' * 15)})"
_INSERT_MANY: Final = BulkInsert(f"INSERT INTO outbound ({_COLUMNS})", 15)


def insert(db: sqlite3.Connection, message: Outbound, now_ms: int, *, handed_over: bool = False) -> int:
    """Put a message on its queue and return its id.

    handed_over: its text went back in the body of the HTTP call that asked, so nothing is to be sent.
    """
    row = db.execute(_INSERT, _new_row(message, now_ms, handed_over)).lastrowid
    assert row is not None
    return row


def insert_many(db: sqlite3.Connection, messages: Iterable[tuple[Outbound, int, bool]]) -> list[int]:
    """`insert` for each (message, now_ms, handed_over), in a few statements; returns the ids in order."""
    return _INSERT_MANY.ids(db, [_new_row(*each) for each in messages])


def _new_row(message: Outbound, now_ms: int, handed_over: bool) -> tuple[Any, ...]:
    expires = message.expires_at_ms
    if expires is None:
        expires = max(now_ms, message.not_before_ms) + VALIDITY_MS[message.lane]
    return (
        message.recipient,
        message.text,
        message.lane,
        message.in_reply_to,
        message.client_id,
        message.route,
        "http" if handed_over else "",
        "sent" if handed_over else "queued",
        int(message.want_report and not handed_over),
        now_ms,
        message.not_before_ms,
        expires,
        None if handed_over else expires,
        now_ms if handed_over else None,
        now_ms if handed_over else None,
    )


def active_keys(db: sqlite3.Connection) -> list[tuple[QueueKey, int]]:
    """Every queue that has messages, with the time its first one is due.

    Walks the index from key to key (a loose scan), so the cost follows the number of queues and not the
    number of messages.
    """
    found: list[tuple[QueueKey, int]] = []
    at: tuple[Any, ...] = ("", "", -1)
    while True:
        row = db.execute(
            "SELECT route, lane, client_id, next_attempt_ms FROM outbound INDEXED BY outbound_queue"
            " WHERE state = 'queued' AND (route, lane, client_id) > (?, ?, ?)"
            " ORDER BY route, lane, client_id, next_attempt_ms LIMIT 1",
            at,
        ).fetchone()
        if row is None:
            return found
        at = row[:3]
        found.append((QueueKey(*row[:3]), row[3]))


def load_queue(
    db: sqlite3.Connection, key: QueueKey, now_ms: int, limit: int
) -> tuple[list[QueuedRow], int | None]:
    """The first due messages of a queue, and when the next one after them is due (None: no more)."""
    rows = db.execute(
        "SELECT id, recipient, next_attempt_ms FROM outbound INDEXED BY outbound_queue"
        " WHERE state = 'queued' AND route = ? AND lane = ? AND client_id = ?"
        " ORDER BY next_attempt_ms, id LIMIT ?",
        (*key, limit + 1),
    ).fetchall()
    due = [QueuedRow(row[0], row[1], key) for row in rows[:limit] if row[2] <= now_ms]
    if len(due) < len(rows):
        return due, rows[len(due)][2]
    return due, None


def claim(
    db: sqlite3.Connection,
    outbound_id: int,
    *,
    channel: str,
    now_ms: int,
    modem: str | None = None,
    turn: int = 0,
    count_parts: Callable[[str], int] = lambda text: 1,
) -> Claim | None:
    """Write the intent to send; None if the message is no longer to be sent (it says why in its row).

    modem, turn: for a modem, the SIM the parts will go through and their place in its order.
    count_parts: how many parts the channel makes of a text. Consent is looked at here, not only when the
    message was made, because an opt-out must reach what was queued before it.
    """
    row = db.execute(
        "SELECT recipient, text, lane, client_id, attempts, want_report, doubted, expires_at_ms, route, state"
        " FROM outbound WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if row is None or row[9] != OutboundState.QUEUED:
        return None
    recipient, text, lane, client_id, attempts, want_report, doubted, expires, route, _ = row
    if expires is not None and expires <= now_ms:
        move(db, outbound_id, OutboundState.EXPIRED, now_ms, "its validity ended before it could be sent")
        return None
    if lane in (Lane.NORMAL, Lane.BULK) and _opted_out(db, recipient):
        move(db, outbound_id, OutboundState.FAILED, now_ms, "the recipient opted out")
        return None
    attempt = attempts + 1
    parts = count_parts(text)
    done = frozenset(
        number
        for (number,) in db.execute(
            f"SELECT sequence FROM outbound_part WHERE outbound_id = ? AND state IN {_SENT}",
            (outbound_id,),
        )
    )
    db.execute(
        "UPDATE outbound SET state = 'sending', channel = ?, attempts = ?, segments = max(segments, ?),"
        " deadline_ms = ?, reason = '' WHERE id = ?",
        (channel, attempt, parts, now_ms + LEASE_MS, outbound_id),
    )
    if modem is not None:
        db.executemany(
            "INSERT INTO outbound_part (outbound_id, sequence, attempt, turn, state, modem, recipient)"
            " VALUES (?, ?, ?, ?, 'sending', ?, ?)",
            [
                (outbound_id, sequence, attempt, turn, modem, recipient)
                for sequence in range(1, parts + 1)
                if sequence not in done
            ],
        )
    trace(db, outbound_id, now_ms, OutboundState.SENDING, "us", f"given to {channel}, attempt {attempt}")
    return Claim(
        outbound_id=outbound_id,
        recipient=recipient,
        text=text,
        lane=lane,
        client_id=client_id,
        attempt=attempt,
        want_report=bool(want_report),
        doubted=bool(doubted),
        expires_at_ms=expires,
        done=done,
        route=route,
        refused_by=refused_by(db, outbound_id) if attempts else frozenset(),
    )


def release(db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str) -> list[Change]:
    """Put a claimed message back that was certainly not sent; the attempt does not count."""
    db.execute("DELETE FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,))
    db.execute("UPDATE outbound SET attempts = max(0, attempts - 1) WHERE id = ?", (outbound_id,))
    return _requeue(db, outbound_id, now_ms, now_ms, reason)


def settle_part(db: sqlite3.Connection, result: PartResult, now_ms: int) -> list[Change]:
    """Write what became of one part; a message is sent when all its parts are.

    After "refused" the caller follows with `retry` or `settle_whole`; after "doubt" the message is
    `uncertain` and its parts that were not tried yet are closed.
    """
    where = (result.outbound_id, result.sequence, result.attempt)
    at = "WHERE outbound_id = ? AND sequence = ? AND attempt = ?"
    if result.outcome == "sent":
        db.execute(
            f"UPDATE outbound_part SET state = 'sent', tp_mr = ?, sent_at_ms = ? {at}"
            " AND state != 'delivered'",
            (result.tp_mr, now_ms, *where),
        )
        changes = _sent_if_whole(db, result.outbound_id, now_ms, result.actor)
        if result.tp_mr is not None:
            changes += _adopt_orphan(db, where, result.tp_mr, now_ms)
        return changes
    if result.outcome == "refused":
        db.execute(
            f"UPDATE outbound_part SET state = 'failed', final_at_ms = ? {at}",
            (now_ms, *where),
        )
        trace(db, result.outbound_id, now_ms, "refused", result.actor, result.reason)
        return []
    db.execute(f"UPDATE outbound_part SET state = 'uncertain', sent_at_ms = ? {at}", (now_ms, *where))
    _close_untried(db, result.outbound_id)
    return _doubt(db, result.outbound_id, now_ms, result.reason, result.actor)


def settle_whole(
    db: sqlite3.Connection,
    outbound_id: int,
    state: OutboundState,
    now_ms: int,
    reason: str,
    *,
    actor: str = "us",
    provider_ref: str | None = None,
) -> list[Change]:
    """End a claim as a whole: `sent` (an HTTP provider took it), `failed` or `uncertain`."""
    _close_untried(db, outbound_id)
    if provider_ref is not None:
        db.execute("UPDATE outbound SET provider_ref = ? WHERE id = ?", (provider_ref, outbound_id))
    if state is OutboundState.UNCERTAIN:
        return _doubt(db, outbound_id, now_ms, reason, actor)
    return move(db, outbound_id, state, now_ms, reason, actor=actor)


def settle_refusal(
    db: sqlite3.Connection, result: PartResult, now_ms: int, next_attempt_ms: int | None
) -> list[Change]:
    """A part was refused: queue the message again for `next_attempt_ms`, or give it up if that is None."""
    settle_part(db, result, now_ms)
    if next_attempt_ms is not None:
        return retry(db, result.outbound_id, now_ms, next_attempt_ms, result.reason)
    _close_untried(db, result.outbound_id)
    return move(db, result.outbound_id, OutboundState.FAILED, now_ms, result.reason, actor=result.actor)


def retry(
    db: sqlite3.Connection, outbound_id: int, now_ms: int, next_attempt_ms: int, reason: str
) -> list[Change]:
    """Queue a refused message again for `next_attempt_ms`; parts already sent stay sent."""
    _close_untried(db, outbound_id)
    return _requeue(db, outbound_id, now_ms, next_attempt_ms, reason)


def report(
    db: sqlite3.Connection, modem: str, tp_mr: int, recipient: str, tp_status: int, now_ms: int
) -> list[Change]:
    """Apply an SMS-STATUS-REPORT (3GPP TS 23.040 9.2.3.15) to the newest part it can belong to.

    TP-MR comes round after 256 messages, so modem, TP-MR and the recipient's last digits together choose,
    newest first within the time reports take. A report that came before its part's result is kept and
    adopted by `settle_part`.
    """
    for part in db.execute(
        "SELECT outbound_id, sequence, attempt, recipient, state FROM outbound_part"
        " WHERE modem = ? AND tp_mr = ? AND sent_at_ms >= ? ORDER BY sent_at_ms DESC",
        (modem, tp_mr, now_ms - REPORT_WAIT_MS),
    ):
        if _same_recipient(part[3], recipient):
            return _apply_report(db, part[:3], tp_status, now_ms)
    # The answer to +CMGS was lost, and with it the TP-MR: the recipient alone must do.
    for part in db.execute(
        "SELECT outbound_id, sequence, attempt, recipient FROM outbound_part"
        " WHERE modem = ? AND state = 'uncertain' AND tp_mr IS NULL ORDER BY turn, sequence",
        (modem,),
    ):
        if _same_recipient(part[3], recipient):
            db.execute(
                "UPDATE outbound_part SET tp_mr = ? WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
                (tp_mr, *part[:3]),
            )
            return _apply_report(db, part[:3], tp_status, now_ms)
    db.execute(
        "INSERT INTO orphan_report (modem, tp_mr, recipient, tp_status, received_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (modem, tp_mr, recipient, tp_status, now_ms),
    )
    db.execute(
        "DELETE FROM orphan_report WHERE id <= (SELECT max(id) FROM orphan_report) - ?",
        (ORPHANS_KEPT,),
    )
    return []


def recover(db: sqlite3.Connection, now_ms: int) -> list[Change]:
    """Settle what a crash left in `sending`.

    The parts of one modem are written strictly one after the other, each after the result of the one
    before is on disk. So the first open part of a modem is the only one in doubt; what stands behind it
    was certainly not sent and goes back to its queue. What an HTTP provider was given is in doubt.
    """
    changes: list[Change] = []
    first: dict[str, tuple[int, int, int]] = {}
    for modem, outbound_id, sequence, attempt in db.execute(
        "SELECT modem, outbound_id, sequence, attempt FROM outbound_part WHERE state = 'sending'"
        " ORDER BY modem, turn, sequence"
    ).fetchall():
        first.setdefault(modem, (outbound_id, sequence, attempt))
    why = "the box stopped between the hand-over and its answer"
    for outbound_id, sequence, attempt in first.values():
        doubt = PartResult(
            outbound_id=outbound_id, sequence=sequence, attempt=attempt, outcome="doubt", reason=why
        )
        changes += settle_part(db, doubt, now_ms)
    for (outbound_id,) in db.execute("SELECT id FROM outbound WHERE state = 'sending'").fetchall():
        open_parts = db.execute(
            "SELECT count(*) FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,)
        ).fetchone()[0]
        if open_parts:
            changes += release(db, outbound_id, now_ms, "the box stopped before it was sent")
        elif not _sent_if_whole(db, outbound_id, now_ms, "us"):
            changes += _doubt(db, outbound_id, now_ms, why, "us")
    return changes


def sweep(db: sqlite3.Connection, now_ms: int, limit: int = 500) -> list[Change]:
    """Bring back what its owner forgot: every open state has a deadline, and this is who looks at it."""
    changes: list[Change] = []
    for outbound_id, state, lane, doubted, expires in db.execute(
        "SELECT id, state, lane, doubted, expires_at_ms FROM outbound WHERE deadline_ms <= ? LIMIT ?",
        (now_ms, limit),
    ).fetchall():
        if state == OutboundState.QUEUED:
            changes += move(
                db, outbound_id, OutboundState.EXPIRED, now_ms, "its validity ended before it could be sent"
            )
        elif state == OutboundState.SENDING:
            _close_untried(db, outbound_id)
            changes += _doubt(db, outbound_id, now_ms, "its channel never came back with an answer", "us")
        elif state == OutboundState.SENT:
            changes += move(
                db, outbound_id, OutboundState.UNKNOWN, now_ms, "no delivery report came in 72 hours"
            )
        elif state == OutboundState.UNCERTAIN:
            if lane in REPEATED_LANES and doubted < 2 and (expires is None or expires > now_ms):
                changes += _requeue(
                    db, outbound_id, now_ms, now_ms, "no report settled the doubt: sent once more"
                )
            else:
                changes += move(
                    db,
                    outbound_id,
                    OutboundState.UNKNOWN,
                    now_ms,
                    "the doubt was never settled: not repeated",
                )
        else:
            db.execute("UPDATE outbound SET deadline_ms = NULL WHERE id = ?", (outbound_id,))
    return changes


def cancel(db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str) -> list[Change]:
    """Take back a message that is still queued; an empty list means it was too late or never there."""
    row = db.execute("SELECT state FROM outbound WHERE id = ?", (outbound_id,)).fetchone()
    if row is None or row[0] != OutboundState.QUEUED:
        return []
    return move(db, outbound_id, OutboundState.CANCELLED, now_ms, reason)


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


def _requeue(
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


def _doubt(db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str, actor: str) -> list[Change]:
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
        "SELECT client_id, recipient, state, reason, lane, segments, attempts, doubted"
        " FROM outbound WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    client_id, recipient, state, reason, lane, segments, attempts, doubted = row
    if not client_id:
        return
    data = {
        "id": f"out_{outbound_id}",
        "to": recipient,
        "status": state,
        "reason": reason,
        "said_by": actor,
        "lane": lane,
        "segments": segments,
        "attempts": attempts,
        "may_be_double": bool(doubted),
    }
    webhooks.emit(db, client_id, f"message.{state}", data, recipient, now_ms)


def _close_untried(db: sqlite3.Connection, outbound_id: int) -> None:
    db.execute("DELETE FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,))


def _sent_if_whole(db: sqlite3.Connection, outbound_id: int, now_ms: int, actor: str) -> list[Change]:
    segments, sent = db.execute(
        "SELECT segments, (SELECT count(DISTINCT sequence) FROM outbound_part"
        f" WHERE outbound_id = o.id AND state IN {_SENT}) FROM outbound o WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if segments == 0 or sent < segments:
        return []
    return move(db, outbound_id, OutboundState.SENT, now_ms, "", actor=actor)


def _adopt_orphan(
    db: sqlite3.Connection, part: tuple[int, int, int], tp_mr: int, now_ms: int
) -> list[Change]:
    modem, recipient = db.execute(
        "SELECT modem, recipient FROM outbound_part WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
        part,
    ).fetchone()
    for orphan_id, named, status in db.execute(
        "SELECT id, recipient, tp_status FROM orphan_report"
        " WHERE modem = ? AND tp_mr = ? AND received_at_ms >= ? ORDER BY id",
        (modem, tp_mr, now_ms - _MINUTE),
    ).fetchall():
        if _same_recipient(recipient, named):
            db.execute("DELETE FROM orphan_report WHERE id = ?", (orphan_id,))
            return _apply_report(db, part, status, now_ms)
    return []


def _apply_report(
    db: sqlite3.Connection, part: tuple[int, int, int], tp_status: int, now_ms: int
) -> list[Change]:
    outbound_id, sequence, _ = part
    group = tp_status & 0x60
    if group == 0x20:  # the SC is still trying
        trace(db, outbound_id, now_ms, "pending", "network", f"part {sequence}: TP-Status 0x{tp_status:02X}")
        return []
    if group in (0x40, 0x60):
        db.execute(
            "UPDATE outbound_part SET state = 'failed', tp_status = ?, final_at_ms = ?"
            " WHERE outbound_id = ? AND sequence = ? AND attempt = ? AND state != 'delivered'",
            (tp_status, now_ms, *part),
        )
        reason = f"part {sequence} not delivered: TP-Status 0x{tp_status:02X}"
        return move(db, outbound_id, OutboundState.FAILED, now_ms, reason, actor="network")
    db.execute(
        "UPDATE outbound_part SET state = 'delivered', tp_status = ?, final_at_ms = ?"
        " WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
        (tp_status, now_ms, *part),
    )
    segments, delivered = db.execute(
        "SELECT segments, (SELECT count(DISTINCT sequence) FROM outbound_part"
        " WHERE outbound_id = o.id AND state = 'delivered') FROM outbound o WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if delivered < segments:
        changes = _sent_if_whole(db, outbound_id, now_ms, "network")
        trace(db, outbound_id, now_ms, "part delivered", "handset", f"part {sequence} of {segments}")
        return changes
    changes = _sent_if_whole(db, outbound_id, now_ms, "network")
    return changes + move(db, outbound_id, OutboundState.DELIVERED, now_ms, "", actor="handset")


def _same_recipient(ours: str, named: str) -> bool:
    a, b = ours.lstrip("+"), named.lstrip("+")
    if len(a) <= 6 or len(b) <= 6:
        return a == b
    return a[-MATCH_DIGITS:] == b[-MATCH_DIGITS:]


def refused_by(db: sqlite3.Connection, outbound_id: int) -> frozenset[str]:
    """Who refused it before: the trace keeps it, so a restart does not send it round again."""
    rows = db.execute(
        "SELECT DISTINCT actor FROM trace WHERE kind = 'out' AND message = ? AND state = 'refused'",
        (outbound_id,),
    )
    return frozenset(actor for (actor,) in rows)


def _opted_out(db: sqlite3.Connection, number: str) -> bool:
    row = db.execute("SELECT opted_out_ms FROM person WHERE number = ?", (number,)).fetchone()
    return row is not None and row[0] is not None


def trace(db: sqlite3.Connection, outbound_id: int, at_ms: int, state: str, actor: str, reason: str) -> None:
    db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason) VALUES ('out', ?, ?, ?, ?, ?)",
        (outbound_id, at_ms, state, actor, reason),
    )
