"""Once a day the texts and numbers of messages older than `conversation.keep_days` are forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from appliance.store import retention

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["Retention"]

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
LOOK_S: Final = 24 * 3600.0
SOON_S: Final = 600.0  # after the start, when the box has other things to do
PIECE: Final = 300  # rows in one op


class Retention:
    """keep_days: 0 keeps everything. trusted: may the clock be believed? A wrong one forgets nothing."""

    def __init__(
        self, store: Store, keep_days: int, clock_ms: Callable[[], int], *, trusted: Callable[[], bool]
    ) -> None:
        self._store, self._keep_ms = store, keep_days * DAY_MS
        self._clock_ms, self._trusted = clock_ms, trusted
        self._done = {"inbound": 0, "outbound": 0}  # ids up to which everything was looked at

    async def watch(self) -> None:
        """Look once a day; ends when cancelled."""
        await asyncio.sleep(SOON_S)
        while self._keep_ms:
            try:
                if self._trusted():
                    await self.run()
            except Exception:
                log.exception("old messages could not be forgotten; the next try is tomorrow")
            await asyncio.sleep(LOOK_S)

    async def run(self) -> int:
        """Forget what is too old now. Returns how many messages."""
        before_ms = self._clock_ms() - self._keep_ms
        count = 0
        for table, done in self._done.items():
            last = await self._store.reader.run(retention.newest_before, table, before_ms)
            for first in range(done + 1, last + 1, PIECE):
                end = min(first + PIECE - 1, last)
                count += await self._store.writer.run(retention.forget, table, first, end, before_ms)
            self._done[table] = max(done, last)
        await self._store.writer.run(retention.forget_talk, before_ms)
        if count:
            log.info("forgot the texts and numbers of %d messages", count)
        return count
