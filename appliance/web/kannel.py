"""Kannel's sendsms interface, so that software which speaks to Kannel works unchanged.

`/cgi-bin/sendsms` with Kannel's parameters (user guide 1.4, "SMS Push"), by GET, by POST of a form, or by
POST of the text itself with `X-Kannel-` headers: the username is a client's name, the password one of its
keys. Refusals have the words of Kannel's smsbox 1.4.5, for there is software that looks for them. `dlr-url`
is called with its escapes filled in, for the states that `dlr-mask` names. This file is all there is of
Kannel, its schema file apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote_plus, unquote_to_bytes

import aiohttp
import msgspec
from aiohttp import web

from appliance.channels.forms import Form, data_form
from appliance.gateway.service import MAX_VALIDITY_S, Caller, Denied, Gateway, ItemError, SendRequest
from appliance.gateway.webhooks import ForbiddenAddress, PublicOnly, check_url
from appliance.store.gateway import NewMessage, Placed, Refused

__all__ = ["Kannel", "KannelReports", "fill_escapes"]

log = logging.getLogger(__name__)

PATH: Final = "/cgi-bin/sendsms"
_MAX_RECIPIENTS: Final = 100
_MAX_URL: Final = 2000
_LOOK_EVERY_S: Final = 2.0
_AT_ONCE: Final = 16
_TIMEOUT_S: Final = 20.0
_RETRY_MS: Final = (10_000, 60_000, 600_000, 3_600_000, 6 * 3_600_000, 24 * 3_600_000)
# Kannel's priority is 0 to 3, the highest last; it has no lanes. RapidPro says 1 for what answers a person.
_LANES: Final = {None: "normal", 0: "bulk", 1: "reply", 2: "reply", 3: "otp"}
_CODINGS: Final = {0: "gsm7", 1: "8bit", 2: "ucs2"}
# Parameters that are numbers: the least and the greatest that Kannel takes, and its name for them. Like its
# sscanf, we read the number at the beginning and take what has none as not given.
_NUMBERS: Final = {
    "dlr-mask": (-1, 63, "DLR-Mask"),
    "mclass": (-1, 3, "MClass"),
    "pid": (-1, 255, "PID"),
    "rpi": (-1, 2, "RPI"),
    "alt-dcs": (-1, 1, "Alt-DCS"),
    "mwi": (-1, 7, "MWI"),
    "coding": (-1, 2, "Coding"),
    "compress": (-1, 1, "Compress"),
    "validity": (-1, 10**9, "Validity"),
    "deferred": (-1, 10**9, "Deferred"),
    "priority": (0, 3, "Priority"),
}
_OTHER_NAMES: Final = {"user": "username", "pass": "password", "dlrmask": "dlr-mask", "dlrurl": "dlr-url"}
_MOST_SHOWN: Final = 40  # octets of data, in what the life of a message shows of it


class _Answer(Exception):
    """What to tell the caller, in Kannel's words."""

    def __init__(self, status: int, text: str, retry_after_s: float = 0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


def _for_now(error: Denied) -> _Answer:
    return _Answer(503, f"Temporal failure, try again later. {error}", error.retry_after_s)


class Kannel:
    """The handler."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def sendsms(self, request: web.Request) -> web.StreamResponse:
        """202 `0: Accepted for delivery`, 400, 402 (no credit; Kannel has none), 403 or 503, as text."""
        headers = {}
        try:
            status, text = 202, await self._sendsms(request)
        except _Answer as answer:
            status, text = answer.status, str(answer)
            if answer.retry_after_s:
                headers["Retry-After"] = str(max(1, round(answer.retry_after_s)))
        return web.Response(status=status, text=text, headers=headers)

    async def _sendsms(self, request: web.Request) -> str:
        asked = await _asked(request)
        caller = await self._caller(asked, request.remote or "127.0.0.1")
        form, text = _form_of(asked)
        url, mask = _report_wanted(asked, self._gateway.private_webhooks)
        messages, denied = [], []
        for number in asked.receivers():
            try:
                message = await self._gateway.prepare(
                    _request(asked, number, text, self._gateway.clock_ms()), caller.client
                )
            except ItemError as error:
                if error.where != "$.to":
                    raise _Answer(400, f"{error}, rejected") from None
                denied.append(f"{number} ({error.expected})")
                continue
            except Denied as error:
                raise _Answer(
                    503, f"Temporal failure, try again later. {error}", error.retry_after_s
                ) from None
            if form is not None and form.data is not None:
                message = msgspec.structs.replace(message, encoding=form.coding, segments=1)
            messages.append(message)
        if not messages:
            words = "Number(s) has/have been denied by white- and/or black-lists."
            raise _Answer(400, f"{words} Expected: {', '.join(denied)}")
        try:
            self._gateway.admit(caller.client, len(messages))
        except Denied as error:
            raise _for_now(error) from None
        await self._place(caller, messages, form, url, mask, asked.get("from"))
        return " ".join(["0: Accepted for delivery", *(["Denied receivers are:", *denied] if denied else [])])

    async def _caller(self, asked: _Asked, address: str) -> Caller:
        try:
            caller = await self._gateway.authenticate(asked.get("password"), address, "send")
        except Denied as error:
            if error.status == 429:
                raise _Answer(
                    503, f"Temporal failure, try again later. {error}", error.retry_after_s
                ) from None
            raise _Answer(403, "Authorization failed for sendsms") from None
        if caller.client.name != asked.get("username"):
            raise _Answer(403, "Authorization failed for sendsms")
        return caller

    async def _place(
        self,
        caller: Caller,
        messages: Sequence[NewMessage],
        form: Form | None,
        url: str,
        mask: int,
        sender: str,
    ) -> None:
        outcomes: list[Placed | Refused] = []
        kept = "" if form is None else form.dumps()

        def render(results: Sequence[Placed | Refused]) -> tuple[int, bytes]:
            outcomes[:] = results
            return 202, b""

        def also(db: sqlite3.Connection, placed: Placed) -> None:
            if kept:
                db.execute("UPDATE outbound SET form = ? WHERE id = ?", (kept, placed.outbound_id))
            if url:
                db.execute(
                    "INSERT INTO kannel_message (outbound_id, url, mask, sender) VALUES (?, ?, ?, ?)",
                    (placed.outbound_id, url, mask, sender[:32]),
                )

        await self._gateway.send(caller.client, messages, render=render, also=also if url or kept else None)
        if not any(isinstance(outcome, Placed) for outcome in outcomes):
            raise _Answer(402, "Not enough credit, rejected")


class _Asked(NamedTuple):
    """The parameters, whatever they came by: octets as sent. kind: of the body, for what is its coding."""

    octets: Mapping[str, bytes]
    kind: str

    def get(self, name: str) -> str:
        try:
            return self.octets.get(name, b"").decode()
        except UnicodeDecodeError:
            raise _Answer(400, f"{name} is not UTF-8, rejected") from None

    def number(self, name: str) -> int | None:
        found = re.match(rb"\s*[+-]?\d{1,9}", self.octets.get(name, b""))
        if found is None:
            return None
        low, high, words = _NUMBERS[name]
        if not low <= int(found[0]) <= high:
            raise _Answer(400, f"{words} field misformed, rejected")
        return None if int(found[0]) == -1 else int(found[0])

    def receivers(self) -> list[str]:
        """The numbers, each once."""
        if "to" not in self.octets:
            raise _Answer(400, "Missing receiver number, rejected")
        numbers = list(dict.fromkeys(self.get("to").split()))
        if not numbers:
            raise _Answer(400, "Empty receiver number not allowed, rejected")
        if len(numbers) > _MAX_RECIPIENTS:
            raise _Answer(400, f"More than {_MAX_RECIPIENTS} receivers, rejected")
        return numbers


async def _asked(request: web.Request) -> _Asked:
    """Percent-encoded octets, of the query or a form; or the body as the text, with the rest in headers."""
    if request.method != "POST":
        return _Asked(_pairs(request.rel_url.raw_query_string), "")
    body = await request.read()
    match request.content_type:
        case "application/x-www-form-urlencoded":
            return _Asked(_pairs(f"{request.rel_url.raw_query_string}&{body.decode('latin-1')}"), "")
        case "text/plain" | "application/octet-stream" as kind:
            octets = {
                name[len("x-kannel-") :].lower(): value.encode("utf-8", "surrogateescape")
                for name, value in request.headers.items()
                if name.lower().startswith("x-kannel-")
            }
            if "udh" in octets:
                octets["udh"] = unquote_to_bytes(octets["udh"])
            octets = {_OTHER_NAMES.get(name, name): value for name, value in octets.items()}
            return _Asked({**octets, "text": body, "charset": (request.charset or "").encode()}, kind)
    raise _Answer(400, "Invalid content-type")


def _pairs(raw: str) -> dict[str, bytes]:
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, encoding="latin-1", max_num_fields=60)
    except ValueError:
        raise _Answer(400, "Too many parameters, rejected") from None
    return {_OTHER_NAMES.get(name, name): value.encode("latin-1") for name, value in pairs}


def _form_of(asked: _Asked) -> tuple[Form | None, str]:
    """How the message is sent, None for plain text, and its text: of data, what people are shown of it."""
    for name in _NUMBERS:
        asked.number(name)
    if asked.number("mwi") is not None:
        raise _Answer(400, "MWI is not supported, rejected")
    octets, udh = asked.octets.get("text", b""), asked.octets.get("udh", b"")
    coding = asked.number("coding")
    if coding is None:
        coding = 1 if udh or asked.kind == "application/octet-stream" else 0
    content: bytes | str = octets if coding == 1 else _text(octets, asked.get("charset"), coding)
    message_class, pid = asked.number("mclass"), asked.number("pid") or 0
    if isinstance(content, str) and not udh and not pid:
        if not content:
            raise _Answer(400, "Empty text not allowed, rejected")
        return (None if message_class is None else Form(message_class=message_class)), content
    try:
        form = data_form(_CODINGS[coding], content, udh, message_class, pid)  # type: ignore[arg-type]
    except ValueError as error:
        words = "UDH field misformed" if udh and len(udh) != udh[0] + 1 else f"Message too long: {error}"
        raise _Answer(400, f"{words}, rejected") from None
    header = f"header {udh.hex()}, " if udh else ""
    what = content if isinstance(content, str) else f"{len(content)} octets {content[:_MOST_SHOWN].hex()}"
    return form, f"data ({form.coding}): {header}{what}"


def _text(octets: bytes, charset: str, coding: int) -> str:
    try:
        text = octets.decode(charset or ("UTF-16BE" if coding == 2 else "UTF-8"))
        text.encode("utf-16")  # a codec may let a lone surrogate through
    except (LookupError, UnicodeError):
        raise _Answer(400, "Charset or body misformed, rejected") from None
    return text


def _request(asked: _Asked, number: str, text: str, now_ms: int) -> SendRequest:
    account = asked.get("account")
    if len(account) > 128 or re.search(r"[\[\]\r\n]", account):
        raise _Answer(400, "Account field misformed or too long, rejected")
    validity, deferred = asked.number("validity"), asked.number("deferred")
    send_at = None
    if deferred:
        send_at = datetime.fromtimestamp(now_ms / 1000 + 60 * min(deferred, 10**6), UTC).isoformat()
    return SendRequest(
        to=number,
        text=text,
        lane=_LANES[asked.number("priority")],  # type: ignore[arg-type]  # of the table
        reference=account,
        validity_s=None if validity is None else min(max(1, validity) * 60, MAX_VALIDITY_S),
        send_at=send_at,
    )


def _report_wanted(asked: _Asked, allow_private: bool) -> tuple[str, int]:
    url, mask = asked.get("dlr-url"), asked.number("dlr-mask")
    if url and not re.match(r"https?://.", url, re.IGNORECASE):
        raise _Answer(400, "DLR-URL field misformed, rejected")
    if not url or not mask:
        return "", 0
    try:
        check_url(fill_escapes(url, {}), allow_private=allow_private)
    except (ValueError, OSError) as error:
        raise _Answer(400, f"DLR-URL field misformed, rejected: {error}") from None
    if len(url) > _MAX_URL:
        raise _Answer(400, "DLR-URL field misformed, rejected: it is too long")
    return url, mask


# -- reports


class _Report(NamedTuple):
    id: int
    status: int
    attempts: int
    created_at_ms: int
    url: str
    sender: str
    recipient: str
    outbound_id: int
    channel: str
    reason: str
    reference: str
    foreign_id: str
    accepted_at_ms: int
    client: str


def fill_escapes(url: str, values: Mapping[str, str]) -> str:
    """Replace %d, %P ... by their values, URL-encoded; escapes nobody knows stay as they are."""
    known = {**values, "%": "%"}
    return re.sub(
        r"%([a-zA-Z%])",
        lambda found: (
            (known[found[1]] if found[1] == "%" else quote_plus(known[found[1]]))
            if found[1] in known
            else found[0]
        ),
        url,
    )


def _receipt(report: _Report) -> str:
    """What Kannel has for the text of a report: its own word, or the SMSC's receipt as of SMPP 3.4."""
    if report.status in (8, 16):
        return "ACK/" if report.status == 8 else f"NACK/{report.reason}"
    word, part = ("DELIVRD", "001") if report.status == 1 else ("UNDELIV", "000")
    found = re.search(r"\d+", report.reason)
    submitted, done = (
        datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%y%m%d%H%M")
        for at_ms in (report.accepted_at_ms, report.created_at_ms)
    )
    return (
        f"id:out_{report.outbound_id} sub:001 dlvrd:{part} submit date:{submitted} done date:{done}"
        f" stat:{word} err:{int(found[0]) % 1000 if found else 0:03} text:{report.reason[:20]}"
    )


def _values(report: _Report) -> dict[str, str]:
    """As Kannel fills them (gw/urltrans.c; each tried on smsbox 1.4.5): in a report the phone is the sender,
    so it is %p, and what the message was sent from is %P."""
    at = datetime.fromtimestamp(report.created_at_ms / 1000, UTC)
    text = _receipt(report)
    first, _, rest = text.partition(" ")
    return {
        "d": str(report.status),
        "p": report.recipient,
        "q": report.recipient,
        "P": report.sender,
        "Q": report.sender,
        "t": at.strftime("%Y-%m-%d %H:%M:%S"),
        "T": str(report.created_at_ms // 1000),
        "i": report.channel,
        "I": f"out_{report.outbound_id}",
        "F": report.foreign_id or f"out_{report.outbound_id}",
        "n": report.client,
        "o": report.reference,
        "A": text,
        "a": text,
        "b": text,
        "k": first,
        "s": rest.partition(" ")[0],
        "r": rest,
        "c": "0",
        "C": "UTF-8",
        "m": "-1",
        "M": "-1",
        "O": "00",
        "R": report.url,
        **dict.fromkeys("uBDfvVS", ""),
    }


def _due(db: sqlite3.Connection, now_ms: int, limit: int) -> list[_Report]:
    """Reports to tell now; of one message only the first, so that they come in order."""
    rows = db.execute(
        "SELECT r.id, r.status, r.attempts, r.created_at_ms, k.url, k.sender, o.recipient, o.id, o.channel,"
        " o.reason, m.reference, coalesce(o.provider_ref, ''), o.created_at_ms, c.name"
        " FROM kannel_report r JOIN kannel_message k ON k.outbound_id = r.outbound_id"
        " JOIN outbound o ON o.id = r.outbound_id JOIN client_message m ON m.outbound_id = o.id"
        " JOIN client c ON c.id = m.client_id WHERE r.next_attempt_ms <= ? AND NOT EXISTS"
        " (SELECT 1 FROM kannel_report e WHERE e.outbound_id = r.outbound_id AND e.id < r.id)"
        " ORDER BY r.next_attempt_ms, r.id LIMIT ?",
        (now_ms, limit),
    )
    return [_Report(*row) for row in rows]


def _settle(db: sqlite3.Connection, report_id: int, told: bool, attempts: int, now_ms: int) -> None:
    if told or attempts >= len(_RETRY_MS):
        db.execute("DELETE FROM kannel_report WHERE id = ?", (report_id,))
        return
    db.execute(
        "UPDATE kannel_report SET attempts = ?, next_attempt_ms = ? WHERE id = ?",
        (attempts + 1, now_ms + _RETRY_MS[attempts], report_id),
    )


class KannelReports:
    """Tells dlr-urls, from the table that a trigger fills in the transaction of each state."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """A cleanup context of the application: runs while it does."""
        task = asyncio.create_task(self._run(), name="kannel reports")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        connector = None if self._gateway.private_webhooks else aiohttp.TCPConnector(resolver=PublicOnly())
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                try:
                    told = await self.tell_due(session.get)
                except Exception:  # a disk that refuses now must not end the telling for ever
                    log.exception("Kannel reports wait")
                    told = 0
                if told < _AT_ONCE:
                    await asyncio.sleep(_LOOK_EVERY_S)

    async def tell_due(self, get: Callable[..., Any]) -> int:
        """Tell what is due, some at once; returns how many were tried."""
        store, now_ms = self._gateway.store, self._gateway.clock_ms()
        due = await store.reader.run(_due, now_ms, _AT_ONCE)
        for report, told in zip(due, await asyncio.gather(*(self._tell(get, r) for r in due)), strict=True):
            await store.writer.run(_settle, report.id, told, report.attempts, self._gateway.clock_ms())
        return len(due)

    async def _tell(self, get: Callable[..., Any], report: _Report) -> bool:
        url = fill_escapes(report.url, _values(report))
        try:
            check_url(url, allow_private=self._gateway.private_webhooks)
            async with get(url, allow_redirects=False) as answer:
                return 200 <= int(answer.status) < 300
        except (aiohttp.ClientError, TimeoutError, ValueError, ForbiddenAddress, OSError):
            return False
