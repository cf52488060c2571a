"""The pages about the businesses: all of them with the prices, one with its traffic, money, webhooks and
campaigns, one webhook with what it was told, and the audit log.

For the operator only: they are asked for as the rest of the page is, without a client's key. What the
forms on them do is in `client_forms`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from appliance.store import analytics, campaigns, client_inbound, endpoints
from appliance.store import gateway as ops
from appliance.store import prices as price_ops
from appliance.store.analytics import Volume
from appliance.store.audit import audit_log
from appliance.store.gateway import Client
from appliance.web.access import check_page
from appliance.web.page import Page
from appliance.web.problem import Problem
from appliance.web.services import Services
from appliance.web.v1.usage import as_csv

__all__ = ["ClientPages"]

_DAY_MS: Final = 86_400_000
_SHOWN: Final = {"day": 31 * _DAY_MS, "hour": 2 * _DAY_MS}
_CAMPAIGNS_SHOWN: Final = 10
_CLIENTS_SHOWN: Final = 1_000
_DELIVERIES_SHOWN: Final = 100
_AUDIT_SHOWN: Final = 300
_CLIENT_LOG_SHOWN: Final = 10
_TONES: Final = {
    "active": "good",
    "suspended": "bad",
    "paused": "warn",
    "gone": "bad",
    "scheduled": "wait",
    "running": "work",
    "done": "good",
    "cancelled": "quiet",
    "waiting": "wait",
    "pending": "work",
    "dead": "bad",
}
_NOTHING: Final = {"gone": 0, "failed": 0}
_GONE_OUT: Final = ("sent", "delivered", "unknown")


class ClientPages:
    """Routes in, reads out. page: made at the first view."""

    def __init__(
        self, services: Services, page: Callable[[], Page], html: Callable[..., web.Response]
    ) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def all(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        return await self.list_page(200)

    async def list_page(self, status: int, fault: str = "") -> web.Response:
        """All clients and the price list; with what was wrong with a form."""
        reader, now_ms = self._services.store.reader, self._services.clock_ms()
        found, prices = await reader.run(ops.clients), await reader.run(price_ops.price_list)
        return self._answer(
            "clients.html",
            status,
            clients=found[:_CLIENTS_SHOWN],
            count=len(found),
            prices=_prices(prices, now_ms),
            fault=fault,
        )

    async def one(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        return await self.client_page(int(request.match_info["id"]), 200, by=_by(request))

    async def client_page(
        self,
        client_id: int,
        status: int,
        *,
        by: str = "day",
        fault: str = "",
        shown: tuple[str, str] = ("", ""),
    ) -> web.Response:
        """One client. fault: what was wrong with a form. shown: a secret's name and itself, this once."""
        view = await self._services.store.reader.run(self._view, client_id, by)
        if view is None:
            raise Problem(404, "no-such-client", "There is no such client.")
        return self._answer("client.html", status, by=by, fault=fault, shown=shown, **view)

    async def hook(self, request: web.Request) -> web.StreamResponse:
        """One webhook: what it was told and what was given up, each to be told again."""
        check_page(request, self._services.settings)
        client_id, hook_id = int(request.match_info["id"]), int(request.match_info["hook"])
        state = request.query.get("state")
        if state not in (None, "waiting", "pending", "done", "dead"):
            raise Problem(400, "bad-parameter", "state: expected waiting, pending, done or dead.")

        def read(db: sqlite3.Connection) -> tuple[Any, Any, list[endpoints.Delivery]]:
            return (
                ops.client_by_id(db, client_id),
                endpoints.endpoint_of(db, client_id, hook_id),
                endpoints.deliveries(db, hook_id, state, None, _DELIVERIES_SHOWN),
            )

        client, hook, told = await self._services.store.reader.run(read)
        if client is None or hook is None:
            raise Problem(404, "no-such-webhook", "There is no such webhook.")
        return self._answer("webhook.html", 200, client=client, hook=hook, told=told, state=state)

    async def audit(self, request: web.Request) -> web.StreamResponse:
        """Who did what to clients, keys, credit, prices, rules, webhooks and campaigns."""
        check_page(request, self._services.settings)
        rows = await self._services.store.reader.run(audit_log, _AUDIT_SHOWN)
        return self._answer("audit.html", 200, entries=rows)

    async def csv(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        by, client_id = _by(request), int(request.match_info["id"])
        rows = await self._services.store.reader.run(self._volume, client_id, by)
        return web.Response(
            body=as_csv(rows),
            content_type="text/csv",
            charset="utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="client-{client_id}-by-{by}.csv"',
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )

    def _answer(self, template: str, status: int, **view: Any) -> web.Response:
        return self._html(self._page().render(template, client_tone=_TONES.get, **view), status)

    def _volume(self, db: sqlite3.Connection, client_id: int, by: str) -> list[Volume]:
        now_ms = self._services.clock_ms()
        offset = self._services.settings.timezone_minutes
        return analytics.volume(db, client_id, now_ms - _SHOWN[by], now_ms + 1, offset, by)

    def _view(self, db: sqlite3.Connection, client_id: int, by: str) -> dict[str, Any] | None:
        client = ops.client_by_id(db, client_id)
        if client is None:
            return None
        now_ms = self._services.clock_ms()
        known = {row["period"]: row for row in _periods(self._volume(db, client_id, by))}
        offset = self._services.settings.timezone_minutes
        slots = _slots(now_ms, offset, by)
        periods = [known[slot] for slot in slots if slot in known]
        return {
            "client": client,
            "facts": _facts(client),
            "periods": list(reversed(periods)),
            "chart": _chart([known.get(slot, _NOTHING) for slot in slots]),
            "lanes": analytics.lane_figures(db, client_id, now_ms - _SHOWN[by], now_ms + 1),
            "keys": [key for key in ops.keys_of(db, client_id) if _works(key, now_ms)],
            "hooks": endpoints.endpoints_of(db, client_id),
            "rules": client_inbound.rules_of(db, client_id),
            "campaigns": [
                {"it": each, "share": _progress(each)}
                for each in campaigns.campaigns(db, client_id, None, _CAMPAIGNS_SHOWN)
            ],
            "log": audit_log(db, _CLIENT_LOG_SHOWN, client_id),
        }


def _by(request: web.Request) -> str:
    by = request.query.get("by", "day")
    if by not in _SHOWN:
        raise Problem(400, "bad-parameter", "by: expected day or hour.")
    return by


def _works(key: ops.KeyRow, now_ms: int) -> bool:
    ends = [at_ms for at_ms in (key.expires_at_ms, key.revoked_at_ms) if at_ms is not None]
    return all(now_ms < at_ms for at_ms in ends)


def _facts(client: Client) -> list[tuple[str, str]]:
    return [
        ("units to spend", f"{client.balance:,}"),
        ("units reserved", f"{client.reserved:,}"),
        ("told to fill up below", f"{client.low_mark:,}" if client.low_mark else "–"),
        ("messages a second, at most", str(client.per_second)),
    ]


def _progress(campaign: campaigns.Campaign) -> int:
    """How far it came, in percent of its contacts."""
    seen = campaign.accepted + campaign.opted_out + campaign.refused
    return min(100, 100 * seen // campaign.contacts) if campaign.contacts else 0


def _prices(rows: Sequence[tuple[str, int, int]], now_ms: int) -> list[dict[str, Any]]:
    """Each price with whether it holds now, is to come or is past."""
    newest: dict[str, int] = {}
    for prefix, from_ms, _ in rows:
        if from_ms <= now_ms:
            newest[prefix] = from_ms
    return [
        {
            "prefix": prefix,
            "from_ms": from_ms,
            "units": units,
            "when": "to come" if from_ms > now_ms else "now" if newest[prefix] == from_ms else "past",
        }
        for prefix, from_ms, units in rows
    ]


def _slots(now_ms: int, offset_minutes: int, by: str) -> list[str]:
    """The names of all periods of the time that is shown, also of those in which nothing was sent."""
    step, form = (_DAY_MS, "%Y-%m-%d") if by == "day" else (3_600_000, "%Y-%m-%d %H:00")
    places = range(now_ms - _SHOWN[by], now_ms + 1, step)
    return [datetime.fromtimestamp(at / 1000 + offset_minutes * 60, UTC).strftime(form) for at in places]


def _periods(rows: Sequence[Volume]) -> list[dict[str, Any]]:
    """What became of the messages of each period, in order."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        period = found.setdefault(
            row.period,
            {
                "period": row.period.replace("T", " "),
                "messages": 0,
                "gone": 0,
                "delivered": 0,
                "failed": 0,
                "units": 0,
            },
        )
        period["messages"] += row.messages
        period["units"] += row.units
        period["gone"] += row.messages if row.status in _GONE_OUT else 0
        period["delivered"] += row.messages if row.status == "delivered" else 0
        period["failed"] += row.messages if row.status in ("failed", "expired") else 0
    return list(found.values())


def _chart(periods: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The picture: what went out upwards, what failed downwards, in units of the drawing."""
    half = 40
    top = max([1, *(max(period["gone"], period["failed"]) for period in periods)])
    columns = [
        {
            "x": place * 10 + 1,
            "up": round(half * period["gone"] / top, 1),
            "down": round(half * period["failed"] / top, 1),
        }
        for place, period in enumerate(periods)
    ]
    for column in columns:
        column["up_y"] = half - column["up"]
    return {"columns": columns, "half": half, "width": max(10, 10 * len(columns))}
