"""A circuit breaker: leaves a route that fails alone for a while, then tries it with one message.

Pure: time is an argument, `now`, in monotonic seconds, so its tests step a clock.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["TRANSITIONS", "Breaker", "BreakerEvent", "BreakerState", "Change"]

THRESHOLD: Final = 5  # failures in a row; a provider that loses one request in ten is still a provider
FIRST_REST_S: Final = 15.0
LONGEST_REST_S: Final = 600.0
HISTORY_KEPT: Final = 32


class BreakerState(enum.Enum):
    CLOSED = "closed"  # works; everything may pass
    OPEN = "open"  # failed too often, or asked for quiet; nothing passes until its rest is over
    HALF_OPEN = "half-open"  # its rest is over; one message is out to see whether it works again


class BreakerEvent(enum.Enum):
    TRIPPED = "tripped"  # the failures in a row reached the threshold, or one said the whole route is ill
    RESTED = "rested"  # somebody asks to send and the rest is over
    PROVED = "proved"  # the one message worked
    FAILED_AGAIN = "failed again"  # it did not
    UNUSED = "unused"  # the one message was taken back before it was sent
    ASKED_FOR_QUIET = "asked for quiet"  # the other side said when to come back (Retry-After)


TRANSITIONS: Final[Mapping[tuple[BreakerState, BreakerEvent], BreakerState]] = {
    (BreakerState.CLOSED, BreakerEvent.TRIPPED): BreakerState.OPEN,
    (BreakerState.CLOSED, BreakerEvent.ASKED_FOR_QUIET): BreakerState.OPEN,
    (BreakerState.OPEN, BreakerEvent.ASKED_FOR_QUIET): BreakerState.OPEN,  # a later answer, a longer rest
    (BreakerState.OPEN, BreakerEvent.RESTED): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.PROVED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, BreakerEvent.FAILED_AGAIN): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.UNUSED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, BreakerEvent.ASKED_FOR_QUIET): BreakerState.OPEN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One move, for the page. at: monotonic seconds."""

    at: float
    before: BreakerState
    after: BreakerState
    reason: str


class Breaker:
    """One route's breaker. `acquire` before each send, then exactly one outcome after it."""

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        first_rest_s: float = FIRST_REST_S,
        longest_rest_s: float = LONGEST_REST_S,
    ) -> None:
        self.state = BreakerState.CLOSED
        self.reason = ""
        self.since: float | None = None  # when it came into this state; None: since it was made
        self.retry_at: float | None = None  # when an open breaker lets one message through
        self.history: deque[Change] = deque(maxlen=HISTORY_KEPT)
        self._threshold = threshold
        self._first_rest_s = first_rest_s
        self._longest_rest_s = longest_rest_s
        self._failures = 0
        self._trips = 0  # in a row: each doubles the rest

    def allows(self, now: float) -> bool:
        """Whether `acquire` would say yes."""
        if self.state is BreakerState.OPEN:
            return self.retry_at is None or now >= self.retry_at
        return self.state is BreakerState.CLOSED

    def acquire(self, now: float) -> bool:
        """Ask to send one message; in an open breaker whose rest is over the first to ask is the probe."""
        if not self.allows(now):
            return False
        if self.state is BreakerState.OPEN:
            self._move(BreakerEvent.RESTED, now, "one message is tried")
        return True

    @property
    def trips(self) -> int:
        """How often it opened in a row: each time doubles the rest."""
        return self._trips

    def take_up(self, now: float, reason: str, trips: int) -> None:
        """Begin open, as a process before this one left it, with the first rest before it is tried."""
        self._move(BreakerEvent.TRIPPED, now, reason)
        self._trips = trips
        self.retry_at = now + self._first_rest_s

    def abandoned(self, now: float) -> None:
        """What was acquired was not used: nothing is known, the next one may try."""
        if self.state is BreakerState.HALF_OPEN:
            self._move(BreakerEvent.UNUSED, now, "the message that was to try it was taken back")
            self.retry_at = now

    def succeeded(self, now: float) -> None:
        """The route answered as a working one does, be it with a refusal of this one message.

        An answer that was under way when the breaker opened does not close it again: the rest stands.
        """
        self._failures = 0
        if self.state is BreakerState.HALF_OPEN:
            self._trips = 0
            self.retry_at = None
            self._move(BreakerEvent.PROVED, now, "it works again")

    def failed(self, now: float, reason: str, *, at_once: bool = False) -> None:
        """The route failed. at_once: it said itself that all of it is ill, so nothing more is tried."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN:
            self._rest(BreakerEvent.FAILED_AGAIN, now, reason)
        elif self.state is BreakerState.CLOSED and (at_once or self._failures >= self._threshold):
            count = "" if at_once else f"{self._failures} failures in a row, the last: "
            self._rest(BreakerEvent.TRIPPED, now, count + reason)

    def asked_for_quiet(self, now: float, rest_s: float, reason: str) -> None:
        """The other side said to come back after `rest_s` seconds; no failure of its own."""
        until = now + min(max(rest_s, 0.0), self._longest_rest_s)
        if self.state is BreakerState.OPEN and self.retry_at is not None:
            until = max(until, self.retry_at)
        self._move(BreakerEvent.ASKED_FOR_QUIET, now, reason)
        self.retry_at = until

    def snapshot(self, now: float) -> dict[str, Any]:
        """For the page: state, reason, seconds until it is tried, and the last moves, the newest first."""
        left_s = None if self.retry_at is None else max(0.0, round(self.retry_at - now, 1))
        return {
            "state": self.state.value,
            "reason": self.reason,
            "retry_in_s": left_s if self.state is BreakerState.OPEN else None,
            "history": [
                {"ago_s": round(now - move.at, 1), "state": move.after.value, "reason": move.reason}
                for move in reversed(self.history)
            ],
        }

    def _rest(self, event: BreakerEvent, now: float, reason: str) -> None:
        rest_s = min(self._longest_rest_s, self._first_rest_s * 2.0 ** min(self._trips, 16))
        self._trips += 1
        self._failures = 0
        self._move(event, now, reason)
        self.retry_at = now + rest_s

    def _move(self, event: BreakerEvent, now: float, reason: str) -> None:
        after = TRANSITIONS[self.state, event]
        self.history.append(Change(now, self.state, after, reason))
        if after is not self.state:
            self.since = now
        self.state, self.reason = after, reason
