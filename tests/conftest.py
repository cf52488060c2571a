"""What all tests share: the event loops they run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from appliance.loop import loop_factory

HERE: Final = Path(__file__).parent
# Ports and storage also have to work where uvloop has no wheel (armv7), so their tests run on both loops.
BOTH_LOOPS: Final = ("firmware_bridge", "appliance/store", "appliance/dispatcher", "appliance/test_loop.py")

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Loops:
    chosen = loop_factory()
    ours = {chosen.__module__.partition(".")[0]: chosen}
    if item.path.relative_to(HERE).as_posix().startswith(BOTH_LOOPS):
        ours["asyncio"] = asyncio.new_event_loop
    return ours
