"""What each SIM and provider account has used of its allowance, on disk. Ops for the writer thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Used", "count", "load"]


class Used(NamedTuple):
    """segments: (start_ms, segments) by period. day_ms: when the newest day began, recipients: its people."""

    segments: dict[str, tuple[int, int]]
    day_ms: int
    recipients: frozenset[str]


def count(
    db: sqlite3.Connection,
    channel: str,
    recipient: str,
    segments: int,
    starts_ms: Mapping[str, int],
) -> None:
    """Add segments that were handed over. starts_ms: when the present minute, hour, day, month began."""
    db.executemany(
        "INSERT INTO allowance (channel, period, start_ms, segments) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (channel, period) DO UPDATE SET"
        " segments = CASE WHEN start_ms >= excluded.start_ms THEN segments ELSE 0 END + excluded.segments,"
        " start_ms = max(start_ms, excluded.start_ms)",
        [(channel, period, start_ms, segments) for period, start_ms in starts_ms.items()],
    )
    added = db.execute(
        "INSERT OR IGNORE INTO allowance_recipient (channel, start_ms, recipient) VALUES (?, ?, ?)",
        (channel, starts_ms["day"], recipient),
    )
    if added.rowcount:
        db.execute(
            "DELETE FROM allowance_recipient WHERE channel = ? AND start_ms < ?", (channel, starts_ms["day"])
        )


def load(db: sqlite3.Connection, channel: str) -> Used:
    """What a channel has used of the periods it last counted in."""
    segments = {
        period: (start_ms, used)
        for period, start_ms, used in db.execute(
            "SELECT period, start_ms, segments FROM allowance WHERE channel = ?", (channel,)
        )
    }
    day_ms = segments.get("day", (0, 0))[0]
    people = db.execute(
        "SELECT recipient FROM allowance_recipient WHERE channel = ? AND start_ms >= ?", (channel, day_ms)
    )
    return Used(segments, day_ms, frozenset(number for (number,) in people))
