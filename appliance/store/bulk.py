"""Many rows in one statement.

Python's sqlite3 lets go of the interpreter lock around each step of each statement, and on a busy loop may
wait up to 5 ms to get it back. One statement for 64 rows means one such wait instead of 64, half the CPU,
and a loop that runs on meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["COMBINED", "BulkInsert", "BulkMismatch", "Combined", "chunks", "combine", "select_in"]

# Few sizes, so that each statement stays compiled; 64 rows of 15 columns are far below SQLite's 32,766.
SIZES: Final = (64, 32, 16, 8, 4, 2, 1)


Combined = Callable[[sqlite3.Connection, list[tuple[Any, ...]]], list[Any]]
COMBINED: Final[dict[Callable[..., Any], Combined]] = {}


def combine(op: Callable[..., Any]) -> Callable[[Combined], Combined]:
    """Register how the writer may do neighbouring calls of `op` in a group together.

    The decorated function gets each call's arguments and returns each call's answer, as if `op` had been
    called for one after the other. It may raise anything: then the group is run again, one by one.
    """

    def register(together: Combined) -> Combined:
        COMBINED[op] = together
        return together

    return register


class BulkMismatch(Exception):
    """Fewer rows went in than were given; the group is run again one by one."""


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut into pieces of the sizes that have a compiled statement."""
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


class BulkInsert:
    """INSERT of any number of rows. head: up to VALUES; tail: what follows the rows (ON CONFLICT ...)."""

    def __init__(self, head: str, columns: int, tail: str = "") -> None:
        row = f"({','.join('?' * columns)})"
        self._sql = {size: f"{head} VALUES {','.join([row] * size)} {tail}" for size in SIZES}

    def run(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert or, as the tail says, replace."""
        for piece in chunks(rows):
            db.execute(self._sql[len(piece)], tuple(chain.from_iterable(piece)))

    def ids(
        self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], into: list[int] | None = None
    ) -> list[int]:
        """Insert, and return the new rows' ids in order.

        For a table with an INTEGER PRIMARY KEY that is left to SQLite: it counts up, and we are the only
        writer, so the ids of one statement are a run. Raises BulkMismatch if a row did not go in.
        into: a list that gets them, statement by statement: after an error it holds those that went in.
        """
        found: list[int] = [] if into is None else into
        for piece in chunks(rows):
            cursor = db.execute(self._sql[len(piece)], tuple(chain.from_iterable(piece)))
            if cursor.rowcount != len(piece) or cursor.lastrowid is None:
                raise BulkMismatch(f"{cursor.rowcount} of {len(piece)} rows went in")
            found.extend(range(cursor.lastrowid - len(piece) + 1, cursor.lastrowid + 1))
        return found


def select_in(db: sqlite3.Connection, head: str, values: Iterable[Any], tail: str = "") -> list[Any]:
    """Rows of `head IN (values) tail`, however many values there are."""
    found: list[Any] = []
    for piece in chunks(list(values)):
        marks = ",".join("?" * len(piece))
        found.extend(db.execute(f"{head} IN ({marks}) {tail}", tuple(piece)))
    return found
