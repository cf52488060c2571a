"""The pump of one channel: takes the next message, writes the intent, sends its parts, writes what came.

The radio is the limit, so everything else hides behind it. While a part is on the air, what is to be sent
next is claimed; the result of a part is committed while the modem already asks for the next PDU, and the
gate holds that PDU back until the commit is on disk. So at any moment at most one part of a modem is in
doubt, which is what `store.outbound.recover` relies on.

What is claimed stands in a line, in the order that the disk knows too. A message of an urgent lane goes to
its front, between two parts of a long one: one commit writes its intent and moves the parts that wait
behind it, and no part is begun while that commit is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from appliance import faults
from appliance.channels.channel import Channel, Doubt, NotSent, Refused, Sent
from appliance.clock import BUILT_MS, STEP_MS
from appliance.guard.tiers import Spend
from appliance.message import Lane, OutboundState
from appliance.outbound.allowance import PERIODS, Pace, period_start_ms
from appliance.outbound.lanes import Lanes
from appliance.outbound.policy import Action, next_attempt_ms
from appliance.store import allowance, spend
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import Change, Claim, PartKey, PartResult, QueuedRow, QueueKey

if TYPE_CHECKING:
    from appliance.store.writer import Writer

__all__ = ["Elsewhere", "Pump", "PumpContext"]

log = logging.getLogger(__name__)

_WAITED_FOR: Final = frozenset({Lane.OTP, Lane.REPLY})  # somebody looks at the handset meanwhile
YIELD_AFTER: Final = 2  # parts of a long message of these lanes, then another of its own lane may pass
LEVEL_MOST: Final = 3  # messages of one lane that are sent by turns; each more would finish all of them later
CLAIM_PATIENCE_S: Final = 1.0  # for the commit of a claim that was under way when the box was stopped
GATE_PATIENCE_S: Final = 8.0  # a modem waits at its prompt about this long
DISK_PAUSE_S: Final = 1.0
ILL_PAUSE_S: Final = 30.0  # after the network said that it is the SIM that is refused
NOT_SENT_PAUSE_S: Final = 0.5  # a channel that says "not now" while it says "ready" must not be spun on


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a refused message goes next. why: the router's explanation, for the trace."""

    route: str
    why: str


def _in_time(args: tuple[Any, ...], set_by_ms: int) -> tuple[Any, ...]:
    """The arguments of an op, their times moved with the clock; no other number is that large."""
    if abs(set_by_ms) < STEP_MS:
        return args
    return tuple(each + set_by_ms if type(each) is int and each >= BUILT_MS else each for each in args)


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
    channel took. limits: what may be spent.
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
    limits: Spend | None = None


@dataclass(slots=True)
class Claimed:
    """A message that is the channel's. left: its parts, from 1, that are still to be given to the channel.

    given: parts given since it was last passed by another of its lane. begun: whether any part was.
    """

    row: QueuedRow
    claim: Claim
    left: deque[int]
    given: int = 0
    begun: bool = False


class Pump:
    """Drives one channel until cancelled; `stop` lets the message on the air finish first."""

    def __init__(self, channel: Channel, context: PumpContext, pace: Pace) -> None:
        self.channel = channel
        self.pace = pace
        self.on_air: Claim | None = None
        self._context = context
        self._line: list[Claimed] = []  # in the order of sending, as on disk
        self._lined = asyncio.Event()  # something came to the line, or nothing will
        self._order = asyncio.Lock()  # held while a claim is written: the line is about to change
        self._given: PartKey | None = None  # the part that the channel was given last
        self._result: asyncio.Task[Any] | None = None
        self._rest_until: float | None = None
        self._stopping = False
        self.work = asyncio.Event()  # set whenever there may be something to take
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        self._ended.clear()
        claiming = asyncio.create_task(self._keep_line(), name=f"claim {self.channel.name}")
        claiming.add_done_callback(lambda task: self._lined.set())
        try:
            while not self._stopping:
                async with self._order:
                    head = self._line[0] if self._line else None
                if head is None:
                    if claiming.done():
                        return claiming.result()
                    self._lined.clear()
                    await self._lined.wait()
                elif not head.begun and (wait_s := self._wait_s()) > 0:
                    self._lined.clear()  # and look again: it may be passed meanwhile
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await self._lined.wait()
                else:
                    await self._send_part(head)
        finally:
            self._idle.set()
            await self._give_back(claiming)
            self._ended.set()

    async def stop(self, patience_s: float) -> None:
        """Take nothing new and wait up to `patience_s` for the part on the air and its commit."""
        self._stopping = True
        self._lined.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
                if self._result is not None:
                    await asyncio.shield(self._result)
                await self._ended.wait()

    async def _give_back(self, claiming: asyncio.Task[None]) -> None:
        """What was claimed goes back to its queue, or the next start would have to doubt it.

        A message of which some parts are sent goes back too, with the rest of them, unless the disk does not
        take the result of its last one.
        """
        claiming.cancel()
        await asyncio.wait((claiming,), timeout=2 * CLAIM_PATIENCE_S)
        if self._result is not None:
            await asyncio.wait((self._result,), timeout=CLAIM_PATIENCE_S)
            if not self._result.done():
                return
        for claimed in self._line:
            with contextlib.suppress(StoreError):
                await self._context.writer.run(
                    ops.release, claimed.claim.outbound_id, self._context.clock_ms(), "the box was stopped"
                )
            self._finish_with(claimed.row, None, due_ms=self._context.clock_ms())
        self._line.clear()

    async def _keep_line(self) -> None:
        """Claim one message behind the part on the air, and in front of the line what is more urgent."""
        context, name = self._context, self.channel.name
        try:
            while True:
                if not self.channel.ready:
                    self._no_longer_idle()
                    await self.channel.wait_ready()
                await self._get_well()
                self.work.clear()
                await context.refill()
                async with self._order:
                    found = await self._claim_next()
                if not found:
                    if self.on_air is None and not self._line:
                        context.idle.add(name)
                    await self.work.wait()
                self._no_longer_idle()
        finally:
            self._no_longer_idle()

    async def _claim_next(self) -> bool:
        """Take the message that belongs in the line now and write its intent; False if there is none."""
        context, line = self._context, self._line
        if line:
            head = line[0]
            lane = head.claim.lane
            turns = sum(each.claim.lane == lane for each in line)
            level = lane in _WAITED_FOR and head.given >= YIELD_AFTER and turns < LEVEL_MOST
            ahead = context.lanes.ahead_of(lane, self.channel.routes, level=level)
            if ahead and context.idle:
                await asyncio.sleep(0)  # who has nothing to do was woken too, and interrupts nobody
            row = self._take(ahead) if ahead else None
        elif self.on_air is not None and context.idle:
            row = None  # a channel that has nothing to do can send it at once
        else:
            row = self._take()
        if row is None:
            return False
        self._no_longer_idle()
        next_after: PartKey | None = None
        if line:
            # What is moved on must be unsent for certain, so only the newest part may lack its result.
            if self._result is not None:
                await asyncio.shield(self._result)
            next_after = self._given or (0, 0, 0)
            if line[0].claim.lane == row.key.lane:
                line[0].given = 0
        claiming = asyncio.ensure_future(self._claim(row, next_after))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The intent may be on disk already: who ends the pump gives back what stands in the line.
            await asyncio.wait((claiming,), timeout=CLAIM_PATIENCE_S)
            if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
                line.extend(filter(None, (claiming.result(),)))
            raise
        if claimed is not None:
            line.insert(0, claimed)
            self._lined.set()
        return True

    def _take(self, only: frozenset[str] | None = None) -> QueuedRow | None:
        """The next message that the hour and this channel's allowance let through. only: of these lanes."""
        context, pace = self._context, self.pace
        now_ms = context.clock_ms()
        closed = context.closed()
        if pace.counts:
            if pace.used_up(now_ms):
                return None
            closed |= pace.closed(now_ms)
        return context.lanes.take(
            self.channel.routes,
            self.channel.name,
            closed,
            (lambda number: pace.may_write_to(number, now_ms)) if pace.counts else None,
            only,
        )

    def _wait_s(self) -> float:
        """How long the rate and the pause between two messages ask to wait with a new one."""
        return self.pace.wait_s(asyncio.get_running_loop().time())

    def _no_longer_idle(self) -> None:
        idle, name = self._context.idle, self.channel.name
        if name in idle:
            idle.remove(name)
            if not idle:
                self._context.wake()  # those that held back on our account may claim ahead again

    async def _claim(self, row: QueuedRow, next_after: PartKey | None = None) -> Claimed | None:
        """Write the intent to send; None if it cannot be, or the message is no longer to be sent.

        next_after: the part to go right behind, before what waits on this channel already.
        """
        context = self._context
        try:
            claim = await context.writer.run(
                partial(
                    ops.claim,
                    outbound_id=row.id,
                    channel=self.channel.name,
                    now_ms=context.clock_ms(),
                    modem=self.channel.identity or None,
                    next_after=next_after,
                    limits=context.limits,
                    count_parts=self.channel.count_parts,
                )
            )
            if faults.armed:
                faults.hit("outbound.claimed")
        except StoreClosed:
            raise
        except StoreError as error:
            # Nothing was written, so nothing may be sent: the row is still queued on disk.
            log.warning(
                "%s waits: the intent to send %d cannot be stored: %s", self.channel.name, row.id, error
            )
            context.lanes.done(row)
            context.lanes.schedule(row.key, context.clock_ms())
            self._rest(DISK_PAUSE_S)
            return None
        if not isinstance(claim, Claim):
            context.lanes.done(row)
            context.on_changes(claim)
            return None
        context.on_changes([Change(row.id, "sending", "")])
        parts = self.channel.count_parts(claim.text)
        left = deque(number for number in range(1, parts + 1) if number not in claim.done)
        self.pace.spend(claim.recipient, len(left), context.clock_ms())
        return Claimed(row, claim, left)

    async def _send_part(self, claimed: Claimed) -> None:
        """Send the next part of the message at the front of the line; returns once its answer is known."""
        loop, line, claim = asyncio.get_running_loop(), self._line, claimed.claim
        if not claimed.left:
            line.remove(claimed)  # every part went out in an earlier attempt
            sent = self._record(
                ops.settle_whole, claim.outbound_id, OutboundState.SENT, self._context.clock_ms(), ""
            )
            self._finish_with(claimed.row, sent)
            return
        if claimed.begun:
            self._context.lanes.charge(claim.lane, 1)
        else:
            self.pace.take(loop.time())
        sequence = claimed.left.popleft()
        claimed.begun = True
        claimed.given += 1
        if not claimed.left:
            line.remove(claimed)
        self._given = (claim.outbound_id, sequence, claim.attempt)
        self._idle.clear()
        self.on_air = claim
        self.work.set()  # the next one may be claimed
        try:
            went = await self._give_part(claimed, sequence)
        except BaseException:
            if claimed in line:  # its fate is open: the next start doubts it, or the sweeper
                line.remove(claimed)
            self._context.lanes.done(claimed.row)
            raise
        finally:
            self.on_air = None
            self.work.set()
            self._idle.set()
        if not went:
            if claimed in line:
                line.remove(claimed)
        elif not claimed.left:
            self._finish_with(claimed.row, self._result)
        if not went or not claimed.left:
            self.pace.ended(loop.time())

    async def _give_part(self, claimed: Claimed, sequence: int) -> bool:
        """Give one part to the channel and commit what becomes of it; False when the message stops here."""
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
                    self._rest(ILL_PAUSE_S)
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
        now_ms = self._context.clock_ms()
        starts = {each: period_start_ms(each, now_ms, pace.timezone_minutes) for each in PERIODS}
        channel = self.channel.name

        @functools.wraps(op)
        def both(db: sqlite3.Connection, *args: Any) -> list[Change]:
            if pace.counts:
                allowance.count(db, channel, claim.recipient, segments, starts)
            spend.count(db, claim.recipient, claim.lane, claim.client_id, segments, now_ms)
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
        before, clock_ms, loop = self._result, self._context.clock_ms, asyncio.get_running_loop()
        noted_ms, noted_s = clock_ms(), loop.time()

        async def commit() -> None:
            if before is not None and not before.done():
                await asyncio.shield(before)
            while True:
                # Where the clock was set while this waited, its times are of the line of time that was left.
                set_by_ms = clock_ms() - noted_ms - round(1000 * (loop.time() - noted_s))
                try:
                    changes = await self._context.writer.run(op, *_in_time(args, set_by_ms))
                    if faults.armed:
                        faults.hit("outbound.settled")
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

    def _rest(self, seconds: float) -> None:
        """Take nothing for a while: the network refuses this SIM, or the disk what we write."""
        self._rest_until = max(self._rest_until or 0.0, asyncio.get_running_loop().time() + seconds)

    async def _get_well(self) -> None:
        if self._rest_until is not None:
            left_s = self._rest_until - asyncio.get_running_loop().time()
            self._rest_until = None
            if left_s > 0:
                await asyncio.sleep(left_s)
