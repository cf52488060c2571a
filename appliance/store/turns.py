"""The one-commit turn: session, effects, replies and "handled" together, or nothing.

A turn may be run twice (its worker died, its frame was taken back); the check of the message's state makes
it count once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from appliance.message import Lane, Outbound
from appliance.store import effects, inbound, outbound
from appliance.store.effects import EffectContext, EffectRefused
from appliance.store.sessions import SessionRow, save

__all__ = [
    "Committed",
    "ReplyText",
    "Stale",
    "TurnRefused",
    "TurnWork",
    "commit_failed_turn",
    "commit_turn",
    "replies_given",
]


class ReplyText(NamedTuple):
    """One message to send. to: "" for the sender of the turn's message."""

    text: str
    to: str
    lane: str


class TurnWork(NamedTuple):
    """What a worker made of one message, to be committed.

    session: None leaves the session as it is. answer_here: a caller waits for the answer, so replies to
    the sender go into its HTTP response and are stored as sent.
    """

    inbound_id: int
    sender: str
    now_ms: int
    session: SessionRow | None
    replies: Sequence[ReplyText]
    effects: Sequence[tuple[str, dict[str, Any]]]
    answer_here: bool = False


class Committed(NamedTuple):
    """The turn is on disk. queued: ids of outbound rows to send. answers: texts for the waiting caller."""

    queued: list[int]
    answers: list[str]


class Stale(NamedTuple):
    """The message no longer waits for a turn (it was handled by another run): nothing was written."""

    inbound_id: int


class TurnRefused(NamedTuple):
    """An effect was refused: nothing was written, and the app is to be asked again."""

    effect: str
    reason: str
    detail: dict[str, Any]


def commit_turn(db: sqlite3.Connection, work: TurnWork) -> Committed | Stale | TurnRefused:
    """Write a whole turn. Anything but Committed has changed nothing."""
    if work.effects:
        refused = _apply_effects(db, work)
        if refused is not None:
            return refused
    handled = db.execute(
        "UPDATE inbound SET state = 'handled', handled_at_ms = ?, reason = ''"
        " WHERE id = ? AND state = 'accepted'",
        (work.now_ms, work.inbound_id),
    )
    if handled.rowcount != 1:
        return Stale(work.inbound_id)
    if work.session is not None:
        save(db, work.sender, work.session, work.now_ms)
    return _send(db, work)


def _apply_effects(db: sqlite3.Connection, work: TurnWork) -> Stale | TurnRefused | None:
    waiting = db.execute(
        "SELECT 1 FROM inbound WHERE id = ? AND state = 'accepted'", (work.inbound_id,)
    ).fetchone()
    if waiting is None:
        return Stale(work.inbound_id)
    db.execute("SAVEPOINT turn")
    try:
        effects.apply(db, EffectContext(work.now_ms, work.sender, work.inbound_id), work.effects)
    except EffectRefused as refused:
        db.execute("ROLLBACK TO turn")
        return TurnRefused(refused.effect, refused.reason, refused.detail)
    finally:
        db.execute("RELEASE turn")
    return None


def _send(db: sqlite3.Connection, work: TurnWork) -> Committed:
    queued: list[int] = []
    answers: list[str] = []
    for text, to, lane in work.replies:
        here = work.answer_here and (not to or to == work.sender)
        message = Outbound(
            recipient=to or work.sender, text=text, lane=Lane(lane), in_reply_to=work.inbound_id
        )
        row = outbound.insert(db, message, work.now_ms, handed_over=here)
        if here:
            answers.append(text)
        else:
            queued.append(row)
    return Committed(queued, answers)


def commit_failed_turn(db: sqlite3.Connection, work: TurnWork, reason: str) -> Committed | Stale:
    """Set a poisonous message aside and send its `replies` (an apology) in one commit."""
    if not inbound.set_aside(db, work.inbound_id, reason, work.now_ms):
        return Stale(work.inbound_id)
    return _send(db, work)


def replies_given(db: sqlite3.Connection, inbound_id: int) -> list[str] | None:
    """The texts that went back in the HTTP response of this message's first call, for a repeated call.

    [] when it was handled without an answer, None when it is not handled or its replies went by air.
    """
    row = db.execute("SELECT state, sender FROM inbound WHERE id = ?", (inbound_id,)).fetchone()
    if row is None or row[0] not in ("handled", "guarded", "set_aside"):
        return None
    rows = db.execute(
        "SELECT text, channel FROM outbound WHERE in_reply_to = ? AND recipient = ? ORDER BY id",
        (inbound_id, row[1]),
    ).fetchall()
    if any(channel != "http" for _, channel in rows):
        return None
    return [text for text, _ in rows]
