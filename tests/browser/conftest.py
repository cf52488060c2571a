"""Headless Chromium, driven by its DevTools protocol over one websocket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 40
WATCH = """new Promise((done) => {
  const all = {subtree: true, childList: true, attributes: true, characterData: true};
  const look = () => { if (CONDITION) { watch.disconnect(); done(true); } };
  const watch = new MutationObserver(look);
  watch.observe(document, all);
  setTimeout(() => done(false), 20000);
  look();
})"""


class Tab:
    """One page of the browser. `complaints`: what it wrote to its console, policy violations among it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._session: str | None = None
        self.complaints: list[str] = []
        self.loaded = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for frame in self._socket:
            message = frame.json()
            if "id" in message:
                answer = self._answers.pop(message["id"])
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
                continue
            method, params = message["method"], message.get("params", {})
            if method == "Page.loadEventFired":
                self.loaded.set()
            elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(params["entry"]["text"])
            elif method == "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                self.complaints.append(str(params["args"]))

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        async with asyncio.timeout(START_S):
            return await answer

    async def open(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def go(self, url: str) -> None:
        self.loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(START_S):
            await self.loaded.wait()

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait in the page, by its own observer of changes, until `condition` holds."""
        found = await self.ask(WATCH.replace("CONDITION", condition))
        assert found, f"never came true: {condition}"

    async def close(self) -> None:
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener


async def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens: it writes that into its profile, and tells nobody when it did."""
    file = profile / "DevToolsActivePort"
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(FileNotFoundError, ValueError):
                port, path = file.read_text().split()
                return f"ws://127.0.0.1:{port}{path}"
            assert process.poll() is None, "Chromium ended before it listened"
            await asyncio.sleep(0.05)


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install it (apt install chromium) or set CHROMIUM")
    profile = tmp_path / "profile"
    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",  # it refuses to run as root otherwise, as it does in a container
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address = await _address(profile, process)
        async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.open()
            yield tab
            await tab.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
