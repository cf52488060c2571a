"""`POST /api/sms/incoming`: messages that come by HTTP, a channel like the modem.

One object is one message, an array of up to 1,000 is a batch with a result for each item. The answer is
202 after the commit that holds the messages, or, with `Prefer: wait=N`, 200 with the replies after the
turn's commit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
import orjson

from appliance.message import Inbound, normalise_number
from appliance.web.access import check_sender
from appliance.web.exchange import Answer, Asked
from appliance.web.prefer import wait_preference
from appliance.web.problem import UNREADABLE, Problem, field_error, from_decode_error
from appliance.web.services import Accepted, Services
from firmware_bridge.pdu import segment

__all__ = ["MAX_BATCH", "MAX_BODY_OCTETS", "Incoming", "IncomingSms", "parse_timestamp"]

MAX_BATCH: Final = 1000
MAX_BODY_OCTETS: Final = 2 * 1024 * 1024  # 1,000 messages of ten segments, with room
MAX_TEXT: Final = 4096  # characters; more than 25 joined segments, and no handset joins that many

_JSON_TYPE: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)
_E164: Final = re.compile(r"\+[1-9]\d{6,14}\Z")
_SHORT_CODE: Final = re.compile(r"\d{3,6}\Z")
# TS 23.040 9.1.2.5: 11 septets. What a telephone number is made of does not make a name.
_NAME: Final = re.compile(r"(?=.*[^\W\d_])[^\x00-\x1f\x7f]{1,11}\Z")
_NUMERIC: Final = re.compile(r"-?\d{1,16}(?:\.\d{1,9})?\Z")

# Times outside are a unit error or a dead clock, not a time stamp. 1e11 s is the year 5138.
_EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01
_LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
_MILLISECONDS_FROM: Final = 100_000_000_000


class IncomingSms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The body of the request; `from` and `message` are required."""

    sender: str = msgspec.field(name="from")
    message: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    to: Annotated[str, msgspec.Meta(max_length=32)] = ""
    timestamp: int | float | str | None = None
    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | int | None = msgspec.field(
        default=None, name="messageId"
    )


_ONE: Final = msgspec.json.Decoder(IncomingSms)
_MANY: Final = msgspec.json.Decoder(list[msgspec.Raw])


@lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    return _JSON_TYPE.match(content_type) is not None


def parse_timestamp(value: int | float | str) -> int:
    """UTC milliseconds from ISO 8601 text or Unix time in seconds or milliseconds.

    Text without a zone is UTC. Raises ValueError for what is neither or lies outside 2000 to 2099.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _NUMERIC.match(text):
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            value = moment.timestamp()
        else:
            value = float(text) if "." in text else int(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    milliseconds = int(value if abs(value) >= _MILLISECONDS_FROM else round(value * 1000))
    if not _EARLIEST_MS <= milliseconds < _LATEST_MS:
        raise ValueError("out of range")
    return milliseconds


def _sender(text: str, region: str) -> str | None:
    """The sender as we store it, or None when nobody can be called so."""
    if _E164.match(text):  # as the network writes it: the common case, and no library call
        return text
    text = text.strip()
    if _SHORT_CODE.match(text):
        return text
    return normalise_number(text, region) or (text if _NAME.match(text) else None)


def _inbound(sms: IncomingSms, now_ms: int, region: str) -> Inbound:
    """The message as the rest of the appliance knows it; raises Problem."""
    sender = _sender(sms.sender, region)
    if sender is None:
        raise field_error(
            "$.from",
            "a phone number, a short code of 3 to 6 digits or a name of at most 11 characters",
            sms.sender[:40],
        )
    if "\x00" in sms.message:
        raise field_error("$.message", "text without NUL characters")
    sent_at_ms = None
    if sms.timestamp is not None:
        try:
            sent_at_ms = parse_timestamp(sms.timestamp)
        except (ValueError, OverflowError):
            raise field_error(
                "$.timestamp",
                "ISO 8601, or Unix time in seconds or milliseconds, from 2000 to 2099",
                str(sms.timestamp)[:40],
            ) from None
    recipient = sms.to
    if recipient and not _E164.match(recipient):
        recipient = normalise_number(recipient, region) or recipient.strip()
    return Inbound(
        channel="http",
        sender=sender,
        recipient=recipient,
        text=sms.message,
        received_at_ms=now_ms,
        sent_at_ms=sent_at_ms,
        natural_key=None if sms.message_id is None else f"http:{sms.message_id}",
    )


def _replies(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The replies as the caller sees them; `segments` is what each would cost over the air."""
    return [{"text": text, "segments": _segments(text)} for text in texts]


@lru_cache(maxsize=2048)  # many people are told the same, and counting costs 5 us
def _segments(text: str) -> int:
    return len(segment(text).parts)


def _json(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
    if headers is None:
        return Answer(status, orjson.dumps(body))
    return Answer(status, orjson.dumps(body), headers=headers)


class Incoming:
    """The handler; holds the services and nothing of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def post(self, request: Asked) -> Answer:
        """Accept one message or a batch. 200, 202, 400, 401, 403, 413, 415, 503."""
        services = self._services
        check_sender(request, services.settings)
        if not _is_json(request.headers.get("Content-Type", "")):
            raise Problem(
                415,
                "unsupported-media-type",
                "Send the message as application/json.",
                headers={"Accept-Post": "application/json"},
            )
        if services.dispatcher.full:
            raise _queue_full(services.dispatcher.retry_after_s)
        body = await request.read()
        prefer = request.headers.getall("Prefer", None)
        wait_s = wait_preference(prefer) if prefer else None
        if body.lstrip()[:1] == b"[":
            return await self._batch(body, wait_s)
        return await self._single(body, wait_s)

    async def _single(self, body: bytes, wait_s: int | None) -> Answer:
        services = self._services
        try:
            sms = _ONE.decode(body)
        except UNREADABLE as error:
            raise from_decode_error(error, body) from None
        inbound = _inbound(sms, services.clock_ms(), services.settings.region)
        if wait_s:
            done = await services.dispatcher.converse(inbound, wait_s)
            applied = {"Preference-Applied": f"wait={wait_s}"}
            if done.replies is None:
                return _json(202, _receipt(done), applied)
            return _json(200, {"id": done.id, "replies": _replies(done.replies)}, applied)
        return _json(202, _receipt(await services.store.accept(inbound)))

    async def _batch(self, body: bytes, wait_s: int | None) -> Answer:
        services = self._services
        try:
            raws = _MANY.decode(body)
        except UNREADABLE as error:
            raise from_decode_error(error, body) from None
        if not 1 <= len(raws) <= MAX_BATCH:
            raise Problem(
                413 if raws else 400,
                "batch-size",
                f"A batch holds 1 to {MAX_BATCH} messages, this one {len(raws)}.",
                errors=[{"where": "$", "expected": f"1 to {MAX_BATCH} items", "found": str(len(raws))}],
            )
        now_ms, region = services.clock_ms(), services.settings.region
        results: list[dict[str, Any]] = [{}] * len(raws)
        places: list[int] = []
        inbounds: list[Inbound] = []
        for place, raw in enumerate(raws):
            try:
                inbounds.append(_inbound(_ONE.decode(raw), now_ms, region))
                places.append(place)
            except UNREADABLE as error:
                results[place] = _refused(from_decode_error(error, raw), place)
            except Problem as problem:
                results[place] = _refused(problem, place)
        if not inbounds:
            raise Problem(400, "batch-refused", "No message of the batch was accepted.", results=results)
        if wait_s:
            complete = True
            for place, done in zip(
                places, await services.dispatcher.converse_many(inbounds, wait_s), strict=True
            ):
                results[place] = _receipt(done)
                if done.replies is None:
                    complete = False
                else:
                    results[place]["replies"] = _replies(done.replies)
            headers = {"Preference-Applied": f"wait={wait_s}"}
            return _json(200 if complete else 202, {"results": results}, headers)
        for place, accepted in zip(places, await services.store.accept_many(inbounds), strict=True):
            results[place] = _receipt(accepted)
        return _json(202, {"results": results})


def _receipt(accepted: Accepted) -> dict[str, Any]:
    return {"id": accepted.id, "status": "duplicate" if accepted.duplicate else "accepted"}


def _queue_full(retry_after_s: float) -> Problem:
    return Problem(
        503,
        "queue-full",
        "Messages come faster than they can be answered; what was accepted is kept. Try again later.",
        headers={"Retry-After": str(max(1, math.ceil(retry_after_s)))},
    )


def _refused(problem: Problem, place: int) -> dict[str, Any]:
    """The result of one bad item; its paths are told from the root of the batch."""
    for error in problem.errors:
        error["where"] = f"$[{place}]{error['where'][1:]}"
    return {"status": "refused", "problem": problem.document()}
