"""What people do to a client's webhooks and campaigns: the command line's and the page's words for it.

Each takes the gateway, the request and who asks, and raises ValueError with one line for that person.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from appliance.gateway.service import Gateway
from appliance.gateway.webhooks import check_url
from appliance.store import campaigns as campaign_ops
from appliance.store import endpoints, webhooks
from appliance.store.endpoints import Endpoint
from appliance.store.gateway import Client

__all__ = ["DELIVERIES", "moment"]

_EVENTS: Final = re.compile(r"[a-z]+\.[a-z_]{1,34}(,[a-z]+\.[a-z_]{1,34}){0,19}\Z")
_MOST: Final = 10  # webhooks of a client
_TO: Final = {"pause": "paused", "resume": "running", "cancel": "cancelled"}


def moment(text: object, timezone_minutes: int) -> int | None:
    """UTC milliseconds of a day or time as people write it where the box is; None of nothing."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{text}: want a day or time such as 2026-12-01 or 2026-12-01 08:00") from None
    if at.tzinfo is not None:
        return int(at.timestamp() * 1000)
    return int(at.replace(tzinfo=UTC).timestamp() * 1000) - timezone_minutes * 60_000


async def _own(gateway: Gateway, client: Client, request: dict[str, Any]) -> Endpoint:
    number = request.get("webhook")
    found: Endpoint | None = None
    if isinstance(number, int):
        found = await gateway.store.reader.run(endpoints.endpoint_of, client.id, number)
    if found is None:
        raise ValueError(f"{client.name} has no webhook {number}")
    return found


async def _webhooks(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    found = await gateway.store.reader.run(endpoints.endpoints_of, client.id)
    return {"webhooks": [each._asdict() for each in found]}


async def _webhook(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    url, events = str(request.get("url") or ""), str(request.get("events") or "").replace(" ", "")
    try:
        check_url(url, allow_private=gateway.private_webhooks)
    except (ValueError, OSError) as error:
        raise ValueError(f"url: {error}") from error
    if len(url) > 500 or (events and not _EVENTS.match(events)):
        raise ValueError("events: want types with commas between, such as message.delivered,message.failed")
    if len(await gateway.store.reader.run(endpoints.endpoints_of, client.id)) >= _MOST:
        raise ValueError(f"a client has at most {_MOST} webhooks")
    secret, now_ms = webhooks.new_secret(), gateway.clock_ms()

    def write(db: sqlite3.Connection) -> int:
        return endpoints.add(db, client.id, url, events, secret, now_ms, actor=actor)

    return {"id": await gateway.store.writer.run(write), "secret": secret}


async def _rotate(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    hook = await _own(gateway, client, request)
    secret, now_ms = webhooks.new_secret(), gateway.clock_ms()

    def write(db: sqlite3.Connection) -> None:
        endpoints.rotate(db, client.id, hook.id, secret, now_ms, actor=actor)

    await gateway.store.writer.run(write)
    return {"id": hook.id, "secret": secret}


async def _state(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    hook = await _own(gateway, client, request)
    to, now_ms = request.get("to"), gateway.clock_ms()
    if to not in ("pause", "resume", "remove"):
        raise ValueError("to: want pause, resume or remove")

    def write(db: sqlite3.Connection) -> None:
        if to == "remove":
            endpoints.remove(db, client.id, hook.id, now_ms, actor=actor)
        else:
            endpoints.pause(db, client.id, hook.id, to == "pause", now_ms, actor=actor)

    await gateway.store.writer.run(write)
    return {}


async def _replay(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    hook = await _own(gateway, client, request)
    zone, event = gateway.timezone_minutes, request.get("event")
    if event is not None and not isinstance(event, int):
        raise ValueError("event: want its number")
    from_ms = moment(request.get("from_time"), zone) or 0
    until_ms, now_ms = moment(request.get("until"), zone), gateway.clock_ms()
    dead_only = event is None and not request.get("all")

    def write(db: sqlite3.Connection) -> int:
        return endpoints.replay(
            db,
            client.id,
            hook.id,
            now_ms,
            actor=actor,
            event_id=event,
            from_ms=from_ms,
            until_ms=until_ms,
            dead_only=dead_only,
        )

    return {"replayed": await gateway.store.writer.run(write)}


async def _campaigns(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    found = await gateway.store.reader.run(campaign_ops.campaigns, client.id, None, 20)
    return {"campaigns": [msgspec.to_builtins(each) for each in found]}


async def _campaign(gateway: Gateway, client: Client, request: dict[str, Any], actor: str) -> dict[str, Any]:
    number, to = request.get("campaign"), _TO.get(str(request.get("to")))
    if to is None:
        raise ValueError(f"to: want one of {', '.join(_TO)}")
    now_ms = gateway.clock_ms()

    def write(db: sqlite3.Connection) -> tuple[Any, Any]:
        assert to is not None
        before = campaign_ops.campaign_of(db, client.id, number)  # type: ignore[arg-type]  # none has that
        if before is None:
            return None, None
        return before, campaign_ops.change_campaign(db, client.id, before.id, to, now_ms, actor=actor)

    before, after = await gateway.store.writer.run(write)
    if before is None:
        raise ValueError(f"{client.name} has no campaign {number}")
    if before.state == after.state and before.state != to:
        raise ValueError(f"it is {before.state}, so it cannot be {to}")
    gateway.on_campaign()
    return {"campaign": msgspec.to_builtins(after)}


Do = Callable[[Gateway, Client, dict[str, Any], str], Awaitable[dict[str, Any]]]
DELIVERIES: Final[dict[str, Do]] = {
    "webhooks": _webhooks,
    "webhook": _webhook,
    "secret": _rotate,
    "hook": _state,
    "replay": _replay,
    "campaigns": _campaigns,
    "campaign": _campaign,
}
