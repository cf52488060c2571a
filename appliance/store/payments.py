"""Paying for a booking: the one place where seats become sold, whichever way the money came.

In a turn the conversation asks for it (`booking.pay`: cash, or a wallet's text). Beside turns the payment
service does (`settle_order`: telebirr told us), and the operator (`assign`: money that a person placed).
All of them sell through `_sell`, in the transaction that writes the payment and its entry in the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from appliance.conversation.travel import Ticket
from appliance.message import Lane, Outbound
from appliance.store import agents, ledger, outbound, receipts, refunds
from appliance.store.audit import audit
from appliance.store.booking import close_expired, find_ticket, free_seats, take_seats
from appliance.store.effects import EffectContext, EffectRefused, effect
from appliance.store.outbound import QueuedRow, QueueKey
from appliance.store.payment_states import OrderState, OrderStep, RefundStep, move_order

__all__ = [
    "TELEBIRR",
    "Paid",
    "Words",
    "assign",
    "decide_refund",
    "end_refund",
    "give_back",
    "pay",
    "return_by_hand",
    "settle_order",
    "tell",
]

TELEBIRR: Final = "telebirr"
OPERATOR: Final = "operator"


class Words(Protocol):
    """What people are told outside a conversation, in the language of their booking. Called in the writer's
    thread: pure but for the connection."""

    def ticket(self, db: sqlite3.Connection, ticket: Ticket) -> str: ...

    def too_late(self, db: sqlite3.Connection, ticket: Ticket, santim: int, way: str) -> str: ...

    def paid_back(self, db: sqlite3.Connection, ticket: Ticket, santim: int) -> str: ...

    def back_in_cash(self, db: sqlite3.Connection, ticket: Ticket, santim: int) -> str: ...


class Paid(NamedTuple):
    """What telebirr says of an order that was paid. trans_id: "" when it does not name one."""

    trans_id: str
    santim: int


def _sell(
    db: sqlite3.Connection,
    code: str,
    *,
    method: str,
    taken_by: str,
    santim: int,
    now_ms: int,
    reference: str | None = None,
    inbound_id: int | None = None,
    told: Sequence[int] | None = None,
    commission_percent: int = 0,
) -> None:
    """Mark a booking paid, write the payment and book it.

    told: the seats that the ticket will name; None when the ticket is written afterwards. A hold that ran out
    is honoured while as many seats are free.
    Refused: unknown, paid_already, over (released, cancelled), late (seats are gone), wrong_amount
    (price_santim), seats_moved (numbers: name these instead).
    """
    row = db.execute(
        "SELECT b.id, b.state, b.departure_id, b.seats, b.numbers, b.price_santim, b.expires_at_ms, d.seats,"
        " d.state, d.departs_at_ms FROM booking b JOIN departure d ON d.id = b.departure_id WHERE b.code = ?",
        (code,),
    ).fetchone()
    if row is None:
        raise EffectRefused("unknown")
    booking_id, state, departure_id, seats, numbers, price, expires, on_bus, departure_state, departs = row
    if state in ("paid", "used"):
        raise EffectRefused("paid_already")
    if state in ("released", "cancelled"):
        raise EffectRefused("over")
    if departure_state != "planned" or departs <= now_ms:
        raise EffectRefused("late")
    if santim != price:
        raise EffectRefused("wrong_amount", price_santim=price)
    wanted = [int(n) for n in numbers.split(",")]
    if state == "expired" or expires <= now_ms:
        close_expired(db, now_ms, departure_id)
        free = free_seats(db, departure_id, on_bus)
        if len(free) < seats:
            raise EffectRefused("late")
        if told is None or not set(told) <= set(free) or len(set(told)) != seats:
            found = wanted if set(wanted) <= set(free) else free[:seats]
            if told is not None:
                raise EffectRefused("seats_moved", numbers=found)
            told = found
        db.execute(
            "UPDATE booking SET state = 'held', expires_at_ms = ?, numbers = ?, ended_at_ms = NULL,"
            " reason = 'late' WHERE id = ?",
            (now_ms + 1, ",".join(map(str, told)), booking_id),
        )
        take_seats(db, departure_id, booking_id, list(told))
    cash = method == "cash"
    source = ledger.agent_account(taken_by) if cash else ledger.RECEIVED
    ledger.post(
        db, "sale", booking_id, debit=source, credit=ledger.SALES, santim=price, at_ms=now_ms,
        booking_id=booking_id,
    )  # fmt: skip
    commission = price * commission_percent // 100 if cash else 0
    if commission:
        ledger.post(
            db, "commission", booking_id, debit=ledger.COMMISSION, credit=source, santim=commission,
            at_ms=now_ms, booking_id=booking_id,
        )  # fmt: skip
    db.execute(
        "INSERT INTO payment (booking_id, method, taken_by, reference, amount_santim, at_ms, inbound_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (booking_id, method, taken_by, reference, price, now_ms, inbound_id),
    )
    db.execute("UPDATE booking SET state = 'paid', paid_at_ms = ? WHERE id = ?", (now_ms, booking_id))


@effect("booking.pay")
def pay(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Mark a booking paid; the sender is the agent who took the money, or the wallet.

    args: code, method, amount_santim, numbers (the seats the ticket will name), reference, and for cash
    commission_percent. Refused as `_sell` tells; also locked, for an agent whose PIN was wrong too often.
    """
    if args["method"] == "cash":
        agent = agents.find(db, ctx.sender)
        if agent is not None and agent.locked_until_ms > ctx.now_ms:
            raise EffectRefused("locked", locked_until_ms=agent.locked_until_ms)
    _sell(
        db,
        args["code"],
        method=args["method"],
        taken_by=ctx.sender,
        santim=args["amount_santim"],
        now_ms=ctx.now_ms,
        reference=args.get("reference"),
        inbound_id=ctx.inbound_id,
        told=[int(n) for n in args["numbers"]],
        commission_percent=int(args.get("commission_percent", 0)),
    )
    return {}


def settle_order(
    db: sqlite3.Connection, order_id: int, paid: Paid, words: Words, now_ms: int
) -> list[QueuedRow]:
    """telebirr says that an order was paid: sell the seats, or owe the money back. Doing it again changes
    nothing. Returns what is to be sent.

    Another amount than was asked for is kept as money that a person has to place.
    """
    order = db.execute(
        "SELECT o.state, o.booking_id, o.amount_santim, o.merch_order_id, b.code FROM telebirr_order o"
        " JOIN booking b ON b.id = o.booking_id WHERE o.id = ?",
        (order_id,),
    ).fetchone()
    if order is None or order[0] == OrderState.PAID:
        return []
    state, booking_id, wanted, merch_order_id, code = order
    reference = paid.trans_id or merch_order_id
    known = receipts.find(db, reference=reference)
    if known is not None and known.order_id == order_id:
        return []  # told twice of what a person has to look at
    if paid.santim != wanted or (known is not None and known.santim != wanted):
        return _odd(db, order_id, state, reference, paid, known, booking_id, now_ms)
    if known is not None and known.state in ("matched", "returned"):
        if known.code == code:  # the wallet's text was here first
            _move(db, order_id, state, OrderStep.MONEY, reference)
            db.execute("UPDATE receipt SET order_id = ? WHERE id = ?", (order_id, known.id))
            return []
        return _odd(db, order_id, state, reference, paid, known, booking_id, now_ms)
    receipt_id = known.id if known is not None else receipts.write(
        db, wallet=TELEBIRR, reference=reference, santim=paid.santim, now_ms=now_ms, booking_id=booking_id,
    )  # fmt: skip
    assert receipt_id is not None
    db.execute(
        "UPDATE receipt SET order_id = ?, booking_id = ? WHERE id = ?", (order_id, booking_id, receipt_id)
    )
    _move(db, order_id, state, OrderStep.MONEY, reference)
    try:
        _sell(
            db, code, method=TELEBIRR, taken_by=TELEBIRR, santim=paid.santim, now_ms=now_ms,
            reference=reference,
        )  # fmt: skip
    except EffectRefused:
        return give_back(db, receipt_id, words, now_ms)
    db.execute("UPDATE receipt SET state = 'matched' WHERE id = ?", (receipt_id,))
    return _tell_ticket(db, code, words, now_ms)


def _odd(
    db: sqlite3.Connection,
    order_id: int,
    state: str,
    reference: str,
    paid: Paid,
    known: receipts.Receipt | None,
    booking_id: int,
    now_ms: int,
) -> list[QueuedRow]:
    """Money that is not what was asked for: kept, and for a person."""
    if known is None and paid.santim > 0:
        receipts.write(
            db, wallet=TELEBIRR, reference=reference, santim=paid.santim, now_ms=now_ms,
            booking_id=booking_id, order_id=order_id, state="unclear",
        )  # fmt: skip
    if state != OrderState.UNCLEAR:
        _move(db, order_id, state, OrderStep.ODD, reference)
    db.execute("UPDATE telebirr_order SET detail = ? WHERE id = ?", (f"paid {paid.santim} santim", order_id))
    return []


def _move(db: sqlite3.Connection, order_id: int, state: str, step: OrderStep, trans_id: str) -> None:
    db.execute(
        "UPDATE telebirr_order SET state = ?, trans_id = ?, next_ms = NULL WHERE id = ?",
        (move_order(state, step), trans_id, order_id),
    )


def give_back(db: sqlite3.Connection, receipt_id: int, words: Words, now_ms: int) -> list[QueuedRow]:
    """Owe a receipt's money back to the holder of the booking it names, and tell them."""
    booking_id, santim, code = db.execute(
        "SELECT r.booking_id, r.amount_santim, b.code FROM receipt r JOIN booking b ON b.id = r.booking_id"
        " WHERE r.id = ?",
        (receipt_id,),
    ).fetchone()
    db.execute("UPDATE receipt SET state = 'returned' WHERE id = ?", (receipt_id,))
    refund_id = refunds.owe(db, booking_id, santim, now_ms, receipt_id=receipt_id)
    assert refund_id is not None
    refund, ticket = refunds.find(db, refund_id), find_ticket(db, code, now_ms)
    assert refund is not None and ticket is not None
    return tell(db, ticket.holder, words.too_late(db, ticket, santim, refund.way), now_ms)


def assign(
    db: sqlite3.Connection, receipt_id: int, code: str, words: Words, now_ms: int, by: str
) -> list[QueuedRow]:
    """A person says for which booking some money was: it is sold, or owed back when its seats are gone.

    Refused: matched (somebody was faster), unknown, wrong_amount (price_santim), paid_already.
    """
    receipt = receipts.find(db, receipt_id=receipt_id)
    if receipt is None or receipt.state not in ("open", "unclear"):
        raise EffectRefused("matched")
    row = db.execute("SELECT id FROM booking WHERE code = ?", (code,)).fetchone()
    if row is None:
        raise EffectRefused("unknown")
    method = TELEBIRR if receipt.order_id is not None else "receipt"
    audit(db, now_ms, by, "receipt.assign", f"{receipt.reference} {code}")
    db.execute("UPDATE receipt SET booking_id = ?, decided_by = ? WHERE id = ?", (row[0], by, receipt_id))
    try:
        _sell(
            db, code, method=method, taken_by=receipt.wallet, santim=receipt.santim, now_ms=now_ms,
            reference=receipt.reference,
        )  # fmt: skip
    except EffectRefused as refused:
        if refused.reason not in ("late", "over"):
            raise
        return give_back(db, receipt_id, words, now_ms)
    db.execute("UPDATE receipt SET state = 'matched' WHERE id = ?", (receipt_id,))
    return _tell_ticket(db, code, words, now_ms)


def return_by_hand(db: sqlite3.Connection, receipt_id: int, now_ms: int, by: str) -> None:
    """The operator sent money back in the wallet itself. Refused: matched, it is no longer waiting."""
    receipt = receipts.find(db, receipt_id=receipt_id)
    if receipt is None or receipt.state not in ("open", "unclear"):
        raise EffectRefused("matched")
    audit(db, now_ms, by, "receipt.return", receipt.reference)
    ledger.post(
        db, "returned", receipt_id, debit=ledger.RECEIVED, credit=ledger.wallet_account(receipt.wallet),
        santim=receipt.santim, at_ms=now_ms,
    )  # fmt: skip
    db.execute("UPDATE receipt SET state = 'returned', decided_by = ? WHERE id = ?", (by, receipt_id))


def end_refund(
    db: sqlite3.Connection, refund: refunds.Refund, step: RefundStep, words: Words, now_ms: int, detail: str
) -> list[QueuedRow]:
    """telebirr paid it back, or an agent has to: the passenger is told in the same commit."""
    if refunds.settle(db, refund.id, step, now_ms, by=TELEBIRR, detail=detail) is None:
        return []
    ticket = find_ticket(db, refund.code, now_ms)
    assert ticket is not None
    say = words.paid_back if step is RefundStep.DONE else words.back_in_cash
    return tell(db, ticket.holder, say(db, ticket, refund.santim), now_ms)


def decide_refund(
    db: sqlite3.Connection, refund_id: int, *, was_paid: bool, words: Words, now_ms: int, by: str
) -> list[QueuedRow]:
    """A person looked at telebirr's page: the refund went through, or an agent has to hand out cash.

    Refused: not_unclear.
    """
    refund = refunds.find(db, refund_id)
    if refund is None or refund.state != "unclear":
        raise EffectRefused("not_unclear")
    audit(db, now_ms, by, "refund.decide", f"{refund.code} {'paid' if was_paid else 'cash'}")
    step = RefundStep.DONE if was_paid else RefundStep.TURNED_DOWN
    return end_refund(db, refund, step, words, now_ms, f"decided by {by}")


def _tell_ticket(db: sqlite3.Connection, code: str, words: Words, now_ms: int) -> list[QueuedRow]:
    ticket = find_ticket(db, code, now_ms)
    assert ticket is not None
    return tell(db, ticket.holder, words.ticket(db, ticket), now_ms)


def tell(db: sqlite3.Connection, number: str, text: str, now_ms: int) -> list[QueuedRow]:
    """Queue a text about somebody's own money; nobody is told whose data were erased."""
    if not number.startswith("+"):
        return []
    message = Outbound(recipient=number, text=text, lane=Lane.REPLY)
    row = outbound.insert(db, message, now_ms)
    return [QueuedRow(row, number, QueueKey(message.route, str(message.lane), message.client_id))]
