"""The payment service: checks the books at the start, then lets each way do what is due.

Everything it knows is on disk, so it can be killed at any step: what was being asked for is queried after the
next start, before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance.payments.way import Way
from appliance.store import ledger, payments, receipts, refunds
from appliance.store import telebirr as orders
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import QueuedRow
from appliance.store.payment_states import RefundStep
from appliance.store.payments import Words

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["CashWay", "PaymentService", "ReceiptWay", "TelebirrAbsent"]

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
SWEEP_EVERY_MS: Final = 60_000


class CashWay:
    """Cash at an agent. Due by the clock: what nobody came for becomes unclaimed."""

    name = "cash"

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store, self._clock_ms = store, clock_ms
        self._swept_ms = 0

    async def recover(self) -> None:
        return None

    async def run_due(self) -> None:
        now_ms = self._clock_ms()
        if abs(now_ms - self._swept_ms) < SWEEP_EVERY_MS:
            return
        for refund in await self._store.writer.run(refunds.lapse, now_ms):
            log.warning("refund %d of booking %s was not fetched in time", refund.id, refund.code)
        self._swept_ms = now_ms

    async def close(self) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {"trouble": ""}


class ReceiptWay:
    """Wallets' receipts by SMS. Nothing of it is due by the clock: it counts what waits for a person."""

    name = "receipt"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting = 0

    async def recover(self) -> None:
        return None

    async def run_due(self) -> None:
        self._waiting = len(await self._store.reader.run(receipts.waiting))

    async def close(self) -> None:
        return None

    def state(self) -> dict[str, Any]:
        waiting = self._waiting
        return {"trouble": f"{waiting} receipts wait for a person" if waiting else "", "waiting": waiting}


class TelebirrAbsent:
    """telebirr's API where it is not configured (any more): what it still owed is ended without it."""

    name = "telebirr"

    def __init__(
        self,
        store: Store,
        words: Words,
        *,
        clock_ms: Callable[[], int],
        offer: Callable[[list[QueuedRow]], object],
    ) -> None:
        self._store, self._words, self._clock_ms, self._offer = store, words, clock_ms, offer

    async def recover(self) -> None:
        await self._store.writer.run(orders.recover, self._clock_ms())
        await self._store.writer.run(refunds.recover, self._clock_ms())

    async def run_due(self) -> None:
        now_ms, run = self._clock_ms(), self._store.writer.run
        for order in await self._store.reader.run(orders.due, now_ms):
            await run(orders.ask if order.state == "wanted" else orders.look_again, order.id, now_ms)
        for refund in await self._store.reader.run(refunds.due, now_ms):
            if refund.state == "owed":
                work = (refund, RefundStep.TURNED_DOWN, self._words, now_ms, "telebirr is switched off")
                self._offer(await run(payments.end_refund, *work))
            else:
                await run(refunds.look_again, refund.id, now_ms, "telebirr is switched off")

    async def close(self) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {"trouble": ""}


class PaymentService:
    """Made once a box. trusted: whether the clock can be believed; without a time nothing is due.

    wrong: what the check of the books at the start found, [] when they are right.
    """

    def __init__(
        self, store: Store, ways: Sequence[Way], *, trusted: Callable[[], bool] = lambda: True
    ) -> None:
        self._store, self.ways, self._trusted = store, tuple(ways), trusted
        self._looker: asyncio.Task[None] | None = None
        self.wrong: list[str] = []

    async def start(self) -> None:
        """Check the books, recover, begin to look. The box runs on with books that are wrong, and says so."""
        self.wrong = await self._store.reader.run(ledger.check)
        for line in self.wrong:
            log.critical("the books are wrong: %s", line)
        for way in self.ways:
            await way.recover()
        self._looker = asyncio.create_task(self._look_for_ever(), name="payments")

    async def stop(self) -> None:
        """Stop at once."""
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.gather(self._looker, return_exceptions=True)
        for way in self.ways:
            await way.close()

    def state(self) -> dict[str, Any]:
        """For the page and `outpost check`."""
        return {"books": self.wrong, "ways": {way.name: way.state() for way in self.ways}}

    async def _look_for_ever(self) -> None:
        while True:
            for way in self.ways if self._trusted() else ():
                try:
                    await way.run_due()
                except StoreClosed:
                    return
                except StoreError as error:
                    log.warning("payments by %s wait for the disk: %s", way.name, error)
                except Exception:  # one way's bug must not stop the others' money
                    log.exception("payments by %s: what was due failed and is tried again", way.name)
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(LOOK_EVERY_S)
