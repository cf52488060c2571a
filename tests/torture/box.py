"""The appliance under torture: started, killed and started again, as a service manager would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

__all__ = ["ROOT", "Box", "free_port"]

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 30.0
STOP_S: Final = 3.0
SECRET: Final = "a-secret-of-the-bench"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Box:
    """One data directory. `run` keeps a process on it until `stop`.

    deaths: how often it ended. recoveries: seconds from each new start to the first answer.
    """

    def __init__(
        self,
        folder: Path,
        modem: Path,
        *,
        workers: int,
        env: dict[str, str],
        provider: tuple[str, str, str],
        agent: str,
    ) -> None:
        """agent: takes cash. provider: address, account and token of the Twilio that carries to +2517."""
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "outpost.toml"
        self.config.write_text(
            f'data_dir = "data"\n[http]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[[modem]]\nname = "modem0"\nport = "{modem}"\n'
            f'[payments]\nagents = ["{agent}"]\n'
            f'[workers]\nmin = {workers}\nmax = {workers}\n[log]\nlevel = "warning"\n'
            "[gateway]\nwebhooks_private = true\n[quiet]\nlanes = []\n"
            '[[route]]\nname = "twilio"\nkind = "twilio"\nprefixes = ["+2517"]\nsender = "+15005550006"\n'
            f'url = "{provider[0]}"\naccount_sid = "{provider[1]}"\nauth_token = "{provider[2]}"\n'
            f'callback_secret = "{SECRET}"\npublic_url = "{self.url}"\ntimeout_s = 5\n'
        )
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OUTPOST")}
        self._env = clean | env
        self._armed: str | None = None  # fault point for the next start
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self.log = open(folder / "log.txt", "ab")
        self.deaths = 0
        self.codes: list[int] = []
        self.recoveries: list[float] = []

    async def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep(), name="keeper")
        await self.answers()

    async def _keep(self) -> None:
        while not self._stopping:
            env, self._armed = self._env | ({"OUTPOST_FAULTS": self._armed} if self._armed else {}), None
            begun = time.monotonic()
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "appliance", "run", "--config", str(self.config),
                cwd=ROOT, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                start_new_session=True,
            )  # fmt: skip
            watch = asyncio.create_task(self._first_answer(begun))
            code = await process.wait()
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            self.codes.append(code)
            if not self._stopping:
                self.deaths += 1
                await asyncio.sleep(0.02)  # a start that fails at once must not spin

    async def _first_answer(self, begun: float) -> None:
        await self.answers()
        self.recoveries.append(time.monotonic() - begun)

    async def answers(self) -> None:
        """Wait until the page's health check answers. Raises TimeoutError."""
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/healthz", timeout=aiohttp.ClientTimeout(1)) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.01)

    async def tell(self, **request: Any) -> dict[str, Any]:
        """Ask the control socket. Raises RuntimeError when it refuses."""
        reader, writer = await asyncio.open_unix_connection(str(self.data / "outpost.sock"))
        writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        if "error" in answer:
            raise RuntimeError(f"{request}: {answer['error']}")
        return answer

    async def modem_state(self) -> str:
        """What the box says of its modem, for the report of a round that went wrong."""
        try:
            async with asyncio.timeout(5):
                [modem] = (await self.tell(op="check"))["modems"]
        except (OSError, TimeoutError, ValueError, KeyError, RuntimeError) as error:
            return f"the box does not tell its modem's state: {error!r}"
        return f"modem {modem['state']}: {modem['reason']} (next: {modem['next_step']})"

    def arm(self, point: str) -> None:
        """Kill it now, and let the next process meet the fault point ("name=action@n")."""
        self._armed = point
        self.kill_main()

    def kill_main(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.kill()

    def kill_worker(self, rng: random.Random) -> None:
        children = self._children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(children), signal.SIGKILL)

    def kill_both(self) -> None:
        children = self._children()
        self.kill_main()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def freeze(self, on: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    async def freeze_worker(self, rng: random.Random, seconds: float) -> None:
        children = self._children()
        if children:
            pid = rng.choice(children)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(seconds)
                os.kill(pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        pid = self._process.pid if self._process is not None else 0
        found: list[int] = []
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
        return found

    async def stop(self) -> float:
        """Ask it to stop, as systemd would; returns the seconds that it took."""
        self._stopping = True
        begun = time.monotonic()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._keeper is not None:
            try:
                async with asyncio.timeout(3 * STOP_S):
                    await self._keeper
            except TimeoutError:
                self.kill_both()
                raise
        self.log.close()
        return time.monotonic() - begun
