"""Operations on messages: send, batch, preview, look, list, cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from appliance.gateway.service import Denied, ItemError
from appliance.message import normalise_number
from appliance.store import gateway as ops
from appliance.store.gateway import ClientMessage, NewMessage, Placed, Refused
from appliance.store.views import life_of
from appliance.web.problem import UNREADABLE, Problem, from_decode_error
from appliance.web.v1 import shapes
from appliance.web.v1.operation import Call, Result, denied, item_problem

__all__ = ["cancel", "look", "page", "preview", "send", "send_batch"]

_NO_TABLE: Final = "any modem that is free: this box has no table of routes"
_ITEM = msgspec.json.Decoder(shapes.SendRequest)


async def send(call: Call) -> Result:
    """Queue one message."""
    try:
        message = await call.gateway.prepare(call.body, call.caller.client)
        call.gateway.admit(call.caller.client, 1)
    except (Denied, ItemError) as error:
        return await _earlier_or(call, error)

    refusal: list[Refused] = []

    def render(results: Sequence[Placed | Refused]) -> tuple[int, bytes]:
        (result,) = results
        if isinstance(result, Refused):
            refusal[:] = [result]
            return 402, b""
        return 202, msgspec.json.encode(_receipt(message, result))

    status, body = await call.gateway.send(
        call.caller.client, [message], key=call.idempotency_key, request=call.raw, render=render
    )
    if refusal:
        raise _refusal(refusal[0])
    return Result(status, body)


async def send_batch(call: Call) -> Result:
    """Queue up to 1,000 messages; each is taken or refused for itself."""
    raws: list[msgspec.Raw] = call.body.messages
    results: list[shapes.ItemResult | None] = [None] * len(raws)
    places: list[int] = []
    messages: list[NewMessage] = []
    for place, raw in enumerate(raws):
        try:
            messages.append(await call.gateway.prepare(_ITEM.decode(raw), call.caller.client))
            places.append(place)
        except UNREADABLE as error:
            results[place] = _refused(from_decode_error(error, raw, shapes.SendRequest), place)
        except ItemError as error:
            results[place] = _refused(item_problem(error), place)
        except Denied as error:
            results[place] = _refused(denied(error), place)
    if not messages:
        fault = Problem(400, "batch-refused", "No message of the batch was accepted.")
        fault.extra["results"] = msgspec.to_builtins(results)
        raise fault
    try:
        call.gateway.admit(call.caller.client, len(messages))
    except Denied as error:
        return await _earlier_or(call, error)

    def render(outcomes: Sequence[Placed | Refused]) -> tuple[int, bytes]:
        for place, message, outcome in zip(places, messages, outcomes, strict=True):
            if isinstance(outcome, Placed):
                results[place] = shapes.ItemResult(status="queued", message=_receipt(message, outcome))
            else:
                results[place] = _refused(_refusal(outcome), place)
        accepted = sum(1 for outcome in outcomes if isinstance(outcome, Placed))
        body = shapes.BatchResult(
            accepted=accepted,
            refused=len(results) - accepted,
            results=[result for result in results if result is not None],
        )
        return 202 if accepted else 402, msgspec.json.encode(body)

    status, body = await call.gateway.send(
        call.caller.client, messages, key=call.idempotency_key, request=call.raw, render=render
    )
    if status == 402:
        fault = Problem(402, "credit", "Not one message of the batch could be paid for.")
        fault.extra["results"] = msgspec.json.decode(body)["results"]
        raise fault
    return Result(status, body)


async def _earlier_or(call: Call, error: Exception) -> Result:
    """The answer that this Idempotency-Key already has, whatever holds today; else the error."""
    earlier = await call.gateway.earlier_answer(call.caller.client, call.idempotency_key, call.raw)
    if earlier is None:
        raise error
    return Result(*earlier)


def _receipt(message: NewMessage, placed: Placed) -> shapes.Receipt:
    return shapes.Receipt(
        id=shapes.message_id(placed.outbound_id),
        status="queued",
        to=message.recipient,
        encoding=message.encoding,
        segments=message.segments,
        units=placed.units,
        reference=message.reference,
    )


def _refusal(refused: Refused) -> Problem:
    if refused.reason == "suspended":
        return Problem(403, "suspended", "This client is suspended; ask the operator.")
    return Problem(402, "credit", f"The credit does not reach: {refused.needed} units are needed.")


def _refused(problem: Problem, place: int) -> shapes.ItemResult:
    for entry in problem.errors:
        entry["where"] = f"$.messages[{place}]{entry['where'][1:]}"
    document = msgspec.convert(problem.document(), shapes.ProblemDocument)
    return shapes.ItemResult(status="refused", problem=document)


async def preview(call: Call) -> Result:
    """Encoding, segments, units and route of a message, with nothing sent."""
    return Result(200, await call.gateway.preview(call.body, call.caller.client))


async def look(call: Call) -> Result:
    """One message, with its whole life."""
    found = await _own(call)
    life = await call.gateway.store.reader.run(life_of, "out", found.id)
    steps = []
    for one in life.outbound if life is not None else ():
        if one.row.id == found.id:
            steps = [
                shapes.Step(
                    at=shapes.iso(step.at_ms) or "",
                    status=step.state,
                    said_by=step.actor,
                    reason=step.reason,
                )
                for step in one.steps
            ]
    shown = _shown(found, steps, call.gateway.held)
    routed = [step.reason for step in steps if step.said_by == "router"]
    shown.why = routed[-1] if routed else _NO_TABLE
    return Result(200, shown)


async def page(call: Call) -> Result:
    """The client's messages, the newest first."""
    query = call.query
    before_id = None
    if "cursor" in query:
        before_id = shapes.parse_message_id(query["cursor"])
        if before_id is None:
            raise Problem(400, "bad-parameter", "cursor: expected what an earlier page gave as next.")
    to = query.get("to")
    if to is not None:
        to = normalise_number(to, call.gateway.region) or to
    limit = query.get("limit", 50)
    found = await call.gateway.store.reader.run(
        ops.list_messages, call.caller.client.id, before_id, limit + 1, query.get("status"), to
    )
    more = len(found) > limit
    found = found[:limit]
    body = shapes.MessageList(
        messages=[_shown(each, None, call.gateway.held) for each in found],
        next=shapes.message_id(found[-1].id) if more else None,
    )
    return Result(200, body)


async def cancel(call: Call) -> Result:
    """Take a message back while it is queued; its units return."""
    found = await _own(call)
    if not await call.gateway.cancel(found.id):
        current = await _own(call)
        raise Problem(409, "not-queued", f"It is {current.state}; only a queued message can be cancelled.")
    return Result(200, _shown(await _own(call), None, call.gateway.held))


async def _own(call: Call) -> ClientMessage:
    outbound_id = shapes.parse_message_id(call.path["id"])
    found: Any = None
    if outbound_id is not None:
        found = await call.gateway.store.reader.run(ops.message_of, call.caller.client.id, outbound_id)
    if found is None:
        raise Problem(404, "no-such-message", "There is no such message of yours.")
    message: ClientMessage = found
    return message


def _shown(
    message: ClientMessage,
    steps: list[shapes.Step] | None,
    held: Callable[[str], tuple[str, int | None] | None],
) -> shapes.Message:
    reason, next_ms = message.reason, None
    if message.state == "queued":
        why, until_ms = held(message.lane) or ("", None)
        reason = reason or why
        next_ms = max(message.next_attempt_ms or 0, until_ms or 0)
    return shapes.Message(
        id=shapes.message_id(message.id),
        to=message.to,
        text=message.text,
        lane=message.lane,
        status=message.state,  # type: ignore[arg-type]  # the schema's CHECK holds the vocabulary
        reason=reason,
        reference=message.reference,
        encoding=message.encoding,
        segments=message.segments,
        units=message.units,
        charge=message.charge,  # type: ignore[arg-type]  # likewise
        attempts=message.attempts,
        may_be_double=message.may_be_double,
        created_at=shapes.iso(message.created_at_ms) or "",
        next_attempt_at=shapes.iso(next_ms) if next_ms else None,
        expires_at=shapes.iso(message.expires_at_ms),
        sent_at=shapes.iso(message.sent_at_ms),
        final_at=shapes.iso(message.final_at_ms),
        life=steps,
    )
