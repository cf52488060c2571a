"""The canary: a message to our own number after a long silence, since "OK" proves less than its coming
back.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from firmware_bridge.errors import BridgeError

__all__ = ["BACK_S", "Canary"]

log = logging.getLogger(__name__)

BACK_S: Final = 180.0


class Canary:
    """number: our own; None: no canaries. idle_s: silence after which one is sent. send: takes its text."""

    def __init__(self, number: str | None, idle_s: float, send: Callable[[str], Awaitable[object]]) -> None:
        self._number = number
        self._idle_s = idle_s
        self._send = send
        self._sent_at: float | None = None
        self.token: str | None = None  # the text of the one that is out

    def is_due(self, *, now: float, last_traffic: float) -> bool:
        return self._number is not None and self._sent_at is None and now - last_traffic >= self._idle_s

    def is_lost(self, *, now: float) -> bool:
        """One was sent and did not come back in time; forgets it."""
        if self._sent_at is None or now - self._sent_at <= BACK_S:
            return False
        self.forget()
        return True

    async def fly(self, *, now: float) -> None:
        """Send one."""
        self.token = f"outpost canary {secrets.token_hex(6)}"
        self._sent_at = now
        try:
            await self._send(self.token)
        except BridgeError as e:
            log.warning("canary not sent: %s", e)

    def forget(self) -> None:
        self.token = self._sent_at = None
