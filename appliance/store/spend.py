"""The brake on spending: what was sent to whom in the last day, counted as it is handed over.

Ops for the writer thread. A window of 24 hours begins with the first SMS counted in it; see `guard/tiers.py`
for what a wrong clock does to it.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from appliance.guard.tiers import DAY_MS, Spend, Window
from appliance.message import Lane

__all__ = ["BOX", "Brake", "Spent", "brake", "braked_person", "count", "spent"]

BOX: Final = ""
ALARM_SHARE: Final = 0.8
ALARMS: Final = 5  # on one page; more of them say no more


class Brake(NamedTuple):
    """Why a message may not go out. until_ms: when it may again."""

    reason: str
    until_ms: int


class Spent(NamedTuple):
    """For the page: who ("the box", "client 7", a number), how many SMS of how many in 24 hours."""

    who: str
    segments: int
    limit: int


def count(
    db: sqlite3.Connection, recipient: str, lane: str, client_id: int, segments: int, now_ms: int
) -> None:
    """SMS were handed over to a modem or a provider."""
    for who in _payers(recipient, lane, client_id):
        window = _window(db, who, now_ms)
        db.execute(
            "INSERT INTO spend (who, at_ms, segments) VALUES (?, ?, ?)"
            " ON CONFLICT (who) DO UPDATE SET at_ms = excluded.at_ms, segments = excluded.segments",
            (who, window.at_ms, window.used + segments),
        )


def brake(
    db: sqlite3.Connection, limits: Spend, recipient: str, lane: str, client_id: int, now_ms: int
) -> Brake | None:
    """Why this message may not be handed over now; None: it may."""
    for who in _payers(recipient, lane, client_id):
        limit = _limit(limits, who)
        if limit:
            window = _window(db, who, now_ms)
            if window.used >= limit:
                reason = f"spend brake: {_shown(who)} used {window.used} of {limit} SMS in 24 hours"
                return Brake(reason, window.at_ms + DAY_MS)
    return None


def braked_person(db: sqlite3.Connection, number: str, now_ms: int, *, limits: Spend) -> str | None:
    """Why nothing a person texts is answered for now; None: it is."""
    found = brake(db, limits, number, Lane.REPLY, 0, now_ms)
    return None if found is None else found.reason


def spent(db: sqlite3.Connection, limits: Spend, now_ms: int) -> list[Spent]:
    """Who has used four fifths of a limit or more, the box first."""
    found = []
    for who, at_ms, segments in db.execute(
        "SELECT who, at_ms, segments FROM spend WHERE segments >= ? ORDER BY who",
        (ALARM_SHARE * min([each for each in (limits.person, limits.client, limits.box) if each] or [0]),),
    ):
        limit = _limit(limits, who)
        window = Window(at_ms, segments).now(now_ms, DAY_MS)
        if limit and window.used >= ALARM_SHARE * limit:
            found.append(Spent(_shown(who), window.used, limit))
        if len(found) >= ALARMS:
            break
    return found


def _payers(recipient: str, lane: str, client_id: int) -> tuple[str, ...]:
    """Whose limits a message counts for."""
    if client_id:
        return (f"client {client_id}",)
    return () if lane == Lane.OTP else (BOX, recipient)


def _limit(limits: Spend, who: str) -> int:
    return limits.box if who == BOX else limits.client if who.startswith("client ") else limits.person


def _shown(who: str) -> str:
    return who or "the box"


def _window(db: sqlite3.Connection, who: str, now_ms: int) -> Window:
    row = db.execute("SELECT at_ms, segments FROM spend WHERE who = ?", (who,)).fetchone()
    return Window(*(row or (0, 0))).now(now_ms, DAY_MS)
