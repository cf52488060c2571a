"""The pump of one channel: takes the next message, writes the intent, sends its parts, writes what came.

The radio is the limit, so everything else hides behind it. While a message is on the air the next one
is claimed; the result of a part is committed while the modem already asks for the next PDU, and the gate
holds that PDU back until the commit is on disk. So at any moment at most one part of a modem is in doubt,
which is what `store.outbound.recover` relies on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from appliance.channels.channel import Channel, Doubt, NotSent, Refused, Sent
from appliance.outbound.allowance import PERIODS, Pace, period_start_ms
from appliance.outbound.lanes import Lanes
from appliance.outbound.policy import Action, next_attempt_ms
from appliance.store import allowance
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import Change, Claim, PartResult, QueuedRow, QueueKey

if TYPE_CHECKING:
    from appliance.store.writer import Writer

__all__ = ["Elsewhere", "Pump", "PumpContext"]

log = logging.getLogger(__name__)

TURN_STEP: Final = 1_000  # room before a claimed message for the urgent ones that overtake it
GATE_PATIENCE_S: Final = 8.0  # a modem waits at its prompt about this long
DISK_PAUSE_S: Final = 1.0
ILL_PAUSE_S: Final = 30.0  # after the network said that it is the SIM that is refused
NOT_SENT_PAUSE_S: Final = 0.5  # a channel that says "not now" while it says "ready" must not be spun on


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a refused message goes next. why: the router's explanation, for the trace."""

    route: str
    why: str


def _stay(claim: Claim, channel: str) -> Elsewhere | None:
    return None


def _nobody_else(route: str, channel: str, refused_by: frozenset[str]) -> bool:
    return False


def _no_matter(claim: Claim, channel: str) -> None:
    return None


def _always_open() -> frozenset[str]:
    return frozenset()


@dataclass(slots=True)
class PumpContext:
    """What all pumps share.

    refill: bring the scheduler's window up to date. wake: tell all pumps to look. idle: names of the
    channels that have nothing to send, so that none claims ahead what another could send at once.
    elsewhere: the route a message goes to that this channel did not send. others: whether another channel
    of the same route is there. closed: the lanes that rest at this hour. sent: told of each message that a
    channel took.
    """

    lanes: Lanes
    writer: Writer
    clock_ms: Callable[[], int]
    on_changes: Callable[[Sequence[Change]], None]
    refill: Callable[[], Awaitable[None]]
    wake: Callable[[], None]
    chance: random.Random
    idle: set[str] = field(default_factory=set)
    elsewhere: Callable[[Claim, str], Elsewhere | None] = _stay
    others: Callable[[str, str, frozenset[str]], bool] = _nobody_else
    closed: Callable[[], frozenset[str]] = _always_open
    sent: Callable[[Claim, str], None] = _no_matter


@dataclass(slots=True)
class Claimed:
    row: QueuedRow
    claim: Claim
    turn: int


class Pump:
    """Drives one channel until cancelled; `stop` lets the message on the air finish first."""

    def __init__(self, channel: Channel, context: PumpContext, pace: Pace) -> None:
        self.channel = channel
        self.pace = pace
        self.on_air: Claim | None = None
        self._context = context
        self._turn = 0
        self._result: asyncio.Task[Any] | None = None
        self._ill_until: float | None = None
        self._stopping = False
        self.work = asyncio.Event()  # set whenever there may be something to take
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        upcoming: asyncio.Task[Claimed] | None = None
        try:
            while not self._stopping:
                if upcoming is None:
                    upcoming = asyncio.create_task(self._claim_next(), name=f"claim {self.channel.name}")
                claimed = await upcoming
                await self._keep_pace()
                urgent = await self._overtake(claimed)
                if urgent is not None:
                    await self._transmit(urgent)
                    await self._keep_pace()
                # Until here `upcoming` still holds it, so that stopping gives it back.
                upcoming = asyncio.create_task(self._claim_next(), name=f"claim {self.channel.name}")
                await self._transmit(claimed)
        finally:
            self._idle.set()
            if upcoming is not None:
                await self._give_back(upcoming)

    async def stop(self, patience_s: float) -> None:
        """Take nothing new and wait up to `patience_s` for the part on the air and its commit."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
                if self._result is not None:
                    await asyncio.shield(self._result)

    async def _give_back(self, upcoming: asyncio.Task[Claimed]) -> None:
        """A message claimed ahead goes back to its queue, or the next start would have to doubt it."""
        if not upcoming.done():
            upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StoreError):
            claimed = await upcoming
            await self._context.writer.run(
                ops.release, claimed.claim.outbound_id, self._context.clock_ms(), "the box was stopped"
            )

    async def _overtake(self, claimed: Claimed) -> Claimed | None:
        """What has become more urgent than the message that was claimed ahead goes first."""
        lanes, channel = self._context.lanes, self.channel
        if self._turn + 1 < claimed.turn and lanes.waits_above(claimed.claim.lane, channel.routes):
            row = self._take()
            if row is not None:
                return await self._claim(row, self._turn + 1)
        return None

    async def _claim_next(self) -> Claimed:
        context, name = self._context, self.channel.name
        try:
            while True:
                if not self.channel.ready:
                    self._no_longer_idle()
                    await self.channel.wait_ready()
                await self._get_well()
                self.work.clear()
                await context.refill()
                row = None
                if self.on_air is None or not context.idle:
                    row = self._take()
                if row is None:
                    if self.on_air is None:
                        context.idle.add(name)
                    await self.work.wait()
                    continue
                self._no_longer_idle()
                claimed = await self._claim(row, self._turn + TURN_STEP)
                if claimed is not None:
                    return claimed
        finally:
            self._no_longer_idle()

    def _take(self) -> QueuedRow | None:
        """The next message that the hour and this channel's allowance let through."""
        context, pace = self._context, self.pace
        now_ms = context.clock_ms()
        if pace.counts and pace.used_up(now_ms):
            return None
        return context.lanes.take(
            self.channel.routes,
            self.channel.name,
            context.closed(),
            (lambda number: pace.may_write_to(number, now_ms)) if pace.counts else None,
        )

    async def _keep_pace(self) -> None:
        """Wait for what the rate and the pause between two messages ask."""
        loop = asyncio.get_running_loop()
        while (left_s := self.pace.wait_s(loop.time())) > 0:  # noqa: ASYNC110  a time is awaited, no event
            await asyncio.sleep(left_s)

    def _no_longer_idle(self) -> None:
        idle, name = self._context.idle, self.channel.name
        if name in idle:
            idle.remove(name)
            if not idle:
                self._context.wake()  # those that held back on our account may claim ahead again

    async def _claim(self, row: QueuedRow, turn: int) -> Claimed | None:
        context = self._context
        try:
            claim = await context.writer.run(
                partial(
                    ops.claim,
                    outbound_id=row.id,
                    channel=self.channel.name,
                    now_ms=context.clock_ms(),
                    modem=self.channel.identity or None,
                    turn=turn,
                    count_parts=self.channel.count_parts,
                )
            )
        except StoreClosed:
            raise
        except StoreError as error:
            # Nothing was written, so nothing may be sent: the row is still queued on disk.
            log.warning(
                "%s waits: the intent to send %d cannot be stored: %s", self.channel.name, row.id, error
            )
            context.lanes.done(row)
            context.lanes.schedule(row.key, context.clock_ms())
            await asyncio.sleep(DISK_PAUSE_S)
            return None
        if claim is None:
            context.lanes.done(row)
            context.on_changes([Change(row.id, "", "")])
            return None
        context.on_changes([Change(row.id, "sending", "")])
        parts = self.channel.count_parts(claim.text) - len(claim.done)
        self.pace.spend(claim.recipient, parts, context.clock_ms())
        return Claimed(row, claim, turn)

    async def _transmit(self, claimed: Claimed) -> None:
        """Send every part that is still to be sent; returns once the last answer is known."""
        self._turn = claimed.turn
        self.pace.take(asyncio.get_running_loop().time())
        self._idle.clear()
        self.on_air = claim = claimed.claim
        try:
            for sequence in range(1, self.channel.count_parts(claim.text) + 1):
                if sequence in claim.done:
                    continue
                last = not await self._send_part(claimed, sequence)
                if last:
                    return
            self._finish_with(claimed.row, self._result)
        finally:
            self.on_air = None
            self.pace.ended(asyncio.get_running_loop().time())
            self.work.set()
            self._idle.set()

    async def _send_part(self, claimed: Claimed, sequence: int) -> bool:
        """Send one part and start the commit of its result; False when the message stops here."""
        claim, context = claimed.claim, self._context
        try:
            outcome = await self.channel.send(claim, sequence, self._gate)
        except TimeoutError:
            outcome = NotSent("the disk took too long to store the result before this one")
        result = partial(
            PartResult,
            outbound_id=claim.outbound_id,
            sequence=sequence,
            attempt=claim.attempt,
            actor=self.channel.name,
        )
        now_ms = context.clock_ms()
        match outcome:
            case Sent(tp_mr=tp_mr):
                self._record(
                    self._counted(ops.settle_part, claim, 1), result(outcome="sent", tp_mr=tp_mr), now_ms
                )
                context.sent(claim, self.channel.name)
                return True
            case Doubt(reason=reason):
                self._record(
                    self._counted(ops.settle_part, claim, 1), result(outcome="doubt", reason=reason), now_ms
                )
                self._finish_with(claimed.row, self._result)
            case NotSent(reason=reason):
                self._unspend(claim, sequence)
                task = self._record(ops.release, claim.outbound_id, now_ms, reason)
                self._finish_with(claimed.row, task, due_ms=now_ms)
                await asyncio.sleep(NOT_SENT_PAUSE_S)
            case Refused():
                self._unspend(claim, sequence)
                if outcome.action is Action.ROUTE_DOWN:
                    self._ill_until = asyncio.get_running_loop().time() + ILL_PAUSE_S
                self._refused(claimed, outcome, result(outcome="refused", reason=outcome.reason))
        return False

    def _refused(self, claimed: Claimed, refused: Refused, result: PartResult) -> None:
        """Write a refusal: give the message up, try again later, or let another route have it at once."""
        claim, context = claimed.claim, self._context
        now_ms = context.clock_ms()
        due_ms = next_attempt_ms(
            refused.action,
            claim.attempt,
            now_ms,
            context.chance,
            retries=refused.retries,
            after_s=refused.after_s,
        )
        next_one: Elsewhere | None = None
        if refused.action in (Action.ROUTE_DOWN, Action.OTHER_ROUTE) and due_ms is not None:
            if context.others(claim.route, self.channel.name, claim.refused_by):
                context.lanes.avoid(claim.outbound_id, self.channel.name)
            elif not claim.done and result.sequence == 1:  # all parts of a message go one way
                next_one = context.elsewhere(claim, self.channel.name)
        if next_one is not None:
            due_ms = now_ms
        task = self._record(
            provider_ops.refuse,
            result,
            now_ms,
            due_ms,
            next_one and next_one.route,
            next_one.why if next_one else "",
            claim.recipient if refused.opted_out else "",
        )
        key = claimed.row.key
        if next_one is not None:
            key = key._replace(route=next_one.route)
        self._finish_with(claimed.row, task, due_ms=due_ms, key=key)

    def _counted(
        self, op: Callable[..., list[Change]], claim: Claim, segments: int
    ) -> Callable[..., list[Change]]:
        """The op, and in its transaction the count of what was handed over."""
        pace = self.pace
        if not pace.counts:
            return op
        now_ms = self._context.clock_ms()
        starts = {each: period_start_ms(each, now_ms, pace.timezone_minutes) for each in PERIODS}
        channel = self.channel.name

        def both(db: sqlite3.Connection, *args: Any) -> list[Change]:
            allowance.count(db, channel, claim.recipient, segments, starts)
            return op(db, *args)

        return both

    def _unspend(self, claim: Claim, sequence: int) -> None:
        """This part and those behind it were not sent."""
        parts = self.channel.count_parts(claim.text)
        unsent = sum(number not in claim.done for number in range(sequence, parts + 1))
        self.pace.spend(claim.recipient, -unsent, self._context.clock_ms())

    async def _gate(self) -> None:
        """The result before this part must be on disk before its PDU is written."""
        if self._result is not None:
            async with asyncio.timeout(GATE_PATIENCE_S):
                await asyncio.shield(self._result)

    def _record(self, op: Callable[..., list[Change]], *args: Any) -> asyncio.Task[Any]:
        """Commit a result that is known, however long the disk refuses; the gate waits for it."""
        before = self._result

        async def commit() -> None:
            if before is not None and not before.done():
                await asyncio.shield(before)
            while True:
                try:
                    changes = await self._context.writer.run(op, *args)
                except StoreClosed:
                    raise
                except StoreError as error:
                    log.error("%s: a result cannot be stored, sending waits: %s", self.channel.name, error)
                    await asyncio.sleep(DISK_PAUSE_S)
                else:
                    self._context.on_changes(changes)
                    return

        self._result = asyncio.create_task(commit(), name=f"result {self.channel.name}")
        return self._result

    def _finish_with(
        self,
        row: QueuedRow,
        task: asyncio.Task[Any] | None,
        *,
        due_ms: int | None = None,
        key: QueueKey | None = None,
    ) -> None:
        """Give the row back to the scheduler once its result is on disk."""
        lanes, wake = self._context.lanes, self._context.wake

        def settled(_: Any) -> None:
            if task is not None and not task.cancelled():
                task.exception()  # a closed store ends the process; recovery will speak for this row
            lanes.done(row)
            if due_ms is not None:
                lanes.schedule(key or row.key, due_ms)
            wake()

        if task is None:
            settled(None)
        else:
            task.add_done_callback(settled)

    async def _get_well(self) -> None:
        if self._ill_until is not None:
            left_s = self._ill_until - asyncio.get_running_loop().time()
            self._ill_until = None
            if left_s > 0:
                await asyncio.sleep(left_s)
