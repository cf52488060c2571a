"""The pages of the chat's admins: who talks and waits, both sides of a pair, reports, bans. Every view of
people is in the audit log before it is shown, under the name of the sign-in.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import hdrs, web

from appliance.message import normalise_number
from appliance.store import moderation as ops
from appliance.store.audit import audit
from appliance.store.outbound import QueuedRow
from appliance.web.access import check_page, check_same_origin, is_local
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services

__all__ = ["BAN_HOURS", "ModerationPages", "actor_of"]

BAN_HOURS: Final = {"1 hour": 1, "1 day": 24, "1 week": 168, "1 month": 720, "1 year": 8760}
REASON_CHARS: Final = 200
_NAME_CHARS: Final = 64


def actor_of(request: web.Request) -> str:
    """Who looks: the name of the sign-in, which is checked by its password only; else the machine."""
    scheme, _, blob = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name = base64.b64decode(blob, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            name = ""
        plain = "".join(char for char in name if char.isprintable()).strip()
        if plain:
            return plain[:_NAME_CHARS]
    return "this machine" if is_local(request) else "somebody with the page password"


class ModerationPages:
    """Routes in, reads and ops out. page: made at the first view. html: makes a response of a page."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[[str, int], web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def all(self, request: web.Request) -> web.StreamResponse:
        """Who talks, waits, was reported, flagged or banned."""
        check_page(request, self._services.settings)
        return await self._all(request, 200)

    async def _all(self, request: web.Request, status: int, fault: str = "") -> web.Response:
        services = self._services
        now_ms = services.clock_ms()

        def read(db: sqlite3.Connection) -> dict[str, Any]:
            return {
                "pairs": ops.live_pairs(db),
                "waiting": ops.waiting(db),
                "reports": ops.open_reports(db),
                "flags": ops.recent_flags(db),
                "bans": ops.banned(db, now_ms),
                "looks": ops.looks(db),
            }

        view = await services.store.reader.run(read)
        if view["reports"] or view["flags"] or view["bans"]:
            shown = [f"{len(view[name])} {name}" for name in ("reports", "flags", "bans") if view[name]]
            await self._note(request, "chat.list", ", ".join(shown))
        html = self._page().render("chat.html", **view, ban_hours=BAN_HOURS, fault=fault)
        return self._html(html, status)

    async def pair(self, request: web.Request) -> web.StreamResponse:
        """Both sides of one pair, with what is known of them and what they said."""
        check_page(request, self._services.settings)
        pair_id = int(request.match_info["id"])
        view = await self._services.store.reader.run(ops.view, pair_id)
        if view is None:
            raise Problem(404, "no-such-pair", "There was no such pair.")
        await self._note(request, "chat.look", f"pair {pair_id}")
        return self._html(self._page().render("chat_pair.html", pair=view, ban_hours=BAN_HOURS), 200)

    async def end(self, request: web.Request) -> web.StreamResponse:
        """End a pair; both are told."""
        self._check(request)
        pair_id, now_ms, actor = int(request.match_info["id"]), self._services.clock_ms(), actor_of(request)

        def write(db: sqlite3.Connection) -> list[QueuedRow]:
            view = ops.view(db, pair_id)
            sides = () if view is None else view.sides
            notices = {side.number: self._services.say(side.language, "chat.partner_left") for side in sides}
            return ops.end(db, pair_id, notices, now_ms, actor=actor)

        await self._write(write)
        return _back(f"/chat/{pair_id}")

    async def ban(self, request: web.Request) -> web.StreamResponse:
        """Keep somebody out for a while. Fields: number, hours, reason, back."""
        fields = await self._fields(request)
        number = normalise_number(str(fields.get("number", "")), self._services.settings.region)
        hours = str(fields.get("hours", ""))
        if number is None or not hours.isdigit() or int(hours) not in BAN_HOURS.values():
            return await self._all(request, 400, "Want a mobile number and how long.")
        now_ms, actor = self._services.clock_ms(), actor_of(request)
        reason = str(fields.get("reason", "")).strip()[:REASON_CHARS]
        until_ms = now_ms + int(hours) * 3_600_000
        say = self._services.say

        def write(db: sqlite3.Connection) -> list[QueuedRow]:
            partner = ops.partner_of(db, number)
            notice = "" if partner is None else say(partner[1], "chat.partner_left")
            return ops.ban(db, number, until_ms, reason, now_ms, actor=actor, notice=notice)

        await self._write(write)
        return _back(_place(fields.get("back")))

    async def unban(self, request: web.Request) -> web.StreamResponse:
        """Let somebody in again. Field: number."""
        fields = await self._fields(request)
        number, now_ms, actor = str(fields.get("number", "")), self._services.clock_ms(), actor_of(request)

        def write(db: sqlite3.Connection) -> list[QueuedRow]:
            ops.unban(db, number, now_ms, actor=actor)
            return []

        await self._write(write)
        return _back("/chat")

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Close a report. Fields: upheld ("yes" or "no"); hours, if above 0, bans who was reported."""
        fields = await self._fields(request)
        report_id, now_ms, actor = int(request.match_info["id"]), self._services.clock_ms(), actor_of(request)
        upheld, hours = fields.get("upheld") == "yes", str(fields.get("hours", "0"))
        ban_ms = int(hours) * 3_600_000 if hours.isdigit() and int(hours) in BAN_HOURS.values() else 0
        say = self._services.say

        def write(db: sqlite3.Connection) -> list[QueuedRow] | None:
            report = ops.decide(db, report_id, upheld, now_ms, actor=actor)
            if report is None:
                return None
            if not (upheld and ban_ms):
                return []
            partner = ops.partner_of(db, report.reported)
            notice = "" if partner is None else say(partner[1], "chat.partner_left")
            reason = f"report {report_id}"
            return ops.ban(db, report.reported, now_ms + ban_ms, reason, now_ms, actor=actor, notice=notice)

        if not await self._write(write):
            raise Problem(409, "decided", "That report was closed before.")
        return _back("/chat")

    # -- what they share

    def _check(self, request: web.Request) -> None:
        check_page(request, self._services.settings)
        check_same_origin(request, self._services.settings)

    async def _fields(self, request: web.Request) -> Any:
        self._check(request)
        return await request.post()

    async def _write(self, op: Callable[[sqlite3.Connection], Sequence[QueuedRow] | None]) -> bool:
        """Run an op and hand what it put on the queue to the modems; False when it gave None."""
        rows = await self._services.store.writer.run(op)
        if rows:
            self._services.offer(rows)
        return rows is not None

    async def _note(self, request: web.Request, action: str, what: str) -> None:
        now_ms, actor = self._services.clock_ms(), actor_of(request)
        await self._services.store.writer.run(audit, now_ms, actor, action, what)


def _place(back: object) -> str:
    """Where to go afterwards: a page of the chat and nowhere else."""
    text = str(back or "")
    return text if text.startswith("/chat/") and text.removeprefix("/chat/").isdigit() else "/chat"


def _back(place: str) -> web.Response:
    return web.Response(status=303, headers={"Location": place})
