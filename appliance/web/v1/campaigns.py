"""Operations on campaigns: a text or a template to a group."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Annotated, Any, Literal

import msgspec

from appliance.gateway import campaigns as service
from appliance.gateway.service import MAX_TEXT, MAX_VALIDITY_S
from appliance.gateway.templates import Template
from appliance.store import campaigns as ops
from appliance.store import gateway as gateway_ops
from appliance.web.problem import Problem, field_error
from appliance.web.v1.operation import Call, Result
from appliance.web.v1.people import GroupName
from appliance.web.v1.shapes import Body, MessageState, Moment, Shown, iso
from appliance.web.v1.times import parse_time

__all__ = [
    "Campaign",
    "CampaignCreate",
    "CampaignList",
    "add_campaign",
    "campaign",
    "campaigns",
    "cancel_campaign",
    "pause_campaign",
    "resume_campaign",
]


class CampaignCreate(Body):
    """A `text`, or a `template` whose places the contacts' variables fill, to a group. start_at: now by
    default. per_minute: messages that are queued in a minute. consent_only: pass over contacts of whom no
    consent is kept."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    group: GroupName
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)] | None = None
    template: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    lane: Literal["normal", "bulk"] = "bulk"
    start_at: Moment | None = None
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 600
    validity_s: Annotated[int, msgspec.Meta(ge=60, le=MAX_VALIDITY_S)] | None = None
    consent_only: bool = False


class Campaign(Shown):
    """contacts: in the group when it was made. accepted: made into messages, which cost `units` and stand
    where `messages` says. opted_out, refused: contacts that were passed over, for they said STOP, or for
    `refused_why`. done: every contact was come to; messages may still be on their way."""

    id: str
    name: str
    group: str
    status: Literal["scheduled", "running", "paused", "done", "cancelled"]
    reason: str
    lane: Literal["normal", "bulk"]
    per_minute: int
    start_at: str
    contacts: int
    accepted: int
    opted_out: int
    refused: int
    refused_why: str
    units: int
    messages: dict[MessageState, int]
    created_at: str
    ended_at: str | None = None


class CampaignList(Shown):
    """next: the cursor of the next page, null at the end."""

    campaigns: list[Campaign]
    next: str | None = None


async def add_campaign(call: Call) -> Result:
    """Make a campaign; the same Idempotency-Key again is the same campaign."""
    gateway, client = call.gateway, call.caller.client
    earlier = await gateway.earlier_answer(client, call.idempotency_key, call.raw)
    if earlier is not None:
        return Result(*earlier)
    asked: CampaignCreate = call.body
    start_at_ms = parse_time(asked.start_at, "$.start_at")
    body = service.Body(
        text=asked.text,
        template=await _template(call, asked),
        lane=asked.lane,
        validity_s=asked.validity_s,
        consent_only=asked.consent_only,
    )

    def write(db: sqlite3.Connection) -> bytes | None:
        known = gateway_ops.stored_answer(db, client.id, call.idempotency_key)
        if known is not None:
            return b""
        now_ms = gateway.clock_ms()
        campaign_id = ops.add_campaign(
            db,
            client.id,
            name=asked.name,
            group=asked.group,
            body=msgspec.json.encode(body).decode(),
            per_minute=asked.per_minute,
            start_at_ms=now_ms if start_at_ms is None else start_at_ms,
            now_ms=now_ms,
            actor=f"key {call.caller.key.id}",
        )
        if campaign_id is None:
            return None
        made = ops.campaign_of(db, client.id, campaign_id)
        assert made is not None
        answer = msgspec.json.encode(_shown(made))
        digest = hashlib.sha256(call.raw).digest()
        gateway_ops.keep_answer(db, client.id, call.idempotency_key, digest, 201, answer, now_ms)
        return answer

    answer = await gateway.store.writer.run(write)
    if answer is None:
        raise field_error("$.group", "the name of one of your groups", asked.group)
    gateway.on_campaign()
    if not answer:  # the same request came twice at once, and the other one was first
        earlier = await gateway.earlier_answer(client, call.idempotency_key, call.raw)
        assert earlier is not None
        return Result(*earlier)
    return Result(201, answer)


async def _template(call: Call, asked: CampaignCreate) -> Template | None:
    if (asked.text is None) == (asked.template is None):
        raise field_error("$.text", "either text or template")
    if asked.template is None:
        return None
    body = await call.gateway.store.reader.run(
        gateway_ops.get_template, call.caller.client.id, asked.template
    )
    if body is None:
        raise field_error("$.template", "the name of one of your templates", asked.template)
    return msgspec.json.decode(body, type=Template)


async def campaigns(call: Call) -> Result:
    """The client's campaigns, the newest first."""
    limit = call.query.get("limit", 50)
    before = call.query.get("cursor")
    found = await call.gateway.store.reader.run(
        ops.campaigns,
        call.caller.client.id,
        None if before is None else int(before.removeprefix("cmp_")),
        limit + 1,
    )
    shown = [_shown(each) for each in found[:limit]]
    return Result(200, CampaignList(campaigns=shown, next=shown[-1].id if len(found) > limit else None))


async def campaign(call: Call) -> Result:
    """One campaign and how far it is."""
    found: Any = None
    if (campaign_id := _id(call)) is not None:
        found = await call.gateway.store.reader.run(ops.campaign_of, call.caller.client.id, campaign_id)
    if found is None:
        raise _no_campaign()
    return Result(200, _shown(found))


async def pause_campaign(call: Call) -> Result:
    """Make no more messages until it is resumed; what is queued goes out."""
    return await _changed(call, "paused", ("paused",))


async def resume_campaign(call: Call) -> Result:
    """Go on where it was paused."""
    return await _changed(call, "running", ("scheduled", "running"))


async def cancel_campaign(call: Call) -> Result:
    """End it; what is still queued is taken back and its units return."""
    return await _changed(call, "cancelled", ("cancelled",))


async def _changed(call: Call, state: str, wanted: tuple[str, ...]) -> Result:
    campaign_id = _id(call)

    def write(db: sqlite3.Connection) -> ops.Campaign | None:
        assert campaign_id is not None
        now_ms, actor = call.gateway.clock_ms(), f"key {call.caller.key.id}"
        return ops.change_campaign(db, call.caller.client.id, campaign_id, state, now_ms, actor=actor)

    found = None if campaign_id is None else await call.gateway.store.writer.run(write)
    if found is None:
        raise _no_campaign()
    if found.state not in wanted:
        raise Problem(409, "campaign-ended", f"It is {found.state}.")
    call.gateway.on_campaign()
    return Result(200, _shown(found))


def _id(call: Call) -> int | None:
    digits = call.path["id"].removeprefix("cmp_")
    return int(digits) if digits.isdecimal() and len(digits) <= 18 and digits != call.path["id"] else None


def _no_campaign() -> Problem:
    return Problem(404, "no-such-campaign", "There is no such campaign of yours.")


def _shown(found: ops.Campaign) -> Campaign:
    body = msgspec.json.decode(found.body, type=service.Body)
    return Campaign(
        id=f"cmp_{found.id}",
        name=found.name,
        group=found.group,
        status=found.state,  # type: ignore[arg-type]  # the schema's CHECK holds the vocabulary
        reason=found.reason,
        lane=body.lane,
        per_minute=found.per_minute,
        start_at=iso(found.start_at_ms) or "",
        contacts=found.contacts,
        accepted=found.accepted,
        opted_out=found.opted_out,
        refused=found.refused,
        refused_why=found.refused_why,
        units=found.units,
        messages=found.messages,  # type: ignore[arg-type]  # likewise
        created_at=iso(found.created_at_ms) or "",
        ended_at=iso(found.ended_at_ms),
    )
