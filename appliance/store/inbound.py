"""What came in, on disk: accepted once, kept for ever, and who still waits for a turn.

Ops run in the writer's thread; read functions take any connection. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from appliance.message import Inbound, InboundState
from appliance.store.bulk import BulkInsert, combine, select_in

__all__ = [
    "INBOUND_MOVES",
    "Accepted",
    "Judge",
    "Verdict",
    "Waiting",
    "accept",
    "accept_bulk",
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

_NEW: Final = (
    "INSERT INTO inbound (channel, sender, recipient, text, natural_key, partial, sent_at_ms,"
    " received_at_ms, state, reason, handled_at_ms)"
)
_INSERT: Final = f"{_NEW} VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
_INSERT_MANY: Final = BulkInsert(_NEW, 11)
BULK_FROM: Final = 3  # below it the look-up of known keys costs more than it saves
_ACCEPTED: Final = InboundState.ACCEPTED  # enum members cost 50 ns a look-up, and this runs per message
_GUARDED: Final = InboundState.GUARDED
_HANDLED: Final = InboundState.HANDLED
_COLUMNS: Final = "channel, sender, recipient, text, received_at_ms, sent_at_ms, natural_key, partial"


# What may follow what, and who owes the next step: the dispatcher owes `accepted` a turn (its sweeper looks
# every five seconds for what memory has lost), a person owes `set_aside` a look; the others are final.
INBOUND_MOVES: Final[Mapping[InboundState, frozenset[InboundState]]] = {
    InboundState.ACCEPTED: frozenset({InboundState.HANDLED, InboundState.SET_ASIDE}),
    InboundState.SET_ASIDE: frozenset({InboundState.ACCEPTED}),
    InboundState.HANDLED: frozenset(),
    InboundState.GUARDED: frozenset(),
}


class Verdict(NamedTuple):
    """A judge's answer that has something to write besides. reason: why there is no turn, None: there is one.

    then(db, id): called once the message is on disk as row `id`, in the same transaction; not for duplicates.
    """

    reason: str | None
    then: Callable[[sqlite3.Connection, int], None]


Judge = Callable[[sqlite3.Connection, Inbound], str | Verdict | None]
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


def accept(
    db: sqlite3.Connection,
    inbound: Inbound,
    judge: Judge | None = None,
    handled_at_ms: int | None = None,
) -> Accepted:
    """Store one message. The same natural key again is the same message: nothing is written.

    handled_at_ms: its turn is committed in this very transaction, so it never waits for one.
    """
    verdict = None if judge is None else judge(db, inbound)
    row = _new_row(inbound, verdict, handled_at_ms)
    cursor = db.execute(_INSERT, row)
    if cursor.rowcount == 1 and cursor.lastrowid is not None:
        if type(verdict) is Verdict:
            verdict.then(db, cursor.lastrowid)
        return Accepted(cursor.lastrowid, False, row[8])
    row = db.execute("SELECT id, state FROM inbound WHERE natural_key = ?", (inbound.natural_key,)).fetchone()
    return Accepted(row[0], True, InboundState(row[1]))


def accept_many(
    db: sqlite3.Connection, messages: Sequence[Inbound], judge: Judge | None = None
) -> list[Accepted]:
    """`accept` for each, in order; a key that repeats inside the list is a duplicate of the first."""
    return accept_bulk(db, [(message, judge, None) for message in messages])


@combine(accept_many)
def _accept_many_together(db: sqlite3.Connection, calls: list[tuple[Any, ...]]) -> list[list[Accepted]]:
    found = iter(accept_bulk(db, [(each, judge, None) for messages, judge in calls for each in messages]))
    return [[next(found) for _ in messages] for messages, _ in calls]


def accept_bulk(
    db: sqlite3.Connection, messages: Sequence[tuple[Inbound, Judge | None, int | None]]
) -> list[Accepted]:
    """`accept` for each (message, judge, handled_at_ms), in a few statements."""
    if len(messages) < BULK_FROM:
        return [accept(db, *each) for each in messages]
    first: dict[str, int] = {}  # place of each key among the rows
    rows: list[tuple[Any, ...]] = []
    further: list[tuple[int, Verdict]] = []  # places among the rows
    places: list[int] = []  # of each message among the rows; below 0: it repeats the one at -1 - place
    for message, judge, handled_at_ms in messages:
        key = message.natural_key
        if key is not None:
            before = first.setdefault(key, len(rows))
            if before < len(rows):
                places.append(-1 - before)
                continue
        verdict = None if judge is None else judge(db, message)
        if type(verdict) is Verdict:
            further.append((len(rows), verdict))
        places.append(len(rows))
        rows.append(_new_row(message, verdict, handled_at_ms))
    known = _insert(db, rows)
    for at, verdict in further:
        if not known[at].duplicate:
            verdict.then(db, known[at].id)
    return [known[at] if at >= 0 else known[-1 - at]._replace(duplicate=True) for at in places]


def _insert(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> list[Accepted]:
    """Insert rows of different keys; one whose key is on disk already is a duplicate.

    Hardly ever is one, so it is not looked for before SQLite refuses a statement on its account.
    """
    ids: list[int] = []
    try:
        _INSERT_MANY.ids(db, rows, ids)
    except sqlite3.IntegrityError:
        rest = rows[len(ids) :]  # the statement that failed has undone itself, those before it stand
    else:
        return [Accepted(number, False, row[8]) for number, row in zip(ids, rows, strict=True)]
    select = "SELECT natural_key, id, state FROM inbound WHERE natural_key"
    there = {
        key: Accepted(number, True, InboundState(state))
        for key, number, state in select_in(db, select, [row[4] for row in rest if row[4] is not None])
    }
    _INSERT_MANY.ids(db, [row for row in rest if row[4] not in there], ids)
    new = iter(ids)
    return [there.get(row[4]) or Accepted(next(new), False, row[8]) for row in rows]


def _new_row(message: Inbound, verdict: str | Verdict | None, handled_at_ms: int | None) -> tuple[Any, ...]:
    reason = verdict.reason if type(verdict) is Verdict else verdict
    state = _GUARDED if reason is not None else _ACCEPTED if handled_at_ms is None else _HANDLED
    return (
        message.channel,
        message.sender,
        message.recipient,
        message.text,
        message.natural_key,
        message.partial,
        message.sent_at_ms,
        message.received_at_ms,
        state,
        reason or "",
        handled_at_ms if state is _HANDLED else None,
    )


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
