"""What is on disk only: the dispatcher's window is filled from there, and what memory lost is found."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

from appliance.dispatcher.mailboxes import Mailbox, Mailboxes
from appliance.store import inbound
from appliance.store.errors import StoreError
from appliance.store.store import Store

__all__ = ["Backlog"]

logger = logging.getLogger(__name__)


class Backlog:
    """Reads waiting messages into mailboxes. on_more is called when there is something new to give out."""

    def __init__(self, store: Store, boxes: Mailboxes, on_more: Callable[[], None]) -> None:
        self.size = 0  # messages that are owed a turn, on disk and in memory
        self._store = store
        self._boxes = boxes
        self._on_more = on_more
        self._reads: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop reading."""
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    def scan(self) -> None:
        """Fill the window with the oldest messages that are not in it."""
        after, limit = self._boxes.scan_from()
        self._read(self._scan(after, limit))

    async def _scan(self, after: int, limit: int) -> None:
        try:
            rows = await self._store.reader.run(inbound.waiting_after, after, limit)
        except asyncio.CancelledError:
            self._boxes.scan_failed()
            raise
        except (sqlite3.Error, StoreError) as error:
            self._boxes.scan_failed()  # the sweeper comes by again
            logger.warning("the backlog could not be read: %s", error)
            return
        self._boxes.scanned(rows, limit, asyncio.get_running_loop().time())
        self._on_more()

    def fill(self, box: Mailbox) -> None:
        """Read a sender's younger messages."""
        after, limit = self._boxes.reading_more(box)
        self._read(self._fill(box, after, limit))

    async def _fill(self, box: Mailbox, after: int, limit: int) -> None:
        rows: list[inbound.Waiting] = []
        failed = True
        try:
            rows = await self._store.reader.run(inbound.waiting_of, box.sender, after, limit)
            failed = False
        except (sqlite3.Error, StoreError) as error:
            logger.warning("a sender's messages could not be read: %s", error)
        finally:
            box.more = box.more or failed
            self._boxes.fill_box(box, rows, limit, asyncio.get_running_loop().time())
        self._on_more()

    async def restore_lost(self) -> None:
        """Look for messages at or below the cursor that memory does not know: nothing waits unseen."""
        boxes = self._boxes
        rows = await self._store.reader.run(inbound.waiting_after, 0, 2 * boxes.window)
        now = asyncio.get_running_loop().time()
        for row in rows:
            if row.id > boxes.cursor or boxes.held >= boxes.window:
                break
            if boxes.restore(row, now):
                self._on_more()
        for box in boxes.neglected():
            self.fill(box)

    async def count(self) -> None:
        """Find out how long the backlog is."""
        try:
            self.size = await self._store.reader.run(inbound.count_waiting)
        except (sqlite3.Error, StoreError):
            logger.warning("the backlog could not be counted")

    def _read(self, reading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(reading, name="dispatcher reads the backlog")
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)
