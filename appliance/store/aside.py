"""Messages whose turn failed twice: kept for a person, who may give them another turn."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from appliance.store.audit import audit
from appliance.store.inbound import release_set_aside

__all__ = ["Aside", "count", "release", "waiting"]


class Aside(NamedTuple):
    """A message that was set aside, when and why. attempts: turns that failed."""

    id: int
    sender: str
    text: str
    received_at_ms: int
    set_aside_ms: int
    attempts: int
    reason: str


def waiting(db: sqlite3.Connection, limit: int = 100) -> list[Aside]:
    """The newest first."""
    rows = db.execute(
        "SELECT id, sender, text, received_at_ms, coalesce(handled_at_ms, received_at_ms), attempts, reason"
        " FROM inbound INDEXED BY inbound_set_aside WHERE state = 'set_aside' ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [Aside(*row) for row in rows]


def count(db: sqlite3.Connection) -> int:
    """How many there are."""
    row = db.execute("SELECT count(*) FROM inbound INDEXED BY inbound_set_aside WHERE state = 'set_aside'")
    return int(row.fetchone()[0])


def release(db: sqlite3.Connection, inbound_id: int, now_ms: int, actor: str) -> bool:
    """Give a message another turn, which the dispatcher's sweeper finds; False: it is not set aside."""
    if release_set_aside(db, inbound_id, now_ms) is None:
        return False
    audit(db, now_ms, actor, "message.again", f"in {inbound_id}")
    return True
