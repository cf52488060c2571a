"""A business that sends through the box, and the receiver of its webhooks: both keep books of their own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import random
from collections import Counter, defaultdict
from typing import Any, Final

import aiohttp
from aiohttp import web

from tests.torture.box import Box

__all__ = ["CREDIT", "NAME", "Client", "Receiver"]

NAME: Final = "torture"
CREDIT: Final = 1_000
PATIENCE_S: Final = 240.0
CAMPAIGN: Final = 4  # contacts of a campaign


class Receiver:
    """Where the box's webhooks go. heard: how often each event came; wrong: what was not as promised.

    spoilt: how many of the next requests get no 2xx (an error, a broken connection, an answer too late).
    """

    def __init__(self, rng: random.Random) -> None:
        self.heard: Counter[str] = Counter()
        self.first: dict[str, list[int]] = defaultdict(list)  # by recipient: ids in the order of first coming
        self.wrong: list[str] = []
        self.spoilt = 0
        self.secret = ""
        self.url = ""
        self._rng = rng
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._hear)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hear(self, request: web.Request) -> web.Response:
        body = await request.read()
        event, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{event}.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = "v1," + base64.b64encode(digest).decode()
        if signature not in request.headers.get("webhook-signature", "").split(" "):
            self.wrong.append(f"{event}: its signature does not match")
        if self.spoilt > 0:
            self.spoilt -= 1
            match self._rng.randrange(3):
                case 0:
                    return web.Response(status=500)
                case 1:
                    return web.Response(status=503, headers={"Retry-After": "1"})
                case _:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
        if not self.heard[event]:
            self.first[json.loads(body)["data"].get("to", "")].append(int(event.removeprefix("evt_")))
        self.heard[event] += 1
        return web.Response(status=204)


class Client:
    """A client of the gateway. promised: messages each number was promised; trouble: broken promises."""

    def __init__(self, box: Box, rng: random.Random, *, by_air: list[str], by_provider: list[str]) -> None:
        self.promised: dict[str, int] = defaultdict(int)
        self.units = 0  # what the answers said that it costs
        self.campaigns: list[str] = []
        self.trouble: list[str] = []
        self._box, self._rng = box, rng
        self._by_air, self._by_provider = by_air, by_provider
        self._headers: dict[str, str] = {}

    @property
    def numbers(self) -> list[str]:
        """Phones that hear of it: those of the provider have the network as their second way."""
        return [*self._by_air, *self._by_provider]

    async def prepare(self, receiver: Receiver) -> None:
        """Make the client, its credit, key and webhook, while nothing is wrong yet."""
        await self._box.tell(op="client", do="add", name=NAME)
        await self._box.tell(op="client", do="credit", name=NAME, units=CREDIT)
        key = (await self._box.tell(op="client", do="key", name=NAME))["key"]
        self._headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(headers=self._headers) as http,
            http.post(f"{self._box.url}/v1/webhooks", json={"url": receiver.url}) as answer,
        ):
            receiver.secret = (await answer.json())["secret"]

    async def run(self, duration_s: float) -> None:
        """Single messages, a batch and a campaign; returns when each has its promise."""
        rng = self._rng
        numbers = self.numbers
        rng.shuffle(numbers)
        campaign, batch, single = (
            numbers[:CAMPAIGN],
            numbers[CAMPAIGN : CAMPAIGN + 4],
            numbers[CAMPAIGN + 4 :],
        )
        timeout = aiohttp.ClientTimeout(10)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=timeout) as self._http,
            asyncio.TaskGroup() as all_,
        ):
            all_.create_task(self._campaign(campaign, rng.uniform(0, duration_s)))
            all_.create_task(self._batch(batch, rng.uniform(0, duration_s)))
            for number in single:
                all_.create_task(self._single(number, rng.uniform(0, duration_s)))

    async def _single(self, number: str, at_s: float) -> None:
        await asyncio.sleep(at_s)
        lane = self._rng.choice(("otp", "normal", "bulk"))
        body = {"to": number, "text": f"Code {number[-5:]}", "lane": lane}
        answer = await self._post("/v1/messages", body, f"one-{number}", 202)
        if answer is not None:
            self._promise(answer)
            again = await self._post("/v1/messages", body, f"one-{number}", 202)
            if again is not None and again["id"] != answer["id"]:
                self.trouble.append(f"{number}: one key, two messages: {answer['id']} and {again['id']}")

    async def _batch(self, numbers: list[str], at_s: float) -> None:
        await asyncio.sleep(at_s)
        # Long enough for two parts, so that a kill can come between them.
        body = {"messages": [{"to": each, "text": f"To {each}: " + "all of it. " * 18} for each in numbers]}
        answer = await self._post("/v1/messages/batch", body, f"batch-{numbers[0]}", 202)
        for each in answer["results"] if answer is not None else ():
            self._promise(each.get("message") or each)

    async def _campaign(self, numbers: list[str], at_s: float) -> None:
        await asyncio.sleep(at_s)
        contacts = {"group": "all", "contacts": [{"number": each} for each in numbers]}
        if await self._post("/v1/contacts", contacts, "", 200) is None:
            return
        body = {"name": "n", "group": "all", "text": f"News {numbers[0][-5:]}", "per_minute": 6_000}
        answer = await self._post("/v1/campaigns", body, f"campaign-{numbers[0]}", 201)
        if answer is not None:
            self.campaigns.append(answer["id"])
            for number in numbers:
                self.promised[number] += 1
                self.units += 1

    def _promise(self, placed: dict[str, Any]) -> None:
        if placed.get("status") != "queued":
            self.trouble.append(f"not taken: {placed}")
            return
        self.promised[placed["to"]] += 1
        self.units += placed["units"]

    async def _post(self, path: str, body: Any, key: str, wanted: int) -> dict[str, Any] | None:
        """Post until there is an answer, always with the same key, as the manual says."""
        headers = {"Idempotency-Key": key} if key else {}
        limit = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < limit:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with self._http.post(f"{self._box.url}{path}", json=body, headers=headers) as got:
                    answer = await got.json(content_type=None)
                    if got.status == wanted:
                        return dict(answer)
                    if got.status not in (409, 429, 503):
                        self.trouble.append(f"{path}: HTTP {got.status} {answer}")
                        return None
            await asyncio.sleep(0.05)
        self.trouble.append(f"{path}: no promise within {PATIENCE_S:g} s")
        return None
