"""What the booking conversation may read, and the index of town names made from it."""

from __future__ import annotations

import weakref
from typing import Final, Protocol

from appliance.conversation.travel import Nearby, PinCheck, Route, Ticket, Town, Trip, Waiter
from appliance.conversation.words import Lexicon, Names

__all__ = ["BookingView", "Towns", "towns_of"]


class BookingView(Protocol):
    """Read-only; `store.booking_look.BookingLook` is the real one. Times are UTC ms, dates local ISO."""

    @property
    def version(self) -> int: ...

    def towns(self) -> tuple[Town, ...]: ...

    def route(self, origin: str, destination: str) -> Route | None: ...

    def changes(self, origin: str, destination: str) -> list[str]: ...

    def nearby(self, origin: str, destination: str) -> list[Nearby]: ...

    def is_sample(self) -> bool: ...

    def trips(self, origin: str, destination: str, date: str, now_ms: int) -> list[Trip]: ...

    def ticket(self, code: str, now_ms: int) -> Ticket | None: ...

    def next_waiting(self, code: str) -> Waiter | None: ...

    def paid_by(self, code: str) -> str | None: ...

    def pin(self, number: str, pin: str, now_ms: int) -> PinCheck: ...

    def refund_owed(self, code: str) -> int | None: ...

    def receipt_state(self, reference: str) -> str | None: ...

    def open_receipt(self, reference: str) -> int | None: ...

    def awaiting(self, amount_santim: int, payer: str, now_ms: int) -> list[Ticket]: ...

    def tickets_of(self, holder: str, now_ms: int) -> list[Ticket]: ...


class Towns:
    """The towns of one timetable version: by key, and by every spelling."""

    def __init__(self, towns: tuple[Town, ...], lexicon: Lexicon) -> None:
        self.by_key = {town.key: town for town in towns}
        self.names = Names({town.key: town.spellings for town in towns}, lexicon.exact)

    def printed(self, key: str, names: str) -> str:
        """The name in the column that a language prints."""
        town = self.by_key.get(key)
        return key if town is None else town.names.get(names, key)


_made: Final[weakref.WeakKeyDictionary[object, tuple[int, Towns]]] = weakref.WeakKeyDictionary()


def towns_of(look: BookingView, lexicon: Lexicon) -> Towns:
    """The index for a look-up's present version; made again only after an import."""
    version = look.version
    known = _made.get(look)
    if known is None or known[0] != version:
        known = (version, Towns(look.towns(), lexicon))
        _made[look] = known
    return known[1]
