"""Questions from disk to the endpoint and back, with the store for real and a model on a local port."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.llm.emulator import ModelEmulator
from appliance.llm.service import AskService
from appliance.message import Inbound
from appliance.outbound.breaker import BreakerState
from appliance.store import asking
from appliance.store.cache import Cache, DiskBackedCache
from appliance.store.effects import EffectContext, EffectRefused
from appliance.store.store import Store
from appliance.talk_settings import Assistant

NOW = 1_795_000_000_000
SARA = "+251922222222"
PROMPT = [
    ("system", "<facts>\nQ: Where do I pay?\nA: Pay at any agent of the bus company.\n</facts>"),
    ("user", "where can i pay"),
]


def think(db: sqlite3.Connection, person: str = SARA, **changes: Any) -> int:
    args: dict[str, Any] = {
        "language": "en",
        "words": "where can i pay",
        "prompt": PROMPT,
        "facts": [("Where do I pay?", "Pay at any agent of the bus company.")],
        "deadline_ms": NOW + 15_000,
        "timezone_minutes": 180,
        "reserve": (100, 500, 1000),
        "caps": {"person": 0, "client": 0, "cost": 0},
        **changes,
    }
    asking.think(db, EffectContext(NOW, person, 0), args)
    return int(db.execute("SELECT max(id) FROM asking").fetchone()[0])


class Desk:
    """A store, a model and a service; `settled` waits until a question is."""

    def __init__(self, store: Store, model: ModelEmulator) -> None:
        self.store, self.model = store, model
        self.services: list[AskService] = []
        self.now_ms = NOW
        self.heard: asyncio.Queue[Inbound] = asyncio.Queue()
        store.on_accepted = lambda number, inbound: self.heard.put_nowait(inbound)

    async def serve(self, answers: Cache | None = None, **settings: Any) -> AskService:
        endpoint = {"endpoint": self.model.url, "model": "m", "timeout_s": 15.0, **settings}
        service = AskService(self.store, Assistant(**endpoint), lambda: self.now_ms, answers=answers)
        await service.start()
        self.services.append(service)
        return service

    async def row(self, number: int) -> tuple[str, str, str, int]:
        def read(db: sqlite3.Connection) -> Any:
            return db.execute(
                "SELECT state, answer, reason, tries FROM asking WHERE id = ?", (number,)
            ).fetchone()

        found: tuple[str, str, str, int] = await self.store.reader.run(read)
        return found

    async def settled(self) -> Inbound:
        async with asyncio.timeout(20):
            return await self.heard.get()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await Store.open(tmp_path)
    async with ModelEmulator() as model:
        made = Desk(store, model)
        yield made
        for service in made.services:
            await service.stop()
    await store.close()


async def test_question_is_asked_and_its_answer_becomes_an_event_of_the_person(desk: Desk) -> None:
    await desk.serve(input_price=2.0, output_price=10.0)
    number = await desk.store.writer.run(think)
    news = await desk.settled()
    assert (news.sender, news.channel, news.text) == (SARA, "timer", f"assistant {number}")
    assert await desk.row(number) == ("answered", "Pay at any agent of the bus company.", "", 1)
    spent = await desk.store.reader.run(asking.spent_on, asking.day_of(NOW, 180))
    assert spent.requests == 1 and spent.tokens_in > 20 and spent.tokens_out > 5
    assert spent.cost == 2 * spent.tokens_in + 10 * spent.tokens_out


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("dead", "the connection failed"),
        ("broken", "HTTP 500"),
        ("garbage", "no answer in it"),
        ("empty", "no answer in it"),
        ("huge", "an answer of more than 256 KiB"),
        ("denied", "the key is refused"),
        ("filtered", "content filter"),
    ],
)
async def test_endpoint_at_fault_fails_the_question_and_says_why(desk: Desk, mode: str, reason: str) -> None:
    desk.model.mode = mode
    await desk.serve()
    number = await desk.store.writer.run(think)
    await desk.settled()
    state, answer, why, tries = await desk.row(number)
    assert (state, answer, tries) == ("failed", "", 1) and reason in why


async def test_silent_endpoint_is_left_at_the_deadline(desk: Desk) -> None:
    desk.model.mode = "silent"
    await desk.serve()
    number = await desk.store.writer.run(lambda db: think(db, deadline_ms=NOW + 1_300))
    await desk.settled()
    assert (await desk.row(number))[:3] == ("failed", "", "no answer in 0 s")


async def test_429_is_obeyed_and_asked_again_when_there_is_time(desk: Desk) -> None:
    desk.model.once.append("busy")
    desk.model.seconds = 0.3
    await desk.serve()
    number = await desk.store.writer.run(think)
    await desk.settled()
    assert await desk.row(number) == ("answered", "Pay at any agent of the bus company.", "", 2)


async def test_429_beyond_the_deadline_fails_at_once_and_rests_the_endpoint(desk: Desk) -> None:
    desk.model.mode, desk.model.seconds = "busy", 60
    service = await desk.serve()
    first = await desk.store.writer.run(think)
    await desk.settled()
    second = await desk.store.writer.run(think)
    await desk.settled()
    assert (await desk.row(first))[2] == "HTTP 429: too many requests"
    assert (await desk.row(second))[2:] == ("the endpoint rests: HTTP 429: too many requests", 0)
    assert len(desk.model.requests) == 1
    assert service.snapshot()["breaker"]["retry_in_s"] > 50


async def test_breaker_opens_after_three_failures_and_asks_no_more(desk: Desk) -> None:
    desk.model.mode = "broken"
    service = await desk.serve()
    for _ in range(5):
        await desk.store.writer.run(think)
        await desk.settled()
    assert len(desk.model.requests) == 3
    assert service.endpoint is not None and service.endpoint.breaker.state is BreakerState.OPEN


async def test_newer_model_that_refuses_max_tokens_is_asked_its_way(desk: Desk) -> None:
    desk.model.modern = True
    await desk.serve()
    number = await desk.store.writer.run(think)
    await desk.settled()
    assert (await desk.row(number))[0] == "answered"
    assert ["max_tokens" in body for body in desk.model.requests] == [True, False]


@pytest.mark.parametrize("version", ["", "2024-10-21"])
async def test_azure_forms_are_spoken(desk: Desk, version: str) -> None:
    desk.model.key = "azure-key"
    await desk.serve(endpoint=desk.model.base, kind="azure", api_key="azure-key", api_version=version)
    number = await desk.store.writer.run(think)
    await desk.settled()
    assert (await desk.row(number))[0] == "answered"


async def test_question_of_a_killed_process_is_asked_again_and_its_cost_counted(desk: Desk) -> None:
    def left_behind(db: sqlite3.Connection) -> int:
        number = think(db)
        asking.count_try(db, number)  # the request went out, and then the power
        return number

    number = await desk.store.writer.run(left_behind)
    await desk.serve()
    await desk.settled()
    assert (await desk.row(number))[3] == 2
    spent = await desk.store.reader.run(asking.spent_on, asking.day_of(NOW, 180))
    assert spent.requests == 2 and spent.tokens_in > 100


@pytest.mark.parametrize("tries", [0, 3])
async def test_question_overdue_or_tried_too_often_is_given_up_without_asking(desk: Desk, tries: int) -> None:
    def left_behind(db: sqlite3.Connection) -> int:
        number = think(db, deadline_ms=NOW + 15_000 if tries else NOW - 1)
        for _ in range(tries):
            asking.count_try(db, number)
        return number

    number = await desk.store.writer.run(left_behind)
    await desk.serve()
    await desk.settled()
    assert (await desk.row(number))[0] == "failed" and not desk.model.requests


async def test_without_an_endpoint_what_was_recorded_before_is_given_up(desk: Desk) -> None:
    number = await desk.store.writer.run(think)
    await desk.serve(endpoint=None)
    await desk.settled()
    assert (await desk.row(number))[2] == "no model is configured"


async def test_slow_question_delays_nobody_elses(desk: Desk) -> None:
    desk.model.once.append("silent")
    await desk.serve()
    slow = await desk.store.writer.run(think)
    await asyncio.wait_for(_until(lambda: len(desk.model.requests) == 1), 20)
    await desk.store.writer.run(lambda db: think(db, "+251933333333"))
    assert (await desk.settled()).sender == "+251933333333"
    assert (await desk.row(slow))[0] == "asking"


async def test_stop_in_the_middle_leaves_the_question_to_the_next_start(desk: Desk) -> None:
    desk.model.once.append("silent")
    service = await desk.serve()
    number = await desk.store.writer.run(think)
    await asyncio.wait_for(_until(lambda: len(desk.model.requests) == 1), 20)
    await service.stop()
    assert (await desk.row(number))[0] == "asking"
    await desk.serve()
    await desk.settled()
    assert (await desk.row(number))[0] == "answered"


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("caps", "allowed"),
    [
        ({"person": 1300, "client": 0, "cost": 0}, 2),
        ({"person": 0, "client": 0, "cost": 1000}, 1),
        ({"person": 0, "client": 0, "cost": 0}, 4),
    ],
)
async def test_caps_count_what_is_reserved_before_anything_was_asked(
    desk: Desk, caps: dict[str, int], allowed: int
) -> None:
    made = 0
    for _ in range(4):
        try:
            await desk.store.writer.run(lambda db: think(db, caps=caps))
            made += 1
        except EffectRefused as refused:
            assert refused.reason == "capped"
    assert made == allowed


async def test_settling_twice_counts_and_tells_once(desk: Desk) -> None:
    number = await desk.store.writer.run(think)
    settled = asking.Settled(number, "Pay there.", "", 1, 10, 5, 0)
    day = asking.day_of(NOW, 180)
    assert len(await desk.store.writer.run(asking.settle, settled, NOW, day)) == 1
    assert await desk.store.writer.run(asking.settle, settled, NOW, day) == []
    assert (await desk.store.reader.run(asking.spent_on, day)).requests == 1


async def test_key_is_in_no_snapshot(desk: Desk) -> None:
    service = await desk.serve(api_key="sk-very-secret")
    assert "sk-very-secret" not in repr(service.snapshot()) and service.snapshot()["has_key"]


async def test_question_asked_before_is_answered_from_the_cache_and_costs_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    cache = DiskBackedCache(tmp_path / "cache")
    await desk.serve(cache)
    await desk.store.writer.run(think)
    await desk.settled()
    await desk.services.pop().stop()
    again = DiskBackedCache(tmp_path / "cache")  # it outlives the process
    await desk.serve(again)
    number = await desk.store.writer.run(lambda db: think(db, "+251911000777"))
    await desk.settled()
    assert await desk.row(number) == ("answered", "Pay at any agent of the bus company.", "", 0)
    (tmp_path / "cache" / "cache.db").write_bytes(b"no database")
    again.clear()
    number = await desk.store.writer.run(lambda db: think(db, "+251911000778"))
    await desk.settled()
    assert await desk.row(number) == ("answered", "Pay at any agent of the bus company.", "", 1)
    cache.close()
    again.close()
