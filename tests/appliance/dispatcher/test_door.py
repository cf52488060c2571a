"""The line before the door: who may come in, and what becomes of who may not in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.dispatcher.dispatcher import Dispatcher
from appliance.dispatcher.door import Door
from appliance.dispatcher.mailboxes import Mailboxes
from appliance.message import Inbound, InboundState
from appliance.store.store import Store

HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


def message(text: str, number: int = 1) -> Inbound:
    now_ms = time.time_ns() // 1_000_000
    sender = f"+2519110{number:05d}"
    return Inbound(channel="http", recipient="", received_at_ms=now_ms, sender=sender, text=text)


async def test_door_lets_in_what_there_is_room_for_in_the_order_of_coming() -> None:
    boxes = Mailboxes(4)
    door = Door(boxes)
    drafts = [boxes.draft(message("x", number), 0.0) for number in range(3)]
    came: list[str] = []

    async def caller(name: str, messages: int) -> None:
        if not door.open_for(messages):
            await door.stand(messages, 10)
        came.append(name)

    tasks = [asyncio.create_task(caller(*each)) for each in (("two", 2), ("one", 1), ("another", 1))]
    await asyncio.sleep(0)
    door.let_in()
    await asyncio.sleep(0)
    assert came == []  # one would fit, and does not pass who came before
    for draft in drafts[:2]:
        assert draft is not None
        boxes.finish(draft)
    door.let_in()
    await asyncio.gather(*tasks[:2])
    assert came == ["two", "one"]
    door.let_in()  # they put nothing down here, so there is room again
    await tasks[2]
    assert came == ["two", "one", "another"]
    assert not door


async def test_door_of_an_empty_box_is_open_for_more_than_its_window() -> None:
    assert Door(Mailboxes(4)).open_for(100)


async def test_door_caller_whose_time_is_up_leaves_the_line_to_others() -> None:
    boxes = Mailboxes(1)
    door = Door(boxes)
    draft = boxes.draft(message("x"), 0.0)
    await door.stand(1, 0.01)
    other = asyncio.create_task(door.stand(1, 10))
    await asyncio.sleep(0)
    assert draft is not None
    boxes.finish(draft)
    door.let_in()
    await other
    assert not door
    assert door.open_for(1)


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Store, Dispatcher]]:
    """A dispatcher that holds three messages in memory at most."""
    monkeypatch.syspath_prepend(str(HERE))
    store = await Store.open(tmp_path / "data")
    dispatcher = Dispatcher(
        store,
        min_workers=1,
        max_workers=1,
        app_settings={"marks": str(tmp_path)},
        on_outbound=lambda rows: None,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        factory="tiny_shell:TinyShell",
        window=3,
    )
    await dispatcher.start()
    await dispatcher.converse(message("warm", 0), 20)
    yield store, dispatcher
    await dispatcher.stop()
    await store.close()


async def test_door_callers_beyond_the_window_are_answered_in_one_commit_each(
    small: tuple[Store, Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, dispatcher = small

    async def never(messages: Any) -> Any:
        raise AssertionError("a message was put on disk without its turn")

    monkeypatch.setattr(store, "accept_many", never)
    singles = [dispatcher.converse(message("hello", number), 20) for number in range(1, 13)]
    lists = [
        dispatcher.converse_many([message("hello", number), message("hello", number + 1)], 20)
        for number in (20, 30, 40)
    ]
    answers = await asyncio.gather(*singles, *lists)
    found = [*answers[:12], *(each for several in answers[12:] for each in several)]
    assert [each.replies for each in found] == [["1:hello"]] * 18


async def test_door_caller_who_waits_in_vain_is_on_disk_when_he_is_told(
    small: tuple[Store, Dispatcher],
) -> None:
    store, dispatcher = small
    busy = [asyncio.create_task(dispatcher.converse(message("nap 1", number), 20)) for number in range(1, 4)]
    await asyncio.sleep(0)
    late = await dispatcher.converse(message("hello", 9), 0.2)
    assert (late.replies, late.state) == (None, InboundState.ACCEPTED)
    assert await store.reader.run(
        lambda db: db.execute("SELECT text FROM inbound WHERE id = ?", (late.id,)).fetchone()
    ) == ("hello",)
    await asyncio.gather(*busy)


async def test_door_stop_lets_everybody_go(small: tuple[Store, Dispatcher]) -> None:
    _, dispatcher = small
    tasks = [
        asyncio.create_task(dispatcher.converse(message("nap 0.2", number), 20)) for number in range(1, 9)
    ]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await dispatcher.stop()
        await asyncio.gather(*tasks)
