"""The API over a real store, with outbound lanes that only take notes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
