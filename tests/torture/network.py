"""The simulated network of the torture bench: a process of its own, which no fault of the box touches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.torture.box import ROOT
from tests.torture.faults import Fault

__all__ = ["Network"]

STRANGER: Final = "+251922999999"  # whose old texts fill a SIM (firmware_bridge/simulator/acts.py)


class Network:
    """One modem with its network, and phones that write down what they get.

    carried: texts that arrived, by number of the phone; sent: how many texts each phone has sent for good.
    """

    def __init__(self, folder: Path, *, radio_s: float, seed: int) -> None:
        self.modem = folder / "modem0"
        self.number = ""
        self.carried: dict[str, list[str]] = defaultdict(list)
        self.sent: dict[str, int] = defaultdict(int)
        self.taken = 0  # texts of phones that the box's modem has taken
        self.failed: list[str] = []
        self.on_text: dict[str, Callable[[str], None]] = {}
        self._folder, self._radio_s, self._seed = folder, radio_s, seed
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
            while True:
                with contextlib.suppress(OSError):
                    if self.modem.exists():
                        reader, self._writer = await asyncio.open_unix_connection(str(socket), limit=1 << 20)
                        break
                await asyncio.sleep(0.02)
        self._tasks.append(asyncio.create_task(self._read(reader), name="network"))
        self.number = (await self.ask(op="state"))["modems"][0]["number"]
        await self.attach(STRANGER)

    async def begin(self, acknowledge_s: float) -> None:
        """Before each round. acknowledge_s: how long the modem waits for +CNMA."""
        self.failed.clear()
        self.on_text.clear()
        # An operator tries again after 30 s to an hour; a thousand rounds cannot wait for that.
        await self.ask(op="network", retry_s=0.5, acknowledge_s=acknowledge_s)

    async def trouble(self, fault: Fault) -> None:
        """What befalls the modem or the network; see docs/simulator.md."""
        match fault.kind:
            case "modem vanishes":
                await self.ask(op="act", do="vanish", seconds=fault.lasts_s)
            case "modem hangs":
                await self.ask(op="act", do="hang", seconds=fault.lasts_s)
            case "modem resets":
                await self.ask(op="act", do="reset")
            case "network lost":
                await self.ask(op="act", do="registration", code=2, seconds=fault.lasts_s)
            case "line noise":
                await self.ask(op="act", do="garbage", count=60)
            case "storage full":
                await self.ask(op="act", do="fill", code=0)
            case "brown-out":
                await self.ask(op="fault", point=fault.value, do="brownout", times=1)
            case "answer lost":
                await self.ask(op="fault", point="result", do="swallow", times=1)
            case "refused":
                await self.ask(op="fault", point="submit", do="refuse", code=int(fault.value), times=2)
            case "deliveries":
                await self.ask(op="fault", point="deliver", do=fault.value, times=3)
            case "reports":
                await self.ask(op="fault", point="report", do=fault.value, times=5, seconds=0.5)

    async def mend(self) -> None:
        """No trouble any more."""
        await self.ask(op="clear")

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
