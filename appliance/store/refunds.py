"""What passengers get back: written when it is owed, ended by an agent's cash, by telebirr or by time.

A refund belongs to a ticket that was given back, or to money that came for nothing (`receipt_id`: too late,
or twice). It goes back the way the money came where that can be done, else an agent hands it out.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from appliance.store import ledger
from appliance.store.effects import EffectContext, EffectRefused, effect
from appliance.store.payment_states import RefundState, RefundStep, move_refund

__all__ = [
    "CASH_MS",
    "Refund",
    "ask",
    "due",
    "find",
    "lapse",
    "look_again",
    "open_refunds",
    "owe",
    "owed_in_cash",
    "postpone",
    "recover",
    "settle",
]

CASH_MS: Final = 30 * 86_400_000  # an agent hands it out so long; then it is unclaimed and shown
DOUBT_MS: Final = 86_400_000  # telebirr is asked so long what became of a request
# After these many seconds telebirr is asked again; then every ten minutes.
LOOKS_S: Final = (5, 10, 20, 40, 60, 60, 60, 120, 300)
LAST_LOOK_S: Final = 600
POSTPONE_MS: Final = 60_000


class Refund(NamedTuple):
    """merch_order_id and trans_id: of the telebirr order that the money came by, "" by cash."""

    id: int
    code: str
    santim: int
    way: str
    state: str
    request_no: str
    asked_ms: int
    deadline_ms: int
    looks: int
    detail: str
    merch_order_id: str
    trans_id: str


_REFUND: Final = (
    "SELECT r.id, b.code, r.amount_santim, r.way, r.state, coalesce(r.request_no, ''), r.asked_ms,"
    " r.deadline_ms, r.looks, r.detail, coalesce(o.merch_order_id, ''), coalesce(o.trans_id, '')"
    " FROM refund r JOIN booking b ON b.id = r.booking_id LEFT JOIN telebirr_order o ON o.id = r.order_id"
)


def owe(
    db: sqlite3.Connection, booking_id: int, santim: int, now_ms: int, *, receipt_id: int | None = None
) -> int | None:
    """Owe money back for a booking; the refund's id, or None when there is nothing to owe.

    receipt_id: money that paid for nothing; without it, it is of the booking's own payment.
    """
    if santim <= 0:
        return None
    order = db.execute(
        "SELECT order_id FROM receipt WHERE id = ? AND order_id IS NOT NULL"
        if receipt_id is not None
        else "SELECT r.order_id FROM payment p JOIN receipt r ON r.reference = p.reference"
        " WHERE p.booking_id = ? AND r.order_id IS NOT NULL",
        (booking_id if receipt_id is None else receipt_id,),
    ).fetchone()
    way = "cash" if order is None else "telebirr"
    deadline = now_ms + (CASH_MS if order is None else DOUBT_MS)
    refund_id = db.execute(
        "INSERT INTO refund (booking_id, receipt_id, amount_santim, way, state, order_id, asked_ms, next_ms,"
        " deadline_ms) VALUES (?, ?, ?, ?, 'owed', ?, ?, ?, ?)",
        (
            booking_id, receipt_id, santim, way, None if order is None else order[0], now_ms,
            deadline if order is None else now_ms, deadline,
        ),
    ).lastrowid  # fmt: skip
    assert refund_id is not None
    source = ledger.SALES if receipt_id is None else ledger.RECEIVED
    ledger.post(
        db, "owed", refund_id, debit=source, credit=ledger.REFUNDS, santim=santim, at_ms=now_ms,
        booking_id=booking_id,
    )  # fmt: skip
    return refund_id


def find(db: sqlite3.Connection, refund_id: int) -> Refund | None:
    row = db.execute(f"{_REFUND} WHERE r.id = ?", (refund_id,)).fetchone()
    return None if row is None else Refund(*row)


def due(db: sqlite3.Connection, now_ms: int, limit: int = 20) -> list[Refund]:
    """Refunds by telebirr that have to be asked for or asked about, the longest waiting first."""
    rows = db.execute(
        f"{_REFUND} WHERE r.next_ms <= ? AND r.way = 'telebirr' ORDER BY r.next_ms LIMIT ?", (now_ms, limit)
    )
    return [Refund(*row) for row in rows]


def open_refunds(db: sqlite3.Connection, limit: int = 100) -> list[Refund]:
    """What is still owed to anybody, what a person has to decide first."""
    rows = db.execute(
        f"{_REFUND} WHERE r.state <> 'paid' ORDER BY r.state <> 'unclear', r.id DESC LIMIT ?", (limit,)
    )
    return [Refund(*row) for row in rows]


def ask(db: sqlite3.Connection, refund_id: int, now_ms: int) -> Refund | None:
    """Write that telebirr is about to be asked, with a number that is used this once.

    None: it is not ours to ask for any more.
    """
    refund = find(db, refund_id)
    if refund is None or refund.state != RefundState.OWED or refund.way != "telebirr":
        return None
    db.execute(
        "UPDATE refund SET state = ?, request_no = ?, next_ms = ? WHERE id = ?",
        (
            move_refund(refund.state, RefundStep.ASK),
            f"{refund.merch_order_id}R{refund_id}",
            now_ms + 1000 * LAST_LOOK_S,  # a crash is recovered at the start; this is for what nobody foresaw
            refund_id,
        ),
    )
    return find(db, refund_id)


def postpone(db: sqlite3.Connection, refund_id: int, now_ms: int, detail: str) -> Refund | None:
    """telebirr has certainly not got the request: it is owed as before, and asked for in a while."""
    refund = find(db, refund_id)
    if refund is None or refund.state not in (RefundState.OWED, RefundState.ASKING) or refund.way == "cash":
        return None
    state = refund.state
    if state == RefundState.ASKING:
        state = move_refund(state, RefundStep.NOT_SENT)
    db.execute(
        "UPDATE refund SET state = ?, next_ms = ?, detail = ? WHERE id = ?",
        (state, now_ms + POSTPONE_MS, detail, refund_id),
    )
    return find(db, refund_id)


def look_again(db: sqlite3.Connection, refund_id: int, now_ms: int, detail: str) -> Refund | None:
    """Nothing is known yet: when to ask next; past the deadline a person has to. Returns it as it is then."""
    refund = find(db, refund_id)
    if refund is None or refund.state not in (RefundState.ASKING, RefundState.DOUBT):
        return None
    state, wait_s = refund.state, LOOKS_S[refund.looks] if refund.looks < len(LOOKS_S) else LAST_LOOK_S
    if state == RefundState.ASKING:
        state = move_refund(state, RefundStep.UNSURE)
    next_ms: int | None = now_ms + 1000 * wait_s
    if now_ms >= refund.deadline_ms:
        state, next_ms = move_refund(state, RefundStep.GIVEN_UP), None
    db.execute(
        "UPDATE refund SET state = ?, next_ms = ?, looks = looks + 1, detail = ? WHERE id = ?",
        (state, next_ms, detail, refund_id),
    )
    return find(db, refund_id)


def settle(
    db: sqlite3.Connection, refund_id: int, step: RefundStep, now_ms: int, *, by: str, detail: str = ""
) -> Refund | None:
    """End a refund, or hand it over to cash. by: who paid it, an agent's number or "telebirr".

    None: nothing changed, since it was at its end already or the step does not fit.
    """
    refund = find(db, refund_id)
    if refund is None or refund.state == RefundState.PAID:
        return None
    state = move_refund(refund.state, step)
    if state == RefundState.PAID:
        source = ledger.UNCLAIMED if refund.state == RefundState.UNCLAIMED else ledger.REFUNDS
        payer = ledger.wallet_account(by) if step == RefundStep.DONE else ledger.agent_account(by)
        _post(db, "refund", refund, debit=source, credit=payer, now_ms=now_ms)
        db.execute(
            "UPDATE refund SET state = ?, next_ms = NULL, paid_by = ?, paid_ms = ?, detail = ? WHERE id = ?",
            (state, by, now_ms, detail, refund_id),
        )
    else:  # to cash
        db.execute(
            "UPDATE refund SET state = ?, way = 'cash', next_ms = ?, deadline_ms = ?, detail = ?"
            " WHERE id = ?",
            (state, now_ms + CASH_MS, now_ms + CASH_MS, detail, refund_id),
        )
    return find(db, refund_id)


def recover(db: sqlite3.Connection, now_ms: int) -> int:
    """At the start: what was being asked for when we ended is in doubt, and queried first."""
    return db.execute(
        "UPDATE refund SET state = ?, next_ms = ?, detail = 'ended while asking' WHERE state = ?",
        (move_refund(RefundState.ASKING, RefundStep.UNSURE), now_ms, RefundState.ASKING),
    ).rowcount


def lapse(db: sqlite3.Connection, now_ms: int) -> list[Refund]:
    """Cash that nobody came for in time becomes unclaimed. Returns what lapsed now."""
    rows = db.execute(
        f"{_REFUND} WHERE r.next_ms <= ? AND r.way = 'cash' AND r.state = 'owed'", (now_ms,)
    ).fetchall()
    lapsed = [Refund(*row) for row in rows]
    for refund in lapsed:
        state = move_refund(refund.state, RefundStep.LAPSED)
        _post(db, "unclaimed", refund, debit=ledger.REFUNDS, credit=ledger.UNCLAIMED, now_ms=now_ms)
        db.execute("UPDATE refund SET state = ?, next_ms = NULL WHERE id = ?", (state, refund.id))
    return lapsed


def _post(db: sqlite3.Connection, kind: str, refund: Refund, *, debit: str, credit: str, now_ms: int) -> None:
    (booking_id,) = db.execute("SELECT booking_id FROM refund WHERE id = ?", (refund.id,)).fetchone()
    ledger.post(
        db, kind, refund.id, debit=debit, credit=credit, santim=refund.santim, at_ms=now_ms,
        booking_id=booking_id,
    )  # fmt: skip


def owed_in_cash(db: sqlite3.Connection, code: str) -> int | None:
    """Santim that an agent has to hand out for a booking; None: nothing."""
    (owed,) = db.execute(
        "SELECT sum(r.amount_santim) FROM refund r JOIN booking b ON b.id = r.booking_id"
        " WHERE b.code = ? AND r.way = 'cash' AND r.state IN ('owed', 'unclaimed')",
        (code,),
    ).fetchone()
    return None if owed is None else int(owed)


@effect("booking.refunded")
def refunded(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """The sender, an agent, handed out all that is owed in cash for a booking. args: code, amount_santim.

    Refused: not_owed, also when it is no longer the amount that the agent is told.
    """
    if owed_in_cash(db, args["code"]) != args["amount_santim"]:
        raise EffectRefused("not_owed")
    rows = db.execute(
        "SELECT r.id FROM refund r JOIN booking b ON b.id = r.booking_id"
        " WHERE b.code = ? AND r.way = 'cash' AND r.state IN ('owed', 'unclaimed')",
        (args["code"],),
    ).fetchall()
    for (refund_id,) in rows:
        settle(db, refund_id, RefundStep.HANDED, ctx.now_ms, by=ctx.sender)
    return {}
