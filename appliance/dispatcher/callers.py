"""Callers who wait for the answer to their message (HTTP `Prefer: wait`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from appliance.dispatcher.mailboxes import Mailboxes
from appliance.message import InboundState
from appliance.store import turns
from appliance.store.store import Store

__all__ = ["COMMIT_PATIENCE_S", "Callers", "Conversed"]

COMMIT_PATIENCE_S: Final = 5.0  # a caller whose answer is being committed waits this much longer

_Wait = tuple[int, asyncio.Future[list[str] | None]]
_TIME_UP: Final[list[str]] = []  # told from an answer without replies by its identity


class Conversed(NamedTuple):
    """What became of a caller's message. It is on disk as row `id`.

    replies: texts for the sender, [] when there is nothing to say; None when the time ran out first.
    """

    id: int
    duplicate: bool
    state: InboundState
    replies: list[str] | None


class Callers:
    """Who waits for which message."""

    def __init__(self, store: Store, boxes: Mailboxes, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._boxes = boxes
        self._clock_ms = clock_ms
        self._closed = False
        self._waiting: dict[int, list[asyncio.Future[list[str] | None]]] = {}

    def __contains__(self, inbound_id: int) -> bool:
        return inbound_id in self._waiting

    def answer(self, inbound_id: int, answers: list[str] | None) -> None:
        """The turn is committed: tell all who wait for it."""
        for future in self._waiting.pop(inbound_id, ()):
            if not future.done():
                future.set_result(answers)

    def close(self) -> None:
        """Let everybody go: no more turns are run."""
        self._closed = True
        for inbound_id in list(self._waiting):
            self.answer(inbound_id, None)

    async def wait(self, inbound_id: int, timeout_s: float) -> list[str] | None:
        """The replies to the sender, or None when the time ran out or they have gone by air.

        Who waits when the turn is committed gets the replies instead of the air; who comes later, or again,
        gets what went over HTTP before, or takes what is still queued for the air.
        """
        return (await self.wait_many((inbound_id,), timeout_s))[0]

    async def wait_many(
        self, inbound_ids: Sequence[int], timeout_s: float, *, fresh: Collection[int] = ()
    ) -> list[list[str] | None]:
        """`wait` for each, under one timer: many wait in lists of a hundred.

        fresh: those that were accepted a moment ago and owe a turn; nobody need look whether it is over.
        """
        loop = asyncio.get_running_loop()
        waits: list[_Wait] = []
        for inbound_id in inbound_ids:
            future: asyncio.Future[list[str] | None] = loop.create_future()
            self._waiting.setdefault(inbound_id, []).append(future)
            waits.append((inbound_id, future))
        elsewhere = {inbound_id for inbound_id in inbound_ids if inbound_id not in self._boxes.by_id}
        unsure = elsewhere.difference(fresh)
        timer = loop.call_later(0.0 if self._closed else timeout_s, self._time_up, waits, False)
        try:
            return [
                await self._one(number, future, number in unsure, number in elsewhere)
                for number, future in waits
            ]
        finally:
            timer.cancel()
            for inbound_id, future in waits:
                self._forget(inbound_id, future)

    async def _one(
        self, inbound_id: int, future: asyncio.Future[list[str] | None], unsure: bool, elsewhere: bool
    ) -> list[str] | None:
        if unsure and not future.done():
            given = await self._store.reader.run(turns.replies_given, inbound_id)
            if not given.waiting and not future.done():
                return given.answers if given.answers is not None else await self._take(inbound_id)
        answers = await future
        if answers is _TIME_UP:
            return await self._take(inbound_id) if elsewhere and not self._closed else None
        return answers if answers is not None else await self._take(inbound_id)

    def _time_up(self, waits: list[_Wait], patient: bool) -> None:
        """Let those go who are still waiting, but for those whose replies are just being committed."""
        stay: list[_Wait] = []
        for inbound_id, future in waits:
            if future.done():
                continue
            pending = self._boxes.by_id.get(inbound_id)
            if not patient and pending is not None and pending.answering:
                stay.append((inbound_id, future))  # leaving now would lose them
            else:
                future.set_result(_TIME_UP)
        if stay:
            asyncio.get_running_loop().call_later(COMMIT_PATIENCE_S, self._time_up, stay, True)

    async def _take(self, inbound_id: int) -> list[str] | None:
        return await self._store.writer.run(turns.take_replies, inbound_id, self._clock_ms())

    def _forget(self, inbound_id: int, future: asyncio.Future[list[str] | None]) -> None:
        waiting = self._waiting.get(inbound_id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[inbound_id]
