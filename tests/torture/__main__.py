"""`make torture`: the whole appliance, a simulated network, and everything that can go wrong with a box.

Each round: a new data directory, some dozens of senders, one to three faults at random moments; then all
faults end, the box gets its time to come back, and four books are compared. The same seed gives the same
plan; `--seed S --rounds 1` repeats the round that a failure names.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from appliance import loop
from tests.torture.books import Books, Verdict, compare, unfinished
from tests.torture.box import Box
from tests.torture.faults import KINDS, Fault, Spoiler, compile_library, plan
from tests.torture.network import Network
from tests.torture.traffic import Traffic

TRAFFIC_S: Final = 1.5
SETTLE_S: Final = 240.0  # for retries with their back-off, of the box and of the network
SHORT: Final = 10  # rounds of the short form: each kind of fault once,
SHORT_S: Final = 240.0  # but no round is begun after so long: CI has other things to do


class Bench:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.library = compile_library(folder / "faulty.so")
        self.total = Verdict()
        self.faults: Counter[str] = Counter()
        self.deaths = 0
        self.recoveries: list[float] = []
        self.failed: list[str] = []

    async def run(self) -> int:
        rounds = SHORT if self.args.short else self.args.rounds
        begun = time.monotonic()
        done = 0
        for number in range(rounds):
            if self.args.short and time.monotonic() - begun > SHORT_S:
                break
            done += 1
            seed = self.args.seed + number
            kinds = (KINDS[number % len(KINDS)],) if self.args.short else KINDS
            lines = await self._round(seed, kinds)
            if lines:
                self.failed += [f"seed {seed}: {line}" for line in lines]
                print(*self.failed[-len(lines) :], sep="\n", flush=True)
        self._report(done, time.monotonic() - begun)
        return 1 if self.failed else 0

    async def _round(self, seed: int, kinds: tuple[str, ...]) -> list[str]:
        """One round; returns what was wrong, in lines."""
        begun = time.monotonic()
        rng = random.Random(seed)
        folder = self.folder / f"round-{seed}"
        folder.mkdir()
        # How long the modem waits for +CNMA: shorter and longer than the box needs to start again. The longer
        # one costs a sweep of the SIM, so the short form leaves it out.
        acknowledge_s = 0.2 if self.args.short else rng.choice((0.2, 0.2, 2.0))
        network = Network(folder, radio_s=0.02, acknowledge_s=acknowledge_s, seed=seed)
        await network.start()
        spoiler = Spoiler(folder, self.library, folder / "data")
        box = Box(folder, network.modem, workers=rng.choice((1, 2)), env=spoiler.env)
        faults = plan(rng, kinds=kinds, most=1 if self.args.short else 3)
        self.faults.update(fault.kind for fault in faults)
        wrong: list[str] = []
        traffic = Traffic(box, network, rng, first_number=seed * 100 % 90_000_000, senders=self.args.senders)
        try:
            await box.start()
            storm = asyncio.create_task(self._storm(box, spoiler, faults, rng))
            await traffic.run(TRAFFIC_S)
            await storm
            wrong += await self._settle(box, network, traffic)
            stop_s = await box.stop()
            if stop_s > 3.0 or box.codes[-1] != 0:
                wrong.append(f"stopped after {stop_s:.1f} s with exit code {box.codes[-1]}")
            verdict = compare(
                box.data / "outpost.db",
                Books(traffic.promised, network.carried, traffic.bodies, traffic.queued),
            )
            self.total.add(verdict)
            wrong += traffic.trouble + network.failed + verdict.lines()
        except (TimeoutError, OSError, RuntimeError, sqlite3.Error) as error:
            wrong.append(f"{type(error).__name__}: {error}")
            box.kill_both()
        finally:
            await network.stop()
            spoiler.close()
        self.deaths += box.deaths
        self.recoveries += box.recoveries[1:]
        if self.args.verbose or wrong:
            shown = ", ".join(f"{f.kind} {f.value}".strip() + f" at {f.at_s:.2f}" for f in faults)
            took_s = time.monotonic() - begun
            print(f"seed {seed}: {'WRONG' if wrong else 'clean'} in {took_s:.0f} s: {shown}", flush=True)
        if wrong:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder)
        return wrong

    async def _storm(self, box: Box, spoiler: Spoiler, faults: list[Fault], rng: random.Random) -> None:
        """Do what the plan says, when it says so; at the end nothing is spoilt any more."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as all_:
            for fault in faults:
                await asyncio.sleep(max(0.0, fault.at_s - (time.monotonic() - begun)))
                all_.create_task(self._one(box, spoiler, fault, rng))
        spoiler.clear()

    async def _one(self, box: Box, spoiler: Spoiler, fault: Fault, rng: random.Random) -> None:
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
            case _:
                spoiler.begin(fault)
                await asyncio.sleep(fault.lasts_s)
                spoiler.clear()

    async def _settle(self, box: Box, network: Network, traffic: Traffic) -> list[str]:
        """Wait until neither box nor network owes anybody anything, twice in a row."""
        limit = time.monotonic() + SETTLE_S
        quiet = 0
        left = "nothing was read"
        while time.monotonic() < limit:
            await asyncio.sleep(0.1)
            try:
                rows = await asyncio.to_thread(unfinished, box.data / "outpost.db")
                held = await network.held()
            except sqlite3.Error as error:
                left, quiet = str(error), 0
                continue
            left = f"{rows} rows in the box, {held} messages in the network"
            quiet = quiet + 1 if rows == held == 0 else 0
            if quiet >= 3:
                return []
        state = await network.ask(op="state")
        return [f"not settled after {SETTLE_S:g} s: {left}; {await box.modem_state()}; {state}"]

    def _report(self, rounds: int, took_s: float) -> None:
        total = self.total
        worst = max(self.recoveries, default=0.0)
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        print(
            f"rounds               {rounds} in {took_s:.0f} s, from seed {self.args.seed}",
            f"faults               {kinds}",
            f"deaths               {self.deaths}",
            f"accepted             {total.accepted}",
            f"lost                 {len(total.lost)}",
            f"double               {len(total.double)}   (beyond {total.uncertain} marked uncertain)",
            f"ledger difference    {len(total.ledger)}",
            f"set aside            {total.set_aside}",
            f"longest recovery     {worst:.2f} s",
            f"rounds with faults of ours: {len({line.split(':')[0] for line in self.failed})}",
            sep="\n",
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make torture", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--senders", type=int, default=36, help="in each round")
    parser.add_argument("--short", action="store_true", help="each kind of fault once: about a minute")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    code = loop.run(Bench(args, folder).run())
    if code == 0:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
