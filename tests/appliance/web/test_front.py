"""The lean front and aiohttp alone get the same octets and have to answer the same."""

from __future__ import annotations

import asyncio
import gzip
import re
from typing import Any, Final, cast

import pytest
from aiohttp import web

from appliance.web import front, make_app
from appliance.web.front import FrontRunner
from appliance.web.incoming import MAX_BODY_OCTETS

PATH: Final = "/api/sms/incoming"
BODY: Final = b'{"from":"+251911234567","message":"HELP","messageId":"m-1"}'
OTHER: Final = b'{"from":"+251911234568","message":"MENU","messageId":"m-2"}'


def post(
    body: bytes = BODY, *fields: str, path: str = PATH, version: str = "1.1", length: Any = None
) -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: 127.0.0.1", "Content-Type: application/json", *fields]
    head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode("utf-8") + b"\r\n\r\n" + body


CHUNKED: Final = (
    post(BODY, "Transfer-Encoding: chunked")
    .replace(b"Content-Length: %d\r\n" % len(BODY), b"")
    .replace(BODY, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
)

# name: the pieces that are sent, each after the one before has surely arrived; True: served by the lean front
CASES: Final[dict[str, tuple[list[bytes], bool]]] = {
    "plain": ([post()], True),
    "waits for the reply": ([post(BODY, "Prefer: wait=5")], True),
    "two Prefer fields": ([post(BODY, "Prefer: respond-async", "Prefer: wait=5")], True),
    "batch": ([post(b"[%b,%b]" % (BODY, OTHER))], True),
    "names in lower case": ([post().replace(b"Content-L", b"content-l").replace(b"Host", b"host")], True),
    "no blank after the colon": ([post().replace(b": ", b":")], True),
    "body apart": ([post()[: -len(BODY)], BODY], True),
    "body in three pieces": ([post()[:-40], post()[-40:-7], post()[-7:]], True),
    "head in two pieces": ([post()[:30], post()[30:]], False),
    "one octet first": ([post()[:1], post()[1:]], False),
    "two at once": ([post() + post(OTHER)], True),
    "two and a half at once": ([post() + post(OTHER) + post()[:-9], post()[-9:]], True),
    "body and the next one's head": ([post()[:-20], post()[-20:] + post(OTHER)], True),
    "a key for once": ([post(BODY, "Idempotency-Key: a-1"), post(OTHER, "Idempotency-Key: b-2")], True),
    "a key twice": ([post(BODY, "Idempotency-Key: a", "Idempotency-Key: b")], True),
    "a key of other letters": ([post(BODY, "Idempotency-Key: ሰላም")], False),
    "a key that is folded": ([post(BODY, "Idempotency-Key: a\r\n b")], False),
    "one after the other": ([post(), post(OTHER)], True),
    "keep-alive told": ([post(BODY, "Connection: keep-alive"), post(OTHER)], True),
    "the last of two": ([post(), post(OTHER, "Connection: close")], True),
    "old version": ([post(version="1.0")], True),
    "old version that stays": ([post(BODY, "Connection: Keep-Alive", version="1.0"), post(OTHER)], True),
    "other words of Connection": ([post(BODY, "Connection: close, keep-alive")], False),
    "no JSON": ([post(b"nonsense")], True),
    "no body": ([post(b"")], True),
    "wrong type": ([post().replace(b"application/json", b"text/plain")], True),
    "foreign page": ([post(BODY, "Origin: http://elsewhere.example")], True),
    "unknown host": ([post().replace(b"Host: 127.0.0.1", b"Host: box.example.com")], True),
    "wrong token": ([post(BODY, "Authorization: Bearer nonsense")], True),
    "proxied": ([post(BODY, "X-Forwarded-For: 10.1.2.3")], True),
    "query": ([post(path=f"{PATH}?a=1")], False),
    "unknown path": ([post(path="/api/sms/incomings")], False),
    "escaped path": ([post(path="/api/sms/%69ncoming")], False),
    "other method": ([post().replace(b"POST", b"PUT")], False),
    "a look first": ([b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", post()], False),
    "a look after": ([post(), b"GET /api/sms/incoming HTTP/1.1\r\nHost: x\r\n\r\n", post(OTHER)], False),
    "chunked": ([CHUNKED], False),
    "both lengths": ([post(BODY, "Transfer-Encoding: chunked")], False),
    "length twice": ([post(BODY, f"Content-Length: {len(BODY)}")], False),
    "length of another kind": ([post(length="+59")], False),
    "length below zero": ([post(length="-1")], False),
    "length in hex": ([post(length="0x3b")], False),
    "length of nobody": ([post(length="")], False),
    "too large": ([post(b" " * (MAX_BODY_OCTETS + 1))], False),
    "as large as may be": ([post(BODY + b" " * (MAX_BODY_OCTETS - len(BODY)))], True),
    "host twice": ([post(BODY, "Host: other")], False),
    "no host": ([post().replace(b"Host: 127.0.0.1\r\n", b"")], False),
    "folded field": ([post(BODY, "X-Long: one\r\n two")], False),
    "name with a blank": ([post(BODY, "X Y: z")], False),
    "blank before the colon": ([post(BODY, "X-Y : z")], False),
    "bare line feed": ([post(BODY, "X-Y: a\nX-Z: b")], False),
    "bare carriage return": ([post(BODY, "X-Y: a\rX-Z: b")], False),
    "other letters": ([post(BODY, "X-Name: ሰላም")], False),
    "compressed": ([post(gzip.compress(BODY, mtime=0), "Content-Encoding: gzip")], False),
    "nonsense": ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"], False),
    "newer version": ([post(version="2.0")], False),
    "longer than told": ([post(length=len(BODY) - 1)], False),
}  # fmt: skip


class Line:
    """A raw connection to one of the two servers."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    async def __aenter__(self) -> Line:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.reader, self.writer = await asyncio.open_connection(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await self._runner.cleanup()

    async def answer(self) -> bytes | None:
        """The next whole answer without its date; None when the connection was closed instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        found = re.search(rb"(?i)content-length: (\d+)", head)
        body = await self.reader.readexactly(int(found[1])) if found else b""
        return re.sub(rb"Date: [^\r]+", b"Date: -", head) + body


async def replay(runner: web.AppRunner, pieces: list[bytes]) -> list[bytes | None]:
    """Everything that comes back for these pieces."""
    expected = max(1, sum(len(re.findall(rb"(?:POST|GET|PUT) /", piece)) for piece in pieces))
    found: list[bytes | None] = []
    async with asyncio.timeout(10), Line(runner) as line:
        for piece in pieces:
            line.writer.write(piece)
            for _ in range(30):  # the server has read it before the next piece follows
                await asyncio.sleep(0)
        while len(found) < expected:
            found.append(await line.answer())
            if found[-1] is None:
                break
    return found


@pytest.mark.parametrize("name", CASES)
async def test_front_same_octets_are_answered_as_by_aiohttp_alone(
    name: str, make_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, lean = CASES[name]
    handed_over: list[bytes] = []
    hand_over = front._Front._hand_over

    def noted(self: front._Front, data: bytes) -> None:
        handed_over.append(data)
        hand_over(self, data)

    monkeypatch.setattr(front._Front, "_hand_over", noted)
    there, here = await make_bench(), await make_bench()
    by_aiohttp = await replay(web.AppRunner(make_app(there.services)), pieces)
    assert await replay(FrontRunner(make_app(here.services)), pieces) == by_aiohttp
    assert here.store.accepted == there.store.accepted
    assert (not handed_over) is lean


async def test_front_stops_when_the_request_at_work_is_answered(make_bench: Any) -> None:
    bench = await make_bench()
    begun, go_on = asyncio.Event(), asyncio.Event()
    accept = bench.store.accept

    async def slow(inbound: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await accept(inbound)

    bench.store.accept = slow
    runner = FrontRunner(make_app(bench.services), shutdown_timeout=5)
    async with asyncio.timeout(10), Line(runner) as line:
        idle, idle_writer = await asyncio.open_connection(*runner.addresses[0][:2])
        line.writer.write(post())
        await begun.wait()
        stopping = asyncio.create_task(runner.cleanup())
        assert await idle.read() == b""  # nothing was at work on it
        idle_writer.close()
        assert not stopping.done()
        go_on.set()
        answer = await line.answer()
        assert answer is not None and answer.startswith(b"HTTP/1.1 202 ")
        assert await line.answer() is None
        await stopping


async def test_front_caller_who_goes_away_leaves_a_stored_message(make_bench: Any) -> None:
    bench = await make_bench()
    begun, go_on, stored = asyncio.Event(), asyncio.Event(), asyncio.Event()
    accept = bench.store.accept

    async def slow(inbound: Any) -> Any:
        begun.set()
        await go_on.wait()
        stored.set()
        return await accept(inbound)

    bench.store.accept = slow
    async with asyncio.timeout(10), Line(FrontRunner(make_app(bench.services))) as line:
        line.writer.write(post())
        await begun.wait()
        line.writer.transport.abort()
        go_on.set()
        await stored.wait()
        await asyncio.sleep(0)
    assert len(bench.store.accepted) == 1


async def test_front_flood_ahead_of_the_answers_stops_the_reading(make_bench: Any) -> None:
    bench = await make_bench()
    begun, go_on = asyncio.Event(), asyncio.Event()
    accept = bench.store.accept

    async def slow(inbound: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await accept(inbound)

    bench.store.accept = slow
    runner = FrontRunner(make_app(bench.services))
    async with asyncio.timeout(20), Line(runner) as line:
        sent = 5_000
        line.writer.write(b"".join(post(b'{"from":"8400","message":"%d"}' % n) for n in range(sent)))
        await begun.wait()
        for _ in range(200):
            await asyncio.sleep(0)
        (held,) = cast(Any, runner.server).fronts
        assert len(held._buffer) < 2 * front.AHEAD_OCTETS + 256 * 1024
        go_on.set()
        for _ in range(sent):
            assert await line.answer() is not None
    assert len(bench.store.accepted) == sent
