"""Time in the simulated world: a clock that is told what time it is, and what is due when.

Nothing in the simulated world reads a clock or sleeps. The shell (or a test) says `advance(now)`; what
was due runs in order, each action seeing `now` as the moment it was due. A year passes as fast as its
events can be worked off.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Final

__all__ = ["Timeline", "Timer"]

# An action may schedule others for the same moment. More than this many at one moment is a loop that
# would never let time go on: a bug in the simulator, told as one.
_MAX_AT_ONE_MOMENT: Final = 100_000


class Timer:
    """One scheduled action; `cancel` may be called at any time, also after it ran."""

    __slots__ = ("_action", "due")

    def __init__(self, due: float, action: Callable[[], object]) -> None:
        self.due = due
        self._action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Forget the action."""
        self._action = None

    @property
    def waiting(self) -> bool:
        """True until it has run or been cancelled."""
        return self._action is not None

    def fire(self) -> None:
        """Run the action once, if it is still wanted."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Timeline:
    """The order of events. `now` is in monotonic seconds, `utc_ms` is what the network's clock shows."""

    def __init__(self, *, start: float = 0.0, epoch_ms: int = 1_700_000_000_000) -> None:
        """epoch_ms: UTC milliseconds that the network's clock shows at `start`."""
        self.now = start
        self._start = start
        self._epoch_ms = epoch_ms
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        # The shell's alarm clock: told when something became due earlier than anything before.
        self.on_earlier: Callable[[], None] | None = None

    @property
    def utc_ms(self) -> int:
        """The network's wall clock now, UTC milliseconds."""
        return self._epoch_ms + round((self.now - self._start) * 1000)

    def at(self, when: float, action: Callable[[], object]) -> Timer:
        """Run `action` at `when` (not before `now`); equal moments keep the order of asking."""
        timer = Timer(max(when, self.now), action)
        heapq.heappush(self._heap, (timer.due, next(self._order), timer))
        if self.on_earlier is not None and self._heap[0][2] is timer:
            self.on_earlier()
        return timer

    def after(self, delay_s: float, action: Callable[[], object]) -> Timer:
        """Run `action` `delay_s` seconds from now."""
        return self.at(self.now + delay_s, action)

    def next_deadline(self) -> float | None:
        """When the next action is due, or None when nothing is."""
        while self._heap and not self._heap[0][2].waiting:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def advance(self, now: float) -> None:
        """Let time go on to `now`, running what falls due on the way. Time never goes back."""
        at_this_moment = 0
        while (due := self.next_deadline()) is not None and due <= now:
            timer = heapq.heappop(self._heap)[2]
            at_this_moment = at_this_moment + 1 if due <= self.now else 0
            if at_this_moment > _MAX_AT_ONE_MOMENT:
                raise RuntimeError(f"timeline: actions at {due} s never end")
            self.now = max(self.now, due)
            timer.fire()
        self.now = max(self.now, now)
