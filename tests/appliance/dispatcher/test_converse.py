"""Callers who wait: accept and turn in one commit, and every way in which that does not work out."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.dispatcher.dispatcher import Dispatcher
from appliance.message import Inbound, InboundState
from appliance.store.effects import EFFECTS, EffectContext, EffectRefused
from appliance.store.errors import StoreUnavailable
from appliance.store.store import Store

HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


def message(text: str, number: int = 1, **fields: Any) -> Inbound:
    usual: dict[str, Any] = {
        "channel": "http",
        "recipient": "",
        "received_at_ms": now_ms(),
        "sender": f"+2519110{number:05d}",
    }
    return Inbound(**usual | fields, text=text)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "data")
    yield store
    await store.close()


@pytest.fixture
async def dispatcher(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Dispatcher]:
    monkeypatch.syspath_prepend(str(HERE))
    dispatcher = Dispatcher(
        store,
        min_workers=1,
        max_workers=1,
        app_settings={"marks": str(tmp_path)},
        on_outbound=lambda rows: None,
        clock_ms=now_ms,
        factory="tiny_shell:TinyShell",
        apologies={"": "sorry"},
    )
    await dispatcher.start()
    await dispatcher.converse(message("warm", 0), 20)
    yield dispatcher
    await dispatcher.stop()


@pytest.fixture(autouse=True)
def nobody_waits_for_a_timeout() -> Iterator[None]:
    """An answer that comes because the time is up would pass for an answer."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 15


async def rows(store: Store, sql: str) -> list[Any]:
    return await store.reader.run(lambda db: db.execute(sql).fetchall())


async def settled(store: Store) -> None:
    async with asyncio.timeout(20):
        while await rows(store, "SELECT 1 FROM inbound WHERE state = 'accepted'"):
            await asyncio.sleep(0.005)


async def test_converse_takes_one_commit(dispatcher: Dispatcher, store: Store) -> None:
    before = store.writer.stats.commits
    answer = await dispatcher.converse(message("hello"), 20)
    assert answer == (2, False, InboundState.HANDLED, ["1:hello"])
    assert store.writer.stats.commits == before + 1
    assert await rows(store, "SELECT state, channel, in_reply_to FROM outbound WHERE id = 2") == [
        ("sent", "http", 2)
    ]
    assert await rows(store, "SELECT state, text FROM inbound WHERE id = 2") == [("handled", "hello")]


async def test_converse_same_key_again_gives_the_same_replies(dispatcher: Dispatcher, store: Store) -> None:
    first = await dispatcher.converse(message("hello", natural_key="k"), 20)
    again = await dispatcher.converse(message("hello", natural_key="k"), 20)
    assert (again.id, again.duplicate, again.replies) == (first.id, True, ["1:hello"])
    assert await rows(store, "SELECT count(*) FROM session WHERE sender LIKE '%1'") == [(1,)]
    assert await rows(store, "SELECT count(*) FROM outbound WHERE text = '1:hello'") == [(1,)]


async def test_converse_many_keeps_order_and_finds_repeats(dispatcher: Dispatcher, store: Store) -> None:
    batch = [message(f"t{n}", n % 4, natural_key=f"k{n % 9}") for n in range(10)]
    answers = await dispatcher.converse_many(batch, 20)
    assert [answer.duplicate for answer in answers] == [False] * 9 + [True]
    assert answers[9].replies == answers[0].replies == ["2:t0"]
    assert [answers[n].replies for n in (1, 5)] == [["1:t1"], ["2:t5"]]


async def test_converse_guarded_sender_is_kept_and_not_answered(dispatcher: Dispatcher, store: Store) -> None:
    answer = await dispatcher.converse(message("hello", sender="127"), 20)
    assert (answer.state, answer.replies) == (InboundState.GUARDED, [])
    assert await rows(store, "SELECT count(*) FROM session WHERE sender = '127'") == [(0,)]


async def test_converse_time_up_leaves_the_message_and_the_reply_goes_by_air(
    dispatcher: Dispatcher, store: Store
) -> None:
    answer = await dispatcher.converse(message("nap 0.4"), 0.05)
    assert (answer.state, answer.replies) == (InboundState.ACCEPTED, None)
    await settled(store)
    assert await rows(store, "SELECT state, text FROM outbound WHERE id > 1") == [("queued", "1:nap 0.4")]


async def test_converse_caller_who_vanishes_leaves_the_message(dispatcher: Dispatcher, store: Store) -> None:
    caller = asyncio.create_task(dispatcher.converse(message("nap 0.2"), 20))
    await asyncio.sleep(0.05)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with asyncio.timeout(20):
        while await rows(store, "SELECT count(*) FROM inbound WHERE state = 'handled'") != [(2,)]:
            await asyncio.sleep(0.005)
    assert await rows(store, "SELECT state FROM outbound WHERE id > 1") == [("queued",)]


async def test_converse_turn_that_kills_its_worker_is_on_disk_for_a_person(
    dispatcher: Dispatcher, store: Store
) -> None:
    assert (await dispatcher.converse(message("once"), 20)).replies == ["1:once"]
    assert (await dispatcher.converse(message("raise", 2), 20)).replies == ["sorry"]
    assert await rows(store, "SELECT state, attempts FROM inbound WHERE text = 'raise'") == [("set_aside", 1)]


async def test_converse_repeat_of_a_failing_message_counts_once(dispatcher: Dispatcher, store: Store) -> None:
    calls = [dispatcher.converse(message("raise", natural_key="k"), 20) for _ in range(2)]
    answers = await asyncio.gather(*calls)
    assert [answer.replies for answer in answers] == [["sorry"], ["sorry"]]
    assert await rows(store, "SELECT count(*) FROM inbound WHERE natural_key = 'k'") == [(1,)]


async def test_converse_refused_effect_asks_the_app_again_and_leaves_nothing_behind(
    dispatcher: Dispatcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        raise EffectRefused("sold_out", left=2)

    monkeypatch.setitem(EFFECTS, "tiny.refuse", refuse)
    answer = await dispatcher.converse(message("refuse"), 20)
    assert answer.replies == ["refused:sold_out:2:1"]
    assert await rows(store, "SELECT count(*) FROM inbound") == [(2,)]


async def test_converse_disk_that_refuses_promises_nothing(
    dispatcher: Dispatcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("appliance.store.turns.converse", full)
    with pytest.raises(StoreUnavailable):
        await dispatcher.converse(message("hello"), 20)
    monkeypatch.undo()
    assert await rows(store, "SELECT count(*) FROM inbound") == [(1,)]
    assert (await dispatcher.converse(message("hello"), 20)).replies == ["1:hello"]


async def test_converse_keeps_its_place_behind_the_senders_earlier_messages(
    dispatcher: Dispatcher, store: Store
) -> None:
    await store.accept(message("first"))
    second = asyncio.create_task(dispatcher.converse(message("second"), 20))
    await asyncio.sleep(0)
    await store.accept(message("third"))
    assert (await second).replies == ["2:second"]
    await settled(store)
    assert await rows(store, "SELECT text FROM outbound WHERE text LIKE '%third'") == [("3:third",)]


async def test_converse_with_a_backlog_on_disk_waits_its_turn(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    await store.accept_many([message(f"t{n}") for n in range(40)])
    dispatcher = Dispatcher(
        store, min_workers=1, max_workers=1, app_settings={}, on_outbound=lambda rows: None,
        clock_ms=now_ms, factory="tiny_shell:TinyShell", window=8,
    )  # fmt: skip
    await dispatcher.start()
    assert (await dispatcher.converse(message("last"), 20)).replies == ["41:last"]
    await dispatcher.stop()


async def test_converse_after_stop_still_keeps_the_message(dispatcher: Dispatcher, store: Store) -> None:
    slow = asyncio.create_task(dispatcher.converse(message("nap 0.2"), 20))
    await asyncio.sleep(0.05)
    await dispatcher.stop()
    assert (await slow).id == 2
    answer = await dispatcher.converse(message("hello"), 20)
    assert (answer.state, answer.replies) == (InboundState.ACCEPTED, None)
