"""What the page shows of the money, and what a person decides there."""

from __future__ import annotations

import csv
import datetime as dt
import functools
import io
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from appliance.conversation.travel import Ticket
from appliance.payments.service import PaymentService
from appliance.payments.words import PhraseWords
from appliance.store import agents, ledger, payments, receipts, refunds
from appliance.store import telebirr as orders
from appliance.store.booking_look import BookingLook
from appliance.store.effects import EffectRefused
from appliance.store.outbound import QueuedRow

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["Callbacks", "PaymentDesk"]

CSV_PAGE: Final = 5000  # entries read at once
CANDIDATES: Final = 5
WHY: Final = {
    "matched": "Somebody placed that money before.",
    "unknown": "No booking has that code.",
    "paid_already": "That booking is paid already.",
    "wrong_amount": "That booking has another price.",
    "not_unclear": "That refund is decided already.",
}


class Callbacks(Protocol):
    """What telebirr and its payers ask of the box; `telebirr.way.TelebirrWay` is the real one."""

    async def heard(self, message: Mapping[str, Any]) -> Any: ...

    async def link(self, code: str) -> tuple[str, str]: ...


class PaymentDesk:
    """callbacks: None where telebirr is not configured."""

    def __init__(
        self,
        store: Store,
        service: PaymentService,
        words: PhraseWords,
        callbacks: Callbacks | None,
        *,
        clock_ms: Callable[[], int],
        offer: Callable[[list[QueuedRow]], object],
        agent_numbers: tuple[str, ...],
    ) -> None:
        self.service, self.callbacks = service, callbacks
        self._store, self._words = store, words
        self._clock_ms, self._offer, self._agents = clock_ms, offer, agent_numbers

    async def overview(self) -> dict[str, Any]:
        """Everything the page of payments shows."""
        now_ms = self._clock_ms()

        def read(db: sqlite3.Connection) -> dict[str, Any]:
            look = BookingLook(db)
            waiting = [(receipt, _candidates(look, receipt, now_ms)) for receipt in receipts.waiting(db)]
            return {
                "balances": ledger.balances(db),
                "wrong": ledger.check(db),
                "entries": ledger.entries(db, limit=40, newest=True),
                "waiting": waiting,
                "refunds": refunds.open_refunds(db),
                "orders": orders.recent(db, 20),
                "agents": agents.all_agents(db, self._agents),
            }

        return {**await self._store.reader.run(read), "ways": self.service.state()["ways"]}

    async def assign(self, receipt_id: int, code: str, by: str) -> str:
        """A person placed money; "" or why it could not be."""
        work = (receipt_id, code.strip().upper(), self._words, self._clock_ms(), by)
        return await self._decide(payments.assign, *work)

    async def return_by_hand(self, receipt_id: int, by: str) -> str:
        """A person sent money back in the wallet; "" or why that could not be written."""

        def write(db: sqlite3.Connection) -> list[QueuedRow]:
            payments.return_by_hand(db, receipt_id, self._clock_ms(), by)
            return []

        return await self._decide(write)

    async def decide_refund(self, refund_id: int, by: str, *, was_paid: bool) -> str:
        """A person looked what became of a refund; "" or why that could not be written."""

        def write(db: sqlite3.Connection) -> list[QueuedRow]:
            return payments.decide_refund(
                db, refund_id, was_paid=was_paid, words=self._words, now_ms=self._clock_ms(), by=by
            )

        return await self._decide(write)

    async def _decide(self, work: Callable[..., list[QueuedRow]], *values: Any) -> str:
        try:
            rows = await self._store.writer.run(work, *values)
        except EffectRefused as refused:
            return WHY.get(refused.reason, refused.reason)
        self._offer(rows)
        return ""

    async def csv(self) -> AsyncIterator[bytes]:
        """Every side of every transfer, oldest first, in pieces."""
        after, head = 0, True
        while True:
            page = functools.partial(ledger.entries, after=after, limit=CSV_PAGE)
            rows = await self._store.reader.run(page)
            more = len(rows) == CSV_PAGE
            # A piece may end between the two sides of a transfer: that one comes whole with the next.
            whole = [row for row in rows if not more or row.transfer != rows[-1].transfer]
            text = io.StringIO()
            writer = csv.writer(text)
            if head:
                writer.writerow(("transfer", "at", "kind", "account", "santim", "code"))
            for row in whole:
                at = dt.datetime.fromtimestamp(row.at_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                writer.writerow((row.transfer, at, row.kind, row.account, row.santim, row.code))
            yield text.getvalue().encode()
            if not more:
                return
            after, head = whole[-1].transfer, False


def _candidates(look: BookingLook, receipt: receipts.Receipt, now_ms: int) -> list[Ticket]:
    """What the money may have been for: by amount and digits, else by amount alone."""
    found = look.awaiting(receipt.santim, receipt.payer, now_ms) if receipt.payer else []
    return (found or look.awaiting(receipt.santim, "", now_ms))[:CANDIDATES]
