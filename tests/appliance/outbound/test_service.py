"""The lanes, the pumps and the store together, with a channel that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.channels.channel import Doubt, Gate, NotSent, Outcome, Refused, Sent
from appliance.message import Lane, Outbound
from appliance.outbound.policy import Action
from appliance.outbound.service import OutboundService
from appliance.store import outbound as ops
from appliance.store.errors import StoreUnavailable
from appliance.store.outbound import Claim
from appliance.store.store import Store

NOW = 1_800_000_000_000


class ScriptedChannel:
    """Answers each part with the next outcome of its script, then with Sent; keeps what it was given."""

    def __init__(self, name: str = "modem:gsm0", parts: int = 1) -> None:
        self.name = name
        self.routes = ("", name)
        self.identity = f"imei/{name}"
        self.ready = True
        self.trouble = ""
        self.parts = parts
        self.script: list[Outcome] = []
        self.given: list[tuple[str, int, int]] = []
        self.air = asyncio.Semaphore(10_000)
        self._ready = asyncio.Event()
        self._ready.set()

    def snapshot(self) -> dict[str, Any]:
        return {}

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def count_parts(self, text: str) -> int:
        return self.parts

    async def send(self, claim: Claim, sequence: int, gate: Gate) -> Outcome:
        await gate()
        self.given.append((claim.text, sequence, claim.attempt))
        await self.air.acquire()
        outcome = self.script.pop(0) if self.script else Sent(tp_mr=len(self.given) % 256)
        return outcome


class Box:
    def __init__(self, store: Store, service: OutboundService, at: list[int]) -> None:
        self.store, self.service, self.at = store, service, at
        self.states: dict[int, list[str]] = {}
        store.feed.subscribe(self._changed)

    def _changed(self, change: dict[str, Any]) -> None:
        if change["kind"] == "out":
            self.states.setdefault(change["id"], []).append(change["state"])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def put(self, text: str, lane: Lane = Lane.REPLY, to: int = 0, **more: Any) -> int:
        number = f"+2519110000{to:02d}"
        return await self.service.send(Outbound(recipient=number, text=text, lane=lane, **more))

    async def until_state(self, message: int, state: str) -> None:
        await self.until(lambda: self.states.get(message, [""])[-1] == state)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    store = await Store.open(tmp_path)
    at = [NOW]
    service = OutboundService(store, lambda: at[0], seed=1)
    await service.start()
    yield Box(store, service, at)
    await service.stop(0.1)
    await store.close()


async def test_send_goes_through_every_state(box: Box) -> None:
    channel = ScriptedChannel()
    box.service.add(channel)
    message = await box.put("hello")
    await box.until_state(message, "sent")
    assert box.states[message] == ["queued", "sending", "sent"]


async def test_refused_for_good_fails_and_the_next_goes_out(box: Box) -> None:
    channel = ScriptedChannel()
    channel.script = [Refused(Action.PERMANENT, "+CMS ERROR: 1")]
    box.service.add(channel)
    poison, after = await box.put("poison"), await box.put("after", to=1)
    await box.until_state(after, "sent")
    await box.until_state(poison, "failed")


async def test_refused_for_now_is_tried_again_when_its_time_comes(box: Box) -> None:
    channel = ScriptedChannel()
    channel.script = [Refused(Action.RETRY_LATER, "+CMS ERROR: 42")]
    box.service.add(channel)
    message = await box.put("again")
    await box.until(lambda: box.states[message] == ["queued", "sending", "queued"])
    box.at[0] += 60_000
    await box.until_state(message, "sent")
    assert [attempt for _, _, attempt in channel.given] == [1, 2]


async def test_lost_answer_is_uncertain_and_is_not_repeated_at_once(box: Box) -> None:
    channel = ScriptedChannel()
    channel.script = [Doubt("answer lost")]
    box.service.add(channel)
    message, after = await box.put("doubt"), await box.put("after", to=1)
    await box.until_state(after, "sent")
    assert box.states[message][-1] == "uncertain"
    assert [text for text, _, _ in channel.given] == ["doubt", "after"]


async def test_not_sent_does_not_count_as_an_attempt(box: Box) -> None:
    channel = ScriptedChannel()
    channel.script = [NotSent("port lost")]
    box.service.add(channel)
    message = await box.put("later")
    await box.until_state(message, "sent")
    assert [attempt for _, _, attempt in channel.given] == [1, 1]


async def test_otp_overtakes_bulk_that_was_claimed_ahead(box: Box) -> None:
    channel = ScriptedChannel()
    channel.air = asyncio.Semaphore(0)
    box.service.add(channel)
    bulk = [await box.put(f"bulk {number}", Lane.BULK, to=number) for number in range(3)]
    await box.until(lambda: box.states[bulk[1]][-1] == "sending")  # the second is claimed ahead
    otp = await box.put("code 1234", Lane.OTP, to=9)
    for _ in range(4):
        channel.air.release()
    await box.until_state(otp, "sent")
    await box.until_state(bulk[2], "sent")
    assert [text for text, _, _ in channel.given] == ["bulk 0", "code 1234", "bulk 1", "bulk 2"]


async def test_otp_passes_between_two_parts_of_a_long_message(box: Box) -> None:
    channel = ScriptedChannel()
    channel.count_parts = lambda text: 24 if text == "long" else 1  # type: ignore[method-assign]
    channel.air = asyncio.Semaphore(0)
    box.service.add(channel)
    await box.put("long", Lane.BULK, to=1)
    ahead = await box.put("ahead", Lane.BULK, to=2)
    channel.air.release()
    await box.until(lambda: len(channel.given) == 2)  # part 2 of 24 is on the air
    otp = await box.put("code 1234", Lane.OTP, to=9)
    await box.until(lambda: box.states[otp][-1] == "sending")  # while part 2 is on the air
    for _ in range(30):
        channel.air.release()
    await box.until_state(ahead, "sent")
    assert [(text, part) for text, part, _ in channel.given[:4]] == [
        ("long", 1),
        ("long", 2),
        ("code 1234", 1),
        ("long", 3),
    ]
    assert [part for text, part, _ in channel.given if text == "long"] == list(range(1, 25))
    turns = await box.store.reader.run(
        lambda db: db.execute(
            "SELECT text, sequence, attempt FROM outbound_part JOIN outbound ON id = outbound_id"
            " ORDER BY turn, sequence"
        ).fetchall()
    )
    assert [tuple(each) for each in turns] == channel.given


async def test_reply_passes_a_long_one_of_its_own_lane_after_two_parts(box: Box) -> None:
    channel = ScriptedChannel()
    channel.count_parts = lambda text: 6 if text == "long" else 1  # type: ignore[method-assign]
    channel.air = asyncio.Semaphore(0)
    box.service.add(channel)
    long = await box.put("long", to=1)
    await box.until(lambda: len(channel.given) == 1)
    short = [await box.put(f"short {number}", to=2 + number) for number in range(2)]
    channel.air.release()
    for number in (0, 1):
        await box.until(lambda: box.states[short[number]][-1] == "sending")  # noqa: B023
        for _ in range(3):
            channel.air.release()
    for _ in range(10):
        channel.air.release()
    await box.until_state(long, "sent")
    given = [text for text, _, _ in channel.given]
    assert given == ["long", "long", "short 0", "long", "long", "short 1", "long", "long"]


async def test_stop_between_two_parts_gives_the_rest_back_without_doubt(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    service = OutboundService(store, lambda: NOW, seed=1)
    await service.start()
    box = Box(store, service, [NOW])
    channel = ScriptedChannel(parts=5)
    channel.air = asyncio.Semaphore(0)
    service.add(channel)
    long = await box.put("long", to=1)
    await box.until(lambda: len(channel.given) == 1)
    channel.air.release()
    await box.until(lambda: len(channel.given) == 2)
    stopping = asyncio.create_task(service.stop(5))
    await asyncio.sleep(0)
    channel.air.release()
    await stopping
    rows = await store.reader.run(
        lambda db: db.execute("SELECT sequence, state FROM outbound_part ORDER BY sequence").fetchall()
    )
    assert [tuple(row) for row in rows] == [(1, "sent"), (2, "sent")]
    again = OutboundService(store, lambda: NOW, seed=1)
    await again.start()
    channel.air = asyncio.Semaphore(100)
    again.add(channel)
    await box.until_state(long, "sent")
    assert [part for _, part, _ in channel.given] == [1, 2, 3, 4, 5]
    await again.stop(1)
    await store.close()


async def test_two_modems_share_the_queue_and_one_person_waits_for_himself(box: Box) -> None:
    first, second = ScriptedChannel("modem:gsm0"), ScriptedChannel("modem:gsm1")
    first.air = second.air = asyncio.Semaphore(0)
    box.service.add(first)
    box.service.add(second)
    same = [await box.put(f"same {number}", to=1) for number in range(2)]
    await box.put("other", to=2)
    await box.until(lambda: len(first.given + second.given) == 2)
    assert {text for text, _, _ in first.given + second.given} == {"same 0", "other"}
    for _ in range(3):
        first.air.release()
    await box.until_state(same[1], "sent")


async def test_stop_gives_back_what_was_claimed_ahead(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    service = OutboundService(store, lambda: NOW, seed=1)
    await service.start()
    box = Box(store, service, [NOW])
    channel = ScriptedChannel()
    channel.air = asyncio.Semaphore(0)
    service.add(channel)
    on_air, ahead = await box.put("on air"), await box.put("ahead", to=1)
    await box.until(lambda: box.states[ahead][-1] == "sending")
    await service.stop(0.05)
    rows = dict(await store.reader.run(lambda db: db.execute("SELECT id, state FROM outbound").fetchall()))
    assert rows == {on_air: "sending", ahead: "queued"}
    again = OutboundService(store, lambda: NOW, seed=1)
    await again.start()
    await again.stop(0)
    rows = dict(await store.reader.run(lambda db: db.execute("SELECT id, state FROM outbound").fetchall()))
    assert rows == {on_air: "uncertain", ahead: "queued"}
    await store.close()


async def test_disk_that_refuses_a_result_holds_the_next_pdu_back(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = ScriptedChannel()
    box.service.add(channel)
    real, refusing = box.store.writer.run, True

    async def run(op: Any, *args: Any, **more: Any) -> Any:
        if getattr(op, "__wrapped__", op) is ops.settle_part and refusing:
            raise StoreUnavailable("full", "no space left")
        return await real(op, *args, **more)

    monkeypatch.setattr(box.store.writer, "run", run)
    monkeypatch.setattr("appliance.outbound.pump.DISK_PAUSE_S", 0.01)
    first, second = await box.put("first"), await box.put("second", to=1)
    await box.until(lambda: box.states.get(second, [""])[-1] == "sending")
    for _ in range(50):
        await asyncio.sleep(0)
    assert [text for text, _, _ in channel.given] == ["first"]
    refusing = False
    await box.until_state(second, "sent")
    assert box.states[first][-1] == "sent"
