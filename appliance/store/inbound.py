"""What came in, on disk: accepted once, kept for ever, and who still waits for a turn.

Ops run in the writer's thread; read functions take any connection. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from appliance.message import Inbound, InboundState

__all__ = [
    "Accepted",
    "Judge",
    "Waiting",
    "accept",
    "accept_many",
    "count_waiting",
    "get",
    "highest_id",
    "keep_undecoded",
    "release_set_aside",
    "set_aside",
    "strike",
    "waiting_after",
    "waiting_of",
]

_INSERT: Final = (
    "INSERT INTO inbound (channel, sender, recipient, text, natural_key, partial, sent_at_ms,"
    " received_at_ms, state, reason) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)
_COLUMNS: Final = "channel, sender, recipient, text, received_at_ms, sent_at_ms, natural_key, partial"

Judge = Callable[[sqlite3.Connection, Inbound], str | None]
"""Why a message is kept without an answer, or None. Runs inside the transaction that accepts it."""


class Accepted(NamedTuple):
    """A message is on disk as row `id`. duplicate: it already was; state: of the row now."""

    id: int
    duplicate: bool
    state: InboundState = InboundState.ACCEPTED


class Waiting(NamedTuple):
    """A message that is owed a turn, with its order (`id`) and how often its turn failed before."""

    id: int
    inbound: Inbound
    attempts: int


def accept(db: sqlite3.Connection, inbound: Inbound, judge: Judge | None = None) -> Accepted:
    """Store one message. The same natural key again is the same message: nothing is written."""
    reason = None if judge is None else judge(db, inbound)
    state = InboundState.ACCEPTED if reason is None else InboundState.GUARDED
    cursor = db.execute(
        _INSERT,
        (
            inbound.channel,
            inbound.sender,
            inbound.recipient,
            inbound.text,
            inbound.natural_key,
            inbound.partial,
            inbound.sent_at_ms,
            inbound.received_at_ms,
            state,
            reason or "",
        ),
    )
    if cursor.rowcount == 1 and cursor.lastrowid is not None:
        return Accepted(cursor.lastrowid, False, state)
    row = db.execute("SELECT id, state FROM inbound WHERE natural_key = ?", (inbound.natural_key,)).fetchone()
    return Accepted(row[0], True, InboundState(row[1]))


def accept_many(
    db: sqlite3.Connection, messages: Sequence[Inbound], judge: Judge | None = None
) -> list[Accepted]:
    """`accept` for each, in order; a key that repeats inside the list is a duplicate of the first."""
    return [accept(db, inbound, judge) for inbound in messages]


def keep_undecoded(db: sqlite3.Connection, channel: str, pdu_hex: str, error: str, now_ms: int) -> int | None:
    """Keep a TPDU nobody could decode. Returns its id, or None when this very TPDU is kept already."""
    cursor = db.execute(
        "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms) VALUES (?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (channel, pdu_hex, error, now_ms),
    )
    return cursor.lastrowid if cursor.rowcount == 1 else None


def get(db: sqlite3.Connection, inbound_id: int) -> Inbound | None:
    """One message by its id."""
    row = db.execute(f"SELECT {_COLUMNS} FROM inbound WHERE id = ?", (inbound_id,)).fetchone()
    return None if row is None else _inbound(row)


def highest_id(db: sqlite3.Connection) -> int:
    """The newest message's id, 0 when there is none."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM inbound").fetchone()[0])


def count_waiting(db: sqlite3.Connection) -> int:
    """How many messages are owed a turn. Walks the partial index: about 20 ms a million."""
    return int(db.execute("SELECT count(*) FROM inbound WHERE state = 'accepted'").fetchone()[0])


def waiting_after(db: sqlite3.Connection, after_id: int, limit: int) -> list[Waiting]:
    """The oldest messages that are owed a turn, with ids above `after_id`, at most `limit`."""
    rows = db.execute(
        f"SELECT id, attempts, {_COLUMNS} FROM inbound"
        " WHERE state = 'accepted' AND id > ? ORDER BY id LIMIT ?",
        (after_id, limit),
    )
    return [Waiting(row[0], _inbound(row[2:]), row[1]) for row in rows]


def waiting_of(db: sqlite3.Connection, sender: str, after_id: int, limit: int) -> list[Waiting]:
    """The same for one sender."""
    rows = db.execute(
        f"SELECT id, attempts, {_COLUMNS} FROM inbound INDEXED BY inbound_sender"
        " WHERE sender = ? AND id > ? AND state = 'accepted' ORDER BY id LIMIT ?",
        (sender, after_id, limit),
    )
    return [Waiting(row[0], _inbound(row[2:]), row[1]) for row in rows]


def strike(db: sqlite3.Connection, inbound_id: int, reason: str, now_ms: int) -> int:
    """A turn of this message failed: count it and say why. Returns how often it has failed now."""
    row = db.execute(
        "UPDATE inbound SET attempts = attempts + 1, reason = ? WHERE id = ? AND state = 'accepted'"
        " RETURNING attempts",
        (reason, inbound_id),
    ).fetchone()
    if row is None:
        return 0
    _trace(db, inbound_id, now_ms, "turn failed", "worker", reason)
    return int(row[0])


def set_aside(db: sqlite3.Connection, inbound_id: int, reason: str, now_ms: int) -> bool:
    """Take a poisonous message out of the queue, for a person to look at. False: it no longer waits."""
    cursor = db.execute(
        "UPDATE inbound SET state = 'set_aside', reason = ?, handled_at_ms = ?"
        " WHERE id = ? AND state = 'accepted'",
        (reason, now_ms, inbound_id),
    )
    if cursor.rowcount != 1:
        return False
    _trace(db, inbound_id, now_ms, "set aside", "us", reason)
    return True


def release_set_aside(db: sqlite3.Connection, inbound_id: int, now_ms: int) -> Waiting | None:
    """Give a message that was set aside another turn (an operator's wish). None: it is not set aside."""
    row = db.execute(
        "UPDATE inbound SET state = 'accepted', reason = '', attempts = 0, handled_at_ms = NULL"
        f" WHERE id = ? AND state = 'set_aside' RETURNING {_COLUMNS}",
        (inbound_id,),
    ).fetchone()
    if row is None:
        return None
    _trace(db, inbound_id, now_ms, "released", "operator", "")
    return Waiting(inbound_id, _inbound(row), 0)


def _trace(db: sqlite3.Connection, inbound_id: int, now_ms: int, state: str, actor: str, reason: str) -> None:
    db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason) VALUES ('in', ?, ?, ?, ?, ?)",
        (inbound_id, now_ms, state, actor, reason),
    )


def _inbound(row: Sequence[object]) -> Inbound:
    channel, sender, recipient, text, received_at_ms, sent_at_ms, natural_key, partial = row
    return Inbound(
        channel=channel,  # type: ignore[arg-type]  # STRICT tables: the columns' types are the fields'
        sender=sender,  # type: ignore[arg-type]
        recipient=recipient,  # type: ignore[arg-type]
        text=text,  # type: ignore[arg-type]
        received_at_ms=received_at_ms,  # type: ignore[arg-type]
        sent_at_ms=sent_at_ms,  # type: ignore[arg-type]
        natural_key=natural_key,  # type: ignore[arg-type]
        partial=bool(partial),
    )
