"""The pump of a channel that takes whole messages: an HTTP provider.

Several of them feed one channel side by side, since a provider answers in tenths of seconds and takes many
at once. Nothing is claimed ahead: whatever is claimed when the power fails is in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib

from appliance.channels.channel import Doubt, NotSent, Outcome, Refused, Sent
from appliance.message import OutboundState
from appliance.outbound.pump import CLAIM_PATIENCE_S, NOT_SENT_PAUSE_S, Claimed, Pump
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.errors import StoreError
from appliance.store.outbound import PartResult

__all__ = ["WholePump"]


class WholePump(Pump):
    """One of the pumps that share a channel and its pace."""

    async def run(self) -> None:
        while await self._one():
            pass

    async def _one(self) -> bool:
        """Send the next message; False when the box is stopping."""
        try:
            claimed = await self._claim_one()
            if self._stopping:
                await self._put_back(claimed)
                return False
            await self._transmit(claimed)
            return not self._stopping
        finally:
            self._idle.set()

    async def _claim_one(self) -> Claimed:
        context = self._context
        while True:
            if not self.channel.ready:
                await self.channel.wait_ready()
            await self._get_well()
            if (wait_s := self._wait_s()) > 0:
                await asyncio.sleep(wait_s)
                continue
            self.work.clear()
            await context.refill()
            # Another pump of this channel may have been quicker while the window was filled.
            if not self.channel.ready or self._wait_s() > 0:
                continue
            row = self._take()
            if row is None:
                await self.work.wait()
                continue
            self.pace.take(asyncio.get_running_loop().time())
            self._idle.clear()  # from the intent to its end `stop` waits for it
            claiming = asyncio.ensure_future(self._claim(row))
            try:
                claimed = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                # The intent may be on disk already: a message nobody sends must not stay `sending`.
                await asyncio.wait((claiming,), timeout=CLAIM_PATIENCE_S)
                if claiming.done() and not claiming.cancelled() and claiming.exception() is None:
                    await self._put_back(claiming.result())
                raise
            if claimed is not None:
                return claimed
            self._idle.set()

    async def _put_back(self, claimed: Claimed | None) -> None:
        if claimed is not None:
            with contextlib.suppress(StoreError):
                await self._context.writer.run(
                    ops.release, claimed.claim.outbound_id, self._context.clock_ms(), "the box was stopped"
                )

    async def _transmit(self, claimed: Claimed) -> None:
        self.on_air = claimed.claim
        try:
            outcome = await self.channel.send(claimed.claim, 1, _no_gate)
            await self._settle(claimed, outcome)
        finally:
            self.on_air = None
            self.pace.ended(asyncio.get_running_loop().time())
            self.work.set()

    async def _settle(self, claimed: Claimed, outcome: Outcome) -> None:
        claim, row, channel = claimed.claim, claimed.row, self.channel.name
        number, now_ms = claim.outbound_id, self._context.clock_ms()
        segments = self.channel.count_parts(claim.text)
        match outcome:
            case Sent(provider_ref=reference):
                op = self._counted(provider_ops.settle_accepted, claim, segments)
                self._finish_with(row, self._record(op, number, channel, reference, now_ms))
                self._context.sent(claim, channel)
            case Doubt(reason=reason):
                op = self._counted(ops.settle_whole, claim, segments)
                state = OutboundState.UNCERTAIN
                self._finish_with(row, self._record(op, number, state, now_ms, reason))
            case NotSent(reason=reason):
                self._unspend(claim, 1)
                await self._not_sent(claimed, reason, now_ms)
            case Refused():
                self._unspend(claim, 1)
                result = PartResult(
                    outbound_id=number,
                    sequence=1,
                    attempt=claim.attempt,
                    outcome="refused",
                    reason=outcome.reason,
                    actor=channel,
                )
                self._refused(claimed, outcome, result)

    async def _not_sent(self, claimed: Claimed, reason: str, now_ms: int) -> None:
        """Nothing left us, so another route may have it at once; else it waits here."""
        claim, key = claimed.claim, claimed.row.key
        next_one = self._context.elsewhere(claim, self.channel.name)
        if next_one is not None:
            key = key._replace(route=next_one.route)
            task = self._record(
                provider_ops.release_to, claim.outbound_id, now_ms, reason, next_one.route, next_one.why
            )
        else:
            task = self._record(ops.release, claim.outbound_id, now_ms, reason)
        self._finish_with(claimed.row, task, due_ms=now_ms, key=key)
        if next_one is None:
            await asyncio.sleep(NOT_SENT_PAUSE_S)


async def _no_gate() -> None:
    """Messages of a provider do not wait for each other's results."""
