"""The delivery itself, against a receiver that behaves as receivers do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook, WebhookVerificationError

from appliance.gateway.webhooks import ForbiddenAddress, PublicOnly, WebhookService, check_url, sign
from appliance.store import webhooks as ops
from appliance.store.store import Store

NOW = 1_800_000_000_000
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        self.hold: asyncio.Event | None = None
        self.down = False
        self.refused = 0
        app = web.Application()
        app.router.add_post("/{name}", self._take)
        app.router.add_get("/{name}", self._take)  # where a followed redirect would arrive
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.down:
            self.refused += 1
            return web.Response(status=503)
        if name == "slow" and self.hold is not None:
            await self.hold.wait()
        self.got.append((name, await request.read(), dict(request.headers)))
        if name == "away":
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=self.answers.pop(0) if self.answers else 200, text="noted")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.server.start_server()
    yield made
    if made.hold is not None:
        made.hold.set()
    await made.server.close()


class Told:
    """The store and the service, with a clock that the test moves."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.store, self.now = store, NOW
        self.service = WebhookService(store, lambda: self.now, seed=1, **options)

    async def endpoint(self, url: str) -> int:
        return await self.store.writer.run(ops.add_endpoint, 1, url, "", SECRET, NOW)

    async def emit(self, ordering: str = "a") -> None:
        await self.store.writer.run(ops.emit, 1, "message.sent", {"id": "out_1"}, ordering, self.now)
        self.service.wake()

    async def states(self) -> list[str]:
        def read(db: Any) -> list[str]:
            return [row[0] for row in db.execute("SELECT state FROM webhook_delivery ORDER BY id")]

        return await self.store.reader.run(read)

    async def until(self, want: list[str]) -> None:
        async with asyncio.timeout(10):
            while await self.states() != want:
                await asyncio.sleep(0)


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    store = await Store.open(tmp_path)
    made = Told(store, allow_private=True)
    await made.service.start()
    yield made
    await made.service.stop()
    await store.close()


async def test_delivery_is_signed_as_the_standard_says(told: Told, receiver: Receiver) -> None:
    await told.endpoint(str(receiver.server.make_url("/fine")))
    await told.emit()
    await told.until(["done"])
    _, body, headers = receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    want = base64.b64encode(hmac.digest(b"0123456789abcdef0123456789abcdef", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{want}"
    assert headers["webhook-timestamp"] == str(NOW // 1000)
    assert headers["Content-Type"] == "application/json"


async def test_failed_delivery_is_repeated_with_the_same_id(told: Told, receiver: Receiver) -> None:
    receiver.answers = [500]
    await told.endpoint(str(receiver.server.make_url("/fine")))
    await told.emit()
    async with asyncio.timeout(10):
        while not receiver.got:
            await asyncio.sleep(0)
    await told.until(["pending"])
    told.now += 10_000
    told.service.wake()
    await told.until(["done"])
    assert len({headers["webhook-id"] for _, _, headers in receiver.got}) == 1
    assert len(receiver.got) == 2


async def test_slow_receiver_delays_nobody_else(told: Told, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    await told.endpoint(str(receiver.server.make_url("/slow")))
    await told.endpoint(str(receiver.server.make_url("/fine")))
    for number in range(8):
        await told.emit(f"person {number}")
    async with asyncio.timeout(10):
        while sum(name == "fine" for name, _, _ in receiver.got) < 8:
            await asyncio.sleep(0)
    assert not any(name == "slow" for name, _, _ in receiver.got)
    receiver.hold.set()
    await told.until(["done"] * 16)


async def test_redirect_is_no_success_and_is_not_followed(told: Told, receiver: Receiver) -> None:
    await told.endpoint(str(receiver.server.make_url("/away")))
    await told.emit()
    async with asyncio.timeout(10):
        while not receiver.got:
            await asyncio.sleep(0)
    await told.until(["pending"])
    assert [name for name, _, _ in receiver.got] == ["away"]


async def test_private_address_is_refused_unless_allowed(tmp_path: Path, receiver: Receiver) -> None:
    store = await Store.open(tmp_path)
    told = Told(store)
    await told.service.start()
    try:
        for host in ("127.0.0.1", "localhost"):
            await told.endpoint(f"http://{host}:{receiver.server.port}/fine")
        await told.emit()

        def reasons(db: Any) -> list[str]:
            return [row[0] for row in db.execute("SELECT reason FROM webhook_delivery WHERE attempts > 0")]

        async with asyncio.timeout(10):
            while len(got := await store.reader.run(reasons)) < 2:
                await asyncio.sleep(0)
        assert all("public address" in reason for reason in got), got
        assert receiver.got == []
    finally:
        await told.service.stop()
        await store.close()


async def test_untrusted_clock_holds_everything_back(tmp_path: Path, receiver: Receiver) -> None:
    store = await Store.open(tmp_path)
    trusted = False
    told = Told(store, allow_private=True, trusted=lambda: trusted)
    await told.service.start()
    try:
        await told.endpoint(str(receiver.server.make_url("/fine")))
        await told.emit()
        for _ in range(200):
            await asyncio.sleep(0)
        assert receiver.got == []
        trusted = True
        told.service.wake()
        await told.until(["done"])
    finally:
        await told.service.stop()
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "https:///x",
        "//example.org",
        "https://me:pw@example.org/",
        "https://example.org/#x",
    ],
)
def test_check_url_refuses_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match="want"):
        check_url(url, allow_private=True)


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "0.0.0.0",
        "100.64.0.1",
    ],
)
def test_check_url_refuses_private_addresses(host: str) -> None:
    with pytest.raises(ForbiddenAddress):
        check_url(f"https://{host}/hook", allow_private=False)
    check_url(f"https://{host}/hook", allow_private=True)


def test_sign_known_answer() -> None:
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    got = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert got == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_receiver_down_for_hours_gets_everything_once_and_in_order(
    told: Told, receiver: Receiver
) -> None:
    """A virtual day: the receiver fails for eight hours while its client's messages go on moving."""
    await told.endpoint(str(receiver.server.make_url("/fine")))
    people = [f"+25191100000{place}" for place in range(4)]
    emitted: dict[str, list[int]] = {person: [] for person in people}
    number = 0

    async def settled() -> None:
        told.service.wake()
        async with asyncio.timeout(10):
            while told.service._endpoints or await told.store.reader.run(ops.due_endpoints, told.now):
                await asyncio.sleep(0)

    receiver.down = True
    for _ in range(8 * 4):  # quarter hours
        for person in people:
            number += 1
            emitted[person].append(number)
            await told.store.writer.run(
                ops.emit, 1, "message.sent", {"to": person, "n": number}, person, told.now
            )
        await settled()
        told.now += 15 * 60_000
    assert receiver.got == [] and receiver.refused < 150  # probed one at a time, not hammered
    receiver.down = False
    for _ in range(24 * 4):
        await settled()
        told.now += 15 * 60_000
    heard: dict[str, list[int]] = {person: [] for person in people}
    for _, body, _ in receiver.got:
        data = orjson.loads(body)["data"]
        heard[data["to"]].append(data["n"])
    assert heard == emitted
    assert set(await told.states()) == {"done"}


async def test_rotated_secret_overlaps_for_an_independent_verifier(told: Told, receiver: Receiver) -> None:
    told.now = time.time_ns() // 1_000_000  # the package compares the time stamp with the clock
    await told.endpoint(str(receiver.server.make_url("/fine")))

    async def verified(*secrets: str) -> list[bool]:
        await told.emit(str(len(receiver.got)))
        await told.until(["done"] * (len(receiver.got) + 1))
        _, body, headers = receiver.got[-1]
        found = []
        for secret in secrets:
            try:
                assert Webhook(secret).verify(body, headers)["type"] == "message.sent"
                found.append(True)
            except WebhookVerificationError:
                found.append(False)
        return found

    new = ops.new_secret()
    assert await verified(SECRET, new) == [True, False]
    await told.store.writer.run(ops.rotate, 1, new, 60_000, told.now)
    assert await verified(SECRET, new) == [True, True]
    told.now += 60_000
    assert await verified(SECRET, new) == [False, True]


async def test_name_that_moves_into_the_private_network_is_refused_when_connecting() -> None:
    """DNS rebinding: what the address check saw is not what the connection gets."""
    answers = [
        ["203.0.113.7", "8.8.8.8"],
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.1", "fd00::1"],
        ["::ffff:10.0.0.1"],
    ]

    class Names:
        async def resolve(self, host: str, port: int, family: Any) -> list[dict[str, Any]]:
            return [{"hostname": host, "host": each, "port": port} for each in answers.pop(0)]

    resolver = PublicOnly()
    resolver._real = Names()  # type: ignore[assignment]
    assert [each["host"] for each in await resolver.resolve("a.example", 443)] == ["8.8.8.8"]
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("a.example", 443)
    assert [each["host"] for each in await resolver.resolve("a.example", 443)] == ["8.8.8.8"]
    with pytest.raises(ForbiddenAddress):
        await resolver.resolve("a.example", 443)
