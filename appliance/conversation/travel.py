"""The nouns of travel that stored look-ups hand to a conversation. Money is santim, times are UTC ms."""

from __future__ import annotations

import msgspec

__all__ = ["Nearby", "PinCheck", "Route", "Ticket", "Town", "Trip", "Waiter"]


class Town(msgspec.Struct, frozen=True):
    """key: its English name, which names it everywhere. names: printed name by language code."""

    key: str
    names: dict[str, str]
    spellings: tuple[str, ...]
    lat: float
    lon: float


class Route(msgspec.Struct, frozen=True):
    origin: str
    destination: str
    km: int
    duration_min: int
    fare_santim: int


class Trip(msgspec.Struct, frozen=True):
    """One departure that can be booked. date: local, ISO. minute: local minute of the day it leaves."""

    service: int
    date: str
    minute: int
    left: int
    fare_santim: int


class Ticket(msgspec.Struct, frozen=True):
    """One booking. state: held, paid, used, released, expired (a hold past its time) or cancelled.

    names: of the passengers, where they were asked for. moved: the bus leaves at another hour than it was
    booked at.
    """

    code: str
    holder: str
    language: str
    state: str
    origin: str
    destination: str
    date: str
    minute: int
    seats: int
    numbers: tuple[int, ...]
    price_santim: int
    expires_at_ms: int
    departs_at_ms: int
    names: tuple[str, ...] = ()
    moved: bool = False


class Nearby(msgspec.Struct, frozen=True):
    """A town near the origin or the destination (slot) of a way, and how far from it as the crow flies."""

    slot: str
    town: str
    km: int


class Waiter(msgspec.Struct, frozen=True):
    """Somebody who wants seats of a departure that was full."""

    id: int
    number: str
    language: str
    seats: int


class PinCheck(msgspec.Struct, frozen=True):
    """An agent's PIN. state: right, wrong, locked (until_ms) or none (no PIN set). left: further tries."""

    state: str
    left: int = 0
    until_ms: int = 0
