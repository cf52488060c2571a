"""The switch between calm and pressure: by itself, not at the first sign, and known to the workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.pressure import LOOKS_TO_END, Pressure
from appliance.store.booking_look import BookingLook
from appliance.store.store import Store
from appliance.store.timetable import import_sample

NOW_MS = 1_795_334_400_000  # 2026-11-22 08:00 UTC
WAY = ("Addis Ababa", "Hawassa", "2026-11-23")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    await store.writer.run(lambda db: import_sample(db, now_ms=NOW_MS))
    yield store
    await store.close()


async def test_pressure_begins_at_the_second_look_and_ends_after_a_calm_minute(store: Store) -> None:
    now: dict[str, Any] = {"queued": 0, "oldest_ms": None}
    pressure = Pressure(store, lambda: now, lambda: NOW_MS)
    await pressure.look()
    now = {"queued": 3, "oldest_ms": 6_000}
    await pressure.look()
    assert not pressure.pressed
    await pressure.look()
    assert (pressure.pressed, pressure.remember_s) == (True, 1800)
    now = {"queued": 0, "oldest_ms": None}
    for _ in range(LOOKS_TO_END - 1):
        await pressure.look()
    assert pressure.pressed
    await pressure.look()
    assert (pressure.pressed, pressure.remember_s) == (False, 300)


async def test_pressure_makes_the_workers_remember_searches_for_half_an_hour(store: Store) -> None:
    pressure = Pressure(store, lambda: {"queued": 1000}, lambda: NOW_MS)

    def remembered(db: Any, minutes: int) -> int:
        look = BookingLook(db)
        assert look.version
        look.trips(*WAY, NOW_MS)
        look.trips(*WAY, NOW_MS + minutes * 60_000)
        return look.remembered

    assert [await store.reader.run(remembered, minutes) for minutes in (4, 6)] == [1, 0]
    await pressure.look()
    await pressure.look()
    assert [await store.reader.run(remembered, minutes) for minutes in (6, 29, 31)] == [1, 1, 0]
