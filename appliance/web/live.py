"""`GET /events`: the page kept live by server-sent events (WHATWG HTML, 9.2).

One task renders for all who look, at most twice a second however fast messages come, and sends each
browser the parts that differ from what it has. With nobody looking nothing runs. A browser that reads
slowly skips versions instead of being queued for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from appliance.web.problem import Problem
from appliance.web.services import Feed

__all__ = ["Live"]

logger = logging.getLogger(__name__)

MAX_VIEWERS: Final = 32  # each costs a connection and its own last version
MIN_INTERVAL_S: Final = 0.5
# Signal, queue age and memory change without a word in the feed. It is also the keep-alive.
MAX_INTERVAL_S: Final = 3.0
RETRY_MS: Final = 2000

Render = Callable[[], Awaitable[dict[str, str]]]


class _Viewer:
    """One open page: what it has, what it is to get, and the bell that wakes its sender."""

    def __init__(self) -> None:
        self.has: dict[str, int] = {}
        self.due: dict[str, str] = {}
        self.bell = asyncio.Event()
        self.closing = False

    def offer(self, parts: dict[str, str]) -> None:
        for name, html in parts.items():
            digest = hash(html)
            if self.has.get(name) != digest:
                self.has[name] = digest
                self.due[name] = html
        self.bell.set()


class Live:
    """The viewers and the task that renders for them."""

    def __init__(self, render: Render, feed: Feed) -> None:
        self._render = render
        self._viewers: set[_Viewer] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe = feed.subscribe(self._on_change)

    def _on_change(self, _change: dict[str, Any]) -> None:
        if self._viewers:
            self._changed.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send parts as they change, {"<part>": "<html>", ...} each time, until the browser goes."""
        if len(self._viewers) >= MAX_VIEWERS:
            raise Problem(503, "too-many-viewers", "Too many pages are open.", headers={"Retry-After": "10"})
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        viewer = _Viewer()
        self._viewers.add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_rendering(), name="page")
        self._changed.set()
        try:
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            while not viewer.closing:
                await viewer.bell.wait()
                viewer.bell.clear()
                due, viewer.due = viewer.due, {}
                # An empty line of comment finds out whether anybody is still there.
                await response.write(b"data: " + orjson.dumps(due) + b"\n\n" if due else b":\n\n")
        except ConnectionResetError:
            pass  # the page was closed
        finally:
            self._viewers.discard(viewer)
        return response

    async def _keep_rendering(self) -> None:
        while self._viewers:
            self._changed.clear()
            try:
                parts = await self._render()
            except Exception:  # a page that cannot be drawn now must not end the live view for ever
                logger.exception("the page could not be rendered")
                parts = {}
            for viewer in self._viewers:
                viewer.offer(parts)
            await asyncio.sleep(MIN_INTERVAL_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAX_INTERVAL_S - MIN_INTERVAL_S):
                    await self._changed.wait()

    async def close(self) -> None:
        """Let every open page go, so that the server can stop at once."""
        self._unsubscribe()
        for viewer in self._viewers:
            viewer.closing = True
            viewer.bell.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
