"""The assistant's page: the model's endpoint, what it costs, the last questions, and the knowledge."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from appliance.store import asking, knowledge
from appliance.store.assistant import open_questions
from appliance.store.audit import audit
from appliance.web.access import check_page, check_same_origin
from appliance.web.moderation import actor_of
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services

__all__ = ["AssistantPages"]

ENTRIES_SHOWN: Final = 500
_TONES: Final = {"closed": "good", "open": "bad", "half-open": "warn"}
_STATES: Final = {"closed": "works", "open": "rests", "half-open": "is tried"}
_TOLD: Final = {"model": "good", "knowledge": "done", "person": "warn", "": "work"}


class AssistantPages:
    """Routes in, reads and ops out. page: made at the first view. html: makes a response of a page."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def show(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        return await self._shown(200)

    async def bring(self, request: web.Request) -> web.StreamResponse:
        """A file of knowledge. Field: file, by its name as `outpost knowledge` takes it."""
        self._check(request)
        fields = await request.post()
        upload = fields.get("file")
        if not isinstance(upload, web.FileField):
            return await self._shown(400, ["Choose a file first."])
        name = upload.filename.replace("\\", "/").rpartition("/")[2]
        try:
            plan = knowledge.read_file(name, upload.file.read())
        except knowledge.KnowledgeErrors as errors:
            return await self._shown(400, errors.lines[:20])
        now_ms, actor = self._services.clock_ms(), actor_of(request)

        def write(db: sqlite3.Connection) -> None:
            changed, gone, _ = knowledge.bring(db, plan)
            audit(db, now_ms, actor, "knowledge.bring", f"{name}: {changed} new or changed, {gone} gone")

        await self._services.store.writer.run(write)
        return web.Response(status=303, headers={"Location": "/assistant"})

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Take one entry out."""
        self._check(request)
        entry, now_ms, actor = int(request.match_info["id"]), self._services.clock_ms(), actor_of(request)

        def write(db: sqlite3.Connection) -> bool:
            removed = knowledge.remove(db, entry)
            if removed:
                audit(db, now_ms, actor, "knowledge.remove", f"entry {entry}")
            return removed

        if not await self._services.store.writer.run(write):
            raise Problem(404, "no-such-entry", "That entry is gone already.")
        return web.Response(status=303, headers={"Location": "/assistant"})

    def _check(self, request: web.Request) -> None:
        check_page(request, self._services.settings)
        check_same_origin(request, self._services.settings)

    async def _shown(self, status: int, faults: list[str] | None = None) -> web.Response:
        services = self._services
        day = asking.day_of(services.clock_ms(), services.settings.timezone_minutes)

        def read(db: sqlite3.Connection) -> dict[str, Any]:
            entries = knowledge.entries(db)
            return {
                "spent": asking.spent_on(db, day),
                "people": asking.spent_by(db, day, "asker"),
                "clients": asking.spent_by(db, day, "client"),
                "recent": asking.recent(db),
                "questions": len(open_questions(db)),
                "count": len(entries),
                "entries": entries[:ENTRIES_SHOWN],
            }

        view = await services.store.reader.run(read)
        model = services.model()
        breaker = model.get("breaker", {})
        html = self._page().render(
            "assistant.html",
            **view,
            model=model,
            state=_STATES.get(breaker.get("state", ""), ""),
            state_tone=_TONES.get(breaker.get("state", ""), "wait"),
            told_tone=_TOLD.get,
            faults=faults or [],
        )
        return self._html(html, status)
