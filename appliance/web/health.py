"""`GET /healthz` and `GET /readyz`: is the process alive, and can it do its work."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

import orjson
from aiohttp import web

from appliance.web.services import Runner, Services

__all__ = ["Health", "workers_ready"]

_DEADLINE_S: Final = 2.0  # a writer that takes longer for nothing is as good as dead to a watchdog
_WORKING: Final = ("ready", "idle", "busy")


def _nothing(db: sqlite3.Connection) -> int:
    value: int = db.execute("SELECT 1").fetchone()[0]
    return value


async def _answers(runner: Runner) -> bool:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await runner.run(_nothing) == 1
    except Exception:  # whatever it is, the answer is no; the owner of the thread logs it
        return False


def workers_ready(services: Services) -> int:
    """How many workers could take a turn now."""
    workers = services.dispatcher.snapshot().get("workers", ())
    return sum(1 for worker in workers if worker.get("state") in _WORKING)


class Health:
    """The two handlers. Neither needs a secret: they say nothing about anybody."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def alive(self, _request: web.Request) -> web.StreamResponse:
        """200 while the loop runs (it answers) and the writer takes and commits an empty op; 503 else."""
        writer = await _answers(self._services.store.writer)
        return _json({"alive": writer, "loop": "ok", "writer": "ok" if writer else "does not answer"}, writer)

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """200 when a message posted now would be stored and answered; 503 names what is missing."""
        missing = []
        if not await _answers(self._services.store.reader):
            missing.append("store: the database does not answer reads")
        if not await _answers(self._services.store.writer):
            missing.append("store: the writer does not answer")
        if not workers_ready(self._services):
            missing.append("workers: none is ready")
        if self._services.dispatcher.full:
            missing.append("dispatcher: the queue is full")
        return _json({"ready": not missing, "missing": missing}, not missing)


def _json(body: object, good: bool) -> web.Response:
    return web.Response(
        status=200 if good else 503,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
