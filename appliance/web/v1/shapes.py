"""The bodies of the API, as types. Field names are the API's; times are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from appliance.gateway.service import Preview, SendRequest
from appliance.gateway.templates import Template
from appliance.gateway.ussd import Dialled

__all__ = [
    "BatchRaw",
    "BatchRequest",
    "BatchResult",
    "Credits",
    "Dialled",
    "Entry",
    "Error",
    "ItemResult",
    "KeyCreate",
    "KeyInfo",
    "KeyList",
    "KeyMade",
    "KeyRotate",
    "Message",
    "MessageList",
    "MessageState",
    "Moment",
    "Preview",
    "ProblemDocument",
    "Receipt",
    "ReplayRequest",
    "Replayed",
    "SendRequest",
    "Statement",
    "Step",
    "Template",
    "TemplateList",
    "UssdRequest",
    "Webhook",
    "WebhookCreate",
    "WebhookEvent",
    "WebhookEventList",
    "WebhookList",
    "WebhookSecret",
    "iso",
    "message_id",
    "parse_message_id",
]

MessageState = Literal[
    "queued", "sending", "sent", "delivered", "failed", "expired", "cancelled", "uncertain", "unknown"
]


Moment = Annotated[
    str,
    msgspec.Meta(
        max_length=40, description="ISO 8601 with a zone.", extra_json_schema={"format": "date-time"}
    ),
]
EventType = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\.[a-z_]+$", max_length=40)]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of what clients send."""


class Shown(msgspec.Struct, kw_only=True):
    """Base of what they get."""


class Error(Shown):
    """where: JSON path in the body, or ?name for a query parameter."""

    where: str
    expected: str
    found: str = ""


class ProblemDocument(Shown):
    """RFC 9457. type ends in a stable word; detail is for people."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Error] = []


class Receipt(Shown):
    """A message that was taken: on disk, charged and queued."""

    id: str
    status: Literal["queued"]
    to: str
    encoding: str
    segments: int
    units: int
    reference: str = ""


class BatchRequest(Body):
    messages: Annotated[list[SendRequest], msgspec.Meta(min_length=1, max_length=1000)]


class BatchRaw(Body):
    """The same, with the messages left as they came: each is decoded for itself."""

    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=1000)]


class ItemResult(Shown):
    """Of one message of a batch: `message` when it was taken, else `problem`."""

    status: Literal["queued", "refused"]
    message: Receipt | None = None
    problem: ProblemDocument | None = None


class BatchResult(Shown):
    """results: one for each message, in their order."""

    accepted: int
    refused: int
    results: list[ItemResult]


class Step(Shown):
    """said_by: us, modem:<name>, network, handset, a provider's name ..."""

    at: str
    status: str
    said_by: str
    reason: str = ""


class Message(Shown):
    """charge: reserved, settled (it went out) or refunded. may_be_double: a crash left in doubt whether an
    attempt had gone out, and it was repeated. Where one message is asked for: life, and why, which names
    every route that was considered last and why it was or was not taken."""

    id: str
    to: str
    text: str
    lane: str
    status: MessageState
    reason: str
    reference: str
    encoding: str
    segments: int
    units: int
    charge: Literal["reserved", "settled", "refunded"]
    attempts: int
    may_be_double: bool
    created_at: str
    next_attempt_at: str | None = None
    expires_at: str | None = None
    sent_at: str | None = None
    final_at: str | None = None
    why: str | None = None
    life: list[Step] | None = None


class MessageList(Shown):
    """next: the cursor of the next page, null at the end."""

    messages: list[Message]
    next: str | None = None


class Credits(Shown):
    """balance: may be spent. reserved: of messages under way."""

    balance: int
    reserved: int
    low_mark: int


class Entry(Shown):
    at: str
    units: int
    note: str


class Statement(Shown):
    """Credit given and taken back, the newest first."""

    entries: list[Entry]
    next: str | None = None


class TemplateList(Shown):
    templates: dict[str, Template]


class KeyCreate(Body):
    """networks: CIDR, blanks between; empty: from anywhere."""

    scopes: Annotated[list[Literal["send", "read", "admin"]], msgspec.Meta(min_length=1, max_length=3)]
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    networks: Annotated[str, msgspec.Meta(max_length=400, extra_json_schema={"format": "cidr-list"})] = ""
    note: Annotated[str, msgspec.Meta(max_length=100)] = ""


class KeyRotate(Body):
    """overlap_minutes: how long the old key works beside the new one."""

    overlap_minutes: Annotated[int, msgspec.Meta(ge=0, le=10080)] = 60


class KeyInfo(Shown):
    id: str
    scopes: list[str]
    note: str
    networks: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None


class KeyMade(Shown):
    """key: shown this once, kept nowhere."""

    key: str
    info: KeyInfo


class KeyList(Shown):
    keys: list[KeyInfo]


class WebhookCreate(Body):
    """events: types such as message.delivered; empty: all."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?([/?][!-\"$-~]*)?$",
            max_length=500,
        ),
    ]
    events: Annotated[list[EventType], msgspec.Meta(max_length=20)] = []


class Webhook(Shown):
    """waiting: events still to be delivered; dead: given up, may be replayed."""

    id: int
    url: str
    events: list[str]
    state: str
    reason: str
    waiting: int
    dead: int


class WebhookSecret(Shown):
    """secret: signs by Standard Webhooks; shown when made and when rotated."""

    id: int
    secret: str


class WebhookList(Shown):
    webhooks: list[Webhook]


class WebhookEvent(Shown):
    """One event on its way to a webhook. waiting: for an earlier one of its recipient; dead: given up.
    status: HTTP status of the last answer. body: as it is sent."""

    id: str
    type: str
    state: Literal["waiting", "pending", "done", "dead"]
    attempts: int
    status: int | None
    reason: str
    at: str
    next_attempt_at: str | None
    ended_at: str | None
    body: msgspec.Raw


class WebhookEventList(Shown):
    """next: the cursor of the next page, null at the end."""

    events: list[WebhookEvent]
    next: str | None = None


class ReplayRequest(Body):
    """One event, or all of a range of time; dead_only: of the range only what was given up."""

    event: Annotated[str, msgspec.Meta(pattern=r"^evt_[0-9]{1,18}$")] | None = None
    from_time: Moment | None = None
    until: Moment | None = None
    dead_only: bool = True


class Replayed(Shown):
    replayed: int


def iso(at_ms: int | None) -> str | None:
    """UTC, ISO 8601 with milliseconds."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_id(outbound_id: int) -> str:
    """A message's id as clients see it; the webhooks use the same."""
    return f"out_{outbound_id}"


def parse_message_id(text: str) -> int | None:
    """The row's id, or None for what is no message's id."""
    digits = text.removeprefix("out_")
    return int(digits) if digits != text and digits.isdecimal() and len(digits) <= 18 else None


def shown(value: Any) -> dict[str, Any]:
    """A body as plain data."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


_UssdText = Annotated[str, msgspec.Meta(pattern=r"^[*#0-9A-Za-z .,]{1,64}(?![\s\S])")]


class UssdRequest(Body):
    """code: what to dial, such as *804#. replies: answers to its menus, in order. modem: its name in the
    configuration; may be left out where there is one."""

    code: _UssdText
    replies: Annotated[list[_UssdText], msgspec.Meta(max_length=8)] = []
    modem: Annotated[str, msgspec.Meta(max_length=40)] | None = None
