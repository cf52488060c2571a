"""Kannel's sendsms interface, so that software which speaks to Kannel works unchanged.

`GET` or `POST /cgi-bin/sendsms` with Kannel's parameters (user guide, "Sending messages via HTTP"): the
username is a client's name, the password one of its keys. `dlr-url` is called with its escapes filled in,
for the states that `dlr-mask` names. This file is all there is of Kannel, its schema file apart.
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
from urllib.parse import parse_qsl, quote_plus

import aiohttp
from aiohttp import web

from appliance.gateway.service import Caller, Denied, Gateway, ItemError, SendRequest
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
# Kannel's priority is 0 to 3, the highest first; it has no lanes.
_LANES: Final = {"3": "otp", "2": "reply", "1": "normal", "0": "bulk"}
_STATUS_WORDS: Final = {1: "DELIVRD", 2: "UNDELIV", 8: "ACKED", 16: "REJECTD"}
# Parameters with a meaning here that we cannot honour: better refused than sent as something else.
_REFUSED: Final = {"udh": "binary messages", "mwi": "message waiting", "pid": "protocol identifiers"}


class _Answer(Exception):
    """What to tell the caller, in Kannel's words."""

    def __init__(self, status: int, text: str, retry_after_s: float = 0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


class Kannel:
    """The handler."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def sendsms(self, request: web.Request) -> web.StreamResponse:
        """202 `0: Accepted for delivery`, 400, 403 or 503, as text."""
        headers = {}
        try:
            status, text = 202, await self._sendsms(request)
        except _Answer as answer:
            status, text = answer.status, str(answer)
            if answer.retry_after_s:
                headers["Retry-After"] = str(max(1, round(answer.retry_after_s)))
        return web.Response(status=status, text=text, headers=headers)

    async def _sendsms(self, request: web.Request) -> str:
        raw = request.rel_url.raw_query_string
        if request.method == "POST":
            if request.content_type != "application/x-www-form-urlencoded":
                raise _Answer(400, "Unsupported content-type, rejected")
            raw = (await request.read()).decode("latin-1")
        fields = _fields(raw)
        caller = await self._caller(fields, request.remote or "127.0.0.1")
        sends = _requests(fields, self._gateway.clock_ms())
        url, mask = _report_wanted(fields, self._gateway.private_webhooks)
        messages = []
        for send in sends:
            try:
                messages.append(await self._gateway.prepare(send, caller.client))
            except ItemError as error:
                raise _Answer(400, f"{error}, rejected") from None
            except Denied as error:
                raise _Answer(503, f"4: {error}", error.retry_after_s) from None
        try:
            self._gateway.admit(caller.client, len(messages))
        except Denied as error:
            raise _Answer(503, f"4: {error}", error.retry_after_s) from None
        return await self._place(caller, messages, url, mask, fields.get("from", ""))

    async def _caller(self, fields: Mapping[str, str], address: str) -> Caller:
        username = fields.get("username", fields.get("user", ""))
        password = fields.get("password", fields.get("pass", ""))
        try:
            caller = await self._gateway.authenticate(password, address, "send")
        except Denied as error:
            if error.status == 429:
                raise _Answer(503, f"4: {error}", error.retry_after_s) from None
            raise _Answer(403, "Authorization failed for sendsms") from None
        if caller.client.name != username:
            raise _Answer(403, "Authorization failed for sendsms")
        return caller

    async def _place(
        self, caller: Caller, messages: Sequence[NewMessage], url: str, mask: int, sender: str
    ) -> str:
        outcomes: list[Placed | Refused] = []

        def render(results: Sequence[Placed | Refused]) -> tuple[int, bytes]:
            outcomes[:] = results
            return 202, b""

        def also(db: sqlite3.Connection, placed: Placed) -> None:
            db.execute(
                "INSERT INTO kannel_message (outbound_id, url, mask, sender) VALUES (?, ?, ?, ?)",
                (placed.outbound_id, url, mask, sender[:32]),
            )

        await self._gateway.send(caller.client, messages, render=render, also=also if url else None)
        if not any(isinstance(outcome, Placed) for outcome in outcomes):
            raise _Answer(402, "Not enough credit, rejected")
        if len(outcomes) == 1:
            return "0: Accepted for delivery"
        taken = (
            message for message, each in zip(messages, outcomes, strict=True) if isinstance(each, Placed)
        )
        return "0: Accepted for delivery: " + " ".join(message.recipient for message in taken)


def _fields(raw: str) -> dict[str, str]:
    """Parameters by name; the text decoded by `charset` and `coding`, as octets may be percent-encoded."""
    pairs = dict(parse_qsl(raw, keep_blank_values=True, encoding="latin-1", max_num_fields=60))
    octets = {name: value.encode("latin-1") for name, value in pairs.items()}
    coding = pairs.get("coding", "")
    if coding not in ("", "0", "2"):
        raise _Answer(400, "Only coding 0 and 2 are supported, rejected")
    charset = pairs.get("charset") or ("UTF-16BE" if coding == "2" else "UTF-8")
    fields = {}
    for name, value in octets.items():
        try:
            fields[name] = value.decode(charset if name == "text" else "UTF-8")
        except LookupError:
            raise _Answer(400, "Unknown charset, rejected") from None
        except UnicodeDecodeError:
            raise _Answer(400, f"{name} is not in its charset, rejected") from None
    return fields


def _requests(fields: Mapping[str, str], now_ms: int) -> list[SendRequest]:
    numbers = fields.get("to", "").split()
    if not numbers:
        raise _Answer(400, "Missing receiver number, rejected")
    if len(numbers) > _MAX_RECIPIENTS:
        raise _Answer(400, f"More than {_MAX_RECIPIENTS} receivers, rejected")
    if not fields.get("text"):
        raise _Answer(400, "Empty text not allowed, rejected")
    for name, what in _REFUSED.items():
        if fields.get(name):
            raise _Answer(400, f"{name}: {what} are not supported, rejected")
    validity = _minutes(fields, "validity")
    return [
        SendRequest(
            to=number,
            text=fields["text"],
            lane=_LANES.get(fields.get("priority", "1"), "normal"),  # type: ignore[arg-type]  # of the table
            reference=fields.get("account", "")[:128],
            validity_s=None if validity is None else min(max(1, validity) * 60, 7 * 86_400),
            send_at=_deferred(_minutes(fields, "deferred"), now_ms),
        )
        for number in numbers
    ]


def _minutes(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name)
    if not text:
        return None
    if not re.fullmatch(r"\d{1,6}", text):
        raise _Answer(400, f"{name} is not a number of minutes, rejected")
    return int(text)


def _deferred(minutes: int | None, now_ms: int) -> str | None:
    if not minutes:
        return None
    return datetime.fromtimestamp(now_ms / 1000 + 60 * minutes, UTC).isoformat()


def _report_wanted(fields: Mapping[str, str], allow_private: bool) -> tuple[str, int]:
    url, mask = fields.get("dlr-url", ""), fields.get("dlr-mask", "")
    if not url or not mask or mask == "0":
        return "", 0
    if not re.fullmatch(r"\d{1,3}", mask):
        raise _Answer(400, "dlr-mask is not a number, rejected")
    try:
        check_url(url, allow_private=allow_private)
    except (ValueError, OSError) as error:
        raise _Answer(400, f"dlr-url: {error}, rejected") from None
    if len(url) > _MAX_URL:
        raise _Answer(400, "dlr-url is too long, rejected")
    return url, int(mask)


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


def fill_escapes(url: str, values: Mapping[str, str]) -> str:
    """Replace %d, %P ... by their values, URL-encoded; escapes nobody knows stay as they are."""
    return re.sub(
        r"%([a-zA-Z])",
        lambda found: quote_plus(values[found[1]]) if found[1] in values else found[0],
        url,
    )


def _values(report: _Report) -> dict[str, str]:
    at = datetime.fromtimestamp(report.created_at_ms / 1000, UTC)
    word = _STATUS_WORDS[report.status]
    return {
        "d": str(report.status),
        "p": report.sender,
        "P": report.recipient,
        "t": at.strftime("%Y-%m-%d %H:%M"),
        "T": str(report.created_at_ms // 1000),
        "i": report.channel,
        "I": f"out_{report.outbound_id}",
        "F": f"out_{report.outbound_id}",
        "A": f"stat:{word} err:{report.reason}"[:160],
        "a": f"stat:{word}",
    }


def _due(db: sqlite3.Connection, now_ms: int, limit: int) -> list[_Report]:
    """Reports to tell now; of one message only the first, so that they come in order."""
    rows = db.execute(
        "SELECT r.id, r.status, r.attempts, r.created_at_ms, k.url, k.sender, o.recipient, o.id, o.channel,"
        " o.reason FROM kannel_report r JOIN kannel_message k ON k.outbound_id = r.outbound_id"
        " JOIN outbound o ON o.id = r.outbound_id WHERE r.next_attempt_ms <= ? AND NOT EXISTS"
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
