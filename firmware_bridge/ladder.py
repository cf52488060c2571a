"""The way back to health, as policy: which step comes next, when, and what came of the last. No I/O, no
clock.

Steps escalate from a question to pulling the plug. Each is taken only when the one before it did not bring
proof of health, waits longer each time, and is capped per hour; when all are used up the modem is parked
until one is free again. What was done, why, and with what outcome is kept for the page.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["HISTORY", "Entry", "Ladder", "Rule", "Rung", "Trouble"]

HISTORY: Final = 200  # entries kept per modem
HOUR_S: Final = 3600.0
# Health that lasts this long is health; before, the next trouble goes on where the last one stopped.
STABLE_S: Final = 600.0


class Rung(enum.Enum):
    DRAIN = "wait for the answer outstanding"
    ASK = "ask AT"
    INITIALISE = "initialise again"
    RADIO = "radio off and on (CFUN=0, CFUN=1)"
    RESET = "reset the modem (CFUN=1,1)"
    REOPEN = "open the port again"
    REBIND = "unbind and bind the USB device"


class Trouble(enum.Enum):
    """What was seen; `first` says where on the ladder to begin."""

    RESTARTED = "restarted"  # a restart banner: all settings are gone
    SETTINGS = "settings refused"  # it answers, but start-up failed
    UNREGISTERED = "not registered"  # for longer than patience
    SENDS_FAIL = "sends fail one after the other"
    CANARY = "the canary message did not come back"
    UNSTABLE = "timeouts one after the other"
    SILENT = "no answer to AT"

    @property
    def first(self) -> Rung:
        return _FIRST[self]


_FIRST: Final[Mapping[Trouble, Rung]] = {
    Trouble.RESTARTED: Rung.INITIALISE,
    Trouble.SETTINGS: Rung.RADIO,  # initialising is what just failed
    Trouble.UNREGISTERED: Rung.RADIO,
    Trouble.SENDS_FAIL: Rung.INITIALISE,
    Trouble.CANARY: Rung.INITIALISE,
    Trouble.UNSTABLE: Rung.DRAIN,
    Trouble.SILENT: Rung.REOPEN,  # nothing below it can be said to a modem that does not listen
}


@dataclass(frozen=True, slots=True)
class Rule:
    """per_hour: how often a step may be taken. proof_s: how long to wait for health after it."""

    per_hour: int
    proof_s: float


RULES: Final[Mapping[Rung, Rule]] = {
    Rung.DRAIN: Rule(60, 5.0),
    Rung.ASK: Rule(60, 5.0),
    Rung.INITIALISE: Rule(30, 60.0),
    Rung.RADIO: Rule(6, 120.0),
    Rung.RESET: Rule(4, 180.0),
    Rung.REOPEN: Rule(12, 180.0),
    Rung.REBIND: Rule(2, 240.0),
}
ORDER: Final[tuple[Rung, ...]] = tuple(Rung)


@dataclass(slots=True)
class Entry:
    """One line of history. at_ms: UTC. step: what was done, or "lost" and "ready" for what was merely seen.
    outcome: "" while it is awaited. took_s: from the step to its outcome."""

    at_ms: int
    step: str
    reason: str
    outcome: str = ""
    took_s: float | None = None


class Ladder:
    """Times are monotonic seconds given as `now`; wall times, UTC milliseconds, only label the history."""

    def __init__(self, *, rules: Mapping[Rung, Rule] = RULES) -> None:
        self._rules = rules
        self._taken: dict[Rung, deque[float]] = {rung: deque() for rung in Rung}
        self._at: int | None = None  # index of the last rung taken in this trouble
        self._since = 0.0
        self._healthy_since: float | None = None
        self._rounds = 0  # times the top was passed without health
        self.history: deque[Entry] = deque(maxlen=HISTORY)

    @property
    def rung(self) -> Rung | None:
        """The step whose proof is awaited."""
        return ORDER[self._at] if self._at is not None else None

    @property
    def proof_s(self) -> float:
        """Patience with the step taken last; grows with every failed round."""
        rung = self.rung
        return 180.0 if rung is None else self._rules[rung].proof_s * (1 + self._rounds)

    def next(self, trouble: Trouble, reason: str, *, now: float, wall_ms: int) -> Rung | None:
        """Take the next step for `trouble`; None: all are used up for now, see `free_at`."""
        self._settle(reason, now)
        first = ORDER.index(trouble.first)
        start = first if self._at is None else max(first, self._at + 1)
        if start >= len(ORDER):
            self._rounds += 1
            start = first
        # From where we are to the top, then from the beginning: a cap skips a step, it does not end the
        # climb.
        for index in (*range(start, len(ORDER)), *range(first, start)):
            rung: Rung = ORDER[index]
            if self._free(rung, now):
                self._taken[rung].append(now)
                self._at, self._since, self._healthy_since = index, now, None
                self.history.append(Entry(wall_ms, rung.value, reason))
                return rung
        self.history.append(Entry(wall_ms, "parked", f"{reason}; every step was used up for this hour"))
        return None

    def skipped(self, why: str) -> None:
        """The step taken last is not possible here."""
        if self.history and not self.history[-1].outcome:
            self.history[-1].outcome = why

    def healthy(self, *, now: float, wall_ms: int) -> None:
        """Proof: it answered and is registered. Call as often as it is seen."""
        if self._healthy_since is None:
            self._healthy_since = now
            if self._at is not None:
                self._settle("healthy", now)
            else:
                self.history.append(Entry(wall_ms, "ready", "", "healthy"))
        elif now - self._healthy_since >= STABLE_S:
            self._at, self._rounds = None, 0

    def note(self, step: str, reason: str, *, wall_ms: int) -> None:
        """Something seen rather than done: the port was lost, the modem restarted."""
        self._healthy_since = None
        self.history.append(Entry(wall_ms, step, reason, "seen"))

    def free_at(self, trouble: Trouble, *, now: float) -> float:
        """When the first capped step for `trouble` may be taken again."""
        first = ORDER.index(trouble.first)
        return min((self._taken[r][0] + HOUR_S if not self._free(r, now) else now) for r in ORDER[first:])

    def count(self, rung: Rung, *, now: float) -> int:
        """How often a step was taken in the last hour."""
        self._free(rung, now)
        return len(self._taken[rung])

    def _free(self, rung: Rung, now: float) -> bool:
        taken = self._taken[rung]
        while taken and now - taken[0] >= HOUR_S:
            taken.popleft()
        return len(taken) < self._rules[rung].per_hour

    def _settle(self, outcome: str, now: float) -> None:
        if self._at is not None and self.history:
            for entry in reversed(self.history):
                if entry.step == ORDER[self._at].value:
                    if not entry.outcome:
                        entry.outcome, entry.took_s = outcome, now - self._since
                    break
