"""The API over a real store, with outbound lanes that only take notes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from appliance.gateway.keys import make_key
from appliance.gateway.service import Gateway
from appliance.message import OutboundState
from appliance.store import gateway as ops
from appliance.store import outbound as outbound_ops
from appliance.store.gateway import Client
from appliance.store.outbound import QueuedRow
from appliance.store.store import Store
from appliance.web import Services, WebSettings, make_app

NOW_MS = 1_795_000_000_000
ROOT = Path(__file__).parents[3]
READY_S = 30


class NoDispatcher:
    """The gateway does not touch the dispatcher."""

    full = False
    retry_after_s = 1.0

    def snapshot(self) -> dict[str, Any]:
        return {"workers": []}


@dataclass
class Office:
    """The gateway with its clients. now_ms may be moved; offered: what the lanes were told."""

    store: Store
    gateway: Gateway
    http: TestClient[Any, Any]
    app: web.Application
    offered: list[QueuedRow] = field(default_factory=list)
    now_ms: int = NOW_MS

    async def client(
        self, name: str, *, credit: int = 1000, scopes: str = "send read admin", **settings: Any
    ) -> tuple[Client, str]:
        """A client with credit, and a key of it."""
        client: Client = await self.write(ops.add_client, name, self.now_ms, actor="test", **settings)
        if credit:
            client = await self.write(ops.add_credit, client.id, credit, self.now_ms, actor="test")
        return client, await self.key(client, scopes)

    async def key(self, client: Client, scopes: str, **more: Any) -> str:
        made = make_key(client.id, frozenset(scopes.split()), self.now_ms, **more)
        await self.write(ops.add_key, made.row, actor="test")
        return made.text

    async def write(self, op: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return await self.store.writer.run(lambda db: op(db, *args, **named))

    async def move(self, outbound_id: int, *states: str) -> None:
        """What the outbound side would do to a message."""
        for state in states:
            if state == "sending":
                await self.write(outbound_ops.claim, outbound_id, channel="test", now_ms=self.now_ms)
            else:
                await self.write(
                    outbound_ops.move, outbound_id, OutboundState(state), self.now_ms, f"test: {state}"
                )

    async def call(
        self, method: str, path: str, key: str = "", *, json: Any = None, idem: str | None = None, **more: Any
    ) -> tuple[int, Any]:
        """Status and decoded body."""
        headers = dict(more.pop("headers", {}))
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if idem is not None:
            headers["Idempotency-Key"] = idem
        async with self.http.request(method, path, json=json, headers=headers, **more) as answer:
            if not answer.content_length:
                return answer.status, None
            is_json = answer.content_type.endswith("json")
            return answer.status, await (answer.json(content_type=None) if is_json else answer.text())

    async def books(self) -> list[dict[str, int]]:
        found: list[dict[str, int]] = await self.store.reader.run(ops.books)
        assert all(row["difference"] == row["reserved_difference"] == 0 for row in found), found
        return found


MakeServer = Callable[[web.Application], TestServer]
MakeOffice = Callable[..., Awaitable[Office]]


@pytest.fixture
async def office(tmp_path: Path, make_server: MakeServer) -> AsyncIterator[Office]:
    store = await Store.open(tmp_path)
    try:
        async with _open(store, tmp_path, make_server) as office:
            yield office
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _open(store: Store, data_dir: Path, make_server: MakeServer = TestServer) -> AsyncIterator[Office]:
    holder: list[Office] = []

    def offer(rows: Sequence[QueuedRow]) -> None:
        holder[0].offered.extend(rows)

    async def cancel(outbound_id: int, reason: str) -> bool:
        changes = await store.writer.run(outbound_ops.cancel, outbound_id, holder[0].now_ms, reason)
        return bool(changes)

    gateway = Gateway(store, offer=offer, cancel=cancel, clock_ms=lambda: holder[0].now_ms)
    app = make_app(
        Services(
            store=store,
            dispatcher=NoDispatcher(),  # type: ignore[arg-type]
            settings=WebSettings(data_dir=data_dir),
            gateway=gateway,
            clock_ms=lambda: holder[0].now_ms,
        )
    )
    async with TestClient(make_server(app)) as http:
        holder.append(Office(store, gateway, http, app))
        yield holder[0]


class Box:
    """`outpost run` without a modem, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.data = folder / "data"
        self._config = folder / "outpost.toml"
        self._config.write_text(f'data_dir = "{self.data}"\n[http]\nlisten = "{self.url[7:]}"\n')
        self._log = (folder / "log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, http: aiohttp.ClientSession) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self._config)],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )
        async with asyncio.timeout(READY_S):
            while True:
                assert self.process.poll() is None, "the appliance ended"
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    def ask(self, **request: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.data / "outpost.sock"))
            control.sendall(json.dumps({"op": "client", **request}).encode() + b"\n")
            with control.makefile() as lines:
                return json.loads(lines.readline())

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()
