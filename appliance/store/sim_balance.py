"""The last known credit of each SIM, on disk. `save` is an op for the writer thread."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

__all__ = ["Known", "load", "save", "text_of"]


class Known(NamedTuple):
    """amount_santim, bundle_end_ms: None where the operator did not say. source: "ussd" or "sms"."""

    amount_santim: int | None
    bundle: str
    bundle_end_ms: int | None
    said_at_ms: int
    source: str


def save(db: sqlite3.Connection, channel: str, sim: str, known: Known) -> None:
    """Keep what was said last of the SIM (its ICCID) in a modem."""
    db.execute(
        "INSERT OR REPLACE INTO sim_balance"
        " (channel, sim, amount_santim, bundle, bundle_end_ms, said_at_ms, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (channel, sim, *known),
    )


def load(db: sqlite3.Connection, channel: str, sim: str) -> Known | None:
    """What is known of the SIM that is in a modem now; None of one that was never asked."""
    row = db.execute(
        "SELECT amount_santim, bundle, bundle_end_ms, said_at_ms, source FROM sim_balance"
        " WHERE channel = ? AND sim = ?",
        (channel, sim),
    ).fetchone()
    return Known(*row) if row else None


def text_of(db: sqlite3.Connection, inbound_id: int) -> str:
    """The whole text of a message that came in parts."""
    row = db.execute("SELECT text FROM inbound WHERE id = ?", (inbound_id,)).fetchone()
    return str(row[0]) if row else ""
