"""The provider of a round: Twilio's API as it is, with a book of what it took, and callbacks that insist."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict

import aiohttp
from aiohttp import web

from tests.emulators.twilio import TwilioEmulator, sign
from tests.emulators.vendor import Fault

__all__ = ["SPOILT", "TwilioProvider"]

# "garbage" and "reset" take the message first: the box cannot know, and must say so.
SPOILT = ("status 500", "status 429", "reset", "reset_before", "garbage")


class TwilioProvider(TwilioEmulator):
    """carried: bodies by number, of all it took. Each message is reported as delivered, sometimes twice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._reports: set[asyncio.Task[None]] = set()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5))

    @property
    def carried(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for message in self.accepted:
            found[message["To"]].append(message["Body"])
        return found

    @property
    def owed(self) -> int:
        """Reports the box has not taken yet."""
        return len(self._reports)

    def spoil(self, kind: str, times: int) -> None:
        word, _, status = kind.partition(" ")
        headers = {"Retry-After": "1"} if status == "429" else {}
        self.faults.extend([Fault(word, int(status or 500), headers)] * times)

    def heal(self) -> None:
        self.faults.clear()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        before = len(self.accepted)
        response = await super().answer(request)
        for message in self.accepted[before:]:
            task = asyncio.create_task(self._report(message))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)
        return response

    async def _report(self, message: dict[str, str]) -> None:
        """Tell the box until it has said 200; Twilio itself would give up earlier."""
        url = message.get("StatusCallback", "")
        if not url:
            return
        form = {"MessageSid": message["sid"], "MessageStatus": "delivered", "To": message["To"]}
        left = self._rng.choice((1, 1, 1, 2))
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        while left:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                headers = {"X-Twilio-Signature": sign(self.token, url, form)}
                async with self._http.post(url, data=form, headers=headers) as answer:
                    if answer.status == 200:
                        left -= 1
                        continue
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        for task in self._reports:
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)
        await self._http.close()
