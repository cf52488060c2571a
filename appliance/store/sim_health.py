"""What is remembered of a SIM that the operator stopped, on disk. `save` is an op for the writer thread."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

__all__ = ["Kept", "load", "save"]


class Kept(NamedTuple):
    """reason: why it is set aside, "" while it is not. silent: for reports that failed, not for refusals.
    trips: how often in a row. has_delivered: a delivery of it was once reported."""

    reason: str
    silent: bool
    trips: int
    has_delivered: bool


def save(db: sqlite3.Connection, sim: str, kept: Kept) -> None:
    """Keep how a SIM fares: by its ICCID, so that another one in the same modem starts afresh."""
    db.execute(
        "INSERT OR REPLACE INTO sim_health (sim, reason, silent, trips, has_delivered)"
        " VALUES (?, ?, ?, ?, ?)",
        (sim, *kept),
    )


def load(db: sqlite3.Connection) -> dict[str, Kept]:
    """What is known of every SIM that was ever in this box."""
    rows = db.execute("SELECT sim, reason, silent, trips, has_delivered FROM sim_health")
    return {sim: Kept(reason, bool(silent), trips, bool(has)) for sim, reason, silent, trips, has in rows}
