"""How much a route may send, how fast, and at what hours: what keeps a SIM from being blocked.

Pure: times are arguments, `now` in monotonic seconds and `now_ms` in UTC milliseconds. What was used is
counted here when a message is taken and on disk when its fate is known (`store/allowance.py`), so that a
power cut does not start a new day.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

from appliance.message import Lane
from appliance.outbound.balance import BalanceRule
from appliance.outbound.lanes import LANES

__all__ = ["ALARM_SHARE", "PERIODS", "Held", "Limits", "Pace", "QuietHours", "TokenBucket", "period_start_ms"]

PERIODS: Final = ("minute", "hour", "day", "month")
ALARM_SHARE: Final = 0.8
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MINUTE_MS


def period_start_ms(period: str, now_ms: int, timezone_minutes: int) -> int:
    """When the minute, hour, day or month of local time began that `now_ms` lies in."""
    shift = timezone_minutes * _MINUTE_MS
    local = now_ms + shift
    if period == "month":
        zone = timezone(timedelta(minutes=timezone_minutes))
        first = datetime.fromtimestamp(now_ms / 1000, zone).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        return round(first.timestamp() * 1000)
    length = {"minute": _MINUTE_MS, "hour": 60 * _MINUTE_MS, "day": _DAY_MS}[period]
    return local - local % length - shift


class TokenBucket:
    """Messages a second, with room for a burst of one second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._tokens = self._burst
        self._at: float | None = None

    def wait_s(self, now: float) -> float:
        """How long until one may be taken; 0 for now."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        self._fill(now)
        self._tokens -= 1.0

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now


class Held(NamedTuple):
    """Why nothing of a lane is sent just now. until_ms: when it goes on, None while nobody can say."""

    reason: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Lanes that are held back outside of start to end, minutes of the local day (08:00 to 20:00)."""

    start: int = 8 * 60
    end: int = 20 * 60
    lanes: frozenset[str] = frozenset({Lane.BULK})
    timezone_minutes: int = 180

    def closed(self, now_ms: int) -> frozenset[str]:
        minute = (now_ms // _MINUTE_MS + self.timezone_minutes) % (24 * 60)
        if self.start <= self.end:
            open_now = self.start <= minute < self.end
        else:
            open_now = minute >= self.start or minute < self.end
        return frozenset() if open_now else self.lanes

    def opens_ms(self, now_ms: int) -> int:
        """When the held lanes go on: the next `start` of the local day after now_ms."""
        local_ms = now_ms + self.timezone_minutes * _MINUTE_MS
        opens_ms = local_ms - local_ms % _DAY_MS + self.start * _MINUTE_MS
        return (opens_ms if opens_ms > local_ms else opens_ms + _DAY_MS) - self.timezone_minutes * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class Limits:
    """What one SIM or account may send. segments: per period name; recipients_per_day: distinct ones.

    pause_s: between the end of one message and the next, drawn anew from low to high. balance: what a
    modem's SIM is asked about its credit, None for nothing.
    """

    segments: Mapping[str, int] = field(default_factory=dict)
    recipients_per_day: int | None = None
    pause_s: tuple[float, float] = (0.0, 0.0)
    rate: float | None = None
    balance: BalanceRule | None = None


class Pace:
    """One route's: asked before a message is taken, told when it was and what became of it."""

    def __init__(self, limits: Limits, *, timezone_minutes: int, chance: random.Random) -> None:
        self.limits = limits
        self.timezone_minutes = timezone_minutes
        self._chance = chance
        self._bucket = TokenBucket(limits.rate) if limits.rate else None
        self._used: dict[str, tuple[int, int]] = {}  # period: (start_ms, segments)
        self._recipients: tuple[int, set[str]] = (0, set())
        self._not_before = 0.0

    @property
    def counts(self) -> bool:
        """Whether anything has to be counted on disk."""
        return bool(self.limits.segments) or self.limits.recipients_per_day is not None

    def load(self, used: Mapping[str, tuple[int, int]], start_ms: int, recipients: Iterable[str]) -> None:
        """What was on disk: (start_ms, segments) by period, and whom the day that began then has reached."""
        self._used = dict(used)
        self._recipients = (start_ms, set(recipients))

    def wait_s(self, now: float) -> float:
        """How long until the next message may be taken, by rate and pause."""
        rate_s = self._bucket.wait_s(now) if self._bucket else 0.0
        return max(rate_s, self._not_before - now, 0.0)

    def used_up(self, now_ms: int, segments: int = 1) -> str:
        """Why nothing more may be sent for now, "" if it may."""
        for period, limit in self.limits.segments.items():
            if self._count(period, now_ms) + segments > limit:
                return f"its {period}'s {limit} segments are used up"
        return ""

    def closed(self, now_ms: int) -> frozenset[str]:
        """Lanes that have had all they may use of the hour, day or month; what is left is for the others."""
        share = max(
            (
                self._count(period, now_ms) / limit
                for period, limit in self.limits.segments.items()
                if period != "minute"
            ),
            default=0.0,
        )
        return frozenset(
            lane for lane, policy in LANES.items() if policy.ceiling < 1 and share >= policy.ceiling
        )

    def may_write_to(self, recipient: str, now_ms: int) -> bool:
        """Whether this person is one of the distinct recipients that the day allows."""
        most = self.limits.recipients_per_day
        reached = self._reached(now_ms)
        return most is None or recipient in reached or len(reached) < most

    def problem(self, recipient: str, segments: int, now_ms: int) -> str:
        """Both of the above, for the router."""
        if not self.may_write_to(recipient, now_ms):
            return f"its day's {self.limits.recipients_per_day} recipients are used up"
        return self.used_up(now_ms, segments)

    def take(self, now: float) -> None:
        """A message is taken for this route."""
        if self._bucket:
            self._bucket.take(now)

    def spend(self, recipient: str, segments: int, now_ms: int) -> None:
        """It is claimed, with so many segments; a negative number gives back what was not sent."""
        if not self.counts:
            return
        for period in self.limits.segments:
            start = period_start_ms(period, now_ms, self.timezone_minutes)
            self._used[period] = (start, max(0, self._count(period, now_ms) + segments))
        if segments > 0 and self.limits.recipients_per_day is not None:
            self._reached(now_ms).add(recipient)

    def ended(self, now: float) -> None:
        """A message is through: the pause begins."""
        low, high = self.limits.pause_s
        if high > 0:
            self._not_before = now + self._chance.uniform(low, high)

    def alarms(self, now_ms: int) -> list[str]:
        """What has passed 80 %, for the page and the log."""
        found = []
        for period, limit in self.limits.segments.items():
            used = self._count(period, now_ms)
            if period != "minute" and used >= ALARM_SHARE * limit:
                found.append(f"{used} of its {period}'s {limit} segments are used")
        most = self.limits.recipients_per_day
        if most is not None and len(self._reached(now_ms)) >= ALARM_SHARE * most:
            found.append(f"{len(self._reached(now_ms))} of its day's {most} recipients are used")
        return found

    def _count(self, period: str, now_ms: int) -> int:
        start, segments = self._used.get(period, (0, 0))
        # A clock that went back must not open a period anew: what began later still counts.
        return segments if start >= period_start_ms(period, now_ms, self.timezone_minutes) else 0

    def _reached(self, now_ms: int) -> set[str]:
        today = period_start_ms("day", now_ms, self.timezone_minutes)
        if self._recipients[0] < today:
            self._recipients = (today, set())
        return self._recipients[1]
