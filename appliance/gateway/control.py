"""What the operator does to clients: asked over the control socket by `outpost client`, and by the page."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from appliance.gateway.control_deliveries import DELIVERIES, moment
from appliance.gateway.inbound import ClientInbound, folded_keyword
from appliance.gateway.keys import SCOPES, make_key
from appliance.gateway.service import Gateway
from appliance.message import normalise_number
from appliance.store import analytics
from appliance.store import client_inbound as rule_ops
from appliance.store import gateway as ops
from appliance.store import prices as price_ops
from appliance.store.audit import audit_log
from appliance.store.gateway import Client, ClientRefused

__all__ = ["client_op"]

_DAY_MS: Final = 86_400_000


async def client_op(gateway: Gateway, request: dict[str, Any], actor: str = "operator") -> dict[str, Any]:
    """Do {"do": one of _DO or DELIVERIES, ...}. actor: who asks, for the audit log.

    Raises ValueError with one line for the person who asked.
    """
    word = request.get("do", "")
    try:
        if word in DELIVERIES:
            return await DELIVERIES[word](gateway, await _client(gateway, request), request, actor)
        do = _DO.get(word)
        if do is None:
            raise ValueError(f"client does one of {', '.join([*_DO, *DELIVERIES])}")
        answer = await do(gateway, request, actor)
    except ClientRefused as error:
        raise ValueError(str(error)) from error
    gateway.forget_keys()
    return answer


async def _client(gateway: Gateway, request: dict[str, Any]) -> Client:
    name = _text(request, "name")
    client: Client | None = await gateway.store.reader.run(ops.client_by_name, name)
    if client is None:
        raise ValueError(f"there is no client named {name!r}")
    return client


def _text(request: dict[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise ValueError(f"{key}: want 1 to 64 characters")
    return value


def _number(request: dict[str, Any], key: str, *, least: int = 0) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 10**15:
        raise ValueError(f"{key}: want an integer from {least} on")
    return value


def _shown(client: Client) -> dict[str, Any]:
    return {
        "name": client.name,
        "state": client.state,
        "balance": client.balance,
        "reserved": client.reserved,
        "low_mark": client.low_mark,
        "per_second": client.per_second,
    }


async def _write(gateway: Gateway, actor: str, op: Callable[..., Any], *args: Any, **named: Any) -> Any:
    def write(db: sqlite3.Connection) -> Any:
        return op(db, *args, actor=actor, **named)

    return await gateway.store.writer.run(write)


async def _add(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _write(gateway, actor, ops.add_client, _text(request, "name"), gateway.clock_ms())
    return {"client": _shown(client)}


async def _list(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    return {"clients": [_shown(client) for client in await gateway.store.reader.run(ops.clients)]}


async def _key(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    now_ms = gateway.clock_ms()
    days = request.get("days")
    made = make_key(
        client.id,
        frozenset(request.get("scopes") or SCOPES),
        now_ms,
        expires_at_ms=None if days is None else now_ms + _number(request, "days", least=1) * _DAY_MS,
        networks=str(request.get("networks") or ""),
        note=str(request.get("note") or "")[:100],
    )
    await _write(gateway, actor, ops.add_key, made.row)
    return {"key": made.text, "id": made.row.id, "scopes": made.row.scopes}


async def _revoke(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    if not await _write(gateway, actor, ops.revoke_key, client.id, _text(request, "id"), gateway.clock_ms()):
        raise ValueError(f"{client.name} has no key {request['id']!r}")
    return {}


async def _credit(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    units = _number(request, "units", least=-(10**15))
    note = str(request.get("note") or "")[:100]
    changed = await _write(gateway, actor, ops.add_credit, client.id, units, gateway.clock_ms(), note=note)
    return {"client": _shown(changed)}


async def _price(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    prefix = str(request.get("prefix") or "")
    if prefix and not (prefix.startswith("+") and prefix[1:].isdecimal() and len(prefix) <= 16):
        raise ValueError("prefix: want a plus and digits, such as +2517, or nothing for every number")
    now_ms = gateway.clock_ms()
    from_ms = moment(request.get("from_day"), gateway.timezone_minutes)
    await _write(
        gateway, actor, price_ops.set_price, prefix, _number(request, "units"), from_ms or now_ms, now_ms
    )
    return await _prices(gateway, request, actor)


async def _prices(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    rows = await gateway.store.reader.run(price_ops.price_list)
    prices = [{"prefix": prefix, "from_ms": from_ms, "units": units} for prefix, from_ms, units in rows]
    return {"prices": prices, "timezone_minutes": gateway.timezone_minutes}


async def _keys(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    rows = await gateway.store.reader.run(ops.keys_of, client.id)
    keys = [
        {
            "id": row.id,
            "scopes": row.scopes,
            "networks": row.networks,
            "note": row.note,
            "created_at_ms": row.created_at_ms,
            "ends_at_ms": min((at for at in (row.expires_at_ms, row.revoked_at_ms) if at), default=None),
        }
        for row in rows
    ]
    return {"keys": keys, "timezone_minutes": gateway.timezone_minutes}


async def _audit(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    limit = min(_number(request, "limit", least=1) if "limit" in request else 50, 1_000)
    rows = await gateway.store.reader.run(audit_log, limit)
    return {"audit": [row._asdict() for row in rows], "timezone_minutes": gateway.timezone_minutes}


async def _usage(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    now_ms = gateway.clock_ms()
    by = request.get("by", "day")
    if by not in ("day", "hour"):
        raise ValueError("by: want day or hour")
    from_ms = now_ms - (_number(request, "days", least=1) if "days" in request else 31) * _DAY_MS
    zone = gateway.timezone_minutes

    def read(db: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
        return (
            analytics.volume(db, client.id, from_ms, now_ms + 1, zone, by),
            analytics.lane_figures(db, client.id, from_ms, now_ms + 1),
        )

    rows, lanes = await gateway.store.reader.run(read)
    return {
        "client": _shown(client),
        "usage": [msgspec.to_builtins(row) for row in rows],
        "lanes": [msgspec.to_builtins(lane) for lane in lanes],
    }


async def _suspend(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    return await _set(gateway, request, actor, state="suspended")


async def _resume(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    return await _set(gateway, request, actor, state="active")


async def _limits(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    changes = {
        key: _number(request, key) for key in ("low_mark", "per_second") if request.get(key) is not None
    }
    if changes.get("per_second") == 0:
        raise ValueError("per_second: want 1 or more; `outpost client suspend` stops a client")
    return await _set(gateway, request, actor, **changes)


async def _set(gateway: Gateway, request: dict[str, Any], actor: str, **changes: Any) -> dict[str, Any]:
    client = await _client(gateway, request)
    await _write(gateway, actor, ops.set_client, client.id, gateway.clock_ms(), **changes)
    return {"client": _shown(await _client(gateway, request))}


async def _rule(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    """Give a client the texts to a number, with a keyword, or that answer it."""
    client = await _client(gateway, request)
    inbound = _inbound(gateway)
    number, keyword = str(request.get("number") or "").strip(), str(request.get("keyword") or "").strip()
    if number:
        number = normalise_number(number, gateway.region) or number
        if not number.removeprefix("+").isdecimal() or len(number) > 16:
            raise ValueError("number: want one of the box's own, such as +251911234567 or 8400")
    if bool(number or keyword) == bool(request.get("replies")):
        raise ValueError("a rule has a keyword, a number or both, or it is for replies")
    if keyword and inbound.opts(keyword):
        raise ValueError(f"{keyword} is the person's own word for being left alone or not")
    now_ms = gateway.clock_ms()
    rule_id = await _write(
        gateway,
        actor,
        rule_ops.add_rule,
        client.id,
        now_ms,
        number=number,
        keyword=keyword,
        folded=folded_keyword(keyword) if keyword else "",
        mode="besides" if request.get("besides") else "instead",
    )
    inbound.forget()
    return {"id": rule_id}


async def _rules(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    found = await gateway.store.reader.run(rule_ops.rules)
    only = request.get("name")
    return {
        "rules": [
            {"id": rule.id, "client": rule.client, "what": rule.words(), "mode": rule.mode}
            for rule in found
            if only in (None, rule.client)
        ]
    }


async def _unrule(gateway: Gateway, request: dict[str, Any], actor: str) -> dict[str, Any]:
    client = await _client(gateway, request)
    rule_id = _number(request, "rule", least=1)
    if not await _write(gateway, actor, rule_ops.remove_rule, client.id, rule_id, gateway.clock_ms()):
        raise ValueError(f"{client.name} has no rule {rule_id}")
    _inbound(gateway).forget()
    return {}


def _inbound(gateway: Gateway) -> ClientInbound:
    if gateway.inbound is None:
        raise ValueError("nothing comes in for clients here")
    return gateway.inbound


_DO: Final[dict[str, Callable[[Gateway, dict[str, Any], str], Awaitable[dict[str, Any]]]]] = {
    "add": _add,
    "list": _list,
    "key": _key,
    "keys": _keys,
    "revoke": _revoke,
    "credit": _credit,
    "price": _price,
    "prices": _prices,
    "audit": _audit,
    "usage": _usage,
    "suspend": _suspend,
    "resume": _resume,
    "limits": _limits,
    "rule": _rule,
    "rules": _rules,
    "unrule": _unrule,
}
