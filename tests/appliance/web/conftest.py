"""Stand-ins for the rest of the appliance: a store in memory, a dispatcher that answers by a rule."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from appliance.message import Inbound
from appliance.store.database import known_migrations
from appliance.store.feed import Feed
from appliance.web import Services, WebSettings, make_app

NOW_MS = 1_795_000_000_000  # 18 Nov 2026


@dataclass(frozen=True)
class Receipt:
    id: int
    duplicate: bool = False


class MemoryRunner:
    """Runs read functions on one connection; `broken` makes it fail as a dead thread does."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.broken = False
        self.state = "ok"

    async def run(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        if self.broken:
            raise RuntimeError("the thread is gone")
        return fn(self.db, *args)

    def snapshot(self) -> dict[str, Any]:
        return {"state": self.state, "commits": 7, "ops": 9, "queued": 0, "last_commit_ms": 1.5}


class MemoryStore:
    """Keeps what was accepted, in a real schema, and knows a natural key when it sees it again."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        for migration in known_migrations():
            self.db.executescript(migration.sql)
        self.reader = MemoryRunner(self.db)
        self.writer = MemoryRunner(self.db)
        self.feed = Feed()
        self.accepted: list[Inbound] = []

    async def accept(self, inbound: Inbound, /) -> Receipt:
        if inbound.natural_key is not None:
            row = self.db.execute(
                "SELECT id FROM inbound WHERE natural_key = ?", (inbound.natural_key,)
            ).fetchone()
            if row:
                return Receipt(row[0], duplicate=True)
        row = self.db.execute(
            "INSERT INTO inbound (channel, sender, recipient, text, natural_key, sent_at_ms, received_at_ms)"
            " VALUES (?,?,?,?,?,?,?) RETURNING id",
            (
                inbound.channel,
                inbound.sender,
                inbound.recipient,
                inbound.text,
                inbound.natural_key,
                inbound.sent_at_ms,
                inbound.received_at_ms,
            ),
        ).fetchone()
        self.accepted.append(inbound)
        self.feed.publish({"kind": "in", "id": row[0], "state": "accepted"})
        return Receipt(row[0])

    async def accept_many(self, inbounds: Sequence[Inbound], /) -> list[Receipt]:
        return [await self.accept(inbound) for inbound in inbounds]


@dataclass(frozen=True)
class Conversed(Receipt):
    replies: list[str] | None = None


@dataclass
class RuleDispatcher:
    """Answers every message with `rule(text)`; None from the rule means: not within the time allowed."""

    store: MemoryStore
    rule: Callable[[str], list[str] | None] = lambda text: [f"You said {text}"]
    full: bool = False
    retry_after_s: float = 2.2
    waited: list[float] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(
        default_factory=lambda: [{"pid": 4711, "state": "idle", "turns": 12, "rss_bytes": 21_000_000}]
    )

    async def converse(self, inbound: Inbound, timeout_s: float, /) -> Conversed:
        self.waited.append(timeout_s)
        receipt = await self.store.accept(inbound)
        return Conversed(receipt.id, receipt.duplicate, self.rule(inbound.text))

    async def converse_many(self, messages: Sequence[Inbound], timeout_s: float, /) -> list[Conversed]:
        return [await self.converse(inbound, timeout_s) for inbound in messages]

    def snapshot(self) -> dict[str, Any]:
        return {"workers": self.workers, "queued": 0, "oldest_ms": None, "full": self.full}


@dataclass(frozen=True)
class Health:
    name: str = "gsm1"
    state: str = "ready"
    reason: str = ""
    since_ms: int = NOW_MS - 600_000
    next_step: str = ""
    operator: str | None = "Ethio telecom"
    registration: int | None = 1
    signal_dbm: int | None = -77
    own_number: str | None = "+251911000001"
    storage_used: int | None = 0
    storage_total: int | None = 30
    port: str | None = "/dev/ttyUSB2"
    alarms: tuple[str, ...] = ()
    model: str | None = "SIM7600E-H"
    sent: int = 3
    received: int = 4


@dataclass
class Bench:
    """The fakes, the application over them, and a client to it."""

    store: MemoryStore
    dispatcher: RuleDispatcher
    services: Services
    app: web.Application
    client: TestClient[Any, Any]
    modems: list[Health]


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
def health() -> type[Health]:
    return Health


@pytest.fixture
async def make_bench(
    tmp_path: Path, make_server: Callable[[web.Application], Any]
) -> AsyncIterator[MakeBench]:
    """Build a bench; keyword arguments are settings. Everything is closed afterwards."""
    benches: list[Bench] = []

    async def make(**settings: Any) -> Bench:
        store, modems = MemoryStore(), [Health()]
        dispatcher = RuleDispatcher(store)
        services = Services(
            store=store,
            dispatcher=dispatcher,
            settings=WebSettings(data_dir=tmp_path, **settings),
            modems=lambda: modems,
            outbound=lambda: {"lanes": [{"lane": "reply", "queued": 2, "oldest_ms": 4000, "sending": 1}]},
            clock_ms=lambda: NOW_MS,
            started_ms=NOW_MS - 3_600_000,
        )
        app = make_app(services)
        client = TestClient(make_server(app))
        async with asyncio.timeout(10):
            await client.start_server()
        benches.append(Bench(store, dispatcher, services, app, client, modems))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.client.close()
        bench.store.db.close()


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return await make_bench()
