"""telebirr's API as a way of paying: orders and refunds, each step on disk before it is taken.

Polling is the main path, since a box behind NAT gets no callback; a verified callback only makes it quicker.
Whatever is not clear is queried first. A number once sent to telebirr is never sent for a second order or
refund.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from appliance import faults
from appliance.payments.telebirr import messages
from appliance.payments.telebirr.client import Answered, Client, NotSent, Unsure, new_nonce
from appliance.payments.telebirr.messages import NotOurs, Trade
from appliance.payments.telebirr.signing import Signer, Verifier
from appliance.payments.words import PhraseWords
from appliance.store import payments, refunds
from appliance.store import telebirr as orders
from appliance.store.outbound import QueuedRow
from appliance.store.payment_states import OrderState, RefundState, RefundStep
from appliance.store.payments import Paid
from appliance.store.refunds import Refund
from appliance.store.telebirr import Order

if TYPE_CHECKING:
    import sqlite3

    from appliance.store.store import Store

__all__ = ["Heard", "TelebirrWay"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # calls under way
LOOKS_AT_REFUSAL: Final = 4  # over more than a minute: a refusal is believed when queries agree with it
NAME: Final = "telebirr"


class Heard:
    """What became of a callback: the HTTP status and a word for the log."""

    def __init__(self, status: int, why: str) -> None:
        self.status, self.why = status, why


class TelebirrWay:
    """Made by the server. offer: takes rows that were queued to be sent.

    public_url: where a short link leads; "" sends telebirr's own. verifier None: callbacks are refused.
    """

    name = NAME

    def __init__(
        self,
        store: Store,
        client: Client,
        signer: Signer,
        verifier: Verifier | None,
        words: PhraseWords,
        *,
        clock_ms: Callable[[], int],
        offer: Callable[[list[QueuedRow]], object],
        checkout_url: str,
        public_url: str = "",
    ) -> None:
        self._store, self._client, self._signer, self._verifier = store, client, signer, verifier
        self._words, self._clock_ms, self._offer = words, clock_ms, offer
        self._checkout_url, self._public_url = checkout_url, public_url
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._trouble = ""
        self.forged = 0  # callbacks whose signature was wrong, since the start

    async def recover(self) -> None:
        now_ms = self._clock_ms()
        doubtful = await self._store.writer.run(orders.recover, now_ms)
        doubtful += await self._store.writer.run(refunds.recover, now_ms)
        if doubtful:
            log.warning("telebirr: %d requests were cut off; they are queried before anything else", doubtful)

    async def run_due(self) -> None:
        """Begin what is due; each order and refund has one task at a time."""
        now_ms = self._clock_ms()
        for order in await self._store.reader.run(orders.due, now_ms):
            self._begin(f"order {order.id}", self._order(order))
        for refund in await self._store.reader.run(refunds.due, now_ms):
            self._begin(f"refund {refund.id}", self._refund(refund))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def state(self) -> dict[str, Any]:
        return {"trouble": self._trouble, "under_way": len(self._tasks), "forged_callbacks": self.forged}

    async def settled(self) -> None:
        """Until nothing is under way: for tests, which move the clock themselves."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, key: str, work: Any) -> None:
        if key in self._tasks:
            work.close()
            return
        task = self._tasks[key] = asyncio.create_task(work, name=f"telebirr {key}")
        task.add_done_callback(lambda ended: self._ended(key, ended))

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("telebirr %s failed and is tried again", key, exc_info=error)

    # -- orders

    async def _order(self, order: Order) -> None:
        async with self._gate:
            if order.state == OrderState.WANTED:
                await self._preorder(order)
            else:
                await self._look(order)

    async def _preorder(self, order: Order) -> None:
        """Ask for an order, once. The token comes first: without one nothing is written and nothing sent."""
        run = self._store.writer.run
        if trouble := await self._client.ready():
            self._trouble = trouble
            await run(orders.postpone, order.id, self._clock_ms(), trouble)
            return
        asked = await run(orders.ask, order.id, self._clock_ms())
        if asked is None:
            return
        if faults.armed:
            faults.hit("telebirr.asking")
        minutes = (asked.due_ms - self._clock_ms()) // 60_000
        title = f"Ticket {asked.code}"
        called = await self._client.preorder(asked.merch_order_id, title, asked.santim, minutes)
        if faults.armed:
            faults.hit("telebirr.asked")
        now_ms = self._clock_ms()
        if isinstance(called, NotSent):
            self._trouble = called.reason
            await run(orders.postpone, order.id, now_ms, called.reason)
        elif isinstance(called, Unsure):
            self._trouble = called.reason
            await run(orders.look_again, order.id, now_ms, detail=called.reason)
        elif not called.reply.done:
            self._trouble = detail = f"preOrder: {called.reply.code} {called.reply.message}".strip()
            log.warning("telebirr refused order %s: %s", asked.merch_order_id, detail)
            await run(orders.turned_down, order.id, detail)
        elif prepay_id := str(called.reply.content.get("prepay_id") or ""):
            self._trouble = ""
            rows = await run(self._opened, order.id, prepay_id, now_ms)
            self._offer(rows)
        else:
            await run(orders.look_again, order.id, now_ms, detail="preOrder: no prepay_id")

    def _opened(self, db: sqlite3.Connection, order_id: int, prepay_id: str, now_ms: int) -> list[QueuedRow]:
        """In the writer: the order is open; who gets no short link gets telebirr's own now."""
        order = orders.opened(db, order_id, prepay_id, now_ms)
        if order is None or self._public_url:
            return []
        url = self.checkout_url(order)
        text = self._words.pay_link(order.code, order.language, order.santim, url)
        return payments.tell(db, order.holder, text, now_ms)

    def checkout_url(self, order: Order) -> str:
        """Where a browser pays an open order; signed anew each time."""
        now_s = self._clock_ms() // 1000
        fields = messages.checkout(self._client.merchant, order.prepay_id, now_s, new_nonce())
        return messages.checkout_url(self._checkout_url, self._signer.signed(fields))

    async def _look(self, order: Order) -> None:
        """Ask what became of an order."""
        called = await self._client.query(order.merch_order_id)
        if faults.armed:
            faults.hit("telebirr.queried")
        now_ms = self._clock_ms()
        if not isinstance(called, Answered):
            self._trouble = called.reason
            await self._store.writer.run(orders.look_again, order.id, now_ms, detail=called.reason)
            return
        self._trouble = ""
        if not called.reply.done:  # as a rule: it knows no such order
            detail = f"query: {called.reply.code} {called.reply.message}".strip()
            await self._store.writer.run(orders.look_again, order.id, now_ms, status="UNKNOWN", detail=detail)
            return
        await self._take(order, Trade.read(called.reply.content))

    async def _take(self, order: Order, trade: Trade) -> None:
        """Write what a query or a verified callback says of an order."""
        now_ms, run = self._clock_ms(), self._store.writer.run
        if trade.status in messages.PAID and trade.santim is not None:
            rows = await run(
                payments.settle_order, order.id, Paid(trade.trans_id, trade.santim), self._words, now_ms
            )
            if faults.armed:
                faults.hit("telebirr.settled")
            self._offer(rows)
        elif trade.status in messages.PAID or trade.status.startswith("REFUND"):
            await run(orders.odd, order.id, f"telebirr says {trade.status}, which we did not expect")
        else:
            await run(orders.look_again, order.id, now_ms, status=trade.status or "UNKNOWN")

    # -- callbacks and links

    async def heard(self, message: Mapping[str, Any]) -> Heard:
        """A callback. Its signature, merchant, currency and order have to be right before it is believed; the
        amount is compared where the order is. The answer comes after the commit."""
        if self._verifier is None or not self._verifier.right(message):
            self.forged += 1
            return Heard(403, "signature")
        try:
            callback = messages.read_callback(message, self._client.merchant)
        except NotOurs as error:
            return Heard(400, str(error))
        order = await self._store.reader.run(orders.by_number, callback.merch_order_id)
        if order is None:
            return Heard(400, "unknown order")
        if callback.trade.status in messages.PAID and callback.trade.santim != order.santim:
            await self._look(order)  # not what was asked for: only an answer to our own question counts
            return Heard(400, "amount")
        if callback.trade.status in messages.PAID:
            await self._take(order, callback.trade)
        return Heard(200, callback.trade.status)

    async def link(self, code: str) -> tuple[str, str]:
        """Where a booking's short link leads: (state, address). state: pay, soon, paid, over."""
        now_ms = self._clock_ms()
        order = await self._store.reader.run(orders.latest, code)
        if order is None:
            return "over", ""
        if order.booking_state in ("paid", "used"):
            return "paid", ""
        if order.booking_state != "held" or order.hold_ends_ms <= now_ms:
            return "over", ""
        if order.state == OrderState.OPEN:
            return "pay", self.checkout_url(order)
        if order.state in (OrderState.WANTED, OrderState.ASKING, OrderState.DOUBT):
            return "soon", ""
        made = await self._store.writer.run(orders.want, code, now_ms, order.watch_until_ms - order.due_ms)
        return ("soon" if made is not None else "over"), ""

    # -- refunds

    async def _refund(self, refund: Refund) -> None:
        async with self._gate:
            if refund.state == RefundState.OWED:
                await self._ask_refund(refund)
            else:
                await self._look_refund(refund)

    async def _ask_refund(self, refund: Refund) -> None:
        """Ask for a refund, once."""
        run = self._store.writer.run
        if trouble := await self._client.ready():
            self._trouble = trouble
            self._offer(await run(self._refund_later, refund.id, trouble))
            return
        asked = await run(refunds.ask, refund.id, self._clock_ms())
        if asked is None:
            return
        if faults.armed:
            faults.hit("telebirr.refunding")
        called = await self._client.refund(asked.merch_order_id, asked.request_no, asked.santim)
        if faults.armed:
            faults.hit("telebirr.refunded")
        if isinstance(called, Answered) and not called.reply.done:
            # It says no. It is asked what is true all the same, before an agent pays the money a second time.
            detail = f"refused: {called.reply.code} {called.reply.message}".strip()
            log.warning("telebirr refused refund %s: %s", asked.request_no, detail)
            await run(refunds.look_again, refund.id, self._clock_ms(), detail)
        elif isinstance(called, NotSent):
            self._trouble = called.reason
            await run(refunds.postpone, refund.id, self._clock_ms(), called.reason)
        else:
            reason = called.reason if isinstance(called, Unsure) else "accepted"
            await run(refunds.look_again, refund.id, self._clock_ms(), reason)
        again = await self._store.reader.run(refunds.find, refund.id)
        if again is not None and again.state == RefundState.DOUBT and not isinstance(called, Unsure):
            await self._look_refund(again)

    def _refund_later(self, db: sqlite3.Connection, refund_id: int, trouble: str) -> list[QueuedRow]:
        """In the writer: no token, so nothing was asked; past the deadline an agent pays."""
        now_ms = self._clock_ms()
        refund = refunds.postpone(db, refund_id, now_ms, trouble)
        if refund is None or now_ms < refund.deadline_ms:
            return []
        return payments.end_refund(db, refund, RefundStep.TURNED_DOWN, self._words, now_ms, trouble)

    async def _look_refund(self, refund: Refund) -> None:
        """Ask what became of a refund: the order's own status tells."""
        called = await self._client.query(refund.merch_order_id)
        run = self._store.writer.run
        if not isinstance(called, Answered) or not called.reply.done:
            reason = called.reply.message if isinstance(called, Answered) else called.reason
            detail = refund.detail if refund.detail.startswith("refused") else reason
            await run(refunds.look_again, refund.id, self._clock_ms(), detail)
            return
        status = Trade.read(called.reply.content).status
        refused = refund.detail.startswith("refused")
        if status == "REFUND_SUCCESS":
            step = RefundStep.DONE
        elif status == "REFUND_FAILED" or (
            refused and status in messages.PAID and refund.looks >= LOOKS_AT_REFUSAL
        ):
            step = RefundStep.TURNED_DOWN
        else:
            detail = refund.detail if refused else f"telebirr says {status}"
            await run(refunds.look_again, refund.id, self._clock_ms(), detail)
            return
        work = (refund, step, self._words, self._clock_ms(), status)
        self._offer(await run(payments.end_refund, *work))
