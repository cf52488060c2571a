"""The page of payments, what a person decides there, telebirr's callback and a passenger's link to pay.

The page is for the operator. The callback and the link are for anybody: the one is proved by its signature,
the other shows no more than where a booking whose code is known is paid.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from appliance.payments.desk import PaymentDesk
from appliance.web.access import check_page, check_same_origin
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import WebSettings

__all__ = ["PaymentPages"]

log = logging.getLogger(__name__)

BY: Final = "the page"
MAX_CALLBACK_OCTETS: Final = 16 * 1024
# A sister deployment of telebirr's platform expects this answer; the vendor's own documents name none.
_TAKEN: Final = {"returnCode": "SUCCESS", "returnMsg": "OK"}
# The colour of a refund's or an order's state: wait, work, good, done, warn, bad, quiet.
_TONES: Final = {
    "asking": "work", "doubt": "warn", "open": "work", "lost": "quiet", "paid": "good", "closed": "quiet",
    "refused": "warn", "unclear": "bad", "unclaimed": "warn",
}  # fmt: skip
_LINK: Final = {
    "soon": "One moment: telebirr is being asked. This page tries again by itself.",
    "paid": "This booking is paid. The ticket came by SMS.",
    "over": "This booking cannot be paid here any more. Text STATUS to see what you have.",
    "done": "Thank you. The ticket comes by SMS as soon as telebirr confirms.",
}


class PaymentPages:
    """The handlers. html: makes a response with the page's headers."""

    def __init__(
        self,
        desk: PaymentDesk,
        settings: WebSettings,
        page: Callable[[], Page],
        html: Callable[[str, int], web.Response],
    ) -> None:
        self._desk, self._settings = desk, settings
        self._page, self._html = page, html

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Balances, money that waits for a person, what is owed back, the latest orders and entries."""
        check_page(request, self._settings)
        return await self._shown(200)

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """The ledger for a spreadsheet."""
        check_page(request, self._settings)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": 'attachment; filename="ledger.csv"',
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        async for piece in self._desk.csv():
            await response.write(piece)
        return response

    async def receipt(self, request: web.Request) -> web.StreamResponse:
        """A person says for which booking some money was, or that it was sent back."""
        fields = await self._form(request)
        number = int(request.match_info["id"])
        if "returned" in fields:
            why = await self._desk.return_by_hand(number, BY)
        else:
            why = await self._desk.assign(number, fields.get("other") or fields.get("code", ""), BY)
        return await self._decided(why)

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """A person says what became of a refund that telebirr did not answer for."""
        fields = await self._form(request)
        number = int(request.match_info["id"])
        return await self._decided(
            await self._desk.decide_refund(number, BY, was_paid=fields.get("was") == "paid")
        )

    async def _form(self, request: web.Request) -> dict[str, str]:
        check_page(request, self._settings)
        check_same_origin(request, self._settings)
        return {key: str(value).strip() for key, value in (await request.post()).items()}

    async def _decided(self, why: str) -> web.StreamResponse:
        if why:
            return await self._shown(409, why)
        return web.Response(status=303, headers={"Location": "/payments"})

    async def _shown(self, status: int, fault: str = "") -> web.Response:
        view = await self._desk.overview()
        return self._html(self._page().render("payments.html", fault=fault, tones=_TONES, **view), status)

    async def callback(self, request: web.Request) -> web.StreamResponse:
        """telebirr tells of a payment. Answered after the commit; a repeated one changes nothing."""
        callbacks = self._desk.callbacks
        if callbacks is None:
            raise Problem(404, "not-found", "telebirr is not configured.")
        body = await request.content.read(MAX_CALLBACK_OCTETS + 1)
        try:
            message = json.loads(body) if len(body) <= MAX_CALLBACK_OCTETS else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Problem(400, "not-json", "A callback is a JSON object.")
        heard = await callbacks.heard(message)
        if heard.status != 200:
            log.warning("telebirr: a callback was refused: %s", heard.why)
            raise Problem(heard.status, "callback-refused", f"Refused: {heard.why}.")
        return web.json_response(_TAKEN)

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Lead a passenger's browser to telebirr's own page."""
        code = request.match_info["code"].upper()
        callbacks = self._desk.callbacks
        if code == "DONE":
            state, address = "done", ""
        elif callbacks is None:
            state, address = "over", ""
        else:
            state, address = await callbacks.link(code)
        if state == "pay":
            return web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
        response = self._html(self._page().render("pay.html", code=code, words=_LINK[state]), 200)
        if state == "soon":
            response.headers["Refresh"] = "3"
        return response
