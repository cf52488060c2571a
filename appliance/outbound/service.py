"""The way out as a whole: one scheduler, the pumps of each channel, the routes and the sweeper."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from appliance import faults
from appliance.channels.channel import Channel
from appliance.guard.tiers import Spend
from appliance.message import Lane, Outbound
from appliance.outbound.allowance import Held, Limits, Pace, QuietHours
from appliance.outbound.balance import load_balances
from appliance.outbound.balance_watch import BalanceWatch, Prepaid
from appliance.outbound.lanes import WINDOW, Lanes
from appliance.outbound.pump import Pump, PumpContext
from appliance.outbound.router import RouteRule
from appliance.outbound.routing import NoRoute, Routing
from appliance.outbound.sim_memory import HasSim, SimMemory
from appliance.outbound.whole import WholePump
from appliance.store import allowance, spend
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import Change, QueuedRow, QueueKey
from appliance.store.spend import Spent

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["NoRoute", "OutboundService"]

log = logging.getLogger(__name__)

SWEEP_S: Final = 2.0
SWEPT_AT_ONCE: Final = 500
COUNTED: Final = 10_000  # rows of one queue that the page counts; beyond, "many" is all one needs


class OutboundService:
    """Owns the lanes, the pumps and the routes. `start` recovers what a crash left before anything is sent.

    quiet: the hours at which some lanes rest. trusted: whether the wall clock can be believed; until then
    those lanes rest too. limits: what may be spent in a day.
    """

    def __init__(
        self,
        store: Store,
        clock_ms: Callable[[], int],
        *,
        seed: int | None = None,
        timezone_minutes: int = 180,
        quiet: QuietHours | None = None,
        trusted: Callable[[], bool] = lambda: True,
        limits: Spend | None = None,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._timezone_minutes = timezone_minutes
        self._quiet = quiet
        self._trusted = trusted
        self._lanes = Lanes()
        self._refilling = asyncio.Lock()
        self._pumps: dict[str, list[tuple[Pump, asyncio.Task[None]]]] = {}
        self._sims = SimMemory(store)
        self._balances: dict[str, tuple[BalanceWatch, asyncio.Task[None]]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._moved: asyncio.Task[None] | None = None
        self.routing = Routing(store, clock_ms)
        self._context = PumpContext(
            lanes=self._lanes,
            writer=store.writer,
            clock_ms=clock_ms,
            on_changes=self.publish,
            refill=self._refill,
            wake=self._wake,
            chance=random.Random(seed),
            elsewhere=self.routing.elsewhere,
            others=self.routing.others,
            closed=self._closed_lanes,
            sent=self.routing.sent,
            limits=limits,
        )
        self._spent: list[Spent] = []  # of the limits, what is used up or nearly so

    async def start(self) -> None:
        await self._sims.load()
        self.publish(await self._store.writer.run(ops.recover, self._clock_ms()))
        if faults.armed:
            faults.hit("outbound.recovered")
        await self._reconcile()
        self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="outbound sweeper")

    async def stop(self, patience_s: float) -> None:
        """Let what is on the air finish for up to `patience_s`, then end."""
        pumps = [each for several in self._pumps.values() for each in several]
        await asyncio.gather(*(pump.stop(patience_s) for pump, _ in pumps))
        tasks = [task for _, task in pumps] + [each for each in (self._sweeper, self._moved) if each]
        tasks += [task for _, task in self._balances.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pumps.clear()

    def add(self, channel: Channel, *, parallel: int = 1, limits: Limits | None = None) -> None:
        """Start feeding a channel.

        parallel: how many messages at once, of a channel that takes whole messages; a modem takes one.
        """
        pace = Pace(limits or Limits(), timezone_minutes=self._timezone_minutes, chance=self._context.chance)
        self.routing.add(channel, pace)
        if isinstance(channel, HasSim):
            channel.sims = self._sims
        if pace.limits.balance is not None and isinstance(channel, Prepaid):
            channel.balance = watch = BalanceWatch(
                channel,
                pace.limits.balance,
                load_balances(),
                self._store,
                self._clock_ms,
                timezone_minutes=self._timezone_minutes,
            )
            task = asyncio.create_task(watch.run(), name=f"balance {channel.name}")
            self._balances[channel.name] = (watch, task)
        kind, count = (Pump, 1) if channel.identity else (WholePump, parallel)
        loaded = asyncio.create_task(self._load(channel.name, pace), name=f"allowance {channel.name}")
        for number in range(count):
            pump = kind(channel, self._context, pace)
            task = asyncio.create_task(self._drive(pump, loaded), name=f"pump {channel.name} {number}")
            self._pumps.setdefault(channel.name, []).append((pump, task))

    async def ask_balance(self, channel: str) -> str:
        """Ask a SIM's operator for its credit now; returns why it is not known, "" when it is."""
        if channel not in self._balances:
            return "no [[route]] of this modem has a balance_code"
        return await self._balances[channel][0].ask()

    def set_routes(self, rules: Iterable[RouteRule]) -> None:
        """Put the table of routes in force. Without one, everything goes by any modem."""
        self.routing.router.replace(rules)

    def offer(self, rows: Iterable[QueuedRow]) -> None:
        """Messages that were queued by a commit just now."""
        for row in rows:
            self._lanes.offer(row)
            self._publish_one(row.id, "queued", "")
        self._wake()

    async def send(self, message: Outbound) -> int:
        """Queue one message; returns its id after the commit. Raises NoRoute."""
        choice = await self.routing.choose(message)
        if choice is None:
            outbound_id = await self._store.writer.run(ops.insert, message, self._clock_ms())
        else:
            if choice.route is None:
                raise NoRoute(f"no route to {message.recipient}: {choice.why}")
            message = msgspec.structs.replace(message, route=choice.route)
            outbound_id = await self._store.writer.run(
                provider_ops.insert_routed, message, self._clock_ms(), choice.why
            )
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

    def clock_moved(self) -> None:
        """The clock was set and the deadlines on disk with it: read again what memory knows of them."""
        self._moved = asyncio.create_task(self._read_again(), name="after the clock was set")

    async def _read_again(self) -> None:
        try:
            for name, several in self._pumps.items():
                await self._load(name, several[0][0].pace)
            await self._reconcile()
        except (sqlite3.Error, StoreError) as error:
            log.warning("after the clock was set: %s; the sweeper looks again", error)

    async def snapshot(self) -> dict[str, Any]:
        """For the page: what waits per lane and since when, and what is on the air."""
        pumps = [pump for several in self._pumps.values() for pump, _ in several]
        on_air = [pump.on_air.outbound_id for pump in pumps if pump.on_air]
        lanes = await self._store.reader.run(_lane_counts, self._clock_ms())
        return {
            "lanes": lanes,
            "on_air": on_air,
            "window": self._lanes.in_window(),
            "routes": self.routing.snapshot(),
            "spent": [each._asdict() for each in self._spent],
        }

    def _publish_one(self, outbound_id: int, state: str, reason: str) -> None:
        self._store.feed.publish({"kind": "out", "id": outbound_id, "state": state, "reason": reason})

    def _wake(self) -> None:
        for several in self._pumps.values():
            for pump, _ in several:
                pump.work.set()

    async def _load(self, name: str, pace: Pace) -> None:
        """Read what the channel has used already; nothing is sent before that is known."""
        if pace.counts:
            pace.load(*await self._store.reader.run(allowance.load, name))

    async def _drive(self, pump: Pump, loaded: asyncio.Task[None]) -> None:
        """A pump that fails is a bug of ours: say so, and go on with the next message."""
        while True:
            try:
                await asyncio.shield(loaded)
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
        """Look on disk for queues the scheduler has not been told of, and for those that are stuck."""
        keys = await self._store.reader.run(ops.active_keys)
        for key, due_ms in keys:
            self._lanes.schedule(key, due_ms)
        routing, now_ms = self.routing, self._clock_ms()
        self._lanes.let_go(routing.ready())
        for row in await routing.move_stuck([key for key, due_ms in keys if due_ms <= now_ms]):
            self._lanes.offer(row)
        routing.watch_allowances()
        self._wake()

    async def _watch_spending(self) -> None:
        """Say once when four fifths of a limit are spent, and once more when all of it is."""
        limits = self._context.limits
        if limits is None:
            return
        before = {(each.who, each.segments >= each.limit) for each in self._spent}
        self._spent = await self._store.reader.run(spend.spent, limits, self._clock_ms())
        for each in self._spent:
            if (each.who, each.segments >= each.limit) not in before:
                who = each.who if each.who.startswith(("the box", "client ")) else "one person"
                log.warning("spending: %s has used %d of %d SMS in 24 hours", who, each.segments, each.limit)

    def held(self, lane: str) -> Held | None:
        """Why nothing of a lane is sent just now, for those who ask after a queued message; None if it is."""
        if lane in self._closed_lanes():
            if not self._trusted():
                return Held("quiet hours, as the clock cannot be trusted yet", None)
            assert self._quiet is not None
            return Held("quiet hours", self._quiet.opens_ms(self._clock_ms()))
        return None if self.routing.ready() else Held("no modem or route can send now", None)

    def _closed_lanes(self) -> frozenset[str]:
        if self._quiet is None:
            return frozenset()
        return self._quiet.closed(self._clock_ms()) if self._trusted() else self._quiet.lanes

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                changes = await self._store.writer.run(ops.sweep, self._clock_ms(), SWEPT_AT_ONCE)
                if faults.armed:
                    faults.hit("outbound.swept")
                self.publish(changes)
                if faults.armed:
                    faults.hit("outbound.swept")
                await self._reconcile()
                await self._watch_spending()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("the outbound sweep waits for the disk: %s", error)


def _lane_counts(db: sqlite3.Connection, now_ms: int) -> list[dict[str, Any]]:
    """Per lane: how many are queued, the age of the oldest, how many are sending.

    A queue is counted up to COUNTED; `more` says that there may be more.
    """
    lanes: dict[str, dict[str, Any]] = {
        lane: {"lane": str(lane), "queued": 0, "more": False, "oldest_ms": None, "sending": 0}
        for lane in Lane
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
        lane["more"] |= count == COUNTED
        lane["oldest_ms"] = max(lane["oldest_ms"] or 0, now_ms - oldest)
    for name, count in db.execute(
        "SELECT lane, count(*) FROM outbound WHERE state = 'sending' GROUP BY lane"
    ):
        lanes[name]["sending"] = count
    return list(lanes.values())
