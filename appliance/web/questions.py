"""The inbox of a person: questions that no machine could answer, and the answers given on the page.

The only forms of the page. A browser that comes from another site's page is refused (`check_same_origin`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from aiohttp import web

from appliance.store.assistant import answer_question, open_questions
from appliance.web.access import check_page, check_same_origin
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services
from firmware_bridge.pdu import segment

__all__ = ["Questions"]

LONGEST_SEGMENTS: Final = 4
SHOWN: Final = 100
ANSWERED_BY: Final = "the page"


class Questions:
    """The two handlers. html: makes a response with the page's headers."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def show(self, request: web.Request) -> web.StreamResponse:
        """What waits for an answer, the oldest first."""
        check_page(request, self._services.settings)
        return await self._shown(200)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send an answer as SMS and, if ticked, keep it as knowledge; then show what is left."""
        settings = self._services.settings
        check_page(request, settings)
        check_same_origin(request, settings)
        fields = await request.post()
        text = str(fields.get("answer", "")).replace("\r\n", "\n").strip()
        parts = len(segment(text).parts) if text and "\x00" not in text else 0
        if not 1 <= parts <= LONGEST_SEGMENTS:
            return await self._shown(400, f"An answer is 1 to {LONGEST_SEGMENTS} SMS long.")
        question_id, learn = int(request.match_info["id"]), "learn" in fields
        now_ms = self._services.clock_ms()

        def write(db: sqlite3.Connection) -> bool:
            return answer_question(db, question_id, text, ANSWERED_BY, now_ms, learn=learn) is not None

        if not await self._services.store.writer.run(write):
            raise Problem(409, "answered", "Somebody answered that question before.")
        return web.Response(status=303, headers={"Location": "/questions"})

    async def _shown(self, status: int, fault: str = "") -> web.Response:
        rows = await self._services.store.reader.run(open_questions, SHOWN)
        return self._html(self._page().questions(rows, fault), status)
