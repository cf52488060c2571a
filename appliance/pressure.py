"""Is the box under pressure? Seen by the messages that wait, written down for the workers, shown on the page.

Under pressure searches are remembered for longer. It begins when messages wait too long or too many wait, at
two looks in a row, and ends after a calm minute, so that it does not flicker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from appliance.store import departures
from appliance.store.booking_look import PRESSED_MS, REMEMBER_MS

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["Pressure"]

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
WAITING: Final = 200  # messages that wait for their turn
OLDEST_MS: Final = 5_000  # age of the one that waits longest: people text again after some seconds
LOOKS_TO_BEGIN: Final = 2
LOOKS_TO_END: Final = 12


class Pressure:
    """snapshot: the dispatcher's, with "queued" and "oldest_ms"."""

    def __init__(
        self, store: Store, snapshot: Callable[[], Mapping[str, Any]], clock_ms: Callable[[], int]
    ) -> None:
        self.pressed = False
        self._store, self._snapshot, self._clock_ms = store, snapshot, clock_ms
        self._streak = 0  # looks in a row that spoke for the other state

    @property
    def remember_s(self) -> int:
        """For how long a search is remembered now."""
        return (PRESSED_MS if self.pressed else REMEMBER_MS) // 1000

    async def watch(self) -> None:
        """Look every few seconds; ends when cancelled."""
        self.pressed = await self._store.reader.run(departures.pressure)  # of the life before
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("the pressure could not be written down")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once, and switch when it is time."""
        now = self._snapshot()
        waits = int(now.get("queued") or 0) >= WAITING or int(now.get("oldest_ms") or 0) >= OLDEST_MS
        self._streak = 0 if waits == self.pressed else self._streak + 1
        if self._streak < (LOOKS_TO_END if self.pressed else LOOKS_TO_BEGIN):
            return
        self._streak = 0
        await self._store.writer.run(departures.note_pressure, waits, self._clock_ms())
        self.pressed = waits
        log.info("under pressure: searches are remembered longer" if waits else "the pressure is over")
