"""The page of messages that were set aside, and the button that gives one another turn."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from appliance.store import aside
from appliance.web.access import check_page, check_same_origin
from appliance.web.moderation import actor_of
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services

__all__ = ["AsidePages"]


class AsidePages:
    """Routes in, reads and one op out. page: made at the first view. html: makes a response of a page."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def all(self, request: web.Request) -> web.StreamResponse:
        """What was set aside, the newest first."""
        check_page(request, self._services.settings)
        rows = await self._services.store.reader.run(aside.waiting)
        return self._html(self._page().render("aside.html", messages=rows), 200)

    async def again(self, request: web.Request) -> web.StreamResponse:
        """Give one another turn, for a cause that was mended; then show its life."""
        settings = self._services.settings
        check_page(request, settings)
        check_same_origin(request, settings)
        number = int(request.match_info["id"])
        now_ms = self._services.clock_ms()
        if not await self._services.store.writer.run(aside.release, number, now_ms, actor_of(request)):
            raise Problem(409, "not-set-aside", "That message is not set aside.")
        return web.Response(status=303, headers={"Location": f"/messages/in/{number}"})
