"""The whole appliance killed while clients send: each request is one message, and the books add up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.store import gateway as ops

pytestmark = pytest.mark.torture

ROOT = Path(__file__).parents[3]
MESSAGES = 600
READY_S = 30


class Box:
    """`outpost run` without a modem, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.data = folder / "data"
        self._config = folder / "outpost.toml"
        self._config.write_text(f'data_dir = "{self.data}"\n[http]\nlisten = "{self.url[7:]}"\n')
        self._log = (folder / "log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, http: aiohttp.ClientSession) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self._config)],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )
        async with asyncio.timeout(READY_S):
            while True:
                assert self.process.poll() is None, "the appliance ended"
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    def ask(self, **request: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.data / "outpost.sock"))
            control.sendall(json.dumps({"op": "client", **request}).encode() + b"\n")
            with control.makefile() as lines:
                return json.loads(lines.readline())

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


async def test_killed_while_sending_each_key_is_one_message_and_the_books_add_up(box: Box) -> None:
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
