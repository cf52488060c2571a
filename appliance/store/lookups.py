"""What each conversation may see, by the conversation's name: the only way a worker reads stored data."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from appliance.store.assistant import AssistantLook
from appliance.store.booking_look import BookingLook
from appliance.store.chat import ChatLook

__all__ = ["looks_on", "open_looks"]


def looks_on(db: sqlite3.Connection) -> dict[str, Any]:
    """Look-ups over a connection that is open already."""
    return {"booking": BookingLook(db), "chat": ChatLook(db), "assistant": AssistantLook(db)}


def open_looks(path: str | Path) -> dict[str, Any]:
    """Look-ups over a connection of their own, which cannot write."""
    db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.execute("PRAGMA query_only = 1")
    db.execute("PRAGMA busy_timeout = 5000")
    db.execute("PRAGMA mmap_size = 0")
    return looks_on(db)
