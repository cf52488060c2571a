"""Where callers who wait for their answer stand in line while memory is full of messages at work.

Without it what they bring would be put on disk, read back and committed a second time for its turn, so a box
that is offered too much would serve less than one that is not. Nobody in line has been promised anything, and
what they hold is their request's body: as much as there are connections.
"""

from __future__ import annotations

import asyncio
from collections import deque

from appliance.dispatcher.mailboxes import Mailboxes

__all__ = ["Door"]


class Door:
    """First come, first in. What is on disk only goes first: then the door stands open, and they go there."""

    def __init__(self, boxes: Mailboxes) -> None:
        self._boxes = boxes
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._coming = 0  # messages of callers who were let in and have not put them down yet

    def __len__(self) -> int:
        return len(self._line)

    def open_for(self, messages: int) -> bool:
        """May a caller with so many messages come in at once?"""
        return not self._line and self._fits(messages)

    def _fits(self, messages: int) -> bool:
        held = self._boxes.held + self._coming
        return self._boxes.behind or not held or held + messages <= self._boxes.window

    async def stand(self, messages: int, timeout_s: float) -> None:
        """Wait for room, at most so long; who calls puts the messages down without waiting again."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((messages, turn))
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except TimeoutError:
            pass
        finally:
            if turn.done() and not turn.cancelled():
                self._coming -= messages
            turn.cancel()

    def let_in(self, *, all_of_them: bool = False) -> None:
        """Room was made: let in whom it is enough for."""
        line = self._line
        while line and (all_of_them or line[0][1].cancelled() or self._fits(line[0][0])):
            messages, turn = line.popleft()
            if not turn.done():
                self._coming += messages
                turn.set_result(None)
