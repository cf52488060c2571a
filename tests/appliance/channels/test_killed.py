"""The appliance in a process of its own, killed again and again while a provider is being asked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.emulators.africas_talking import AfricasTalkingEmulator
from tests.sim.harness import Outpost, wait_for

KILLS = 4
EACH = 12  # messages between two kills
MESSAGES = KILLS * EACH
ROUTE = """
[[route]]
name = "at"
kind = "africas_talking"
username = "u"
api_key = "k"
url = "{url}"
parallel = 8
"""


class SlowVendor(AfricasTalkingEmulator):
    """Takes a message at once and says so a little later: that is when the power fails."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        answer = await super().answer(request)
        await asyncio.sleep(0.3)
        return answer


async def test_killed_in_mid_request_sends_nothing_twice_and_marks_every_doubt(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with SlowVendor("k") as vendor:
        outpost = Outpost(tmp_path, [], ROUTE.format(url=vendor.url))

        def send(first: int) -> None:
            for number in range(first, first + EACH):
                outpost.ask(op="send", to=f"+2519{number:08d}", text=f"m{number}", lane="normal")

        def finished() -> bool:
            return not outpost.count("SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')")

        try:
            await asyncio.to_thread(outpost.start)
            for kill in range(KILLS):
                goal = len(vendor.accepted) + chance.randint(1, 6)
                sending = asyncio.create_task(asyncio.to_thread(send, kill * EACH))
                async with asyncio.timeout(20):
                    while len(vendor.accepted) < goal or not sending.done():
                        await asyncio.sleep(0.001)
                await asyncio.to_thread(outpost.kill)
                await asyncio.to_thread(outpost.start)
            await asyncio.to_thread(wait_for, "the end of the queue", finished)
            rows = await asyncio.to_thread(_rows, outpost)
        finally:
            await asyncio.to_thread(outpost.close)
    taken = Counter(each["message"] for each in vendor.accepted)
    assert len(rows) == MESSAGES
    assert {state for _, state in rows} <= {"sent", "uncertain"}
    for text, state in rows:
        assert taken[text] == 1 if state == "sent" else taken[text] <= 1
    # Each kill leaves in doubt at most what was under way.
    assert 1 <= sum(state == "uncertain" for _, state in rows) <= 8 * KILLS


def _rows(outpost: Outpost) -> list[Any]:
    messages = [outpost.lives(f"out:{number}")[0] for number in range(1, MESSAGES + 1)]
    return [(message["text"], message["state"]) for message in messages]
