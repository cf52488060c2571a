"""The whole appliance killed while clients send: each request is one message, and the books add up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from typing import Any

import aiohttp
import pytest

from appliance.store import gateway as ops

pytestmark = pytest.mark.torture

MESSAGES = 600


async def test_killed_while_sending_each_key_is_one_message_and_the_books_add_up(box: Any) -> None:
    answered: dict[int, str] = {}
    after_kill = asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        await box.start(http)
        box.ask(do="add", name="acme")
        box.ask(do="credit", name="acme", units=MESSAGES + 7)
        box.ask(do="limits", name="acme", per_second=100_000)
        key = box.ask(do="key", name="acme")["key"]
        at_once = asyncio.Semaphore(30)

        async def send(number: int) -> None:
            body = {"to": f"+2519110{number:05}", "text": f"message {number}"}
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"key-{number}"}
            async with at_once:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post(f"{box.url}/v1/messages", json=body, headers=headers) as answer:
                        assert answer.status == 202, await answer.text()
                        receipt = await answer.json()
                        assert answered.setdefault(number, receipt["id"]) == receipt["id"]
            if len(answered) >= MESSAGES // 4 and not after_kill.is_set():
                after_kill.set()
                box.end(signal.SIGKILL)

        await asyncio.gather(*(send(number) for number in range(MESSAGES)))
        assert after_kill.is_set() and len(answered) < MESSAGES
        await box.start(http)
        # Whoever got no answer asks again, and so do some who did.
        await asyncio.gather(*(send(number) for number in range(MESSAGES)))
    assert len(answered) == MESSAGES
    box.end(signal.SIGTERM)
    with contextlib.closing(sqlite3.connect(box.data / "outpost.db")) as db:
        rows = dict(db.execute("SELECT id, recipient FROM outbound WHERE client_id > 0"))
        (books,) = ops.books(db)
    assert rows == {int(text.removeprefix("out_")): f"+2519110{n:05}" for n, text in answered.items()}
    assert books["difference"] == books["reserved_difference"] == 0
    assert (books["balance"], books["reserved"]) == (7, MESSAGES)
