"""The log of messages is kept for so long: then texts and numbers are gone, the counts of them stay.

Bookings, payments and refunds are accounts and are not touched. Rows are taken in pieces, so that nobody
waits for them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["FORGOTTEN", "forget", "forget_talk", "newest_before"]

FORGOTTEN: Final = "forgotten"  # instead of a number
# Table: its time, its number, and what says that nobody needs the row any more.
_LOG: Final = {
    "inbound": ("received_at_ms", "sender", "state <> 'accepted'"),
    "outbound": ("created_at_ms", "recipient", "deadline_ms IS NULL AND state NOT IN ('queued', 'sending')"),
}


def newest_before(db: sqlite3.Connection, table: str, before_ms: int) -> int:
    """The newest row of `inbound` or `outbound` that is older, 0 if none is. It reads the whole table."""
    at, _, _ = _LOG[table]
    return int(
        db.execute(f"SELECT coalesce(max(id), 0) FROM {table} WHERE {at} < ?", (before_ms,)).fetchone()[0]
    )


def forget(db: sqlite3.Connection, table: str, first: int, last: int, before_ms: int) -> int:
    """Empty the ended rows of a range of ids that are older. Returns how many were not empty yet."""
    at, number, ended = _LOG[table]
    keyless = ", natural_key = NULL" if table == "inbound" else ""
    return db.execute(
        f"UPDATE {table} SET text = '', {number} = ?{keyless} WHERE id BETWEEN ? AND ? AND {at} < ?"
        f" AND {ended} AND {number} <> ?",
        (FORGOTTEN, first, last, before_ms, FORGOTTEN),
    ).rowcount


# What chat and assistant keep of what people said: table, its time, its number, the words, what ended it.
_TALK: Final = (
    ("question", "answered_ms", "asker", "words", "answer IS NOT NULL"),
    ("asking", "asked_ms", "asker", "words", "state = 'told'"),
    ("chat_flag", "at_ms", "number", "text", "1"),
    ("chat_report", "at_ms", "reporter", "words", "state <> 'open'"),
)


def forget_talk(db: sqlite3.Connection, before_ms: int) -> int:
    """Empty old questions, flags and closed reports in the same way. Few rows: all in one op."""
    # With the row's id: two people may have reported each other.
    nobody, known = f"'{FORGOTTEN}-' || id", f"NOT LIKE '{FORGOTTEN}-%'"
    count = 0
    for table, at, number, words, ended in _TALK:
        further = f", reported = {nobody}" if table == "chat_report" else ""
        count += db.execute(
            f"UPDATE {table} SET {words} = '', {number} = {nobody}{further}"
            f" WHERE {at} < ? AND {ended} AND {number} {known}",
            (before_ms,),
        ).rowcount
    return count
