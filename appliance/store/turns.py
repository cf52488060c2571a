"""The one-commit turn: session, effects, replies and "handled" together, or nothing.

A turn may be run twice (its worker died, its frame was taken back); the check of the message's state makes
it count once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from appliance.message import Inbound, InboundState, Lane, Outbound
from appliance.store import effects, inbound, outbound
from appliance.store.bulk import chunks, combine, select_in
from appliance.store.effects import EffectContext, EffectRefused
from appliance.store.inbound import Accepted, Judge
from appliance.store.outbound import QueuedRow, QueueKey
from appliance.store.sessions import SessionRow, load, save, save_many

__all__ = [
    "Committed",
    "Discarded",
    "Given",
    "ReplyText",
    "Stale",
    "TurnRefused",
    "TurnWork",
    "commit_failed_turn",
    "commit_turn",
    "converse",
    "replies_given",
    "take_replies",
]


class ReplyText(NamedTuple):
    """One message to send. to: "" for the sender of the turn's message."""

    text: str
    to: str
    lane: str


class TurnWork(NamedTuple):
    """What a worker made of one message, to be committed.

    session: None leaves the session as it is. answer_here: a caller waits for the answer, so replies to
    the sender go into its HTTP response and are stored as sent. route: the one route that replies to the
    sender may take, "" for any.
    """

    inbound_id: int
    sender: str
    now_ms: int
    session: SessionRow | None
    replies: Sequence[tuple[str, str, str]]  # as ReplyText, or plain from a worker's frame
    effects: Sequence[tuple[str, dict[str, Any]]]
    answer_here: bool = False
    route: str = ""


class Committed(NamedTuple):
    """The turn of message `inbound_id` is on disk.

    queued: rows for the outbound service. answers: texts for the waiting caller.
    """

    inbound_id: int
    queued: list[QueuedRow]
    answers: list[str]


class Discarded(NamedTuple):
    """The message was known already, or is not to be answered: its turn came to nothing."""

    accepted: Accepted


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
        waiting = db.execute(
            "SELECT 1 FROM inbound WHERE id = ? AND state = 'accepted'", (work.inbound_id,)
        ).fetchone()
        if waiting is None:
            return Stale(work.inbound_id)
        db.execute("SAVEPOINT turn")
        try:
            _apply_effects(db, work, work.inbound_id)
        except EffectRefused as refused:
            db.execute("ROLLBACK TO turn")
            return TurnRefused(refused.effect, refused.reason, refused.detail)
        finally:
            db.execute("RELEASE turn")
    handled = db.execute(
        "UPDATE inbound SET state = 'handled', handled_at_ms = ?, reason = ''"
        " WHERE id = ? AND state = 'accepted'",
        (work.now_ms, work.inbound_id),
    )
    if handled.rowcount != 1:
        return Stale(work.inbound_id)
    if work.session is not None:
        save(db, work.sender, work.session, work.now_ms)
    return _send(db, work, work.inbound_id)


def converse(
    db: sqlite3.Connection, message: Inbound, judge: Judge | None, work: TurnWork
) -> Committed | Discarded | TurnRefused:
    """Accept a message and commit its turn in one: its caller waits, so nothing was promised before.

    Discarded says that only the message is on disk, without the turn; TurnRefused that nothing is.
    """
    if not work.effects:  # a savepoint makes SQLite copy every page it touches: 10 us a message
        accepted = inbound.accept(db, message, judge, work.now_ms)
        if accepted.duplicate or accepted.state is not InboundState.HANDLED:
            return Discarded(accepted)
    else:
        db.execute("SAVEPOINT converse")
        try:
            accepted = inbound.accept(db, message, judge, work.now_ms)
            if accepted.duplicate or accepted.state is not InboundState.HANDLED:
                return Discarded(accepted)
            _apply_effects(db, work, accepted.id)
        except EffectRefused as refused:
            db.execute("ROLLBACK TO converse")
            return TurnRefused(refused.effect, refused.reason, refused.detail)
        finally:
            db.execute("RELEASE converse")
    if work.session is not None:
        save(db, work.sender, work.session, work.now_ms)
    return _send(db, work, accepted.id)


@combine(commit_turn)
def _commit_turns_together(db: sqlite3.Connection, calls: list[tuple[Any, ...]]) -> list[Any]:
    """Turns without effects share their statements; the others follow one by one."""
    works: list[TurnWork] = [work for (work,) in calls]
    plain = [work.inbound_id for work in works if not work.effects]
    alive = {row[0] for row in select_in(db, "SELECT id FROM inbound WHERE state = 'accepted' AND id", plain)}
    if alive:
        now_ms = max(work.now_ms for work in works)
        update = "UPDATE inbound SET state = 'handled', handled_at_ms = ?, reason = '' WHERE id"
        for piece in chunks(list(alive)):
            db.execute(f"{update} IN ({','.join('?' * len(piece))})", (now_ms, *piece))
    shared: list[tuple[TurnWork, int]] = []
    for work in works:
        if not work.effects and work.inbound_id in alive:
            alive.discard(work.inbound_id)  # a second run of it in this very group finds it handled
            shared.append((work, work.inbound_id))
    committed = {id(work): done for (work, _), done in zip(shared, _finish_many(db, shared), strict=True)}
    return [
        commit_turn(db, work) if work.effects else committed.get(id(work), Stale(work.inbound_id))
        for work in works
    ]


@combine(converse)
def _converse_together(db: sqlite3.Connection, calls: list[tuple[Any, ...]]) -> list[Any]:
    """The same for messages that come with their turn."""
    plain = [(message, judge, work.now_ms) for message, judge, work in calls if not work.effects]
    accepted = iter(inbound.accept_bulk(db, plain))
    answers: list[Any] = []
    shared: list[tuple[TurnWork, int]] = []
    for message, judge, work in calls:
        if work.effects:
            answers.append(converse(db, message, judge, work))
            continue
        known = next(accepted)
        if known.duplicate or known.state is not InboundState.HANDLED:
            answers.append(Discarded(known))
        else:
            shared.append((work, known.id))
            answers.append(None)
    done = iter(_finish_many(db, shared))
    return [next(done) if answer is None else answer for answer in answers]


def _finish_many(db: sqlite3.Connection, turns: list[tuple[TurnWork, int]]) -> list[Committed]:
    """Sessions and replies of turns without effects, whose messages are marked as handled."""
    save_many(db, [(work.sender, work.session, work.now_ms) for work, _ in turns if work.session is not None])
    messages = [_reply(work, inbound_id, reply) for work, inbound_id in turns for reply in work.replies]
    rows = iter(zip(messages, outbound.insert_many(db, messages), strict=True))
    found = []
    for work, inbound_id in turns:
        committed = Committed(inbound_id, [], [])
        for _ in work.replies:
            (message, _, here), row = next(rows)
            if here:
                committed.answers.append(message.text)
            else:
                committed.queued.append(_queued(row, message))
        found.append(committed)
    return found


def _reply(work: TurnWork, inbound_id: int, reply: tuple[str, str, str]) -> tuple[Outbound, int, bool]:
    """A reply as `outbound.insert` takes it: the message, the time, and whether its caller carries it."""
    text, to, lane = reply
    own = not to or to == work.sender
    message = Outbound(
        recipient=to or work.sender,
        text=text,
        lane=Lane(lane),
        in_reply_to=inbound_id,
        route=work.route if own else "",
    )
    return message, work.now_ms, work.answer_here and own


def _queued(row: int, message: Outbound) -> QueuedRow:
    return QueuedRow(row, message.recipient, QueueKey(message.route, message.lane.value, message.client_id))


def _apply_effects(db: sqlite3.Connection, work: TurnWork, inbound_id: int) -> None:
    effects.apply(db, EffectContext(work.now_ms, work.sender, inbound_id), work.effects)


def _send(db: sqlite3.Connection, work: TurnWork, inbound_id: int) -> Committed:
    queued: list[QueuedRow] = []
    answers: list[str] = []
    for reply in work.replies:
        message, now_ms, here = _reply(work, inbound_id, reply)
        row = outbound.insert(db, message, now_ms, handed_over=here)
        if here:
            answers.append(message.text)
        else:
            queued.append(_queued(row, message))
    return Committed(inbound_id, queued, answers)


def commit_failed_turn(
    db: sqlite3.Connection, work: TurnWork, reason: str, apologies: Mapping[str, str]
) -> Committed | Stale:
    """Set a poisonous message aside and say so to its sender, in one commit.

    apologies: by language, "" for who has none yet; empty to say nothing.
    """
    if not inbound.set_aside(db, work.inbound_id, reason, work.now_ms):
        return Stale(work.inbound_id)
    session = load(db, work.sender)
    language = "" if session is None else session.language
    apology = apologies.get(language) or apologies.get("")
    replies = (ReplyText(apology, "", Lane.REPLY),) if apology else ()
    return _send(db, work._replace(replies=replies), work.inbound_id)


class Given(NamedTuple):
    """What a message's caller may be told. waiting: its turn is still owed.

    answers: the texts that went back in its first call's response, [] when it was handled without an
    answer, None when nothing is known or the replies went by air.
    """

    waiting: bool
    answers: list[str] | None


def replies_given(db: sqlite3.Connection, inbound_id: int) -> Given:
    """What the turn of this message gave to a caller who waited, for one who comes late or again."""
    row = db.execute("SELECT state, sender FROM inbound WHERE id = ?", (inbound_id,)).fetchone()
    if row is None:
        return Given(False, None)
    if row[0] == "accepted":
        return Given(True, None)
    rows = db.execute(
        "SELECT text, channel FROM outbound WHERE in_reply_to = ? AND recipient = ? ORDER BY id",
        (inbound_id, row[1]),
    ).fetchall()
    if any(channel != "http" for _, channel in rows):
        return Given(False, None)
    return Given(False, [text for text, _ in rows])


def take_replies(db: sqlite3.Connection, inbound_id: int, now_ms: int) -> list[str] | None:
    """Take the replies to the sender off the outbound queue, for a caller who carries them himself.

    For one who came just after the commit, or asks again before the modem had its turn. None when any of
    them has left the queue: then all of them go by air.
    """
    given = replies_given(db, inbound_id)
    if given.waiting or given.answers is not None:
        return given.answers
    rows = db.execute(
        "SELECT o.id, o.text, o.state FROM outbound o JOIN inbound i ON i.id = o.in_reply_to"
        " WHERE o.in_reply_to = ? AND o.recipient = i.sender ORDER BY o.id",
        (inbound_id,),
    ).fetchall()
    if not rows or any(state != "queued" for _, _, state in rows):
        return None
    db.executemany(
        "UPDATE outbound SET state = 'sent', channel = 'http', want_report = 0, deadline_ms = NULL,"
        " sent_at_ms = ?, final_at_ms = ? WHERE id = ?",
        [(now_ms, now_ms, row) for row, _, _ in rows],
    )
    return [text for _, text, _ in rows]
