"""What each conversation may see, by the conversation's name: the only way a worker reads stored data."""

from __future__ import annotations

import sqlite3
from typing import Any

from appliance.store.assistant import AssistantLook
from appliance.store.booking_look import BookingLook
from appliance.store.chat import ChatLook

__all__ = ["looks_on"]


def looks_on(db: sqlite3.Connection) -> dict[str, Any]:
    """Look-ups over a connection; whose it is sees to what it may do and when it reads anew."""
    return {"booking": BookingLook(db), "chat": ChatLook(db), "assistant": AssistantLook(db)}
