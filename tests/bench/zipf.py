"""Ten thousand businesses of which one sends half: open loop, kill -9 in the middle, then the books.

    python -m tests.bench.zipf [--clients 10000] [--seconds 20] [--rate 200] [--seed 1]

Every request is due at its time whoever was answered. In the middle the appliance is killed and started
again, and whoever got no answer asks again with the same Idempotency-Key. At the end what callers were told,
what the database has, what the ledger says and what the provider took are compared, client by client.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import contextlib
import itertools
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from appliance.gateway.keys import make_key
from appliance.store import gateway as ops
from appliance.store.store import Store

ROOT: Final = Path(__file__).parents[2]
CREDIT: Final = 1_000_000
READY_S: Final = 60.0
TEMPLATE: Final = """\
method = "POST"
url = "{url}"
content_type = "json"
body = '{{"to": "{{{{to}}}}", "id": "{{{{id}}}}"}}'
id_path = "id"
"""
CONFIG: Final = """\
data_dir = "{folder}/data"
[http]
listen = "127.0.0.1:{port}"
[[route]]
name = "provider"
kind = "template"
preset = "{folder}/provider.toml"
parallel = 16
rate = 1000
"""


@dataclass
class Result:
    """wrong: each thing that does not add up, in words. The rest is for people."""

    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    asked_again: int = 0
    senders: int = 0
    of_the_first: int = 0
    taken: int = 0
    doubted: int = 0
    waited_ms: dict[str, tuple[float, float]] = field(default_factory=dict)  # until the provider: p50, p95


class Population:
    """Draws who sends next: the first client half of the time, the others as 1/n."""

    def __init__(self, count: int, seed: int) -> None:
        self._rng = random.Random(seed)
        self._weights = list(itertools.accumulate(1 / place for place in range(1, count)))

    def next(self) -> int:
        if not self._weights or self._rng.random() < 0.5:
            return 0
        return 1 + bisect.bisect(self._weights, self._rng.random() * self._weights[-1])


async def populate(data: Path, count: int) -> list[str]:
    """Make the clients in an empty data directory; returns their keys, the first client's first."""
    store = await Store.open(data)
    now_ms = time.time_ns() // 1_000_000

    def make(db: sqlite3.Connection, places: range) -> list[str]:
        keys = []
        for place in places:
            client = ops.add_client(db, f"client{place:05}", now_ms, actor="bench")
            ops.add_credit(db, client.id, CREDIT, now_ms, actor="bench")
            ops.set_client(db, client.id, now_ms, actor="bench", per_second=10_000)
            made = make_key(client.id, frozenset({"send", "read"}), now_ms)
            ops.add_key(db, made.row, actor="bench")
            keys.append(made.text)
        return keys

    try:
        return [
            key
            for start in range(0, count, 500)
            for key in await store.writer.run(make, range(start, min(count, start + 500)))
        ]
    finally:
        await store.close()


class Provider:
    """Takes every message, and knows which and when."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.first: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        app = web.Application()
        app.router.add_post("/send", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/send"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        identity = str((await request.json())["id"])
        self.heard[identity] += 1
        self.first.setdefault(identity, time.monotonic())
        return web.json_response({"id": f"p{identity}-{self.heard[identity]}"})


class Box:
    """`outpost run` with one provider as its only way out."""

    def __init__(self, folder: Path, provider_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._config = folder / "outpost.toml"
        (folder / "provider.toml").write_text(TEMPLATE.format(url=provider_url))
        self._config.write_text(CONFIG.format(folder=folder, port=port))
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, http: aiohttp.ClientSession) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "run", "--config", str(self._config)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(READY_S):
            while True:
                assert self._process.poll() is None, self._log.read_text()[-2000:]
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    def end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)


async def run(folder: Path, clients: int, seconds: float, rate: float, seed: int = 1) -> Result:
    """One run in an empty folder."""
    keys = await populate(folder / "data", clients)
    population, provider, result = Population(clients, seed), Provider(), Result()
    told: dict[int, tuple[int, str, float]] = {}  # request: client, message id, when it was answered
    who: list[int] = []
    up = asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=10)
    async with provider.running() as url, aiohttp.ClientSession(timeout=timeout) as http:
        box = Box(folder, url)

        async def send(number: int, client: int) -> None:
            body = {"to": f"+25191{number:07}", "text": f"notice {number}", "lane": "normal"}
            headers = {"Authorization": f"Bearer {keys[client]}", "Idempotency-Key": f"k{number}"}
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post(f"{box.url}/v1/messages", json=body, headers=headers) as answer:
                        if answer.status == 202:
                            told[number] = (client, (await answer.json())["id"], time.monotonic())
                            return
                        if answer.status not in (409, 429, 503):
                            result.wrong.append(f"request {number}: {answer.status} {await answer.text()}")
                            return
                result.asked_again += 1
                await up.wait()
                await asyncio.sleep(0.05)

        try:
            await box.start(http)
            up.set()
            begun, total = time.monotonic(), int(seconds * rate)
            tasks = []
            killed: asyncio.Task[None] | None = None

            async def kill() -> None:
                up.clear()
                await asyncio.to_thread(box.end, signal.SIGKILL)
                await box.start(http)
                up.set()

            for number in range(total):
                await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
                if number == total // 2:
                    killed = asyncio.create_task(kill())
                who.append(population.next())
                tasks.append(asyncio.create_task(send(number, who[-1])))
            assert killed is not None
            await killed
            await asyncio.gather(*tasks)
            async with asyncio.timeout(120):  # what was taken goes out
                while _on_its_way(folder / "data" / "outpost.db"):
                    await asyncio.sleep(0.2)
        finally:
            box.end(signal.SIGTERM)
    result.requests, result.senders, result.of_the_first = len(who), len(set(who)), who.count(0)
    _compare(folder / "data" / "outpost.db", told, provider, result)
    _waits(told, provider, result)
    return result


def _on_its_way(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        waiting = "SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')"
        return int(db.execute(waiting).fetchone()[0])


def _compare(path: Path, told: dict[int, tuple[int, str, float]], provider: Provider, result: Result) -> None:
    wrong = result.wrong
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = {
            f"out_{number}": (recipient, client, state, doubted)
            for number, recipient, client, state, doubted in db.execute(
                "SELECT id, recipient, client_id, state, doubted FROM outbound WHERE client_id > 0"
            )
        }
        books = {row["client"]: row for row in ops.books(db)}
        counted = dict(db.execute("SELECT client_id, sum(messages) FROM client_usage GROUP BY client_id"))
    result.taken, result.doubted = len(rows), sum(row[3] > 0 for row in rows.values())
    if len(rows) != len(told) or len({identity for _, identity, _ in told.values()}) != len(told):
        wrong.append(f"{len(told)} answers, {len(rows)} messages")
    by_client: Counter[int] = Counter()
    for number, (client, identity, _) in told.items():
        by_client[client + 1] += 1
        row = rows.get(identity)
        if row is None or row[:2] != (f"+25191{number:07}", client + 1):
            wrong.append(f"request {number} was told {identity}, which is {row}")
    for client_id, row in books.items():
        sent = by_client[client_id]
        if row["difference"] or row["reserved_difference"] or row["balance"] != CREDIT - sent:
            wrong.append(f"client {client_id}: {sent} messages and {row}")
        if counted.get(client_id, 0) != sent:
            wrong.append(f"client {client_id}: {sent} messages, counted {counted.get(client_id, 0)}")
    for identity, (_, _, state, doubted) in rows.items():
        times = provider.heard[identity.removeprefix("out_")]
        # What was handed over as the power went is in doubt, told as such, and never sent twice by itself.
        if times != 1 and not (times == 0 and doubted and state in ("uncertain", "unknown")):
            wrong.append(f"{identity}: {state}, taken {times} times by the provider, doubted {doubted} times")


def _waits(told: dict[int, tuple[int, str, float]], provider: Provider, result: Result) -> None:
    waits: dict[str, list[float]] = {"the one that sends half": [], "all others": []}
    for client, identity, at in told.values():
        first = provider.first.get(identity.removeprefix("out_"), at)
        waits["all others" if client else "the one that sends half"].append(max(0.0, first - at) * 1000)
    for name, values in waits.items():
        values.sort()
        if values:
            result.waited_ms[name] = (values[len(values) // 2], values[len(values) * 95 // 100])


def _lines(result: Result, clients: int) -> Iterator[str]:
    yield f"{clients} clients, {result.senders} of them sent"
    yield f"{result.requests} requests, {result.of_the_first} of them by one"
    yield f"{result.asked_again} asked again, {result.taken} messages, {result.doubted} in doubt at the kill"
    for name, (half, most) in result.waited_ms.items():
        yield f"{name}: to the provider within {half:.0f} ms (p50), {most:.0f} ms (p95)"
    yield from result.wrong[:20] or ["ledger, counts, answers and provider agree"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outpost-zipf-") as folder:
        result = asyncio.run(run(Path(folder), args.clients, args.seconds, args.rate, args.seed))
    print(*_lines(result, args.clients), sep="\n")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
