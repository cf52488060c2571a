"""How much of one person's texts is answered, and how much of ours one person, client or day may cost.

Pure: a window begins with the first thing counted in it and ends so many milliseconds later. One that begins
after now, or ended before, is over: so a clock that was set back by a year locks nobody out, and one that was
set forward gives each person one fresh window and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.limit_settings import Limits, Spending

__all__ = ["DAY_MS", "HOUR_MS", "MINUTE_MS", "PERIODS", "TIERS", "GuardSettings", "Spend", "Window", "over"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
PERIODS: Final = (("minute", MINUTE_MS), ("hour", HOUR_MS), ("day", DAY_MS))
TIERS: Final = ("normal", "frequent", "agent")


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """normal, frequent, agent: texts of one person that are answered in a minute, an hour and a day.

    frequent_after: paid bookings that make a person frequent. all_a_minute: texts of everybody together.
    identical: times the same text in a row is answered within an hour. echo_h: hours in which a text of ours
    that comes back is an echo. free_length: shorter texts are menu choices and commands, which people do
    repeat.
    """

    normal: tuple[int, int, int] = (10, 50, 200)
    frequent: tuple[int, int, int] = (20, 100, 400)
    agent: tuple[int, int, int] = (50, 500, 2_000)
    frequent_after: int = 10
    all_a_minute: int = 1_000
    identical: int = 3
    echo_h: int = 24
    free_length: int = 9

    @classmethod
    def from_settings(cls, limits: Limits) -> GuardSettings:
        return cls(**msgspec.structs.asdict(limits))

    def of(self, tier: str) -> tuple[int, int, int]:
        """The limits of a tier, by its name."""
        limits: tuple[int, int, int] = getattr(self, tier)
        return limits


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """SMS that the box may spend in 24 hours; 0 for no limit.

    person: on what it says of its own accord to one person. client: of one client. box: on what it says to
    everybody. What clients send counts for them alone; one-time codes count for clients only.
    """

    person: int = 0
    client: int = 0
    box: int = 0

    @classmethod
    def from_settings(cls, spending: Spending) -> Spend:
        return cls(**msgspec.structs.asdict(spending))


class Window(NamedTuple):
    """at_ms: when the first of `used` was counted."""

    at_ms: int
    used: int

    def now(self, now_ms: int, length_ms: int) -> Window:
        """The window that `now_ms` lies in: this one, or a new one."""
        return self if self.at_ms <= now_ms < self.at_ms + length_ms else Window(now_ms, 0)


class Over(NamedTuple):
    """A limit that is used up. until_ms: when its window ends."""

    limit: int
    period: str
    until_ms: int


def over(windows: Sequence[Window], limits: Sequence[int]) -> Over | None:
    """The limit that holds longest of those that are used up, by minute, hour and day; None: none is."""
    found = [
        Over(limit, period, window.at_ms + length_ms)
        for window, limit, (period, length_ms) in zip(windows, limits, PERIODS, strict=True)
        if window.used >= limit
    ]
    return max(found, key=lambda each: each.until_ms, default=None)
