"""The pages about the businesses: all of them, and one with its traffic, money, webhooks and campaigns.

For the operator only: they are asked for as the rest of the page is, without a client's key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from appliance.store import analytics, campaigns, client_inbound
from appliance.store import gateway as ops
from appliance.store.analytics import Volume
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
_TONES: Final = {
    "active": "good",
    "suspended": "bad",
    "paused": "warn",
    "gone": "bad",
    "scheduled": "wait",
    "running": "work",
    "done": "good",
    "cancelled": "quiet",
}
_NOTHING: Final = {"gone": 0, "failed": 0}
_GONE_OUT: Final = ("sent", "delivered", "unknown")


class ClientPages:
    """Routes in, reads out. page: made at the first view."""

    def __init__(self, services: Services, page: Callable[[], Page], html: Callable[[str], Any]) -> None:
        self._services = services
        self._page = page
        self._html = html

    async def all(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        found = await self._services.store.reader.run(ops.clients)
        return self._answer(
            "clients.html", clients=found[:_CLIENTS_SHOWN], count=len(found), client_tone=_TONES.get
        )

    async def one(self, request: web.Request) -> web.StreamResponse:
        check_page(request, self._services.settings)
        by = _by(request)
        view = await self._services.store.reader.run(self._view, int(request.match_info["id"]), by)
        if view is None:
            raise Problem(404, "no-such-client", "There is no such client.")
        return self._answer("client.html", by=by, client_tone=_TONES.get, **view)

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

    def _answer(self, template: str, **view: Any) -> web.StreamResponse:
        answer: web.StreamResponse = self._html(self._page().render(template, **view))
        return answer

    def _volume(self, db: sqlite3.Connection, client_id: int, by: str) -> list[Volume]:
        now_ms = self._services.clock_ms()
        offset = self._services.settings.timezone_minutes
        return analytics.volume(db, client_id, now_ms - _SHOWN[by], now_ms + 1, offset, by)

    def _view(self, db: sqlite3.Connection, client_id: int, by: str) -> dict[str, Any] | None:
        client = next((each for each in ops.clients(db) if each.id == client_id), None)
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
            "hooks": _hooks(db, client_id),
            "rules": client_inbound.rules_of(db, client_id),
            "campaigns": campaigns.campaigns(db, client_id, None, _CAMPAIGNS_SHOWN),
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


def _hooks(db: sqlite3.Connection, client_id: int) -> list[tuple[Any, ...]]:
    """(url, state, reason, waiting, dead) of each webhook that is not gone by the client's own wish."""
    return db.execute(
        "SELECT e.url, e.state, e.reason,"
        " (SELECT count(*) FROM webhook_delivery d"
        "  WHERE d.endpoint_id = e.id AND d.state IN ('waiting', 'pending')),"
        " (SELECT count(*) FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'dead')"
        " FROM webhook_endpoint e WHERE e.client_id = ? AND e.reason <> 'deleted by the client'"
        " ORDER BY e.id",
        (client_id,),
    ).fetchall()


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
