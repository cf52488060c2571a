"""The lean front: plain POSTs of messages are read here, all else by aiohttp on the same port.

What aiohttp does around a handler (parser objects, a request, a response, a router, a middleware) costs
about three times what these handlers cost themselves, so a POST to one of the `HOT_ROUTES` whose head has
nothing unusual in it goes to its handler from here. Anything else hands the connection, with every octet
received so far, to aiohttp's own protocol, which keeps it: an unknown path, a query, another method, a
chunked or compressed body, a head in pieces or with bytes that are no ASCII. So this file need not be a
whole HTTP server, only sure of what it takes; tests send the same bytes to both and compare the answers.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.tcp_helpers import tcp_keepalive
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict

from appliance.web.exchange import HOT_ROUTES, Answer, Hot
from appliance.web.incoming import MAX_BODY_OCTETS

__all__ = ["FrontRunner"]

logger = logging.getLogger(__name__)

IDLE_S: Final = 3630.0  # a connection without a request is closed after as long as aiohttp waits
SWEEP_S: Final = 60.0
HEADS_KEPT: Final = 1024
HEAD_KEPT_OCTETS: Final = 1024
AHEAD_OCTETS: Final = 64 * 1024  # of requests sent before the one at work was answered; beyond it: no reading

# One request line and fields of printable ASCII. A field that is folded, or has no plain name, is no match.
_HEAD: Final = re.compile(
    rb"POST (/[\x21-\x7e]*) HTTP/1\.([01])\r\n((?:[A-Za-z0-9-]+:[\t\x20-\x7e]*\r\n)+)\r\n"
)
_POST: Final = b"POST /"
_FIELD: Final = re.compile(r"([^:]+):[ \t]*([^\r]*?)[ \t]*\r\n")
_LENGTH: Final = re.compile(r"\d{1,7}\Z")
_ONCE: Final = b"\r\nIdempotency-Key:"
_ONCE_VALUE: Final = re.compile(rb"[ \t]*([\x20-\x7e]*?)[ \t]*")
# Fields that change how a request is read: aiohttp's business. Of Connection its usual words are known here.
_OTHERS_BUSINESS: Final = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te", "sec-websocket-key"}
)
_SINGLE: Final = ("host", "content-length", "content-type", "connection", "authorization")
_NO_QUERY: Final[MultiDict[str]] = MultiDict()
_NO_MATCH: Final[Mapping[str, str]] = MappingProxyType({})
_SERVER: Final = f"Server: {SERVER_SOFTWARE}\r\n"
_CLOSE: Final = "Connection: close\r\n"
_STAY: Final = "Connection: keep-alive\r\n"
_STATUS: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class _Asked:
    """A request that the front has read: an `exchange.Asked`."""

    __slots__ = ("_body", "headers", "remote")

    query = _NO_QUERY
    match_info = _NO_MATCH

    def __init__(self, headers: CIMultiDictProxy[str], remote: str | None, body: bytes) -> None:
        self.headers = headers
        self.remote = remote
        self._body = body

    async def read(self) -> bytes:
        return self._body


class _Head:
    """What a request's head says. end: where its body begins; length: of the body."""

    __slots__ = ("closing", "end", "headers", "hot", "length", "minor")

    def __init__(
        self, hot: Hot, minor: bytes, headers: CIMultiDict[str], length: int, end: int, closing: bool
    ) -> None:
        self.hot = hot
        self.minor = minor
        self.headers = CIMultiDictProxy(headers)
        self.length = length
        self.end = end
        self.closing = closing


class _Heads:
    """Reads heads. A caller sends nearly the same one each time, so those that may come again are kept."""

    def __init__(self, routes: Mapping[str, Hot]) -> None:
        self._routes = {path.encode(): handler for path, handler in routes.items()}
        self._known: dict[bytes, _Head] = {}

    def read(self, data: bytes) -> _Head | None:
        """The head at the beginning of `data`; None when it is for aiohttp to read."""
        end = data.find(b"\r\n\r\n") + 4
        raw = data[:end]
        known = self._known.get(raw)
        if known is not None:
            return known
        at = raw.find(_ONCE)
        if at < 0:
            return self._kept(raw)
        # The one field that is new each time; without it the head is one that came before.
        line_end = raw.find(b"\r\n", at + 2)
        value = _ONCE_VALUE.fullmatch(raw, at + len(_ONCE), line_end)
        rest = raw[:at] + raw[line_end:]
        head = self._known.get(rest) or self._kept(rest)
        if head is None or value is None or "Idempotency-Key" in head.headers:
            return self._parse(raw)
        headers = CIMultiDict(head.headers)
        headers.add("Idempotency-Key", value[1].decode("ascii"))
        return _Head(head.hot, head.minor, headers, head.length, end, head.closing)

    def _kept(self, raw: bytes) -> _Head | None:
        head = self._parse(raw)
        if head is not None and len(raw) <= HEAD_KEPT_OCTETS and "Idempotency-Key" not in head.headers:
            if len(self._known) >= HEADS_KEPT:
                self._known.clear()
            self._known[raw] = head
        return head

    def _parse(self, raw: bytes) -> _Head | None:
        found = _HEAD.fullmatch(raw)
        if found is None:
            return None
        hot = self._routes.get(found[1])
        if hot is None:
            return None
        fields = _FIELD.findall(found[3].decode("ascii"))
        names = [name.lower() for name, _ in fields]
        if not _OTHERS_BUSINESS.isdisjoint(names):
            return None
        if len(set(names)) < len(names) and any(names.count(name) > 1 for name in _SINGLE):
            return None
        headers = CIMultiDict(fields)
        length = headers.get("Content-Length", "")
        if _LENGTH.match(length) is None or int(length) > MAX_BODY_OCTETS or "host" not in names:
            return None
        minor, connection = found[2], headers.get("Connection", "").lower()
        if connection not in ("", "keep-alive", "close") or (not connection and "connection" in names):
            return None
        closing = connection == "close" or (not connection and minor == b"0")
        return _Head(hot, minor, headers, int(length), len(raw), closing)


class _Front(asyncio.Protocol):
    """One connection, until it is handed over. One request at a time; what comes after it waits."""

    __slots__ = (
        "_body", "_buffer", "_head", "_holding", "_missing", "_remote", "_server", "_task", "_transport",
        "idle_since", "stopping",
    )  # fmt: skip

    def __init__(self, server: _FrontServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._remote: str | None = None
        self._buffer = b""
        self._head: _Head | None = None  # of the request whose body is on its way
        self._body: list[bytes] = []  # what has come of it
        self._missing = 0  # octets that have not
        self._task: asyncio.Task[None] | None = None
        self._holding = False  # the peer does not read its answers
        self.idle_since = 0.0
        self.stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it
        tcp_keepalive(self._transport)
        peer = transport.get_extra_info("peername")
        self._remote = peer[0] if isinstance(peer, (list, tuple)) else str(peer)
        self.idle_since = self._server.loop.time()
        self._server.fronts.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        # A request at work goes on: what it stores is stored, and nobody is left to be told.
        self._server.fronts.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._task is not None or self._holding:
            self._buffer += data
            if len(self._buffer) > AHEAD_OCTETS and self._transport is not None:
                self._transport.pause_reading()
        elif self._head is not None:
            self._more_body(data)
        else:
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        """A request begins with `data`."""
        head = self._server.heads.read(data)
        if head is None or self.stopping:
            self._hand_over(data)
            return
        end = head.end + head.length
        if len(data) < end:
            self._head = head
            self._body = [data]
            self._missing = end - len(data)
            return
        body = data[head.end : end]
        if len(data) > end:
            if not _POST.startswith(data[end : end + len(_POST)]):
                self._hand_over(data)  # so that what follows is judged together with this one, as there
                return
            self._buffer = data[end:]
        self._start(head, body)

    def _more_body(self, data: bytes) -> None:
        self._body.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        head, whole = self._head, b"".join(self._body)
        assert head is not None
        self._head, self._body = None, []
        end = head.end + head.length
        self._buffer = whole[end:]
        self._start(head, whole[head.end : end])

    def _start(self, head: _Head, body: bytes) -> None:
        asked = _Asked(head.headers, self._remote, body)
        self._task = self._server.loop.create_task(self._serve(head, asked))

    async def _serve(self, head: _Head, asked: _Asked) -> None:
        try:
            answer = await head.hot(asked)
        except BaseException:
            # Routes raise nothing, so this is a cancellation at the end of the program.
            if self._transport is not None:
                self._transport.close()
            raise
        transport = self._transport
        self._task = None
        if transport is None:
            return
        transport.write(_written(answer, head))
        if head.closing or self.stopping:
            transport.close()
            return
        self.idle_since = self._server.loop.time()
        if self._buffer and not self._holding:
            self._next()

    def _next(self) -> None:
        """The next of several requests that were sent at once."""
        data, self._buffer = self._buffer, b""
        if self._transport is not None:
            self._transport.resume_reading()
        if data:
            self._begin(data)

    def _hand_over(self, data: bytes) -> None:
        """From here on the connection is aiohttp's."""
        transport = self._transport
        if transport is None:
            return
        self._server.fronts.discard(self)
        self._transport = None
        protocol = self._server.aiohttp()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def pause_writing(self) -> None:
        self._holding = True

    def resume_writing(self) -> None:
        self._holding = False
        if self._task is None and self._head is None and self._buffer:
            self._next()

    @property
    def busy(self) -> bool:
        """Is a request at work, or half received?"""
        return self._task is not None or self._head is not None

    def close(self) -> None:
        """Close at once when idle, else after the answer."""
        self.stopping = True
        if not self.busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()


def _written(answer: Answer, head: _Head) -> bytes:
    """The answer's octets, its fields as aiohttp writes them and in its order."""
    status, body, content_type, headers = answer
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) if headers else ""
    if body is None:
        body = b""
    else:
        fields += f"Content-Type: {content_type}\r\n"
    if head.closing:
        connection = _CLOSE if head.minor == b"1" else ""
    else:
        connection = _STAY if head.minor == b"0" else ""
    text = (
        f"HTTP/1.{head.minor[0] - 48} {_STATUS[status]}\r\n{fields}Content-Length: {len(body)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\n{_SERVER}{connection}\r\n"
    )
    return text.encode() + body


class _FrontServer:
    """Makes the protocol of each connection; stands where aiohttp's runner expects its `web.Server`."""

    def __init__(self, server: web.Server, routes: Mapping[str, Hot]) -> None:
        self.loop = asyncio.get_running_loop()
        self.aiohttp = server
        self.heads = _Heads(routes)
        self.fronts: set[_Front] = set()
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)

    def __call__(self) -> _Front:
        return _Front(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.aiohttp, name)

    def _sweep(self) -> None:
        self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)
        before = self.loop.time() - IDLE_S
        for front in list(self.fronts):
            if not front.busy and front.idle_since < before:
                front.close()

    def pre_shutdown(self) -> None:
        self._sweeping.cancel()
        for front in list(self.fronts):
            front.close()
        self.aiohttp.pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        until = self.loop.time() + (timeout or 0)
        # The answers are on their way; looking is simpler than being told, and happens once.
        while any(front.busy for front in self.fronts) and self.loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        for front in list(self.fronts):
            front.abort()
        await self.aiohttp.shutdown(timeout)


class FrontRunner(web.AppRunner):
    """aiohttp's runner, with the lean front before the application's HOT_ROUTES."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        front = _FrontServer(server, self.app.get(HOT_ROUTES, {}))
        return cast(web.Server, front)
