"""Operations on what comes in for a client: the texts, and the rules that gave them to it."""

from __future__ import annotations

from typing import Literal

from appliance.store import client_inbound as ops
from appliance.web.v1.operation import Call, Result
from appliance.web.v1.shapes import Shown, iso, message_id

__all__ = ["Received", "ReceivedList", "Rule", "RuleList", "received", "rules"]


class Received(Shown):
    """A text for you. in_reply_to: your message that it answers, if any, and that one's reference."""

    id: str
    sender: str
    to: str
    text: str
    keyword: str
    in_reply_to: str | None
    reference: str
    received_at: str


class ReceivedList(Shown):
    """next: the cursor of the next page, null at the end."""

    messages: list[Received]
    next: str | None = None


class Rule(Shown):
    """A text is yours when it was sent to `number` and begins with `keyword`, an empty one meaning any; or,
    with `replies`, when it answers your last message. mode: instead of an answer by the box, or besides."""

    id: int
    number: str
    keyword: str
    replies: bool
    mode: Literal["instead", "besides"]


class RuleList(Shown):
    rules: list[Rule]


async def received(call: Call) -> Result:
    """Texts that came in for the client, the newest first."""
    limit = call.query.get("limit", 50)
    before = call.query.get("cursor")
    found = await call.gateway.store.reader.run(
        ops.received,
        call.caller.client.id,
        None if before is None else int(before.removeprefix("in_")),
        limit + 1,
    )
    shown = [
        Received(
            id=f"in_{row.inbound_id}",
            sender=row.sender,
            to=row.recipient,
            text=row.text,
            keyword=row.keyword,
            in_reply_to=None if row.in_reply_to is None else message_id(row.in_reply_to),
            reference=row.reference,
            received_at=iso(row.received_at_ms) or "",
        )
        for row in found[:limit]
    ]
    return Result(200, ReceivedList(messages=shown, next=shown[-1].id if len(found) > limit else None))


async def rules(call: Call) -> Result:
    """Which texts come to the client."""
    found = await call.gateway.store.reader.run(ops.rules_of, call.caller.client.id)
    return Result(
        200,
        RuleList(
            rules=[
                Rule(
                    id=rule.id,
                    number=rule.number,
                    keyword=rule.keyword,
                    replies=rule.replies,
                    mode=rule.mode,
                )
                for rule in found
            ]
        ),
    )
