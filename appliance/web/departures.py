"""The pages of departures: what leaves soon, and who travels on one of them, also as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from appliance.store.departures import Manifest, manifest, upcoming
from appliance.web.access import check_page
from appliance.web.problem import Problem
from appliance.web.services import Services

if TYPE_CHECKING:
    from appliance.web.page import Page

__all__ = ["DeparturePages"]


class DeparturePages:
    """The handlers. html: makes a response with the page's headers."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Departures to come that have seats sold or held, the next first."""
        check_page(request, self._services.settings)
        rows = await self._services.store.reader.run(upcoming, self._services.clock_ms())
        return self._html(self._page().render("departures.html", departures=rows), 200)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Who travels, in the order of the seats."""
        found = await self._found(request)
        return self._html(self._page().render("departure.html", departure=found), 200)

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """The same for a spreadsheet, with a byte order mark so that it reads the letters right."""
        found = await self._found(request)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("seats", "code", "names", "phone", "state"))
        for who in found.passengers:
            writer.writerow(map(_safe, (who.numbers, who.code, who.names, who.holder, who.state)))
        name = f"manifest-{found.date}-{found.minute // 60:02}{found.minute % 60:02}-{found.id}.csv"
        return web.Response(
            body=b"\xef\xbb\xbf" + text.getvalue().encode(),
            headers={"Content-Type": "text/csv", "Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def _found(self, request: web.Request) -> Manifest:
        check_page(request, self._services.settings)
        found = await self._services.store.reader.run(manifest, int(request.match_info["id"]))
        if found is None:
            raise Problem(404, "not-found", "There is no such departure.")
        return found


def _safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: names are what strangers typed."""
    return "'" + cell if cell[:1] in ("=", "-", "@", "\t", "\r") else cell
