"""A clock that is set while messages wait: what is waited for moves with it, in order with other writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.clock import BUILT_MS, Clock
from appliance.message import Outbound
from appliance.store import outbound as ops
from appliance.store import timeline
from appliance.store.errors import StoreUnavailable
from appliance.store.outbound import Change
from appliance.store.store import Store
from appliance.timekeeper import Timekeeper, boot_id

NOW = BUILT_MS + 300 * 86_400_000
HOUR = 3_600_000
DAYS_40 = 40 * 24 * HOUR


class Box:
    def __init__(self, store: Store) -> None:
        self.store, self.system, self.up, self.disciplined = store, NOW, 0, False
        self.told = asyncio.Event()
        self.start_again("a")

    def start_again(self, boot: str) -> Timekeeper:
        self.clock = Clock(
            None,
            system_ms=lambda: self.system,
            monotonic_ms=lambda: self.up,
            disciplined=lambda: self.disciplined,
        )
        self.keeper = Timekeeper(self.clock, self.store.writer, boot=boot)
        self.keeper.on_moved = self.told.set
        return self.keeper

    async def queue(self) -> int:
        return await self.store.writer.run(
            ops.insert, Outbound(recipient="+251911000001", text="x"), self.now()
        )

    def now(self) -> int:
        return self.clock.now_ms()

    async def sweep(self) -> list[Change]:
        return await self.store.writer.run(ops.sweep, self.now())

    async def expires_ms(self) -> int:
        found = await self.store.reader.run(
            lambda db: db.execute("SELECT expires_at_ms FROM outbound").fetchone()
        )
        return int(found[0])


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    store = await Store.open(tmp_path / "data")
    box = Box(store)
    await box.keeper.start()
    yield box
    await box.keeper.stop()
    await store.close()


async def test_queued_reply_does_not_expire_by_a_clock_set_forward(box: Box) -> None:
    """Seed 187 of the torture bench: back by 90 s, then forward by 40 days; a person never got an offer."""
    await box.queue()
    for jump_ms in (-90_000, DAYS_40):
        box.system += jump_ms
        assert not await box.sweep()  # nobody has noticed yet
        box.keeper.look()
        assert not await box.sweep()
    await box.told.wait()
    assert await box.expires_ms() - box.now() == 12 * HOUR
    box.system, box.up = box.system + 12 * HOUR, box.up + 12 * HOUR
    assert [change.state for change in await box.sweep()] == ["expired"]


async def test_clock_set_while_the_program_was_down_moves_what_waits_at_the_start(box: Box) -> None:
    await box.queue()
    await box.keeper.stop()
    box.system, box.up = box.system + DAYS_40 + 5_000, box.up + 5_000
    await box.start_again("a").start()
    assert not await box.sweep()
    assert await box.expires_ms() == NOW + DAYS_40 + 12 * HOUR


async def test_jump_is_moved_once_however_often_the_program_starts(box: Box) -> None:
    await box.queue()
    box.system += DAYS_40
    box.keeper.look()
    for _ in range(3):
        await box.keeper.stop()
        await box.start_again("a").start()
    assert await box.expires_ms() == NOW + DAYS_40 + 12 * HOUR


async def test_message_from_before_a_power_cut_is_compared_with_the_true_time(box: Box) -> None:
    """A box without a battery-backed clock goes on from the saved time until NTP tells how long it was."""
    old = await box.queue()
    await box.keeper.stop()
    box.up = 0  # another boot; the system clock stood still for the 13 hours without power
    box.system = NOW + 1_000
    await box.start_again("b").start()
    new = await box.queue()
    box.system += 13 * HOUR
    box.disciplined = True
    box.keeper.look()
    assert await box.sweep() == [Change(old, "expired", "its validity ended before it could be sent")]
    assert new != old


async def test_deadline_moves_before_anything_that_knows_the_new_time(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the move at first: until it is made, no sweep of the new time is committed."""
    await box.queue()
    refusals = iter([sqlite3.OperationalError("disk I/O error")])
    real = timeline.keep

    def failing(db: sqlite3.Connection, line: object) -> None:
        for error in refusals:
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        real(db, line)  # type: ignore[arg-type]

    monkeypatch.setattr(timeline, "keep", failing)
    box.system += DAYS_40
    box.keeper.look()
    with pytest.raises(StoreUnavailable):
        await box.store.writer.run(lambda db: None)  # fails with the move ...
    assert not await box.sweep()  # ... which opens the transaction of the sweep
    await box.told.wait()
    assert await box.expires_ms() == NOW + DAYS_40 + 12 * HOUR


async def test_keeper_notices_by_itself(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await box.keeper.stop()
    monkeypatch.setattr("appliance.timekeeper.LOOK_EVERY_S", 0.001)
    await box.keeper.start()
    await box.queue()
    box.system += DAYS_40
    await box.told.wait()
    assert box.now() == NOW + DAYS_40


def test_boot_id_is_told_by_the_kernel_or_empty(tmp_path: Path) -> None:
    assert boot_id() == boot_id()
    assert boot_id(tmp_path / "missing") == ""
