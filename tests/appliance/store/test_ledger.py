from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from appliance.store import ledger
from appliance.store.database import known_migrations

AT = 1_795_327_200_000
AGENT = "agent:+251911000099"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("PRAGMA foreign_keys = 1")
    for step in known_migrations():
        database.executescript(step.sql)
    yield database
    database.close()


def post(
    db: sqlite3.Connection, subject: int, santim: int, debit: str = AGENT, kind: str = "handed_in"
) -> bool:
    return ledger.post(db, kind, subject, debit=debit, credit=ledger.TILL, santim=santim, at_ms=AT)


def test_post_moves_the_balance_of_both_accounts(db: sqlite3.Connection) -> None:
    assert post(db, 1, 89_000)
    assert ledger.balance(db, AGENT) == 89_000
    assert ledger.balance(db, ledger.TILL) == -89_000
    assert sum(santim for _, santim in ledger.balances(db)) == 0
    assert ledger.check(db) == []


def test_post_of_the_same_subject_again_books_nothing(db: sqlite3.Connection) -> None:
    post(db, 1, 89_000)
    assert not post(db, 1, 89_000)
    assert ledger.balance(db, AGENT) == 89_000


@pytest.mark.parametrize("santim", [0, -1])
def test_post_of_no_money_is_refused(db: sqlite3.Connection, santim: int) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        post(db, 1, santim)


def test_post_from_an_account_to_itself_is_refused(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        post(db, 1, 5, debit=ledger.TILL)


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_transfer SET amount_santim = 1", "DELETE FROM ledger_transfer"]
)
def test_transfer_is_final(db: sqlite3.Connection, statement: str) -> None:
    post(db, 1, 89_000)
    with pytest.raises(sqlite3.IntegrityError, match="final"):
        db.execute(statement)


def test_entries_show_both_sides_that_sum_to_zero(db: sqlite3.Connection) -> None:
    post(db, 1, 89_000)
    post(db, 2, 100)
    rows = ledger.entries(db)
    assert [(row.account, row.santim) for row in rows] == [
        (AGENT, 89_000), (ledger.TILL, -89_000), (AGENT, 100), (ledger.TILL, -100),
    ]  # fmt: skip
    assert [row.santim for row in ledger.entries(db, AGENT, newest=True)] == [100, 89_000]
    assert ledger.entries(db, AGENT, after=1, limit=1)[0].santim == 100


def test_check_tells_a_balance_that_somebody_changed(db: sqlite3.Connection) -> None:
    post(db, 1, 89_000)
    db.execute("UPDATE ledger_account SET balance_santim = 90000 WHERE name = ?", (AGENT,))
    assert ledger.check(db) == [
        "all accounts: 1000 santim in the ledger, 0 by the rows it tells of",
        f"accounts whose balance is not the sum of their transfers: {AGENT}",
    ]


def test_check_tells_money_in_the_ledger_that_no_row_explains(db: sqlite3.Connection) -> None:
    ledger.post(db, "sale", 1, debit=AGENT, credit=ledger.SALES, santim=500, at_ms=AT)
    assert ledger.check(db) == ["sales: 500 santim in the ledger, 0 by the rows it tells of"]


def test_payment_that_is_not_in_the_ledger_is_refused(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="not in the ledger"):
        db.execute(
            "INSERT INTO payment (booking_id, method, taken_by, amount_santim, at_ms)"
            " VALUES (1, 'cash', 'x', 5, 5)"
        )
