"""A vendor's API on a local port, faithful to its documents, with faults to order.

What a test sets: `faults`, used up one a request, before the vendor's own rules. What it reads: `accepted`,
the messages the vendor took, whatever became of the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["Fault", "Vendor", "json_response"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    kind: "status" (answer `status` with `headers` and `body`), "silence" (accept, never answer), "reset"
    (accept, then break the connection), "reset_before" (break it unread), "garbage" (accept, answer what is
    no JSON), "huge" (accept, answer without end), "redirect".
    """

    kind: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "{}"


class Vendor:
    """Base of the emulators: `async with Vendor() as vendor`, then `vendor.url`."""

    path = "/"
    method = "POST"

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.accepted: list[dict[str, str]] = []
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.limit: tuple[int, float] | None = None  # so many requests in so many seconds; 429 beyond
        self.limited = 0
        self._times: deque[float] = deque()
        self.release = asyncio.Event()  # lets silent requests end
        self._runner: web.AppRunner | None = None
        self.base = ""

    @property
    def url(self) -> str:
        return self.base + self.path

    async def __aenter__(self) -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            if request.path != self.path or request.method != self.method:
                return web.Response(status=404, text="no such call")
            if self._too_many():
                return web.Response(status=429, headers={"Retry-After": "1"}, text="slow down")
            return await self.answer(request)
        return await self._fail(request, fault)

    def _too_many(self) -> bool:
        if self.limit is None:
            return False
        most, seconds = self.limit
        now = asyncio.get_running_loop().time()
        while self._times and self._times[0] <= now - seconds:
            self._times.popleft()
        if len(self._times) >= most:
            self.limited += 1
            return True
        self._times.append(now)
        return False

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.kind == "status":
            return web.Response(
                status=fault.status, headers=fault.headers, text=fault.body, content_type="application/json"
            )
        if fault.kind == "redirect":
            return web.Response(status=302, headers={"Location": self.base + "/elsewhere"})
        if fault.kind == "reset_before":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        await self.answer(request)  # it takes the message, and then ...
        if fault.kind == "silence":
            await self.release.wait()
        elif fault.kind == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif fault.kind == "garbage":
            return web.Response(status=201, text="<html>Bad gateway?")
        elif fault.kind == "huge":
            return web.Response(status=201, body=b" " * 1_000_000)
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError


def json_response(tree: Any, status: int = 200) -> web.Response:
    return web.json_response(tree, status=status)
