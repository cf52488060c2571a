"""What a booking's session remembers between two texts: plain data, kept as JSON in the session's row."""

from __future__ import annotations

import msgspec

from appliance.conversation.travel import Trip

__all__ = ["Dialogue", "Wish"]


class Wish(msgspec.Struct):
    """What is known so far of the way somebody wants to go."""

    origin: list[str] = []
    destination: list[str] = []
    days: list[str] = []  # ISO; several while unclear
    minutes: list[int] = []
    window: list[int] = []
    seats: int | None = None


class Dialogue(msgspec.Struct):
    """The session's data. ask: the open question ("origin", "destination", "date", "town:origin" ...).

    choices: what the numbers stand for. trips: the list being chosen from, shown: how much of it was.
    trip: the proposal. holds: [code, until_ms] of unpaid seats. menu: the open menu's name.
    """

    wish: Wish = msgspec.field(default_factory=Wish)
    ask: str = ""
    choices: list[str] = []
    trips: list[Trip] = []
    shown: int = 0
    trip: Trip | None = None
    holds: list[tuple[str, int]] = []
    full: Trip | None = None  # the first departure of the day asked for, when it has no seats left
    menu: str = ""
    last: str = ""  # the open question as it was said, and in which language
    last_language: str = ""
