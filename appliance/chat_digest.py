"""The chat's digest by SMS: to the admins who chose it, at their pace, and nowhere near the relay's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from appliance.store import moderation
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.outbound import QueuedRow

if TYPE_CHECKING:
    from appliance.store.store import Store
    from appliance.talk_settings import Chat

__all__ = ["ChatDigest"]

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 20.0


class ChatDigest:
    """Looks every LOOK_EVERY_S whose digest is due. offer: gets the rows put on the queue."""

    def __init__(
        self,
        store: Store,
        settings: Chat,
        clock_ms: Callable[[], int],
        offer: Callable[[Sequence[QueuedRow]], object],
    ) -> None:
        self._store = store
        self._numbers = settings.digest_to
        self._every_ms = settings.digest_minutes * 60_000
        self._clock_ms = clock_ms
        self._offer = offer

    async def run(self) -> None:
        """Until cancelled."""
        while self._numbers:
            try:
                await self.send_due()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("the chat's digest waits for the disk: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def send_due(self) -> int:
        """Send the digests that are due; returns how many went out."""
        sent = 0
        for number in self._numbers:
            now_ms = self._clock_ms()
            since_ms = await self._store.reader.run(moderation.digest_due, number, self._every_ms, now_ms)
            if since_ms is None:
                continue
            text = await self._store.reader.run(moderation.digest, since_ms, now_ms)
            rows = await self._store.writer.run(moderation.digest_sent, number, text, now_ms)
            self._offer(rows)
            sent += len(rows)
        return sent
