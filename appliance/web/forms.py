"""The forms of the page: answers to questions that no machine could answer, and a message sent by hand.
A browser that comes from another site's page is refused (`check_same_origin`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from appliance.gateway.service import Denied
from appliance.message import Lane, Outbound, normalise_number
from appliance.store.assistant import answer_question, open_questions
from appliance.store.outbound import QueuedRow
from appliance.web.access import check_page, check_same_origin
from appliance.web.moderation import actor_of
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services
from firmware_bridge.pdu import segment

__all__ = ["Forms"]

LONGEST_SEGMENTS: Final = 4
SHOWN: Final = 100


class Forms:
    """The handlers. html: makes a response with the page's headers."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def questions(self, request: web.Request) -> web.StreamResponse:
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
        if not _sendable(text):
            return await self._shown(400, f"An answer is 1 to {LONGEST_SEGMENTS} SMS long.")
        question_id, learn = int(request.match_info["id"]), "learn" in fields
        now_ms = self._services.clock_ms()

        def write(db: sqlite3.Connection) -> QueuedRow | None:
            return answer_question(db, question_id, text, actor_of(request), now_ms, keep=learn)

        queued = await self._services.store.writer.run(write)
        if queued is None:
            raise Problem(409, "answered", "Somebody answered that question before.")
        self._services.offer([queued])
        return web.Response(status=303, headers={"Location": "/questions"})

    async def send_form(self, request: web.Request) -> web.StreamResponse:
        """An empty form for a message."""
        check_page(request, self._services.settings)
        self._need_send()
        return self._html(self._page().send(), 200)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send one message by hand, as a technician does to try a modem, and show its life."""
        settings = self._services.settings
        check_page(request, settings)
        check_same_origin(request, settings)
        send = self._need_send()
        fields = await request.post()
        to, text = str(fields.get("to", "")), str(fields.get("text", "")).replace("\r\n", "\n").strip()
        number = normalise_number(to, settings.region)
        if number is None or not _sendable(text):
            fault = (
                "That is not a mobile number."
                if number is None
                else f"A message is 1 to {LONGEST_SEGMENTS} SMS long."
            )
            return self._html(self._page().send(to, text, fault), 400)
        outbound_id = await send(Outbound(recipient=number, text=text, lane=Lane.NORMAL))
        return web.Response(status=303, headers={"Location": f"/messages/out/{outbound_id}"})

    async def ussd(self, request: web.Request) -> web.StreamResponse:
        """Dial a code that the modem's list allows, and show the answers on its page."""
        settings, name = self._services.settings, request.match_info["name"]
        check_page(request, settings)
        check_same_origin(request, settings)
        fields = await request.post()
        code, replies = str(fields.get("code", "")).strip(), str(fields.get("replies", "")).split()
        shown: dict[str, Any] = {"code": code, "replies": " ".join(replies), "answers": (), "fault": ""}
        status = 200
        try:
            if self._services.gateway is None or self._services.gateway.dial is None:
                raise Denied(404, "not-found", "Nothing can be dialled from here.")
            shown["answers"] = (await self._services.gateway.dial(name, code, replies)).answers
        except Denied as error:
            shown["fault"], status = str(error), error.status
        html = await self._page().modem(name, shown)
        if html is None:
            raise Problem(404, "no-such-modem", "There is no modem of that name.")
        return self._html(html, status)

    def _need_send(self) -> Callable[[Outbound], Awaitable[int]]:
        if self._services.send is None:
            raise Problem(404, "not-found", "Nothing can be sent from here.")
        return self._services.send

    async def _shown(self, status: int, fault: str = "") -> web.Response:
        rows = await self._services.store.reader.run(open_questions, SHOWN)
        return self._html(self._page().questions(rows, fault), status)


def _sendable(text: str) -> bool:
    return bool(text) and "\x00" not in text and len(segment(text).parts) <= LONGEST_SEGMENTS
