"""The ledger: every santim that moves, from one account to another, once.

Accounts and what they hold (debits less credits):

    agent:+251...   cash an agent took and has not handed in yet
    wallet:NAME     money in the merchant's account at a wallet
    till            cash that agents handed in
    commission      what agents kept for their work
    sales           tickets sold, less what was given back (a credit, so below zero)
    received        money that came in and has paid for nothing yet (a credit)
    refunds         owed to passengers (a credit)
    unclaimed       owed to passengers who did not come for it (a credit)

A transfer is one row with both sides, so all accounts together are always zero. `check` compares the ledger
with the tables it tells of; it is run at each start and after every crash of a torture run.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

__all__ = [
    "COMMISSION",
    "RECEIVED",
    "REFUNDS",
    "SALES",
    "TILL",
    "UNCLAIMED",
    "Balance",
    "Entry",
    "agent_account",
    "balance",
    "balances",
    "check",
    "entries",
    "post",
    "wallet_account",
]

SALES: Final = "sales"
RECEIVED: Final = "received"
REFUNDS: Final = "refunds"
UNCLAIMED: Final = "unclaimed"
COMMISSION: Final = "commission"
TILL: Final = "till"


def agent_account(number: str) -> str:
    return f"agent:{number}"


def wallet_account(wallet: str) -> str:
    return f"wallet:{wallet}"


class Balance(NamedTuple):
    account: str
    santim: int  # debits less credits


class Entry(NamedTuple):
    """One side of a transfer; a credit is below zero."""

    transfer: int
    at_ms: int
    kind: str
    account: str
    santim: int
    code: str  # of the booking, "" for none


def _account(db: sqlite3.Connection, name: str) -> int:
    db.execute("INSERT INTO ledger_account (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    (number,) = db.execute("SELECT id FROM ledger_account WHERE name = ?", (name,)).fetchone()
    return int(number)


def post(
    db: sqlite3.Connection,
    kind: str,
    subject: int | str,
    *,
    debit: str,
    credit: str,
    santim: int,
    at_ms: int,
    booking_id: int | None = None,
) -> bool:
    """Book one transfer; False when this kind was booked for this subject before, and nothing changes.

    subject: the row it is about: a booking for a sale, a refund, a receipt.
    """
    return (
        db.execute(
            "INSERT INTO ledger_transfer (kind, key, debit_id, credit_id, amount_santim, booking_id, at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (
                kind, f"{kind}:{subject}", _account(db, debit), _account(db, credit), santim, booking_id,
                at_ms,
            ),
        ).rowcount
        == 1
    )  # fmt: skip


def balance(db: sqlite3.Connection, account: str) -> int:
    """Santim of one account; 0 when nothing was ever booked on it."""
    row = db.execute("SELECT balance_santim FROM ledger_account WHERE name = ?", (account,)).fetchone()
    return 0 if row is None else int(row[0])


def balances(db: sqlite3.Connection) -> list[Balance]:
    """Every account, by name."""
    return [
        Balance(*row) for row in db.execute("SELECT name, balance_santim FROM ledger_account ORDER BY name")
    ]


def entries(
    db: sqlite3.Connection, account: str = "", *, after: int = 0, limit: int = 1000, newest: bool = False
) -> list[Entry]:
    """Sides of transfers in the order of booking. account: only this one; after: a transfer's id."""
    order = "DESC" if newest else "ASC"
    rows = db.execute(
        "SELECT e.transfer_id, e.at_ms, e.kind, e.account, e.amount_santim, coalesce(b.code, '')"
        " FROM ledger_entry e LEFT JOIN booking b ON b.id = e.booking_id"
        " WHERE e.transfer_id > :after AND (:account = '' OR e.account = :account)"
        f" ORDER BY e.transfer_id {order}, e.amount_santim DESC LIMIT :limit",
        {"account": account, "after": after, "limit": limit},
    )
    return [Entry(*row) for row in rows]


def check(db: sqlite3.Connection) -> list[str]:
    """What does not fit together, one line each; [] when every santim is where it should be."""
    wrong: list[str] = []

    def equal(what: str, query: str, right: str) -> None:
        (found,) = db.execute(query).fetchone()
        (wanted,) = db.execute(right).fetchone()
        if found != wanted:
            wrong.append(f"{what}: {found} santim in the ledger, {wanted} by the rows it tells of")

    def none(what: str, query: str) -> None:
        rows: list[Any] = [row[0] for row in db.execute(f"{query} LIMIT 5")]
        if rows:
            wrong.append(f"{what}: {', '.join(map(str, rows))}")

    equal("all accounts", "SELECT coalesce(sum(balance_santim), 0) FROM ledger_account", "SELECT 0")
    none(
        "accounts whose balance is not the sum of their transfers",
        "SELECT a.name FROM ledger_account a WHERE a.balance_santim <>"
        " (SELECT coalesce(sum(amount_santim), 0) FROM ledger_transfer WHERE debit_id = a.id)"
        " - (SELECT coalesce(sum(amount_santim), 0) FROM ledger_transfer WHERE credit_id = a.id)",
    )
    equal(
        "received",
        _balance_of(RECEIVED, -1),
        "SELECT coalesce(sum(amount_santim), 0) FROM receipt WHERE state IN ('open', 'unclear')",
    )
    equal(
        "refunds",
        _balance_of(REFUNDS, -1),
        "SELECT coalesce(sum(amount_santim), 0) FROM refund"
        " WHERE state IN ('owed', 'asking', 'doubt', 'unclear')",
    )
    equal(
        "unclaimed",
        _balance_of(UNCLAIMED, -1),
        "SELECT coalesce(sum(amount_santim), 0) FROM refund WHERE state = 'unclaimed'",
    )
    equal(
        "sales",
        _balance_of(SALES, -1),
        "SELECT (SELECT coalesce(sum(amount_santim), 0) FROM payment)"
        " - (SELECT coalesce(sum(amount_santim), 0) FROM refund WHERE receipt_id IS NULL)",
    )
    none(
        "bookings that are paid without a payment",
        "SELECT code FROM booking b WHERE state IN ('paid', 'used')"
        " AND NOT EXISTS (SELECT 1 FROM payment WHERE booking_id = b.id)",
    )
    none(
        "payments whose booking is not paid",
        "SELECT b.code FROM payment p JOIN booking b ON b.id = p.booking_id"
        " WHERE b.state NOT IN ('paid', 'used', 'cancelled')",
    )
    none(
        "receipts that are not in the ledger",
        "SELECT reference FROM receipt r WHERE NOT EXISTS (SELECT 1 FROM ledger_transfer"
        " WHERE key = 'receipt:' || r.id AND amount_santim = r.amount_santim)",
    )
    none(
        "receipts that say they paid for a booking that has no such payment",
        "SELECT reference FROM receipt r WHERE state = 'matched' AND NOT EXISTS (SELECT 1 FROM payment p"
        " WHERE p.booking_id = r.booking_id AND p.reference = r.reference)",
    )
    return wrong


def _balance_of(account: str, sign: int) -> str:
    return (
        f"SELECT coalesce((SELECT {sign} * balance_santim FROM ledger_account WHERE name = '{account}'), 0)"
    )
