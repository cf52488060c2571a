"""The one place that picks the event loop: uvloop where it is installed, asyncio's own elsewhere.

No wheel of uvloop exists for armv7, so the appliance must run without it; the tests of ports and storage
run on both. OUTPOST_LOOP=asyncio chooses the stock loop by hand.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["loop_factory", "loop_name", "run"]

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a new event loop, for asyncio.Runner and for tests."""
    if os.environ.get("OUTPOST_LOOP") == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def loop_name() -> str:
    return loop_factory().__module__.partition(".")[0]


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on the loop of choice."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
