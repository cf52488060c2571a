"""One round: a box, its senders, what goes wrong, the way back, and the books."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.torture.books import Books, Verdict, compare, unfinished
from tests.torture.box import Box
from tests.torture.clients import CREDIT, Client, Receiver
from tests.torture.faults import MODEM, Fault, Spoiler, plan
from tests.torture.network import Network
from tests.torture.providers import TwilioProvider
from tests.torture.traffic import AGENT_PIN, Traffic

__all__ = ["Outcome", "Round"]

TRAFFIC_S: Final = 1.2
SETTLE_S: Final = 240.0  # for retries with their back-off, of the box and of the network
LOOK_S: Final = 0.05
QUIET: Final = 3  # looks in a row that find nothing owed
MOUNT_MIB: Final = 640  # the disk of a round that fills one: below some 400 MiB the box closes its lanes


@dataclass(slots=True)
class Outcome:
    """What came of a round. wrong: in lines, empty when all is well."""

    seed: int
    faults: list[Fault]
    took_s: float = 0.0
    deaths: int = 0
    recoveries: list[float] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    wrong: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)


class Round:
    """Made from its seed. network: the simulator, which may have served rounds before."""

    def __init__(
        self,
        folder: Path,
        library: Path,
        network: Network,
        *,
        seed: int,
        senders: int,
        kinds: tuple[str, ...],
        most: int | None,
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.folder, self.network = folder, network
        self.faults = plan(rng, kinds=kinds, most=most)
        self.outcome = Outcome(seed, self.faults)
        folder.mkdir()
        self.data = folder / "data"
        self.data.mkdir()
        self._mounted = any(fault.kind == "filled disk" for fault in self.faults) and _mount(self.data)
        self.spoiler = Spoiler(folder, library, self.data)
        # How long the modem waits for +CNMA: shorter and longer than the box needs to start again. The
        # longer one costs a sweep of the SIM, so it is drawn seldom.
        self._acknowledge_s = rng.choice((0.2, 0.2, 0.2, 2.0))
        self._workers = rng.choice((1, 2))
        self._senders = senders
        first = seed * 200 % 90_000_000
        self._air = [f"+2519{first + 100 + i:08d}" for i in range(6)]
        self._by_provider = [f"+2517{first + 100 + i:08d}" for i in range(6)]
        self._first = first

    async def run(self) -> Outcome:
        outcome, begun = self.outcome, time.monotonic()
        try:
            async with TwilioProvider(self.rng) as self.provider:
                self.receiver = Receiver(self.rng)
                await self.receiver.start()
                try:
                    await self._run()
                finally:
                    await self.receiver.stop()
                    await self.provider.close()
        except Exception as error:  # the bench's own fault too: the other rounds go on, and this one is kept
            outcome.wrong += [line.strip() for line in traceback.format_exception(error)]
            self.box.kill_both()
        except asyncio.CancelledError:
            self.box.kill_both()
            raise
        finally:
            self.spoiler.close()
            if self._mounted:
                subprocess.run(["umount", "-l", str(self.data)], check=False)
        outcome.deaths, outcome.recoveries = self.box.deaths, self.box.recoveries[1:]
        outcome.took_s = time.monotonic() - begun
        return outcome

    async def _run(self) -> None:
        network, provider, outcome, rng = self.network, self.provider, self.outcome, self.rng
        self.box = box = Box(
            self.folder,
            network.modem,
            workers=self._workers,
            env=self.spoiler.env,
            provider=(provider.url, provider.sid, provider.token),
            agent=f"+2519{self._first + 90:08d}",
        )
        self._lap("setup")
        await network.begin(self._acknowledge_s)
        traffic = Traffic(box, network, rng, first_number=self._first, senders=self._senders)
        client = Client(box, rng, by_air=self._air, by_provider=self._by_provider)
        phones = [*traffic.numbers, traffic.agent, *client.numbers]
        await asyncio.gather(*(network.attach(number) for number in phones))
        await box.start()
        await client.prepare(self.receiver)
        await box.tell(op="agent", do="pin", number=traffic.agent, pin=AGENT_PIN)
        self._lap("start")
        storm = asyncio.create_task(self._storm())
        await asyncio.gather(traffic.run(TRAFFIC_S), client.run(TRAFFIC_S))
        self._lap("traffic")
        await storm
        await network.mend()
        provider.heal()
        self.receiver.spoilt = 0
        self._lap("storm")
        outcome.wrong += await self._settle()
        self._lap("settle")
        await box.answers()  # a fault point may have killed it just now; a start is not ended politely
        stop_s = await box.stop()
        if stop_s > 3.0 or box.codes[-1] != 0:
            outcome.wrong.append(f"stopped after {stop_s:.1f} s with exit code {box.codes[-1]}")
        self._lap("stop")
        carried = {number: list(texts) for number, texts in network.carried.items()}
        for number, texts in provider.carried.items():
            carried.setdefault(number, []).extend(texts)
        books = Books(
            traffic.promised,
            carried,
            traffic.bodies,
            traffic.queued,
            client.promised,
            self.receiver.heard,
            self.receiver.first,
            CREDIT,
            traffic.paid,
        )
        outcome.verdict = compare(box.data / "outpost.db", books)
        outcome.wrong += traffic.trouble + client.trouble + network.failed + self.receiver.wrong
        outcome.wrong += outcome.verdict.lines()
        await asyncio.gather(*(network.detach(number) for number in phones))
        network.carried.clear()
        self._lap("compare")

    def _lap(self, name: str) -> None:
        now = time.monotonic()
        self.outcome.spent[name] = now - getattr(self, "_at", now)
        self._at = now

    async def _storm(self) -> None:
        """Do what the plan says, when it says so; at the end nothing is spoilt any more."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as all_:
            for fault in self.faults:
                await asyncio.sleep(max(0.0, fault.at_s - (time.monotonic() - begun)))
                all_.create_task(self._one(fault))
        self.spoiler.clear()

    async def _one(self, fault: Fault) -> None:
        box, rng = self.box, self.rng
        match fault.kind:
            case "kill main":
                box.kill_main()
            case "kill worker":
                box.kill_worker(rng)
            case "kill both":
                box.kill_both()
            case "kill at a point":
                box.arm(fault.value)
            case "freeze":
                box.freeze(True)
                await asyncio.sleep(fault.lasts_s)
                box.freeze(False)
            case "freeze worker":
                await box.freeze_worker(rng, fault.lasts_s)
            case "provider":
                self.provider.spoil(fault.value, rng.randint(1, 4))
            case "webhooks":
                self.receiver.spoilt = rng.randint(1, 3)
            case "locked file":
                await asyncio.to_thread(_lock, box.data / "outpost.db", fault.lasts_s)
            case "filled disk" if self._mounted:
                filler = await asyncio.to_thread(_fill, self.data)
                await asyncio.sleep(fault.lasts_s)
                filler.unlink(missing_ok=True)
            case kind if kind in MODEM:
                await self.network.trouble(fault)
            case _:
                self.spoiler.begin(fault)
                await asyncio.sleep(fault.lasts_s)
                self.spoiler.clear()

    async def _settle(self) -> list[str]:
        """Wait until nobody owes anybody anything, some looks in a row."""
        limit = time.monotonic() + SETTLE_S
        quiet = 0
        left = "nothing was read"
        while time.monotonic() < limit:
            await asyncio.sleep(LOOK_S)
            try:
                rows = await asyncio.to_thread(unfinished, self.box.data / "outpost.db")
                held = await self.network.held()
            except sqlite3.Error as error:
                left, quiet = str(error), 0
                continue
            owed = self.provider.owed
            left = f"{rows} rows in the box, {held} messages in the network, {owed} reports of the provider"
            quiet = quiet + 1 if rows == held == owed == 0 else 0
            if quiet >= QUIET:
                return []
        state = await self.network.ask(op="state")
        return [f"not settled after {SETTLE_S:g} s: {left}; {await self.box.modem_state()}; {state}"]


def _mount(folder: Path) -> bool:
    """A small disk of its own, where we may; else the fault is the preloaded library's."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={MOUNT_MIB}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _fill(folder: Path) -> Path:
    """Leave not one octet on the disk of `folder`."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 22, 1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def _lock(path: Path, seconds: float) -> None:
    """What a careless tool does: hold the write lock of the database."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return  # the disk is full or failing just now
        time.sleep(seconds)
        db.execute("ROLLBACK")
