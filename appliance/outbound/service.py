"""The way out as a whole: one scheduler, one pump a channel, and the sweeper behind them."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance.channels.channel import Channel
from appliance.message import Lane, Outbound
from appliance.outbound.lanes import WINDOW, Lanes
from appliance.outbound.pump import Pump, PumpContext
from appliance.store import outbound as ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import Change, QueuedRow, QueueKey

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["OutboundService"]

log = logging.getLogger(__name__)

SWEEP_S: Final = 2.0
SWEPT_AT_ONCE: Final = 500
COUNTED: Final = 10_000  # rows of one queue that the page counts; beyond, "many" is all one needs


class OutboundService:
    """Owns the lanes and the pumps. `start` recovers what a crash left before anything is sent."""

    def __init__(self, store: Store, clock_ms: Callable[[], int], *, seed: int | None = None) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._lanes = Lanes()
        self._refilling = asyncio.Lock()
        self._pumps: dict[str, tuple[Pump, asyncio.Task[None]]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._context = PumpContext(
            lanes=self._lanes,
            writer=store.writer,
            clock_ms=clock_ms,
            on_changes=self.publish,
            refill=self._refill,
            wake=self._wake,
            chance=random.Random(seed),
        )

    async def start(self) -> None:
        self.publish(await self._store.writer.run(ops.recover, self._clock_ms()))
        await self._reconcile()
        self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="outbound sweeper")

    async def stop(self, patience_s: float) -> None:
        """Let what is on the air finish for up to `patience_s`, then end."""
        pumps = list(self._pumps.values())
        await asyncio.gather(*(pump.stop(patience_s) for pump, _ in pumps))
        tasks = [task for _, task in pumps] + ([self._sweeper] if self._sweeper else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pumps.clear()

    def add(self, channel: Channel) -> None:
        """Start feeding a channel."""
        pump = Pump(channel, self._context)
        task = asyncio.create_task(self._drive(pump), name=f"pump {channel.name}")
        self._pumps[channel.name] = (pump, task)

    def offer(self, rows: Iterable[QueuedRow]) -> None:
        """Messages that were queued by a commit just now."""
        for row in rows:
            self._lanes.offer(row)
            self._publish_one(row.id, "queued", "")
        self._wake()

    async def send(self, message: Outbound) -> int:
        """Queue one message; returns its id after the commit."""
        outbound_id = await self._store.writer.run(ops.insert, message, self._clock_ms())
        if message.not_before_ms > self._clock_ms():
            self._lanes.schedule(
                QueueKey(message.route, message.lane, message.client_id), message.not_before_ms
            )
            self._publish_one(outbound_id, "queued", "")
        else:
            key = QueueKey(message.route, message.lane, message.client_id)
            self.offer([QueuedRow(outbound_id, message.recipient, key)])
        return outbound_id

    async def cancel(self, outbound_id: int, reason: str) -> bool:
        """Take a message back; False when it has left the queue."""
        changes = await self._store.writer.run(ops.cancel, outbound_id, self._clock_ms(), reason)
        self.publish(changes)
        return bool(changes)

    def publish(self, changes: Sequence[Change]) -> None:
        """Tell the page what moved, after the commit."""
        for change in changes:
            if change.state:
                self._publish_one(*change)
            if change.state in ("delivered", "failed", "expired"):
                self._lanes.stop_avoiding(change.outbound_id)

    async def snapshot(self) -> dict[str, Any]:
        """For the page: what waits per lane and since when, and what is on the air."""
        on_air = [pump.on_air.outbound_id for pump, _ in self._pumps.values() if pump.on_air]
        lanes = await self._store.reader.run(_lane_counts, self._clock_ms())
        return {"lanes": lanes, "on_air": on_air, "window": self._lanes.in_window()}

    def _publish_one(self, outbound_id: int, state: str, reason: str) -> None:
        self._store.feed.publish({"kind": "out", "id": outbound_id, "state": state, "reason": reason})

    def _wake(self) -> None:
        for pump, _ in self._pumps.values():
            pump.work.set()

    async def _drive(self, pump: Pump) -> None:
        """A pump that fails is a bug of ours: say so, and go on with the next message."""
        while True:
            try:
                await pump.run()
            except StoreClosed:
                return
            except Exception:
                log.exception("the pump of %s failed and starts again", pump.channel.name)
                await asyncio.sleep(1)
            else:
                return

    async def _refill(self) -> None:
        lanes = self._lanes
        lanes.tick(self._clock_ms())
        if not lanes.wants():
            return
        async with self._refilling:
            for key in lanes.wants():
                now_ms = self._clock_ms()
                rows, due_ms = await self._store.reader.run(ops.load_queue, key, now_ms, WINDOW)
                lanes.refill(key, rows, due_ms, now_ms)

    async def _reconcile(self) -> None:
        """Look on disk for queues the scheduler has not been told of."""
        for key, due_ms in await self._store.reader.run(ops.active_keys):
            self._lanes.schedule(key, due_ms)
        self._wake()

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                changes = await self._store.writer.run(ops.sweep, self._clock_ms(), SWEPT_AT_ONCE)
                self.publish(changes)
                await self._reconcile()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("the outbound sweep waits for the disk: %s", error)


def _lane_counts(db: sqlite3.Connection, now_ms: int) -> list[dict[str, Any]]:
    """Per lane: how many are queued (counted up to COUNTED), the age of the oldest, how many are sending."""
    lanes: dict[str, dict[str, Any]] = {
        lane: {"lane": str(lane), "queued": 0, "oldest_ms": None, "sending": 0} for lane in Lane
    }
    for key, _ in ops.active_keys(db):
        lane = lanes[key.lane]
        count, oldest = db.execute(
            "SELECT count(*), min(created_at_ms) FROM (SELECT created_at_ms FROM outbound"
            " WHERE state = 'queued' AND route = ? AND lane = ? AND client_id = ?"
            " ORDER BY next_attempt_ms, id LIMIT ?)",
            (*key, COUNTED),
        ).fetchone()
        lane["queued"] += count
        lane["oldest_ms"] = max(lane["oldest_ms"] or 0, now_ms - oldest)
    for name, count in db.execute(
        "SELECT lane, count(*) FROM outbound WHERE state = 'sending' GROUP BY lane"
    ):
        lanes[name]["sending"] = count
    return list(lanes.values())
