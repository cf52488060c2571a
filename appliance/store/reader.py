"""Reading beside the writer: one aiosqlite connection, opened so that it cannot write.

For the page, the API and the command line, where a thread hop costs nothing that matters. Workers open
their own connection with `database.connect_reader`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import aiosqlite

from appliance.store.database import connect_reader
from appliance.store.errors import StoreClosed

__all__ = ["Reader"]

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs read functions in the order asked, each on one consistent view of the data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        await self._connected()

    async def _connected(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._closed:
                raise StoreClosed("the reader is closed")
            if self._connection is None:
                path = self.path
                self._connection = await aiosqlite.Connection(
                    lambda: connect_reader(path), iter_chunk_size=256
                )
            return self._connection

    async def run(
        self, fn: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call fn(db, ...) in the reader's thread; what it reads belongs to one moment.

        A file error closes the connection, so that the next call opens a new one; the error is raised here.
        """
        connection = await self._connected()

        def within(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")
            try:
                return fn(db, *args, **kwargs)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

        try:
            return await _call(connection, within)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (
                sqlite3.SQLITE_IOERR,
                sqlite3.SQLITE_CANTOPEN,
            ):
                await self._drop(connection)
            raise

    async def _drop(self, connection: aiosqlite.Connection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.close()

    async def close(self) -> None:
        """Close; aiosqlite's thread is not a daemon, so forgetting this would hang the exit."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _call(connection: aiosqlite.Connection, fn: Callable[[sqlite3.Connection], T]) -> T:
    """Run fn in the connection's thread: private to aiosqlite, but its only way to a function in one hop."""
    execute: Any = connection._execute
    result: T = await execute(fn, connection._conn)
    return result
