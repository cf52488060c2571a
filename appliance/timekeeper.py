"""Notices that the clock was set, and moves what is stored with it.

The system clock of such a box jumps: NTP comes hours after the start, a modem brings the network's time, a
technician sets it, a battery is empty. The keeper compares it with the time since the boot, which nobody can
set. On a jump the whole program goes over to the new time in one step of the loop, and the op that moves
the deadlines is the first of that time: ops before it have the old time, ops after it the new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance import faults
from appliance.clock import Clock
from appliance.store import timeline

if TYPE_CHECKING:
    from appliance.store.writer import Writer

__all__ = ["Timekeeper", "boot_id"]

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.5


def boot_id(file: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """What the kernel calls this boot; "" where it does not say, which is no boot one could come back to."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Timekeeper:
    """One for the process. on_moved: called after the deadlines have moved on disk, for who has read them."""

    def __init__(self, clock: Clock, writer: Writer, *, boot: str | None = None) -> None:
        self.on_moved: Callable[[], None] | None = None
        self._clock = clock
        self._writer = writer
        self._boot = boot_id() if boot is None else boot
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up the line of time before anybody looks at a deadline. Raises StoreError."""
        stored = await self._writer.run(timeline.load)
        jump_ms = self._clock.resume(stored if self._boot else None, self._boot)
        if jump_ms:
            self.look()
        self._clock.confirm()
        await self._writer.run(timeline.keep, self._clock.line(self._boot))
        self._task = asyncio.create_task(self._look_for_ever(), name="timekeeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Follow a jump, if there is one now."""
        clock = self._clock
        jump_ms = clock.jump_ms()
        if not jump_ms:
            if clock.confirm():
                self._writer.post(timeline.keep, (clock.line(self._boot),), _never_mind)
            return
        before, old_ms = clock.line(self._boot), clock.now_ms()
        clock.take(jump_ms)
        # What is from before this boot has times as good as any: while nobody had confirmed ours, it was ours
        # that was wrong, and they are compared with the true time now.
        since_ms = 0 if before.known else before.since_ms
        log.warning("the clock was set by %+.1f s; what is waited for moves with it", jump_ms / 1000)
        move = partial(
            timeline.shift, line=clock.line(self._boot), by_ms=jump_ms, old_ms=old_ms, since_ms=since_ms
        )
        if faults.armed:
            faults.hit("clock.before_move")
        self._writer.owe(move, self._moved)
        clock.confirm()

    def _moved(self) -> None:
        if faults.armed:
            faults.hit("clock.moved")
        if self.on_moved is not None:
            self.on_moved()

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self.look()
            except Exception:
                log.exception("the timekeeper failed; it goes on")


def _never_mind(value: object, error: BaseException | None) -> None:
    """What was confirmed is confirmed again at the next start."""
