"""Orders at telebirr: each step on disk before it is taken, and what it came to after."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from appliance.store.effects import EffectContext, EffectRefused, effect
from appliance.store.payment_states import OrderState, OrderStep, move_order

__all__ = [
    "Order",
    "ask",
    "by_number",
    "due",
    "find",
    "latest",
    "look_again",
    "odd",
    "opened",
    "order",
    "postpone",
    "recent",
    "recover",
    "turned_down",
    "want",
]

# How often an open order is asked about while the person may pay: 5, 10, 20, 40 s, then each minute.
LOOKS_S: Final = (5, 10, 20, 40)
LOOK_S: Final = 60
LATE_LOOK_S: Final = 600  # after that time, while late money is looked for; then each time twice as late ...
LATEST_LOOK_S: Final = 7200  # ... up to this
MOST_ORDERS: Final = 5  # of one booking: each takes the place of one that was lost or refused
WATCH_MS: Final = 24 * 3_600_000
_WATCHED: Final = (OrderState.ASKING, OrderState.DOUBT, OrderState.OPEN, OrderState.LOST)


class Order(NamedTuple):
    """due_ms: when the seats' time is over. holder, language, booking_state: of its booking."""

    id: int
    code: str
    booking_id: int
    holder: str
    language: str
    booking_state: str
    hold_ends_ms: int
    merch_order_id: str
    santim: int
    state: str
    prepay_id: str
    trade_status: str
    trans_id: str
    made_ms: int
    due_ms: int
    watch_until_ms: int
    looks: int
    detail: str


_ORDER: Final = (
    "SELECT o.id, b.code, o.booking_id, b.holder, b.language, b.state, b.expires_at_ms, o.merch_order_id,"
    " o.amount_santim, o.state, o.prepay_id, o.trade_status, o.trans_id, o.made_ms, o.due_ms,"
    " o.watch_until_ms, o.looks, o.detail FROM telebirr_order o JOIN booking b ON b.id = o.booking_id"
)


def want(db: sqlite3.Connection, code: str, now_ms: int, watch_ms: int = WATCH_MS) -> int | None:
    """Want an order for held seats; its id, or None when it cannot be or there is one already.

    The number it will have at telebirr is made of the booking and this moment, and never used again.
    """
    row = db.execute(
        "SELECT id, price_santim, expires_at_ms,"
        " (SELECT count(*) FROM telebirr_order WHERE booking_id = b.id) FROM booking b"
        " WHERE code = ? AND state = 'held' AND expires_at_ms > ?",
        (code, now_ms),
    ).fetchone()
    if row is None or row[3] >= MOST_ORDERS:
        return None
    cursor = db.execute(
        "INSERT INTO telebirr_order (booking_id, merch_order_id, amount_santim, state, made_ms, due_ms,"
        " watch_until_ms, next_ms) VALUES (?, ?, ?, 'wanted', ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (row[0], f"{code}{now_ms}N{row[3] + 1}", row[1], now_ms, row[2], row[2] + watch_ms, now_ms),
    )
    return cursor.lastrowid if cursor.rowcount == 1 else None


@effect("payment.order")
def order(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender may pay a booking by telebirr. args: code, watch_hours. Refused: not_held."""
    if want(db, args["code"], ctx.now_ms, int(args["watch_hours"]) * 3_600_000) is None:
        raise EffectRefused("not_held")


def find(db: sqlite3.Connection, order_id: int) -> Order | None:
    row = db.execute(f"{_ORDER} WHERE o.id = ?", (order_id,)).fetchone()
    return None if row is None else Order(*row)


def by_number(db: sqlite3.Connection, merch_order_id: str) -> Order | None:
    row = db.execute(f"{_ORDER} WHERE o.merch_order_id = ?", (merch_order_id,)).fetchone()
    return None if row is None else Order(*row)


def latest(db: sqlite3.Connection, code: str) -> Order | None:
    """The order by which a booking is paid now."""
    row = db.execute(f"{_ORDER} WHERE b.code = ? ORDER BY o.id DESC LIMIT 1", (code,)).fetchone()
    return None if row is None else Order(*row)


def due(db: sqlite3.Connection, now_ms: int, limit: int = 20) -> list[Order]:
    """Orders with something to do, the longest waiting first."""
    rows = db.execute(f"{_ORDER} WHERE o.next_ms <= ? ORDER BY o.next_ms LIMIT ?", (now_ms, limit))
    return [Order(*row) for row in rows]


def recent(db: sqlite3.Connection, limit: int = 50) -> list[Order]:
    """The latest orders, those that a person has to look at first."""
    rows = db.execute(f"{_ORDER} ORDER BY o.state <> 'unclear', o.id DESC LIMIT ?", (limit,))
    return [Order(*row) for row in rows]


def _set(
    db: sqlite3.Connection, order_id: int, state: str, next_ms: int | None, **changes: object
) -> Order | None:
    columns = "".join(f", {name} = ?" for name in changes)
    db.execute(
        f"UPDATE telebirr_order SET state = ?, next_ms = ?{columns} WHERE id = ?",
        (state, next_ms, *changes.values(), order_id),
    )
    return find(db, order_id)


def ask(db: sqlite3.Connection, order_id: int, now_ms: int) -> Order | None:
    """Write that preOrder is about to be sent. None: the order is not wanted any more."""
    found = find(db, order_id)
    if found is None or found.state != OrderState.WANTED:
        return None
    if found.booking_state != "held" or found.hold_ends_ms <= now_ms:
        _set(db, order_id, move_order(found.state, OrderStep.OVER), None)
        return None
    # A crash is recovered at the start; the next look is for what nobody foresaw.
    return _set(db, order_id, move_order(found.state, OrderStep.ASK), now_ms + 1000 * LATE_LOOK_S)


def postpone(db: sqlite3.Connection, order_id: int, now_ms: int, detail: str) -> Order | None:
    """It was certainly not sent: wanted again in a while, as long as the seats are held."""
    found = find(db, order_id)
    if found is None or found.state not in (OrderState.WANTED, OrderState.ASKING):
        return None
    if found.hold_ends_ms <= now_ms and found.state == OrderState.WANTED:
        return _set(db, order_id, move_order(found.state, OrderStep.OVER), None, detail=detail)
    state = found.state
    if state == OrderState.ASKING:
        state = move_order(state, OrderStep.NOT_SENT)
    return _set(db, order_id, state, now_ms + _wait_ms(found, now_ms), detail=detail, looks=found.looks + 1)


def opened(db: sqlite3.Connection, order_id: int, prepay_id: str, now_ms: int) -> Order | None:
    """telebirr took the order."""
    found = find(db, order_id)
    if found is None or found.state != OrderState.ASKING:
        return None
    state = move_order(found.state, OrderStep.OPENED)
    return _set(db, order_id, state, now_ms + 1000 * LOOKS_S[0], prepay_id=prepay_id, looks=1, detail="")


def turned_down(db: sqlite3.Connection, order_id: int, detail: str) -> Order | None:
    """telebirr did not take the order; the booking can still be paid in every other way."""
    found = find(db, order_id)
    if found is None or found.state != OrderState.ASKING:
        return None
    return _set(db, order_id, move_order(found.state, OrderStep.TURNED_DOWN), None, detail=detail)


def odd(db: sqlite3.Connection, order_id: int, detail: str) -> Order | None:
    """Something about the money that a person has to look at."""
    found = find(db, order_id)
    if found is None or found.state in (OrderState.PAID, OrderState.UNCLEAR):
        return found
    return _set(db, order_id, move_order(found.state, OrderStep.ODD), None, detail=detail)


def look_again(
    db: sqlite3.Connection,
    order_id: int,
    now_ms: int,
    *,
    status: str = "",
    detail: str = "",
) -> Order | None:
    """No money so far: when to ask next, or that it is over.

    status: what telebirr said of the order, "" when it did not answer. An answer ends a doubt: that order's
    way to pay is lost, so another takes its place. That telebirr calls an order closed ends nothing: payments
    have been seen to succeed after it.
    """
    found = find(db, order_id)
    if found is None or found.state not in (
        OrderState.ASKING,
        OrderState.DOUBT,
        OrderState.OPEN,
        OrderState.LOST,
    ):
        return found
    state: OrderState = OrderState(found.state)
    if state is OrderState.ASKING:
        state = move_order(state, OrderStep.UNSURE)
    replaced = bool(status) and state is OrderState.DOUBT
    if replaced:
        state = move_order(state, OrderStep.UNPAID)
    known = status or found.trade_status
    next_ms: int | None = now_ms + _wait_ms(found, now_ms)
    if now_ms >= found.watch_until_ms:
        state, next_ms = move_order(state, OrderStep.OVER if known else OrderStep.NEVER_SEEN), None
    done = _set(db, order_id, state, next_ms, trade_status=known, detail=detail, looks=found.looks + 1)
    if replaced:
        want(db, found.code, now_ms, found.watch_until_ms - found.due_ms)
    return done


def _wait_ms(found: Order, now_ms: int) -> int:
    wait_s = LOOKS_S[found.looks] if found.looks < len(LOOKS_S) else LOOK_S
    if found.due_ms <= now_ms:  # the later, the less likely
        wait_s = min(max((now_ms - found.due_ms) // 1000, LATE_LOOK_S), LATEST_LOOK_S)
    wait_ms = 1000 * wait_s
    if found.due_ms > now_ms:
        wait_ms = min(wait_ms, found.due_ms - now_ms)  # the moment its time is over is looked at
    return max(1, min(wait_ms, found.watch_until_ms - now_ms))


def recover(db: sqlite3.Connection, now_ms: int) -> int:
    """At the start: what was being asked for when we ended is in doubt, and queried first."""
    state = move_order(OrderState.ASKING, OrderStep.UNSURE)
    return db.execute(
        "UPDATE telebirr_order SET state = ?, next_ms = ?, looks = 0, detail = 'ended while asking'"
        " WHERE state = ?",
        (state, now_ms, OrderState.ASKING),
    ).rowcount
