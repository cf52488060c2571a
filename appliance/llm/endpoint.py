"""The one caller of the model: a request with a deadline, a byte limit and a breaker in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp

from appliance.llm.wire import MAX_ANSWER_OCTETS, Answer, Failure, Style, read_answer, request
from appliance.outbound.breaker import Breaker, BreakerState
from appliance.talk_settings import Assistant

__all__ = ["Endpoint"]

log = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
FAILURES: Final = 3  # in a row, until the endpoint is left alone
FIRST_REST_S: Final = 15.0
LONGEST_REST_S: Final = 300.0
QUIET_S: Final = 10.0  # after a 429 that does not say when to come back


class Endpoint:
    """Asks, one question at a time for each caller. key: never logged, never in a snapshot."""

    def __init__(self, settings: Assistant, key: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.breaker = Breaker(threshold=FAILURES, first_rest_s=FIRST_REST_S, longest_rest_s=LONGEST_REST_S)
        self._key = key
        self._clock = clock
        self._style = Style()
        self._quiet_until = float("-inf")  # as a 429 asked for
        self._changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.settings.parallel, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "Outpost"},
            trust_env=False,
            auto_decompress=True,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def admitted(self, until: float) -> bool:
        """Wait until the breaker lets a request through; False when it will not before `until` (clock's).

        Only a 429 is waited for: of an endpoint that fails nobody knows whether the wait is worth it.
        """
        while not self.breaker.acquire(now := self._clock()):
            again = self._quiet_until if self.breaker.state is BreakerState.OPEN else until
            if now >= until or again > until or again <= now:
                return False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again - now):
                    await self._changed.wait()
        return True

    async def ask(self, prompt: Sequence[tuple[str, str]], timeout_s: float) -> Answer | Failure:
        """Send one question that was admitted. Nothing that the endpoint does raises."""
        try:
            answer = await self._ask(prompt, timeout_s)
        except BaseException:  # we are being stopped: nothing is known of the endpoint
            self.breaker.abandoned(self._clock())
            self._changed.set()
            raise
        self._learn(answer)
        return answer

    def snapshot(self) -> dict[str, Any]:
        """For the page: where it is, and its breaker."""
        settings = self.settings
        return {
            "endpoint": settings.endpoint,
            "kind": settings.kind,
            "model": settings.model,
            "has_key": bool(self._key),
            "breaker": self.breaker.snapshot(self._clock()),
        }

    async def _ask(self, prompt: Sequence[tuple[str, str]], timeout_s: float) -> Answer | Failure:
        answer = await self._once(prompt, timeout_s)
        if isinstance(answer, Failure) and answer.kind == "style":
            # It refused a parameter before it did any work, and told which.
            log.info("the model's endpoint: %s; asked another way from now on", answer.reason)
            answer = await self._once(prompt, timeout_s)
        return answer

    async def _once(self, prompt: Sequence[tuple[str, str]], timeout_s: float) -> Answer | Failure:
        assert self._session is not None
        asked = request(self.settings, self._key, prompt, self._style)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
        try:
            async with self._session.post(
                asked.url, data=asked.body, headers=asked.headers, timeout=timeout, allow_redirects=False
            ) as response:
                body = bytearray()
                async for piece in response.content.iter_chunked(16_384):
                    body += piece
                    if len(body) > MAX_ANSWER_OCTETS:
                        return Failure("down", f"an answer of more than {MAX_ANSWER_OCTETS // 1024} KiB")
                headers = {name.lower(): value for name, value in response.headers.items()}
                return read_answer(response.status, headers, bytes(body), self._style)
        except TimeoutError:
            return Failure("down", f"no answer in {timeout_s:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The kind only: the text of some errors holds the request with its headers.
            return Failure("down", f"the connection failed: {type(error).__name__}")

    def _learn(self, answer: Answer | Failure) -> None:
        now, breaker = self._clock(), self.breaker
        before = breaker.state
        if isinstance(answer, Answer) or answer.kind in ("refused", "style"):
            breaker.succeeded(now)
        elif answer.kind == "busy":
            rest_s = QUIET_S if answer.retry_after_s is None else answer.retry_after_s
            breaker.asked_for_quiet(now, rest_s, answer.reason)
            self._quiet_until = breaker.retry_at or now
        else:
            breaker.failed(now, answer.reason, at_once=answer.kind == "misconfigured")
        if breaker.state is not before:
            log.warning("the model's endpoint is %s: %s", breaker.state.value, breaker.reason)
        self._changed.set()
