"""What a segment costs, by the longest prefix of the number, from a date on. Times are UTC milliseconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from appliance.store.audit import audit

__all__ = ["price_list", "prices_of", "set_price"]

_LONGEST_PREFIX: Final = 16  # of an E.164 number with its plus


def set_price(
    db: sqlite3.Connection, prefix: str, units: int, from_ms: int, now_ms: int, *, actor: str
) -> None:
    """What a segment to numbers of this prefix costs from a date on."""
    db.execute(
        "INSERT INTO price (prefix, from_ms, units) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET units = excluded.units",
        (prefix, from_ms, units),
    )
    audit(db, now_ms, actor, "price.set", f"{prefix or 'every number'}: {units} from {from_ms}")


def _price(db: sqlite3.Connection, recipient: str, now_ms: int) -> int:
    row = db.execute(
        "WITH RECURSIVE length(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM length WHERE n < ?)"
        " SELECT p.units FROM length JOIN price p ON p.prefix = substr(?, 1, n)"
        " WHERE p.from_ms <= ? ORDER BY n DESC, p.from_ms DESC LIMIT 1",
        (min(_LONGEST_PREFIX, len(recipient)), recipient, now_ms),
    ).fetchone()
    return 1 if row is None else int(row[0])


def price_list(db: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """(prefix, from_ms, units) of every price, past ones too, by prefix and date."""
    return db.execute("SELECT prefix, from_ms, units FROM price ORDER BY prefix, from_ms").fetchall()


def prices_of(db: sqlite3.Connection, recipients: Sequence[str], now_ms: int) -> list[int]:
    """Units of one segment to each number."""
    if db.execute("SELECT 1 FROM price LIMIT 1").fetchone() is None:
        return [1] * len(recipients)
    return [_price(db, recipient, now_ms) for recipient in recipients]
