"""Who uses the box in a round: programs that post by HTTP, people with phones, a technician who sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import defaultdict
from typing import Final

import aiohttp

from tests.torture.box import Box
from tests.torture.network import Network

__all__ = ["Traffic"]

BOOK: Final = "BOOK ADDIS HAWASSA TOMORROW 1"
AGENT_PIN: Final = "2580"
_CODE: Final = re.compile(r"Code ([A-Z0-9]+):")
TEXTS: Final = ("HELP", BOOK, "STATUS", "MENU", "book to bahr dar on friday", "what is this?")
PATIENCE_S: Final = 240.0  # the network itself may wait minutes before it tries again


class Traffic:
    """One round's senders, each with a number of its own, and an agent who takes cash for their seats.

    Their books: promised, bodies, queued, paid, trouble.
    """

    def __init__(
        self, box: Box, network: Network, rng: random.Random, *, first_number: int, senders: int
    ) -> None:
        self.promised: dict[str, int] = defaultdict(int)
        self.bodies: dict[str, list[str]] = defaultdict(list)
        self.queued: dict[str, int] = defaultdict(int)
        self.trouble: list[str] = []
        self.numbers = [f"+2519{first_number + i:08d}" for i in range(senders)]
        self.agent = f"+2519{first_number + 90:08d}"
        self.paid: set[str] = set()  # codes that the agent has taken cash for
        self._box, self._network, self._rng = box, network, rng

    async def run(self, duration_s: float) -> None:
        """Let them all do what they do; returns when each has its promise."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as self._http,
            asyncio.TaskGroup() as all_,
        ):
            for position, number in enumerate(self.numbers):
                at_s = self._rng.uniform(0, duration_s)
                work = (self._program, self._program_that_waits, self._person, self._technician)[
                    (0, 0, 1, 2, 2, 3)[position % 6]
                ]
                all_.create_task(work(number, at_s, self._rng.choice(TEXTS)))

    async def _program(self, number: str, at_s: float, text: str) -> None:
        await asyncio.sleep(at_s)
        await self._post(number, text, wait=False)

    async def _program_that_waits(self, number: str, at_s: float, text: str) -> None:
        await asyncio.sleep(at_s)
        replies = await self._post(number, text, wait=True)
        self.bodies[number] += replies

    async def _post(self, number: str, text: str, *, wait: bool) -> list[str]:
        """Post until there is a promise, always with the same messageId, as a careful client does."""
        body = {"from": number, "to": self._network.number, "message": text, "messageId": f"m{number}"}
        headers = {"Prefer": "wait=5"} if wait else {}
        limit = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < limit:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with self._http.post(
                    f"{self._box.url}/api/sms/incoming", json=body, headers=headers
                ) as got:
                    answer = await got.json(content_type=None)
                    if got.status in (200, 202):
                        self.promised[number] = 1
                        return [reply["text"] for reply in answer.get("replies", [])]
                    if got.status not in (429, 503):
                        self.trouble.append(f"{number}: HTTP {got.status} {answer}")
                        return []
            await asyncio.sleep(0.05)
        self.trouble.append(f"{number}: no promise within {PATIENCE_S:g} s")
        return []

    async def _person(self, number: str, at_s: float, text: str) -> None:
        """Texts, and says YES to an offer of seats."""
        offered, code = asyncio.Event(), asyncio.Event()
        told: list[str] = []

        def hear(reply: str) -> None:
            if "YES to hold" in reply:
                offered.set()
            elif (found := _CODE.match(reply)) is not None:
                told.append(found[1])
                code.set()

        self._network.on_text[number] = hear
        await asyncio.sleep(at_s)
        await self._text(number, text)
        if text == BOOK:
            step = "offer"
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await offered.wait()
                    await self._text(number, "YES")
                    step = "code"
                    await code.wait()
            except TimeoutError:
                self.trouble.append(f"{number}: no {step} within {PATIENCE_S:g} s")
            else:
                self.paid.add(told[0])
                await self._text(self.agent, f"PAY {told[0]} {AGENT_PIN}")

    async def _text(self, number: str, text: str) -> None:
        # The network has it from now on; it brings it to the box, however long that takes.
        self.promised[number] += 1
        await self._network.text(number, text)

    async def _technician(self, number: str, at_s: float, text: str) -> None:
        """`outpost send`: asks once; without an answer nothing was promised."""
        await asyncio.sleep(at_s)
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_unix_connection(str(self._box.data / "outpost.sock"))
                request = {"op": "send", "to": number, "text": f"Notice: {text}", "lane": "reply"}
                writer.write(json.dumps(request).encode() + b"\n")
                answer = json.loads(await reader.readline())
                writer.close()
                if answer.get("ok"):
                    self.queued[number] += 1
