"""A result that waits for the disk while the clock is set is written in the new time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from appliance.clock import BUILT_MS
from appliance.outbound.allowance import Limits, Pace
from appliance.outbound.pump import Pump, PumpContext
from appliance.store.errors import StoreUnavailable

DAYS_40 = 40 * 86_400_000


class Disk:
    """Refuses the first write; while it does, the clock is set."""

    def __init__(self, clock: list[int], set_by_ms: int) -> None:
        self.written: list[tuple[Any, ...]] = []
        self._clock, self._set_by_ms, self._refusals = clock, set_by_ms, 1

    async def run(self, op: Any, *args: Any) -> list[Any]:
        if self._refusals:
            self._refusals -= 1
            self._clock[0] += self._set_by_ms
            raise StoreUnavailable("full", "no room")
        self.written.append(args)
        return []


async def record(monkeypatch: Any, set_by_ms: int) -> tuple[Any, ...]:
    monkeypatch.setattr("appliance.outbound.pump.DISK_PAUSE_S", 0)
    clock = [BUILT_MS + DAYS_40]
    disk = Disk(clock, set_by_ms)
    context = SimpleNamespace(writer=disk, clock_ms=lambda: clock[0], on_changes=lambda changes: None)
    channel = SimpleNamespace(name="m")
    pace = Pace(Limits(), timezone_minutes=0, chance=cast(Any, None))
    pump = Pump(cast(Any, channel), cast(PumpContext, context), pace)
    async with asyncio.timeout(10):
        await pump._record(cast(Any, "settle"), 7, "m", clock[0], None, clock[0] + 2_000)
    return disk.written[0]


async def test_result_written_after_the_clock_was_set_back_has_the_new_time(monkeypatch: Any) -> None:
    """Seed 40031 of the torture bench: webhooks of four messages were due in 40 days."""
    number, channel, at, nothing, due = await record(monkeypatch, -DAYS_40)
    assert (number, channel, nothing, due - at) == (7, "m", None, 2_000)
    assert abs(at - BUILT_MS) < 5_000  # the moments that pass between the two looks at the clock


async def test_result_that_only_waited_keeps_the_time_at_which_it_came(monkeypatch: Any) -> None:
    at = BUILT_MS + DAYS_40
    assert await record(monkeypatch, 1_000) == (7, "m", at, None, at + 2_000)
