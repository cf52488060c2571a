"""What people look at: the latest messages, the sessions, and one message's whole life.

Read-only functions for `reader.run(fn, *args)`. Each is bounded by its own LIMIT and uses an index, so that
the page costs the same with ten messages and with five million.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

__all__ = [
    "Life",
    "MessageLife",
    "MessageRow",
    "Part",
    "SessionCount",
    "Step",
    "Undecoded",
    "life_of",
    "messages_with",
    "recent_messages",
    "sessions_by_state",
    "traffic_by_minute",
    "undecoded",
]

_IN_COLUMNS: Final = (
    "id, sender, recipient, text, state, reason, received_at_ms, channel, partial, handled_at_ms"
)
_OUT_COLUMNS: Final = (
    "id, recipient, text, state, reason, created_at_ms, channel, route, lane, segments, in_reply_to,"
    " next_attempt_ms, expires_at_ms, sent_at_ms, final_at_ms, attempts"
)
_TRAFFIC_ROWS: Final = 50_000
_COUNT_AT_MOST: Final = 100_000  # a page need not know whether it is more


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list. kind: "in" or "out"; number: the person's; at_ms: received or put on the queue.

    channel: what it came by, or what took it last ("" until something did). segments: 0 until known.
    """

    kind: str
    id: int
    number: str
    text: str
    state: str
    reason: str
    at_ms: int
    channel: str
    lane: str = ""
    segments: int = 0
    in_reply_to: int | None = None
    partial: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. actor: us, worker, modem:<name>, network, handset, operator, http ..."""

    at_ms: int
    state: str
    actor: str
    reason: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One SMS-SUBMIT of a message. tp_mr: as the modem answered; tp_status: of its latest report."""

    sequence: int
    attempt: int
    state: str
    modem: str
    tp_mr: int | None
    tp_status: int | None
    sent_at_ms: int | None
    final_at_ms: int | None


class MessageLife(msgspec.Struct, frozen=True, kw_only=True):
    """A message with everything that happened to it, oldest first.

    next_attempt_ms: when it is tried again or for the first time, while it is queued.
    """

    row: MessageRow
    steps: list[Step]
    parts: list[Part] = []
    next_attempt_ms: int | None = None
    expires_at_ms: int | None = None


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange: the text that came in, if any, and every message that its turn made."""

    inbound: MessageLife | None
    outbound: list[MessageLife]


class Undecoded(msgspec.Struct, frozen=True, kw_only=True):
    """A TPDU as it came, and what was wrong with it."""

    id: int
    pdu_hex: str
    error: str
    received_at_ms: int


class SessionCount(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    state: str
    count: int


def _in_row(row: tuple[Any, ...]) -> MessageRow:
    return MessageRow(
        kind="in",
        id=row[0],
        number=row[1],
        text=row[3],
        state=row[4],
        reason=row[5],
        at_ms=row[6],
        channel=row[7],
        partial=bool(row[8]),
    )


def _out_row(row: tuple[Any, ...]) -> MessageRow:
    return MessageRow(
        kind="out",
        id=row[0],
        number=row[1],
        text=row[2],
        state=row[3],
        reason=row[4],
        at_ms=row[5],
        channel=row[6] or row[7] or "",
        lane=row[8],
        segments=row[9],
        in_reply_to=row[10],
    )


def _merged(
    db: sqlite3.Connection, limit: int, where_in: str, where_out: str, args: tuple[Any, ...]
) -> list[MessageRow]:
    # `where_in` and `where_out` are constants of this module, never a caller's text.
    rows = [
        _in_row(row)
        for row in db.execute(
            f"SELECT {_IN_COLUMNS} FROM inbound WHERE {where_in} ORDER BY id DESC LIMIT ?",
            (*args, limit),
        )
    ]
    rows += [
        _out_row(row)
        for row in db.execute(
            f"SELECT {_OUT_COLUMNS} FROM outbound WHERE {where_out} ORDER BY id DESC LIMIT ?",
            (*args, limit),
        )
    ]
    # A reply can carry the millisecond of its question: it still stands above it, newest first.
    rows.sort(key=lambda row: (row.at_ms, row.kind == "out", row.id), reverse=True)
    return rows[:limit]


def recent_messages(db: sqlite3.Connection, limit: int) -> list[MessageRow]:
    """The latest messages in and out, newest first. Wake-ups of sessions are no messages."""
    return _merged(db, limit, "channel <> 'timer'", "1", ())


def messages_with(db: sqlite3.Connection, number: str, limit: int) -> list[MessageRow]:
    """The latest messages from and to one person, newest first."""
    return _merged(db, limit, "sender = ? AND channel <> 'timer'", "recipient = ?", (number,))


def traffic_by_minute(db: sqlite3.Connection, from_ms: int, until_ms: int) -> list[tuple[int, int, int]]:
    """(start of the minute, messages in, messages sent) for the minutes in which there were any.

    Looks at the latest _TRAFFIC_ROWS of each kind at most: there is no index by time, and on a box with
    more than that in an hour the left end of a picture may be low.
    """
    minutes: dict[int, list[int]] = {}
    for place, query in enumerate(
        (
            "SELECT at / 60000 * 60000, count(*) FROM (SELECT received_at_ms AS at FROM inbound"
            " WHERE channel <> 'timer' ORDER BY id DESC LIMIT ?) WHERE at >= ? AND at < ? GROUP BY 1",
            "SELECT at / 60000 * 60000, count(*) FROM (SELECT sent_at_ms AS at FROM outbound"
            " ORDER BY id DESC LIMIT ?) WHERE at >= ? AND at < ? GROUP BY 1",
        )
    ):
        for start, count in db.execute(query, (_TRAFFIC_ROWS, from_ms, until_ms)):
            minutes.setdefault(start, [0, 0])[place] = count
    return [(start, came, went) for start, (came, went) in sorted(minutes.items())]


def undecoded(db: sqlite3.Connection, channel: str, limit: int) -> list[Undecoded]:
    """The latest TPDUs of a channel that nobody could read, newest first."""
    rows = db.execute(
        "SELECT id, pdu_hex, error, received_at_ms FROM undecoded WHERE channel = ? ORDER BY id DESC LIMIT ?",
        (channel, limit),
    )
    return [Undecoded(id=row[0], pdu_hex=row[1], error=row[2], received_at_ms=row[3]) for row in rows]


def sessions_by_state(db: sqlite3.Connection, now_ms: int) -> list[SessionCount]:
    """How many people are in each state of each app now, the fullest state first."""
    rows = db.execute(
        "SELECT app, state, count(*) AS n FROM"
        " (SELECT app, state FROM session WHERE expires_at_ms > ? LIMIT ?)"
        " GROUP BY app, state ORDER BY n DESC, app, state",
        (now_ms, _COUNT_AT_MOST),
    )
    return [SessionCount(app=app, state=state, count=count) for app, state, count in rows]


def life_of(db: sqlite3.Connection, kind: str, message_id: int) -> Life | None:
    """The exchange that a message belongs to, whichever of its messages is named; None if there is none."""
    if kind == "out":
        row = db.execute("SELECT in_reply_to FROM outbound WHERE id = ?", (message_id,)).fetchone()
        if row is None:
            return None
        if row[0] is None:
            return Life(inbound=None, outbound=_outbound_lives(db, "id = ?", message_id))
        message_id = row[0]
    found = db.execute(f"SELECT {_IN_COLUMNS} FROM inbound WHERE id = ?", (message_id,)).fetchone()
    if found is None:
        return None
    return Life(
        inbound=_inbound_life(db, found),
        outbound=_outbound_lives(db, "in_reply_to = ?", message_id),
    )


def _trace(db: sqlite3.Connection, kind: str, message_id: int) -> list[Step]:
    rows = db.execute(
        "SELECT at_ms, state, actor, reason FROM trace WHERE kind = ? AND message = ? ORDER BY id",
        (kind, message_id),
    )
    return [Step(at_ms=at, state=state, actor=actor, reason=reason) for at, state, actor, reason in rows]


def _completed(first: Step, traced: list[Step], last: Step | None) -> list[Step]:
    """The trace with its beginning and its end, which the message's own columns tell when it does not."""
    steps = traced if any(step.state == first.state for step in traced[:1]) else [first, *traced]
    if last is not None and all(step.state != last.state for step in traced):
        steps = [*steps, last]
    return steps


def _inbound_life(db: sqlite3.Connection, found: tuple[Any, ...]) -> MessageLife:
    row = _in_row(found)
    why = "joined from what came; parts are missing" if row.partial else ""
    first = Step(at_ms=row.at_ms, state="accepted", actor=row.channel, reason=why)
    traced, last = _trace(db, "in", row.id), None
    # A text that a client's rule took was never a worker's: the step that says so has the row's own reason.
    ours = row.state == "guarded" or any(
        step.state == "handed over" and step.reason == row.reason for step in traced
    )
    if row.state != "accepted":
        actor = "us" if ours else "worker"
        last = Step(at_ms=found[9] or row.at_ms, state=row.state, actor=actor, reason=row.reason)
    return MessageLife(row=row, steps=_completed(first, traced, last))


def _outbound_lives(db: sqlite3.Connection, where: str, value: int) -> list[MessageLife]:
    rows = db.execute(
        f"SELECT {_OUT_COLUMNS} FROM outbound WHERE {where} ORDER BY id LIMIT 50",
        (value,),
    ).fetchall()
    return [_outbound_life(db, found) for found in rows]


def _outbound_life(db: sqlite3.Connection, found: tuple[Any, ...]) -> MessageLife:
    row = _out_row(found)
    first = Step(at_ms=row.at_ms, state="queued", actor="us")
    last = None
    if row.state not in ("queued", "sending"):
        actor = {"delivered": "handset", "sent": row.channel or "us"}.get(row.state, "us")
        at_ms = found[14] or found[13] or row.at_ms
        last = Step(at_ms=at_ms, state=row.state, actor=actor, reason=row.reason)
    parts = [
        Part(
            sequence=sequence,
            attempt=attempt,
            state=state,
            modem=modem,
            tp_mr=tp_mr,
            tp_status=tp_status,
            sent_at_ms=sent,
            final_at_ms=final,
        )
        for sequence, attempt, state, modem, tp_mr, tp_status, sent, final in db.execute(
            "SELECT sequence, attempt, state, modem, tp_mr, tp_status, sent_at_ms, final_at_ms"
            " FROM outbound_part WHERE outbound_id = ? ORDER BY attempt, sequence",
            (row.id,),
        )
    ]
    waiting = row.state == "queued"
    return MessageLife(
        row=row,
        steps=_completed(first, _trace(db, "out", row.id), last),
        parts=parts,
        next_attempt_ms=found[11] if waiting else None,
        expires_at_ms=found[12] if waiting else None,
    )
