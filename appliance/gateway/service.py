"""The gateway: who calls, may they, and the messages they hand in.

HTTP knows nothing of what is here and this knows nothing of HTTP, so that Kannel's interface, the API and
the command line are three faces of one thing.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

import msgspec

from appliance import faults
from appliance.gateway import templates
from appliance.gateway.inbound import ClientInbound
from appliance.gateway.keys import allows_address, key_id, proves
from appliance.gateway.ussd import Dial
from appliance.message import Lane, Outbound, normalise_number
from appliance.store import gateway as ops
from appliance.store import prices as price_ops
from appliance.store.enqueue import enqueue
from appliance.store.gateway import Answer, Client, KeyRow, NewMessage, Placed, Refused
from appliance.store.outbound import QueuedRow
from firmware_bridge.pdu import Segments, segment

__all__ = [
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "MAX_VALIDITY_S",
    "Caller",
    "Denied",
    "Gateway",
    "ItemError",
    "Preview",
    "SendRequest",
]

MAX_SEGMENTS: Final = 10
MAX_TEXT: Final = MAX_SEGMENTS * 153  # characters of GSM 7 bit; of UCS-2 it is 67 a segment
MAX_VALIDITY_S: Final = 7 * 86_400
MAX_AHEAD_MS: Final = 366 * 86_400_000
KEYS_KEPT: Final = 10_000
GUESSES_A_MINUTE: Final = 20  # wrong keys from one address before it has to wait
ADDRESSES_KEPT: Final = 4_096
# Below so much free disk a lane is refused: bulk first, one-time codes last. What was accepted stays so.
DISK_FLOORS: Final = {
    Lane.BULK: 400 * 1024**2,
    Lane.NORMAL: 250 * 1024**2,
    Lane.REPLY: 150 * 1024**2,
    Lane.OTP: 100 * 1024**2,
}
_DISK_LOOK_MS: Final = 5_000
# Units of all clients under way, from which on a lane takes no more: hours of work for any number of SIMs.
QUEUE_BOUNDS: Final = {
    Lane.BULK: 5_000_000,
    Lane.NORMAL: 6_000_000,
    Lane.REPLY: 7_000_000,
    Lane.OTP: 8_000_000,
}
_QUEUE_LOOK_MS: Final = 1_000


class Denied(Exception):
    """The caller may not. status: as in HTTP; code: a word for programs; retry_after_s: when it may."""

    def __init__(self, status: int, code: str, text: str, *, retry_after_s: float = 0) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class ItemError(Exception):
    """A message cannot be taken as it is. where: JSON path below the message."""

    def __init__(self, where: str, expected: str, found: str = "") -> None:
        super().__init__(f"{where}: expected {expected}")
        self.where = where
        self.expected = expected
        self.found = found


class SendRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A message to send: `text`, or a `template` with its `variables` and `language`.

    lane: otp leaves first and expires soonest, bulk waits for everything else. validity_s: it is never sent
    later than that. send_at: not before, ISO 8601 with a zone. reference: yours, given back with each report.
    """

    to: Annotated[
        str,
        msgspec.Meta(
            min_length=3,
            max_length=40,
            description="A mobile number in any usual form.",
            extra_json_schema={"format": "mobile-number"},
        ),
    ]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)] | None = None
    template: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    language: Annotated[str, msgspec.Meta(max_length=3)] = ""
    variables: dict[str, str | int | float] = {}
    lane: Literal["otp", "reply", "normal", "bulk"] = "normal"
    reference: Annotated[str, msgspec.Meta(max_length=128)] = ""
    validity_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_VALIDITY_S)] | None = None
    send_at: Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})] | None = (
        None
    )


class Preview(msgspec.Struct, kw_only=True, frozen=True):
    """What a message would cost. forced_by: the character that made it UCS-2, or null."""

    to: str
    text: str
    encoding: str
    segments: int
    characters: int
    units: int
    forced_by: str | None
    route: str | None
    why: str


class Caller(NamedTuple):
    """Who proved to be whom."""

    client: Client
    key: KeyRow

    def has(self, scope: str) -> bool:
        return scope in self.key.scopes.split()


class Choice(Protocol):
    """What the router answers; `appliance.outbound.router.Choice` fits."""

    @property
    def route(self) -> str | None: ...
    @property
    def why(self) -> str: ...


Choose = Callable[[Outbound], Awaitable[Choice | None]]


class _Bucket:
    """Messages a client may hand in: `rate` a second, and as many at once. May run into debt by a batch."""

    __slots__ = ("at_ms", "tokens")

    def __init__(self, rate: int, now_ms: int) -> None:
        self.tokens = float(rate)
        self.at_ms = now_ms

    def take(self, count: int, rate: int, now_ms: int) -> float:
        """0 when they may come in, else the seconds until they may."""
        if now_ms > self.at_ms:
            self.tokens = min(float(rate), self.tokens + rate * (now_ms - self.at_ms) / 1000)
        self.at_ms = now_ms
        if self.tokens <= 0:
            return (1 - self.tokens) / rate
        self.tokens -= count
        return 0.0


@lru_cache(maxsize=2048)
def _segments(text: str) -> Segments:
    return segment(text)


class Gateway:
    """One for the process.

    offer: tells the outbound lanes of rows that a commit queued. cancel: takes one back. choose: the route
    of a message, None where no routes are configured. private_webhooks: clients may be told at private
    addresses. data_dir: whose free room decides which lanes are open.
    """

    def __init__(
        self,
        store: Any,
        *,
        offer: Callable[[Sequence[QueuedRow]], None],
        cancel: Callable[[int, str], Any],
        clock_ms: Callable[[], int],
        region: str = "ET",
        timezone_minutes: int = 180,
        choose: Choose | None = None,
        data_dir: Path | None = None,
        private_webhooks: bool = False,
    ) -> None:
        self.store = store
        self.clock_ms = clock_ms
        self.region = region
        self.timezone_minutes = timezone_minutes
        self._offer = offer
        self._cancel = cancel
        self._choose = choose
        self._data_dir = data_dir
        self.private_webhooks = private_webhooks
        self.on_campaign: Callable[[], None] = lambda: None  # a campaign was made or changed
        self.dial: Dial | None = None  # without a modem there is nothing to dial by
        # Why nothing of a lane is sent just now, and until when: outbound knows.
        self.held: Callable[[str], tuple[str, int | None] | None] = lambda lane: None
        self.inbound: ClientInbound | None = None  # until `hear` is called nothing comes in for clients
        self._keys: OrderedDict[str, tuple[KeyRow, Client]] = OrderedDict()
        self._buckets: dict[int, _Bucket] = {}
        self._guesses: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._running: set[tuple[int, str]] = set()
        self._free_bytes = (0, 1 << 62)  # when it was looked at, what was found
        self._under_way = (0, 0)  # likewise

    def hear(self, opts: Callable[[str], bool]) -> None:
        """Let texts come in for clients by their rules. opts: whether a text is a STOP- or START-word."""
        self.inbound = ClientInbound(opts)
        self.store.judge = self.inbound.after(self.store.judge)
        self.store.judge_caller = self.inbound.after(self.store.judge_caller)

    # -- who calls

    async def authenticate(self, token: str, address: str, scope: str) -> Caller:
        """The caller behind a key, if it has the scope; raises Denied (401, 403, 429).

        Wrong keys are limited by address, but a right one passes always: who shares an address with a
        program that has an old key must not suffer for it, and 256 random bits are not found by trying.
        """
        now_ms = self.clock_ms()
        identity = key_id(token)
        found = await self._find(identity) if identity is not None else None
        if not proves(token, found[0] if found else None, now_ms) or found is None:
            if identity is not None:  # what has not the form of a key is nobody's guess
                self._count_guess(address, now_ms)
            if not token:
                raise Denied(401, "bad-key", "Show a key: Authorization: Bearer op_...")
            raise Denied(401, "bad-key", "The key is unknown, expired or revoked.")
        caller = Caller(found[1], found[0])
        if not allows_address(caller.key.networks, address):
            raise Denied(403, "address", "This key may not be used from this address.")
        if caller.client.state != "active":
            raise Denied(403, "suspended", "This client is suspended; ask the operator.")
        if not caller.has(scope):
            raise Denied(403, "scope", f"This key has not the scope {scope}.")
        return caller

    async def _find(self, identity: str) -> tuple[KeyRow, Client] | None:
        known = self._keys.get(identity)
        if known is None:
            known = await self.store.reader.run(ops.find_key, identity)
            if known is None:
                return None
            self._keys[identity] = known
            if len(self._keys) > KEYS_KEPT:
                self._keys.popitem(last=False)
        return known

    def forget_keys(self) -> None:
        """A client or a key changed: ask the store again."""
        self._keys.clear()

    def _count_guess(self, address: str, now_ms: int) -> None:
        """Count a wrong key; raises Denied 429 beyond what an address may try in a minute."""
        count, since_ms = self._guesses.pop(address, (0, now_ms))
        if not 0 <= now_ms - since_ms < 60_000:
            count, since_ms = 0, now_ms
        if count >= GUESSES_A_MINUTE:
            self._guesses[address] = (count, since_ms)
            left_s = (since_ms + 60_000 - now_ms) / 1000
            raise Denied(429, "guessing", "Too many wrong keys from here.", retry_after_s=left_s)
        self._guesses[address] = (count + 1, since_ms)
        if len(self._guesses) > ADDRESSES_KEPT:
            self._guesses.popitem(last=False)

    def admit(self, client: Client, count: int) -> None:
        """Let `count` messages of a client in, or raise Denied 429."""
        now_ms = self.clock_ms()
        bucket = self._buckets.get(client.id)
        if bucket is None:
            bucket = self._buckets[client.id] = _Bucket(client.per_second, now_ms)
        wait_s = bucket.take(count, client.per_second, now_ms)
        if wait_s:
            raise Denied(
                429,
                "too-fast",
                f"At most {client.per_second} messages a second; put more of them into one batch.",
                retry_after_s=wait_s,
            )

    # -- messages

    async def prepare(self, request: SendRequest, client: Client) -> NewMessage:
        """Check one message, fill its template, count it and find its route; raises ItemError, Denied."""
        message, _ = await self._prepared(request, client)
        if message.segments > MAX_SEGMENTS:
            raise ItemError("$.text", f"at most {MAX_SEGMENTS} segments", str(message.segments))
        self._check_room(message.lane)
        await self._check_queue(message.lane)
        return message

    async def _prepared(self, request: SendRequest, client: Client) -> tuple[NewMessage, Segments]:
        recipient = normalise_number(request.to, self.region)
        if recipient is None:
            raise ItemError("$.to", "a mobile number", request.to[:40])
        text = await self._text(request, client)
        if "\x00" in text:
            raise ItemError("$.text", "text without NUL characters")
        now_ms = self.clock_ms()
        not_before_ms = 0
        if request.send_at is not None:
            not_before_ms = _moment(request.send_at)
            if not_before_ms > now_ms + MAX_AHEAD_MS:
                raise ItemError("$.send_at", "a time within a year", request.send_at)
        expires_at_ms = None
        if request.validity_s is not None:
            expires_at_ms = max(now_ms, not_before_ms) + 1000 * request.validity_s
        counted = _segments(text)
        lane = Lane(request.lane)
        route, why = "", ""
        if self._choose is not None:
            wanted = Outbound(recipient=recipient, text=text, lane=lane, client_id=client.id)
            choice = await self._choose(wanted)
            if choice is not None:  # None: no routes are configured, any modem takes it
                if choice.route is None:
                    raise ItemError("$.to", f"a number that some route reaches ({choice.why})", recipient)
                route, why = choice.route, choice.why
        message = NewMessage(
            recipient=recipient,
            text=text,
            lane=lane,
            encoding=str(counted.encoding),
            segments=len(counted.parts),
            reference=request.reference,
            route=route,
            why=why,
            not_before_ms=not_before_ms,
            expires_at_ms=expires_at_ms,
        )
        return message, counted

    async def _text(self, request: SendRequest, client: Client) -> str:
        if (request.text is None) == (request.template is None):
            raise ItemError("$.text", "either text or template")
        if request.text is not None:
            if request.variables or request.language:
                raise ItemError("$.variables", "variables and language with a template only")
            return request.text
        body = await self.store.reader.run(ops.get_template, client.id, request.template)
        if body is None:
            raise ItemError("$.template", "the name of one of your templates", request.template or "")
        template = msgspec.json.decode(body, type=templates.Template)
        try:
            return templates.render(template, request.language, request.variables)
        except templates.TemplateError as error:
            raise ItemError(f"$.{error.where}", str(error)) from None

    async def preview(self, request: SendRequest, client: Client) -> Preview:
        """What a message would become and cost, with nothing sent."""
        message, counted = await self._prepared(request, client)
        (price,) = await self.store.reader.run(price_ops.prices_of, [message.recipient], self.clock_ms())
        return Preview(
            to=message.recipient,
            text=message.text,
            encoding=message.encoding,
            segments=message.segments,
            characters=len(message.text),
            units=price * message.segments,
            forced_by=counted.forced_by,
            route=message.route or None,
            why=message.why,
        )

    async def send(
        self,
        client: Client,
        messages: Sequence[NewMessage],
        *,
        key: str = "",
        request: bytes = b"",
        render: Callable[[Sequence[Placed | Refused]], tuple[int, bytes]],
        also: Callable[[sqlite3.Connection, Placed], None] | None = None,
    ) -> tuple[int, bytes]:
        """Queue and charge the messages, and answer; the same `key` and `request` again: the same answer.

        Raises Denied: 409 while the first request with this key runs, 422 when it asked something else.
        """
        digest = hashlib.sha256(request).digest()
        running = (client.id, key)
        if key:
            if running in self._running:
                # Another repetition may be asking, too: what is answered already is answered to all.
                earlier = await self.earlier_answer(client, key, request)
                if earlier is not None:
                    return earlier
                raise Denied(409, "still-running", "The first request with this Idempotency-Key still runs.")
            self._running.add(running)
        try:
            result = await self.store.writer.run(
                enqueue, client.id, messages, self.clock_ms(), key, digest, render, also
            )
        finally:
            if key:
                self._running.discard(running)
        if faults.armed:
            faults.hit("gateway.queued")
        if isinstance(result, Answer):
            return self._again(result, digest)
        now_ms = self.clock_ms()
        due = [
            placed.row
            for placed, message in zip(result, messages, strict=True)
            if isinstance(placed, Placed) and message.not_before_ms <= now_ms
        ]
        if due:
            self._offer(due)  # later ones are found when their time has come
        return render(result)

    async def earlier_answer(self, client: Client, key: str, request: bytes) -> tuple[int, bytes] | None:
        """The answer that this key already has; raises Denied 422 when it was for something else."""
        found = await self.store.reader.run(ops.stored_answer, client.id, key)
        return None if found is None else self._again(found, hashlib.sha256(request).digest())

    def _again(self, answer: Answer, digest: bytes) -> tuple[int, bytes]:
        if answer.request_hash != digest:
            raise Denied(422, "key-reused", "This Idempotency-Key was used before, for another request.")
        return answer.status, answer.body

    async def cancel(self, outbound_id: int, reason: str = "cancelled by the client") -> bool:
        """Take a queued message back; its units return. False when it left the queue already."""
        return bool(await self._cancel(outbound_id, reason))

    def offer(self, rows: Sequence[QueuedRow]) -> None:
        """Tell the lanes of messages that another op queued."""
        if rows:
            self._offer(rows)

    def _check_room(self, lane: Lane) -> None:
        if self._data_dir is None:
            return
        now_ms = self.clock_ms()
        looked_ms, free = self._free_bytes
        if not 0 <= now_ms - looked_ms < _DISK_LOOK_MS:
            free = shutil.disk_usage(self._data_dir).free
            self._free_bytes = (now_ms, free)
        if free < DISK_FLOORS[lane]:
            raise Denied(
                503, "disk-nearly-full", f"The disk is nearly full; lane {lane} is closed.", retry_after_s=60
            )

    async def _check_queue(self, lane: Lane) -> None:
        now_ms = self.clock_ms()
        looked_ms, units = self._under_way
        if not 0 <= now_ms - looked_ms < _QUEUE_LOOK_MS:
            self._under_way = (now_ms, units)  # the others need not look as well
            units = await self.store.reader.run(ops.units_under_way)
            self._under_way = (now_ms, units)
        if units >= QUEUE_BOUNDS[lane]:
            raise Denied(
                503, "queue-full", f"Too much waits to be sent; lane {lane} is closed.", retry_after_s=60
            )

    async def tidy(self) -> None:
        """Forget old answers, once an hour, for ever."""
        while True:
            await self.store.writer.run(ops.drop_old_answers, self.clock_ms())
            await asyncio.sleep(3600)


def _moment(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("no zone")
        moment = math.floor(at.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ItemError("$.send_at", "ISO 8601 with a zone", text) from None
    return moment
