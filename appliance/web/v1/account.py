"""Operations on the client's own account: credit, usage, keys, templates, webhooks."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

import msgspec

from appliance.gateway.keys import make_key
from appliance.gateway.templates import Template, TemplateError, check
from appliance.gateway.webhooks import check_url
from appliance.store import endpoints
from appliance.store import gateway as ops
from appliance.store import webhooks as webhook_ops
from appliance.store.audit import audit
from appliance.store.endpoints import Endpoint
from appliance.store.gateway import Client, KeyRow
from appliance.web.problem import Problem, field_error
from appliance.web.v1 import shapes
from appliance.web.v1.operation import Call, Result
from appliance.web.v1.times import parse_time

__all__ = [
    "add_key",
    "add_webhook",
    "credits_now",
    "delete_template",
    "delete_webhook",
    "keys",
    "put_template",
    "replay_webhook",
    "revoke_key",
    "rotate_key",
    "rotate_webhook",
    "statement",
    "templates",
    "webhook_events",
    "webhooks",
]

_DAY_MS: Final = 86_400_000
_TEMPLATE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_MAX_KEYS: Final = 50
_MAX_WEBHOOKS: Final = 10
_MAX_TEMPLATES: Final = 500


def _actor(call: Call) -> str:
    return f"key {call.caller.key.id}"


async def credits_now(call: Call) -> Result:
    """What may be spent, and what messages under way hold."""

    def read(db: sqlite3.Connection) -> Client | None:
        return ops.client_by_name(db, call.caller.client.name)

    client = await call.gateway.store.reader.run(read)
    return Result(
        200, shapes.Credits(balance=client.balance, reserved=client.reserved, low_mark=client.low_mark)
    )


async def statement(call: Call) -> Result:
    """Credit given and taken back; what messages cost is in the usage."""
    limit = call.query.get("limit", 50)
    before = call.query.get("cursor")
    rows = await call.gateway.store.reader.run(ops.statement, call.caller.client.id, before, limit + 1)
    entries = [shapes.Entry(at=shapes.iso(at) or "", units=units, note=note) for _, at, units, note in rows]
    following = str(rows[limit - 1][0]) if len(rows) > limit else None
    return Result(200, shapes.Statement(entries=entries[:limit], next=following))


# -- keys


async def keys(call: Call) -> Result:
    """The client's keys, without their secrets."""
    rows = await call.gateway.store.reader.run(ops.keys_of, call.caller.client.id)
    return Result(200, shapes.KeyList(keys=[_key(row) for row in rows]))


async def add_key(call: Call) -> Result:
    """Make a key. It is shown once."""
    body: shapes.KeyCreate = call.body
    now_ms = call.gateway.clock_ms()
    days = body.expires_in_days
    return await _made(
        call,
        scopes=frozenset(body.scopes),
        expires_at_ms=None if days is None else now_ms + days * _DAY_MS,
        networks=body.networks,
        note=body.note,
    )


async def _made(
    call: Call, *, scopes: frozenset[str], expires_at_ms: int | None, networks: str, note: str
) -> Result:
    known = await call.gateway.store.reader.run(ops.keys_of, call.caller.client.id)
    if len(known) >= _MAX_KEYS:
        raise Problem(409, "too-many", f"A client has at most {_MAX_KEYS} keys.")
    try:
        made = make_key(
            call.caller.client.id,
            scopes,
            call.gateway.clock_ms(),
            expires_at_ms=expires_at_ms,
            networks=networks,
            note=note,
        )
    except ValueError:
        raise field_error("$.networks", "networks in CIDR form with blanks between", networks[:40]) from None

    def write(db: sqlite3.Connection) -> None:
        ops.add_key(db, made.row, actor=_actor(call))

    await call.gateway.store.writer.run(write)
    return Result(201, shapes.KeyMade(key=made.text, info=_key(made.row)))


async def revoke_key(call: Call) -> Result:
    """End a key now."""
    await _end_key(call, call.gateway.clock_ms())
    return Result(204)


async def rotate_key(call: Call) -> Result:
    """Make a key like this one; the old one ends after the overlap."""
    rows = await call.gateway.store.reader.run(ops.keys_of, call.caller.client.id)
    old = next((row for row in rows if row.id == call.path["id"]), None)
    if old is None:
        raise Problem(404, "no-such-key", "There is no such key of yours.")
    made = await _made(
        call,
        scopes=frozenset(old.scopes.split()),
        expires_at_ms=old.expires_at_ms,
        networks=old.networks,
        note=old.note,
    )
    await _end_key(call, call.gateway.clock_ms() + call.body.overlap_minutes * 60_000)
    return made


async def _end_key(call: Call, at_ms: int) -> None:
    client_id, key_id = call.caller.client.id, call.path["id"]

    def write(db: sqlite3.Connection) -> bool:
        return ops.revoke_key(db, client_id, key_id, at_ms, actor=_actor(call))

    known = await call.gateway.store.writer.run(write)
    call.gateway.forget_keys()
    if not known:
        raise Problem(404, "no-such-key", "There is no such key of yours.")


def _key(row: KeyRow) -> shapes.KeyInfo:
    return shapes.KeyInfo(
        id=row.id,
        scopes=row.scopes.split(),
        note=row.note,
        networks=row.networks,
        created_at=shapes.iso(row.created_at_ms) or "",
        expires_at=shapes.iso(row.expires_at_ms),
        revoked_at=shapes.iso(row.revoked_at_ms),
    )


# -- templates


async def templates(call: Call) -> Result:
    """The client's templates by name."""
    rows = await call.gateway.store.reader.run(ops.templates, call.caller.client.id)
    found = {name: msgspec.json.decode(body, type=Template) for name, body in rows}
    return Result(200, shapes.TemplateList(templates=found))


async def put_template(call: Call) -> Result:
    """Make a template or put another in its place."""
    if not _TEMPLATE_NAME.match(call.path["name"]):
        raise Problem(400, "bad-name", "A name is 1 to 64 small letters, digits, '_', '.' or '-'.")
    try:
        check(call.body)
    except TemplateError as error:
        raise field_error(f"$.{error.where}", str(error)) from None
    rows = await call.gateway.store.reader.run(ops.templates, call.caller.client.id)
    name = call.path["name"]
    if len(rows) >= _MAX_TEMPLATES and name not in {row[0] for row in rows}:
        raise Problem(409, "too-many", f"A client has at most {_MAX_TEMPLATES} templates.")
    client_id, now_ms = call.caller.client.id, call.gateway.clock_ms()
    text = msgspec.json.encode(call.body).decode()

    def write(db: sqlite3.Connection) -> bool:
        audit(db, now_ms, _actor(call), "template.put", f"client {client_id}: {name}")
        return ops.put_template(db, client_id, name, text, now_ms)

    return Result(201 if await call.gateway.store.writer.run(write) else 200, call.body)


async def delete_template(call: Call) -> Result:
    """Take a template away; messages made of it stay as they are."""
    client_id, name, now_ms = call.caller.client.id, call.path["name"], call.gateway.clock_ms()

    def write(db: sqlite3.Connection) -> bool:
        done = ops.delete_template(db, client_id, name)
        if done:
            audit(db, now_ms, _actor(call), "template.remove", f"client {client_id}: {name}")
        return done

    if not await call.gateway.store.writer.run(write):
        raise Problem(404, "no-such-template", "There is no such template of yours.")
    return Result(204)


# -- webhooks


async def webhooks(call: Call) -> Result:
    """Where the client is told of its messages, and how that goes."""
    rows = await call.gateway.store.reader.run(endpoints.endpoints_of, call.caller.client.id)
    found = [
        shapes.Webhook(
            id=row.id,
            url=row.url,
            events=list(row.events),
            state=row.state,
            reason=row.reason,
            waiting=row.waiting,
            dead=row.dead,
        )
        for row in rows
    ]
    return Result(200, shapes.WebhookList(webhooks=found))


async def add_webhook(call: Call) -> Result:
    """Register an address; the secret to verify its requests with is in the answer."""
    body: shapes.WebhookCreate = call.body
    try:
        check_url(body.url, allow_private=call.gateway.private_webhooks)
    except (ValueError, OSError) as error:
        raise field_error("$.url", f"a public http or https address ({error})", body.url[:80]) from None
    client_id, now_ms = call.caller.client.id, call.gateway.clock_ms()
    if len(await call.gateway.store.reader.run(endpoints.endpoints_of, client_id)) >= _MAX_WEBHOOKS:
        raise Problem(409, "too-many", f"A client has at most {_MAX_WEBHOOKS} webhooks.")
    secret = webhook_ops.new_secret()

    def write(db: sqlite3.Connection) -> int:
        events = ",".join(body.events)
        return endpoints.add(db, client_id, body.url, events, secret, now_ms, actor=_actor(call))

    return Result(201, shapes.WebhookSecret(id=await call.gateway.store.writer.run(write), secret=secret))


async def delete_webhook(call: Call) -> Result:
    """End a webhook; what waits for it is not delivered."""
    hook, now_ms = await _own_endpoint(call), call.gateway.clock_ms()

    def write(db: sqlite3.Connection) -> None:
        endpoints.remove(db, call.caller.client.id, hook.id, now_ms, actor=_actor(call))

    await call.gateway.store.writer.run(write)
    return Result(204)


async def rotate_webhook(call: Call) -> Result:
    """Give a webhook a new secret; the old one signs beside it for a day."""
    hook, now_ms = await _own_endpoint(call), call.gateway.clock_ms()
    secret = webhook_ops.new_secret()

    def write(db: sqlite3.Connection) -> None:
        endpoints.rotate(db, call.caller.client.id, hook.id, secret, now_ms, actor=_actor(call))

    await call.gateway.store.writer.run(write)
    return Result(200, shapes.WebhookSecret(id=hook.id, secret=secret))


async def webhook_events(call: Call) -> Result:
    """What was and is to be told to one webhook, the newest first."""
    hook = await _own_endpoint(call)
    limit, cursor = call.query.get("limit", 50), call.query.get("cursor")
    before = None if cursor is None else int(cursor.removeprefix("evt_"))
    found = await call.gateway.store.reader.run(
        endpoints.deliveries, hook.id, call.query.get("state"), before, limit + 1
    )
    shown = [
        shapes.WebhookEvent(
            id=f"evt_{each.event_id}",
            type=each.type,
            state=each.state,
            attempts=each.attempts,
            status=each.status,
            reason=each.reason,
            at=shapes.iso(each.at_ms) or "",
            next_attempt_at=shapes.iso(each.next_attempt_ms) if each.state == "pending" else None,
            ended_at=shapes.iso(each.ended_at_ms),
            body=msgspec.Raw(each.body.encode()),
        )
        for each in found[:limit]
    ]
    following = shown[-1].id if len(found) > limit else None
    return Result(200, shapes.WebhookEventList(events=shown, next=following))


async def replay_webhook(call: Call) -> Result:
    """Deliver again one event, what was given up, or all of a range of time."""
    hook, now_ms = await _own_endpoint(call), call.gateway.clock_ms()
    body: shapes.ReplayRequest = call.body
    from_ms = parse_time(body.from_time, "$.from_time") or 0
    until_ms = parse_time(body.until, "$.until")
    event_id = None if body.event is None else int(body.event.removeprefix("evt_"))

    def write(db: sqlite3.Connection) -> int:
        return endpoints.replay(
            db,
            call.caller.client.id,
            hook.id,
            now_ms,
            actor=_actor(call),
            event_id=event_id,
            from_ms=from_ms,
            until_ms=until_ms,
            dead_only=body.dead_only and event_id is None,
        )

    return Result(200, shapes.Replayed(replayed=await call.gateway.store.writer.run(write)))


async def _own_endpoint(call: Call) -> Endpoint:
    number = call.path["id"]
    found = None
    if number.isascii() and number.isdecimal() and len(number) <= 18:
        found = await call.gateway.store.reader.run(endpoints.endpoint_of, call.caller.client.id, int(number))
    if found is None:
        raise Problem(404, "no-such-webhook", "There is no such webhook of yours.")
    endpoint: Endpoint = found
    return endpoint
