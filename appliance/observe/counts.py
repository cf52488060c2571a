"""Counts of what happened since the start, fed by the store's change feed and by the HTTP server.

One dictionary look-up and one addition for each change: cheap enough to stand in the way of every message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["MINUTES_KEPT", "SAMPLE_EVERY", "SECONDS_BOUNDS", "Counts", "Minute", "Seconds"]

MINUTES_KEPT: Final = 60
SAMPLE_EVERY: Final = 16  # requests timed: one in this many
# An answer after a synced commit takes milliseconds, a waited-for turn on an old SD card seconds.
SECONDS_BOUNDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_MINUTE_MS: Final = 60_000


class Minute(NamedTuple):
    """Messages that came in and that left (by air or in an HTTP answer) in one minute."""

    start_ms: int
    came_in: int
    went_out: int


class Seconds:
    """A histogram of durations. buckets: one count per bound of SECONDS_BOUNDS, then one for longer ones."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS_BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(SECONDS_BOUNDS, seconds)] += 1
        self.total += seconds


class Counts:
    """Totals by kind and state, requests by route and status, and the last hour by minute.

    clock_ms: UTC milliseconds. When the wall clock jumps back, what happens is put to the latest minute
    seen, so the hour's picture never shows a time that has not come.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self.by_state: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.request_seconds: dict[str, Seconds] = {}
        self._requests_seen = 0
        self._minutes: deque[list[int]] = deque(maxlen=MINUTES_KEPT)

    def take(self, change: Mapping[str, Any]) -> None:
        """Count one entry of the feed: {"kind": "in" | "out" | "session", "state": ...}."""
        kind, state = change.get("kind", ""), change.get("state", "")
        self.by_state[kind, state] += 1
        if kind == "in" and state == "accepted":
            self._minute()[1] += 1
        elif kind == "out" and state == "sent":
            self._minute()[2] += 1

    def request_done(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request; the time of one in SAMPLE_EVERY is kept."""
        self.requests[route, status] += 1
        self._requests_seen += 1
        if self._requests_seen % SAMPLE_EVERY == 0:
            kept = self.request_seconds.get(route)
            if kept is None:
                kept = self.request_seconds[route] = Seconds()
            kept.add(seconds)

    def add_earlier(self, minutes: Iterable[Minute]) -> None:
        """Add what happened before this object was made, as the store remembers it."""
        merged = {start: [start, came, went] for start, came, went in self._minutes}
        for start, came, went in minutes:
            kept = merged.setdefault(start, [start, 0, 0])
            kept[1] += came
            kept[2] += went
        self._minutes = deque((merged[start] for start in sorted(merged)), maxlen=MINUTES_KEPT)

    def _minute(self) -> list[int]:
        start = self._clock_ms() // _MINUTE_MS * _MINUTE_MS
        if not self._minutes or start > self._minutes[-1][0]:
            self._minutes.append([start, 0, 0])
        return self._minutes[-1]

    def last_hour(self) -> list[Minute]:
        """MINUTES_KEPT minutes up to now, oldest first, quiet ones with zeros."""
        known = {start: (came, went) for start, came, went in self._minutes}
        latest = self._clock_ms() // _MINUTE_MS * _MINUTE_MS
        first = latest - (MINUTES_KEPT - 1) * _MINUTE_MS
        return [
            Minute(start, *known.get(start, (0, 0)))
            for start in range(first, latest + _MINUTE_MS, _MINUTE_MS)
        ]
