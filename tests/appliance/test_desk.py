"""The operator's desk over the control socket: what is asked wrongly is told, not answered by nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Config
from appliance.control import ControlError
from appliance.desk import handlers
from appliance.store.store import Store
from appliance.store.timetable import import_folder

SAMPLE = Path(__file__).parents[2] / "config" / "data"
NOW_MS = 1_795_334_400_000  # 2026-11-22 08:00 UTC


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """With the sample timetable."""
    store = await Store.open(tmp_path)
    await store.writer.run(
        lambda db: import_folder(db, SAMPLE, now_ms=NOW_MS, seats_per_bus=45, timezone_minutes=180)
    )
    yield store
    await store.close()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"date": "tomorrow"}, "such as 2026-11-23"),
        ({"origin": "Adis Abeba"}, "no town of the timetable is called 'Adis Abeba'; near: Addis Ababa"),
        ({"destination": ""}, "no town of the timetable is called ''; near: "),
    ],
)
@pytest.mark.parametrize("op", ["manifest", "cancel_bus"])
async def test_desk_day_or_town_that_is_none_is_told(
    store: Store, op: str, asked: dict[str, str], told: str
) -> None:
    request: dict[str, Any] = {
        "origin": "Addis Ababa", "destination": "Hawassa", "date": "2026-11-23", "time": "05:30", **asked
    }  # fmt: skip
    with pytest.raises(ControlError) as refused:
        await handlers(store, Config(), lambda: NOW_MS)[op](request)
    assert told in str(refused.value)


async def test_desk_town_is_found_whatever_its_capitals(store: Store) -> None:
    request = {"origin": "ADDIS ABABA", "destination": "hawassa", "date": "2026-11-23", "time": "05:30"}
    asked = handlers(store, Config(), lambda: NOW_MS)
    assert await asked["cancel_bus"](request) == {"told": 0}
    departures = (await asked["manifest"](request))["departures"]
    assert [(departure["time"], departure["state"]) for departure in departures] == [("05:30", "cancelled")]
