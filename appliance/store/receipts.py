"""Money that came in by a wallet: one row for each of the wallet's transactions, whoever told us of it.

Every receipt is in the ledger from the moment it is written (`received`), and leaves that account when it
pays for a booking or is owed back. What fits nothing, or more than one thing, waits here for a person.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from appliance.store import ledger, refunds
from appliance.store.effects import EffectContext, EffectRefused, effect

__all__ = ["Receipt", "find", "open_amount", "state_of", "waiting", "write"]


class Receipt(NamedTuple):
    """state: matched, open (nothing fits it), unclear (a person has to say), returned (owed back).

    code: of the booking it paid or was meant for, "". inbound_id: the text that told us of it, None by API.
    """

    id: int
    wallet: str
    reference: str
    santim: int
    payer: str
    at_ms: int
    inbound_id: int | None
    code: str
    order_id: int | None
    state: str
    decided_by: str


_RECEIPT = (
    "SELECT r.id, r.wallet, r.reference, r.amount_santim, r.payer, r.at_ms, r.inbound_id,"
    " coalesce(b.code, ''), r.order_id, r.state, r.decided_by"
    " FROM receipt r LEFT JOIN booking b ON b.id = r.booking_id"
)


def write(
    db: sqlite3.Connection,
    *,
    wallet: str,
    reference: str,
    santim: int,
    now_ms: int,
    payer: str = "",
    inbound_id: int | None = None,
    booking_id: int | None = None,
    order_id: int | None = None,
    state: str = "open",
) -> int | None:
    """Keep money that came in, once; None when this transaction is known."""
    cursor = db.execute(
        "INSERT INTO receipt (wallet, reference, amount_santim, payer, at_ms, inbound_id, booking_id,"
        " order_id, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (reference) DO NOTHING",
        (wallet, reference, santim, payer, now_ms, inbound_id, booking_id, order_id, state),
    )
    if cursor.rowcount != 1 or cursor.lastrowid is None:
        return None
    ledger.post(
        db, "receipt", cursor.lastrowid, debit=ledger.wallet_account(wallet), credit=ledger.RECEIVED,
        santim=santim, at_ms=now_ms, booking_id=booking_id,
    )  # fmt: skip
    return cursor.lastrowid


def find(db: sqlite3.Connection, *, reference: str = "", receipt_id: int = 0) -> Receipt | None:
    """By the wallet's number of the transaction, or by ours."""
    row = db.execute(f"{_RECEIPT} WHERE r.reference = ? OR r.id = ?", (reference, receipt_id)).fetchone()
    return None if row is None else Receipt(*row)


def waiting(db: sqlite3.Connection, limit: int = 100) -> list[Receipt]:
    """Money that no machine could place, the newest first."""
    rows = db.execute(f"{_RECEIPT} WHERE r.state IN ('open', 'unclear') ORDER BY r.id DESC LIMIT ?", (limit,))
    return [Receipt(*row) for row in rows]


def state_of(db: sqlite3.Connection, reference: str) -> str | None:
    """What became of a wallet's transaction; None: it is new."""
    row = db.execute("SELECT state FROM receipt WHERE reference = ?", (reference,)).fetchone()
    return None if row is None else str(row[0])


def open_amount(db: sqlite3.Connection, reference: str) -> int | None:
    """Santim of a transaction that has paid for nothing yet."""
    row = db.execute(
        "SELECT amount_santim FROM receipt WHERE reference = ? AND state IN ('open', 'unclear')", (reference,)
    ).fetchone()
    return None if row is None else int(row[0])


@effect("booking.receipt")
def receipt(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Write a wallet's receipt, once. args: wallet, reference, amount_santim, payer, state, code or None.

    With state "returned" it came too late for the booking `code`: it is owed back in cash.
    Refused: known, the transaction was seen before.
    """
    booking_id = None
    if args["code"] is not None:
        (booking_id,) = db.execute("SELECT id FROM booking WHERE code = ?", (args["code"],)).fetchone()
    receipt_id = write(
        db, wallet=args["wallet"], reference=args["reference"], santim=args["amount_santim"],
        payer=args["payer"], now_ms=ctx.now_ms, inbound_id=ctx.inbound_id, booking_id=booking_id,
        state=args["state"],
    )  # fmt: skip
    if receipt_id is None:
        raise EffectRefused("known")
    if args["state"] == "returned" and booking_id is not None:
        refunds.owe(db, booking_id, args["amount_santim"], ctx.now_ms, receipt_id=receipt_id)
    return {}


@effect("booking.match")
def match(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Give an unmatched receipt to a booking. args: reference, code. Refused: matched."""
    done = db.execute(
        "UPDATE receipt SET state = 'matched', booking_id = (SELECT id FROM booking WHERE code = ?)"
        " WHERE reference = ? AND state IN ('open', 'unclear')",
        (args["code"], args["reference"]),
    ).rowcount
    if not done:
        raise EffectRefused("matched")
    return {}
