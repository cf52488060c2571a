"""The simulated network of the torture bench: a process of its own, which no fault of the box touches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture.box import ROOT

__all__ = ["Network"]


class Network:
    """One modem with its network, and phones that write down what they get.

    carried: texts that arrived, by number of the phone; sent: how many texts each phone has sent for good.
    """

    def __init__(self, folder: Path, *, radio_s: float, acknowledge_s: float, seed: int) -> None:
        self.modem = folder / "modem0"
        self.number = ""
        self.carried: dict[str, list[str]] = defaultdict(list)
        self.sent: dict[str, int] = defaultdict(int)
        self.taken = 0  # texts of phones that the box's modem has taken
        self.failed: list[str] = []
        self.on_text: dict[str, Callable[[str], None]] = {}
        self._folder, self._radio_s, self._seed = folder, radio_s, seed
        self._acknowledge_s = acknowledge_s
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "appliance", "simulate", "--modems", "1", "--link", str(self._folder),
            "--radio", str(self._radio_s), "--seed", str(self._seed), "--unattached", "delivered",
            cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        socket = self._folder / "control.sock"
        async with asyncio.timeout(20):
            while not (socket.exists() and self.modem.exists()):
                await asyncio.sleep(0.02)
        reader, self._writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
        self._tasks.append(asyncio.create_task(self._read(reader), name="network"))
        self.number = (await self.ask(op="state"))["modems"][0]["number"]
        # An operator tries again after 30 s to an hour; a thousand rounds cannot wait for that.
        await self.ask(op="network", retry_s=0.5, acknowledge_s=self._acknowledge_s)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            match message.get("event"):
                case None:
                    waiting = self._answers.pop(message.pop("id"), None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
                case "sms":
                    self.carried[message["to"]].append(message["text"])
                    told = self.on_text.get(message["to"])
                    if told is not None:
                        told(message["text"])
                case "report" if message["state"] == "delivered":
                    self.taken += 1
                case "report" if message["state"] == "failed":
                    self.failed.append(f"a phone's text was refused: {message}")

    async def ask(self, **request: Any) -> dict[str, Any]:
        """One request to the simulator. Raises RuntimeError when it refuses."""
        self._next += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._next] = answer
        self._writer.write(json.dumps(request | {"id": self._next}).encode() + b"\n")
        told = await answer
        if "error" in told:
            raise RuntimeError(f"{request}: {told['error']}")
        return told

    async def attach(self, number: str) -> None:
        await self.ask(op="attach", number=number)

    async def detach(self, number: str) -> None:
        await self.ask(op="detach", number=number)

    async def text(self, sender: str, text: str) -> None:
        """A phone sends; the network holds it for as long as the box cannot take it."""
        self.sent[sender] += 1
        await self.ask(op="send", **{"from": sender}, to=self.number, text=text)

    async def held(self) -> int:
        """Messages on their way: in a phone, in the network, on the SIM."""
        state = await self.ask(op="state")
        stored = sum(used for modem in state["modems"] for used, _ in modem["storage"].values())
        return int(state["network"]["held"]) + stored + sum(self.sent.values()) - self.taken

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
