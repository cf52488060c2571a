"""Sessions on disk: one row per sender, the truth that every cache is derived from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.conversation.turn import Session
from appliance.message import Inbound
from appliance.store.bulk import BulkInsert, select_in
from appliance.store.inbound import Judge, accept

__all__ = [
    "SessionRow",
    "bodies_of",
    "body_of",
    "decode",
    "forget",
    "load",
    "row_of",
    "save",
    "save_many",
    "wake_due",
]

_decoder = msgspec.json.Decoder(Session)
_encoder = msgspec.json.Encoder()


_UPSERT: Final = BulkInsert(
    "INSERT INTO session (sender, app, state, body, expires_at_ms, wake_at_ms, updated_at_ms)",
    7,
    "ON CONFLICT (sender) DO UPDATE SET app = excluded.app, state = excluded.state, body = excluded.body,"
    " expires_at_ms = excluded.expires_at_ms, wake_at_ms = excluded.wake_at_ms,"
    " updated_at_ms = excluded.updated_at_ms",
)


class SessionRow(NamedTuple):
    """A session as it is stored: the columns that the store itself needs, and the whole of it as JSON."""

    app: str
    state: str
    body: bytes
    expires_at_ms: int
    wake_at_ms: int | None


def row_of(session: Session) -> SessionRow:
    """Write a session in its stored form."""
    return SessionRow(
        session.app, session.state, _encoder.encode(session), session.expires_at_ms, session.wake_at_ms
    )


def body_of(db: sqlite3.Connection, sender: str) -> bytes | None:
    """The stored JSON of a sender's session, or None."""
    row = db.execute("SELECT body FROM session WHERE sender = ?", (sender,)).fetchone()
    return None if row is None else bytes(row[0])


def bodies_of(db: sqlite3.Connection, senders: Sequence[str]) -> dict[str, bytes]:
    """`body_of` for many, in a few statements; b"" for a sender without a session."""
    found = dict.fromkeys(senders, b"")
    found.update(select_in(db, "SELECT sender, body FROM session WHERE sender", senders))
    return found


def load(db: sqlite3.Connection, sender: str) -> Session | None:
    """A sender's session, or None for someone who never wrote."""
    body = body_of(db, sender)
    return None if body is None else decode(body)


def decode(body: bytes) -> Session | None:
    """A session from its stored form; None when there is none in it.

    A body that this program cannot read (written by another version) counts as none: the person starts
    anew, which is better than a message that can never be handled.
    """
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError:
        return None


def save(db: sqlite3.Connection, sender: str, row: SessionRow, now_ms: int) -> None:
    """Insert or replace a sender's session."""
    save_many(db, [(sender, row, now_ms)])


def save_many(db: sqlite3.Connection, sessions: Sequence[tuple[str, SessionRow, int]]) -> None:
    """`save` for each (sender, row, now_ms), in a few statements; of one sender the last one stays."""
    _UPSERT.run(db, [(sender, *row, now_ms) for sender, row, now_ms in sessions])


def forget(db: sqlite3.Connection, sender: str) -> bool:
    """Erase a sender's session (their right, or an operator's reset). True if there was one."""
    return db.execute("DELETE FROM session WHERE sender = ?", (sender,)).rowcount == 1


def wake_due(
    db: sqlite3.Connection, now_ms: int, judge: Judge | None = None, *, limit: int = 256
) -> list[tuple[int, Inbound]]:
    """Turn the wake-ups that are due into messages of channel "timer", and return those.

    The row's wake time is cleared in the same commit, so a wake-up is one message however often this runs.
    """
    due = db.execute(
        "SELECT sender, wake_at_ms FROM session WHERE wake_at_ms <= ? ORDER BY wake_at_ms LIMIT ?",
        (now_ms, limit),
    ).fetchall()
    woken = []
    for sender, wake_at_ms in due:
        inbound = Inbound(
            channel="timer",
            sender=sender,
            recipient="",
            text="",
            received_at_ms=now_ms,
            sent_at_ms=wake_at_ms,
            natural_key=f"timer:{sender}:{wake_at_ms}",
        )
        accepted = accept(db, inbound, judge)
        if not accepted.duplicate and accepted.state == "accepted":
            woken.append((accepted.id, inbound))
    db.executemany("UPDATE session SET wake_at_ms = NULL WHERE sender = ?", [(sender,) for sender, _ in due])
    return woken
