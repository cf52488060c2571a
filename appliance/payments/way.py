"""The ways money comes: one small protocol.

A way brings money to the store (`store.payments` sells the seats) and takes back what is owed. Cash comes by
an agent's text and receipts by a wallet's, each in a turn of the conversation; telebirr's API is asked beside
turns. What is left for a way to do by itself is what is due by the clock.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Way"]


class Way(Protocol):
    """name: cash, receipt or telebirr, as the payment's row has it."""

    @property
    def name(self) -> str: ...

    async def recover(self) -> None:
        """Once at the start: what a crash left half done."""

    async def run_due(self) -> None:
        """Do what is due now, and return; called again within a second or two. Raises only StoreError."""

    async def close(self) -> None:
        """End what is under way; what is on disk goes on after the next start."""

    def state(self) -> dict[str, Any]:
        """How it is, for the page: {"trouble": what is wrong or "", ...}."""
