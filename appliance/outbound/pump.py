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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from appliance.channels.channel import Channel, Doubt, NotSent, Refused, Sent
from appliance.outbound.lanes import Lanes
from appliance.outbound.policy import Action, next_attempt_ms
from appliance.store import outbound as ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import Change, Claim, PartResult, QueuedRow

if TYPE_CHECKING:
    from appliance.store.writer import Writer

__all__ = ["Pump", "PumpContext"]

log = logging.getLogger(__name__)

TURN_STEP: Final = 1_000  # room before a claimed message for the urgent ones that overtake it
GATE_PATIENCE_S: Final = 8.0  # a modem waits at its prompt about this long
DISK_PAUSE_S: Final = 1.0
ILL_PAUSE_S: Final = 30.0  # after the network said that it is the SIM that is refused
NOT_SENT_PAUSE_S: Final = 0.5  # a channel that says "not now" while it says "ready" must not be spun on


@dataclass(slots=True)
class PumpContext:
    """What all pumps share.

    refill: bring the scheduler's window up to date. wake: tell all pumps to look. idle: names of the
    channels that have nothing to send, so that none claims ahead what another could send at once.
    """

    lanes: Lanes
    writer: Writer
    clock_ms: Callable[[], int]
    on_changes: Callable[[Sequence[Change]], None]
    refill: Callable[[], Awaitable[None]]
    wake: Callable[[], None]
    chance: random.Random
    idle: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Claimed:
    row: QueuedRow
    claim: Claim
    turn: int


class Pump:
    """Drives one channel until cancelled; `stop` lets the message on the air finish first."""

    def __init__(self, channel: Channel, context: PumpContext) -> None:
        self.channel = channel
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
        upcoming: asyncio.Task[_Claimed] | None = None
        try:
            while not self._stopping:
                if upcoming is None:
                    upcoming = asyncio.create_task(self._claim_next(), name=f"claim {self.channel.name}")
                claimed = await self._overtake(await upcoming)
                upcoming = None
                urgent = claimed[:-1]
                for ahead in urgent:
                    await self._transmit(ahead)
                last = claimed[-1]
                upcoming = asyncio.create_task(self._claim_next(), name=f"claim {self.channel.name}")
                await self._transmit(last)
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

    async def _give_back(self, upcoming: asyncio.Task[_Claimed]) -> None:
        """A message claimed ahead goes back to its queue, or the next start would have to doubt it."""
        if not upcoming.done():
            upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StoreError):
            claimed = await upcoming
            await self._context.writer.run(
                ops.release, claimed.claim.outbound_id, self._context.clock_ms(), "the box was stopped"
            )

    async def _overtake(self, claimed: _Claimed) -> list[_Claimed]:
        """What has become more urgent than the message that was claimed ahead goes first."""
        ahead: list[_Claimed] = []
        lanes, channel = self._context.lanes, self.channel
        if self._turn + 1 < claimed.turn and lanes.waits_above(claimed.claim.lane, channel.routes):
            row = lanes.take(channel.routes, channel.name)
            if row is not None:
                urgent = await self._claim(row, self._turn + 1)
                if urgent is not None:
                    ahead.append(urgent)
        return [*ahead, claimed]

    async def _claim_next(self) -> _Claimed:
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
                    row = context.lanes.take(self.channel.routes, name)
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

    def _no_longer_idle(self) -> None:
        idle, name = self._context.idle, self.channel.name
        if name in idle:
            idle.remove(name)
            if not idle:
                self._context.wake()  # those that held back on our account may claim ahead again

    async def _claim(self, row: QueuedRow, turn: int) -> _Claimed | None:
        context = self._context
        try:
            claim = await context.writer.run(
                partial(
                    ops.claim,
                    outbound_id=row.id,
                    channel=self.channel.name,
                    now_ms=context.clock_ms(),
                    modem=self.channel.identity,
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
        return _Claimed(row, claim, turn)

    async def _transmit(self, claimed: _Claimed) -> None:
        """Send every part that is still to be sent; returns once the last answer is known."""
        self._turn = claimed.turn
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
            self.work.set()
            self._idle.set()

    async def _send_part(self, claimed: _Claimed, sequence: int) -> bool:
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
                self._record(ops.settle_part, result(outcome="sent", tp_mr=tp_mr), now_ms)
                return True
            case Doubt(reason=reason):
                self._record(ops.settle_part, result(outcome="doubt", reason=reason), now_ms)
                self._finish_with(claimed.row, self._result)
            case NotSent(reason=reason):
                task = self._record(ops.release, claim.outbound_id, now_ms, reason)
                self._finish_with(claimed.row, task, due_ms=now_ms)
                await asyncio.sleep(NOT_SENT_PAUSE_S)
            case Refused(action=action, reason=reason, retries=retries):
                due_ms = next_attempt_ms(action, claim.attempt, now_ms, context.chance, retries=retries)
                if action is Action.ROUTE_DOWN:
                    self._ill_until = asyncio.get_running_loop().time() + ILL_PAUSE_S
                if action in (Action.ROUTE_DOWN, Action.OTHER_ROUTE):
                    context.lanes.avoid(claim.outbound_id, self.channel.name)
                refusal = result(outcome="refused", reason=reason)
                task = self._record(ops.settle_refusal, refusal, now_ms, due_ms)
                self._finish_with(claimed.row, task, due_ms=due_ms)
        return False

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
        self, row: QueuedRow, task: asyncio.Task[Any] | None, *, due_ms: int | None = None
    ) -> None:
        """Give the row back to the scheduler once its result is on disk."""
        lanes, wake = self._context.lanes, self._context.wake

        def settled(_: Any) -> None:
            if task is not None and not task.cancelled():
                task.exception()  # a closed store ends the process; recovery will speak for this row
            lanes.done(row)
            if due_ms is not None:
                lanes.schedule(row.key, due_ms)
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
