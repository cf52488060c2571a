"""What goes out, on disk: one op for each thing that can happen to an outbound message.

Ops run in the writer thread inside a group commit (see `writer.py`). Each returns the changes it made as
`Change` tuples, for the page and the webhooks. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from appliance.guard.tiers import Spend
from appliance.message import Lane, Outbound, OutboundState
from appliance.store import spend
from appliance.store.bulk import BulkInsert
from appliance.store.outbound_moves import Change, doubt, move, requeue, sent_if_whole, trace
from appliance.store.spend import Brake
from appliance.store.status_reports import adopt_orphan

__all__ = [
    "Change",
    "Claim",
    "PartKey",
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
# Once no report has settled the doubt (`DOUBT_GRACE_MS`), these lanes send it once more (the person waits;
# a second copy harms nobody), while the
# others leave it `unknown` for a person or the client to judge.
REPEATED_LANES: Final = frozenset({Lane.OTP, Lane.REPLY})
LEASE_MS: Final = 15 * _MINUTE  # ten parts at the slowest +CMGS seen; the pump settles long before
_SENT: Final = "('sent', 'delivered')"


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


PartKey = tuple[int, int, int]
"""outbound_id, sequence and attempt of one SMS-SUBMIT."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A message handed to a channel, its intent on disk.

    attempt counts from 1. done: sequences of parts that an earlier attempt already sent.
    doubted: it may have gone out before, so the submit carries TP-RD. route: the queue it stood in, "" any
    modem. refused_by: the channels that refused it in earlier attempts. form: how it is sent when it is not
    plain text (channels/forms.py).
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
    form: str = ""
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
    next_after: PartKey | None = None,
    limits: Spend | None = None,
    count_parts: Callable[[str], int] = lambda text: 1,
) -> Claim | list[Change]:
    """Write the intent to send; what changed instead if the message is no longer to be sent.

    modem: the SIM the parts will go through, behind all that is claimed for it already. next_after: the part
    that SIM was given last; the parts go right behind it, before the rest of its message and all others.
    limits: what may be spent; a client's message beyond it waits, the box's own is given up.
    count_parts: how many parts the channel makes of a text. Consent is looked at here, not only when the
    message was made, because an opt-out must reach what was queued before it.
    """
    row = db.execute(
        "SELECT recipient, text, lane, client_id, attempts, want_report, doubted, expires_at_ms, route,"
        " state, form FROM outbound WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if row is None or row[9] != OutboundState.QUEUED:
        return []
    recipient, text, lane, client_id, attempts, want_report, doubted, expires, route, _, form = row
    if expires is not None and expires <= now_ms:
        return move(
            db, outbound_id, OutboundState.EXPIRED, now_ms, "its validity ended before it could be sent"
        )
    if lane in (Lane.NORMAL, Lane.BULK) and _opted_out(db, recipient):
        return move(db, outbound_id, OutboundState.FAILED, now_ms, "the recipient opted out")
    braked = None if limits is None else spend.brake(db, limits, recipient, lane, client_id, now_ms)
    if braked is not None:
        return _hold(db, outbound_id, client_id, braked, now_ms)
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
        turn = _last_turn(db, modem) if next_after is None else _make_way(db, modem, next_after, now_ms)
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
        form=form,
        refused_by=refused_by(db, outbound_id) if attempts else frozenset(),
    )


def _hold(
    db: sqlite3.Connection, outbound_id: int, client_id: int, braked: Brake, now_ms: int
) -> list[Change]:
    """Nothing more may be spent. An answer of yesterday helps nobody; what a client asked for can wait."""
    if not client_id:
        return move(db, outbound_id, OutboundState.FAILED, now_ms, braked.reason)
    db.execute(
        "UPDATE outbound SET next_attempt_ms = ?, reason = ? WHERE id = ?",
        (braked.until_ms, braked.reason, outbound_id),
    )
    trace(db, outbound_id, now_ms, "held", "us", braked.reason)
    return [Change(outbound_id, OutboundState.QUEUED, braked.reason)]


def _last_turn(db: sqlite3.Connection, modem: str) -> int:
    """The place behind everything that is open on a modem; of what is closed the order tells nothing."""
    row = db.execute(
        "SELECT max(turn) FROM outbound_part WHERE modem = ? AND state IN ('sending', 'uncertain')", (modem,)
    ).fetchone()
    return int(row[0] or 0) + 1


def _make_way(db: sqlite3.Connection, modem: str, given: PartKey, now_ms: int) -> int:
    """Move all that a modem is still to send one place on, and return the place this leaves.

    `given` stays: it may be on the air, or its result not on disk yet, so it is what a crash would leave in
    doubt. Those who wait longer for it keep their lease meanwhile.
    """
    later = (
        "modem = ? AND state IN ('sending', 'uncertain') AND state = 'sending'"
        " AND (outbound_id, sequence, attempt) <> (?, ?, ?)"
    )
    first = db.execute(f"SELECT min(turn) FROM outbound_part WHERE {later}", (modem, *given)).fetchone()[0]
    if first is None:
        return _last_turn(db, modem)
    db.execute(
        "UPDATE outbound SET deadline_ms = ? WHERE id IN"
        f" (SELECT outbound_id FROM outbound_part WHERE {later})",
        (now_ms + LEASE_MS, modem, *given),
    )
    db.execute(f"UPDATE outbound_part SET turn = turn + 2 WHERE {later}", (modem, *given))
    return int(first) + 1


def release(db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str) -> list[Change]:
    """Put a claimed message back that was certainly not sent; the attempt does not count."""
    db.execute("DELETE FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,))
    db.execute("UPDATE outbound SET attempts = max(0, attempts - 1) WHERE id = ?", (outbound_id,))
    return requeue(db, outbound_id, now_ms, now_ms, reason)


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
        changes = sent_if_whole(db, result.outbound_id, now_ms, result.actor)
        if result.tp_mr is not None:
            changes += adopt_orphan(db, where, result.tp_mr, now_ms)
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
    return doubt(db, result.outbound_id, now_ms, result.reason, result.actor)


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
        return doubt(db, outbound_id, now_ms, reason, actor)
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
    return requeue(db, outbound_id, now_ms, next_attempt_ms, reason)


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
        lost = PartResult(
            outbound_id=outbound_id, sequence=sequence, attempt=attempt, outcome="doubt", reason=why
        )
        changes += settle_part(db, lost, now_ms)
    for (outbound_id,) in db.execute("SELECT id FROM outbound WHERE state = 'sending'").fetchall():
        open_parts = db.execute(
            "SELECT count(*) FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,)
        ).fetchone()[0]
        if open_parts:
            changes += release(db, outbound_id, now_ms, "the box stopped before it was sent")
        elif not sent_if_whole(db, outbound_id, now_ms, "us"):
            changes += doubt(db, outbound_id, now_ms, why, "us")
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
            changes += doubt(db, outbound_id, now_ms, "its channel never came back with an answer", "us")
        elif state == OutboundState.SENT:
            changes += move(
                db, outbound_id, OutboundState.UNKNOWN, now_ms, "no delivery report came in 72 hours"
            )
        elif state == OutboundState.UNCERTAIN:
            if lane in REPEATED_LANES and doubted < 2 and (expires is None or expires > now_ms):
                changes += requeue(
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


def _close_untried(db: sqlite3.Connection, outbound_id: int) -> None:
    db.execute("DELETE FROM outbound_part WHERE outbound_id = ? AND state = 'sending'", (outbound_id,))


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
