"""Works off what the conversations want to ask a model; the main process's part of the assistant.

What is to be asked is on disk with its deadline (`store.asking`); what comes of it is written with the event
that tells the person's conversation. So a slow endpoint holds no worker, and after a kill a question is asked
again while there is time, or given up, and the person still gets exactly one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from appliance import faults
from appliance.llm.endpoint import Endpoint
from appliance.llm.wire import Answer, Failure
from appliance.store import asking
from appliance.store.asking import Open, Settled
from appliance.store.cache import Cache
from appliance.store.errors import StoreClosed, StoreError
from appliance.talk_settings import Assistant

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["AskService"]

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
MOST_TRIES: Final = 3  # requests for one question, those of killed processes among them
TELLING_S: Final = 1.0  # of the deadline, left for the turn that tells
KEEP_MS: Final = 30 * 86_400_000  # questions that were told are kept so long, for the page and for disputes
TIDY_EVERY_S: Final = 3600.0
ANSWER_TTL_S: Final = 86_400.0


class AskService:
    """Asks until stopped. endpoint None: none is configured; what was recorded before is given up at once.

    answers: what the same prompt got before costs neither time nor money. A prompt holds the facts it was
    made of, and neither names nor numbers, so its answer is as good for the next one who asks so.
    """

    def __init__(
        self,
        store: Store,
        settings: Assistant,
        clock_ms: Callable[[], int],
        *,
        timezone_minutes: int = 180,
        clock: Callable[[], float] = time.monotonic,
        answers: Cache | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock_ms = clock_ms
        self._clock = clock
        self._zone = timezone_minutes
        self._answers = answers
        self.endpoint: Endpoint | None = None
        if settings.endpoint:
            self.endpoint = Endpoint(settings, settings.key(), clock=clock)
        self._at_work: dict[int, asyncio.Task[None]] = {}
        self._askers: set[str] = set()
        self._look = asyncio.Event()
        self._looker: asyncio.Task[None] | None = None
        self._undo: Callable[[], None] | None = None
        self._tidied = -TIDY_EVERY_S

    async def start(self) -> None:
        if self.endpoint is not None:
            await self.endpoint.start()
        self._undo = self._store.feed.subscribe(self._changed)
        self._looker = asyncio.create_task(self._look_for_ever(), name="model questions")

    async def stop(self) -> None:
        """Stop at once: what is being asked is asked again after the next start, while there is time."""
        if self._undo is not None:
            self._undo()
        tasks = [task for task in (self._looker, *self._at_work.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.endpoint is not None:
            await self.endpoint.stop()

    def snapshot(self) -> dict[str, Any]:
        """For the page; {} when no model is configured."""
        if self.endpoint is None:
            return {}
        return {**self.endpoint.snapshot(), "asking": len(self._at_work)}

    def _changed(self, change: dict[str, Any]) -> None:
        if change.get("kind") == "session" and change.get("state") == "THINKING":
            self._look.set()

    async def _look_for_ever(self) -> None:
        while True:
            self._look.clear()
            try:
                await self._start_open()
                await self._tidy()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("questions for the model wait for the disk: %s", error)
            except Exception:
                log.exception("looking for questions failed; it goes on")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()

    async def _start_open(self) -> None:
        """Begin what can be begun: one question of a person at a time, so that answers come in order."""
        for row in await self._store.reader.run(asking.open_questions):
            if row.id in self._at_work or row.asker in self._askers:
                continue
            left_s = self._left_s(row)
            if self.endpoint is None or left_s <= 0 or row.tries >= MOST_TRIES:
                why = "no model is configured" if self.endpoint is None else "its time was over"
                self._begin(row, self._settle(Settled(row.id, "", why)))
            elif len(self._at_work) < self._settings.parallel:
                self._begin(row, self._ask(self.endpoint, row, left_s))

    def _left_s(self, row: Open) -> float:
        """Seconds until the person must have an answer; a clock that was set back does not lengthen them."""
        left_s = (row.deadline_ms - self._clock_ms()) / 1000
        return min(left_s, self._settings.timeout_s) - TELLING_S

    def _begin(self, row: Open, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"model question {row.id}")
        self._at_work[row.id] = task
        self._askers.add(row.asker)
        task.add_done_callback(lambda done: self._ended(row, done))

    def _ended(self, row: Open, task: asyncio.Task[None]) -> None:
        del self._at_work[row.id]
        self._askers.discard(row.asker)
        self._look.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, StoreError):
                log.warning("the answer to question %d waits for the disk: %s", row.id, error)
            else:
                log.error("question %d failed and is tried again", row.id, exc_info=error)

    async def _ask(self, endpoint: Endpoint, row: Open, left_s: float) -> None:
        until = self._clock() + left_s
        tries, tokens_in, tokens_out = 0, 0, 0
        reason = ""
        key = f"answer:{self._settings.model}:{_digest(row.prompt)}"
        said = "" if self._answers is None else str(self._answers.get(key) or "")
        while not said:
            if tries + row.tries >= MOST_TRIES or not await endpoint.admitted(until):
                breaker = endpoint.breaker
                reason = reason or f"the endpoint rests: {breaker.reason}"
                break
            if not await self._store.writer.run(asking.count_try, row.id):
                endpoint.breaker.abandoned(self._clock())
                return
            tries += 1
            if faults.armed:
                faults.hit("llm.before_ask")
            answer = await endpoint.ask(row.prompt, max(0.1, until - self._clock()))
            tokens_in += self._tokens_in(row, answer)
            if isinstance(answer, Answer):
                estimated = len(answer.text.encode()) // 3
                tokens_out += estimated if answer.tokens_out is None else answer.tokens_out
                said = answer.text
                if self._answers is not None:
                    self._answers.set(key, said, ttl_s=ANSWER_TTL_S)
            else:
                reason = answer.reason
                if answer.kind != "busy":
                    break
        if faults.armed:
            faults.hit("llm.asked")
        settings = self._settings
        cost = round(tokens_in * settings.input_price + tokens_out * settings.output_price)
        await self._settle(Settled(row.id, said, "" if said else reason, tries, tokens_in, tokens_out, cost))

    def _tokens_in(self, row: Open, answer: Answer | Failure) -> int:
        """What a request cost. One that failed on the way may have been read and paid for; a 429 was not."""
        if isinstance(answer, Failure) and answer.kind in ("busy", "misconfigured"):
            return 0
        counted = answer.tokens_in if isinstance(answer, Answer) else None
        return sum(len(text.encode()) // 3 + 8 for _, text in row.prompt) if counted is None else counted

    async def _settle(self, settled: Settled) -> None:
        now_ms = self._clock_ms()
        day = asking.day_of(now_ms, self._zone)
        news = await self._store.writer.run(asking.settle, settled, now_ms, day)
        self._store.announce(news)

    async def _tidy(self) -> None:
        now = self._clock()
        if now - self._tidied >= TIDY_EVERY_S:
            self._tidied = now
            if self._answers is not None:
                self._answers.cull()
            await self._store.writer.run(asking.forget_told, self._clock_ms() - KEEP_MS)


def _digest(prompt: Sequence[tuple[str, str]]) -> str:
    return hashlib.blake2b(orjson.dumps(prompt), digest_size=16).hexdigest()
