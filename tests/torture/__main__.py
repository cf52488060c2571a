"""`make torture`: the whole appliance, a simulated network, and everything that can go wrong with a box.

Each round: a new data directory, some dozens of senders, one to three faults at random moments; then all
faults end, the box gets its time to come back, and the books of all parties are compared. The same seed
gives the same plan; `--seed S --rounds 1` repeats the round that a failure names.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from appliance import loop
from tests.torture.books import Verdict
from tests.torture.faults import KINDS, SHORT, compile_library
from tests.torture.network import Network
from tests.torture.one import Outcome, Round

NETWORK_ROUNDS: Final = 25  # then the simulator is started anew


class Bench:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder = args, folder
        self.library = compile_library(folder / "faulty.so")
        self.total = Verdict()
        self.faults: Counter[str] = Counter()
        self.deaths = self.rounds = 0
        self.recoveries: list[float] = []
        self.spent: Counter[str] = Counter()
        self.failed: list[str] = []
        self._begun = time.monotonic()
        self._seeds = iter(self._plan())

    def _plan(self) -> list[tuple[int, tuple[str, ...]]]:
        """Seeds, and the kinds each may draw from: all, or in the short form its own."""
        args = self.args
        if args.short:
            return [(args.seed + number, kinds) for number, kinds in enumerate(SHORT)]
        kinds = tuple(args.kinds.split(",")) if args.kinds else KINDS
        return [(args.seed + number, kinds) for number in range(args.rounds)]

    async def run(self) -> int:
        async with asyncio.TaskGroup() as all_:
            for job in range(self.args.jobs):
                all_.create_task(self._job(job))
        self._report(time.monotonic() - self._begun)
        return 1 if self.failed else 0

    async def _job(self, job: int) -> None:
        """Rounds one after the other, with a simulator that they share."""
        network: Network | None = None
        served = 0
        try:
            for seed, kinds in self._seeds:
                if network is None or served >= NETWORK_ROUNDS:
                    if network is not None:
                        await network.stop()
                    folder = Path(tempfile.mkdtemp(prefix=f"network-{job}-", dir=self.folder))
                    network, served = Network(folder, radio_s=0.02, seed=seed), 0
                    await network.start()
                served += 1
                one = Round(
                    self.folder / f"round-{seed}",
                    self.library,
                    network,
                    seed=seed,
                    senders=self.args.senders,
                    kinds=kinds,
                    most=None if self.args.short else 3,
                )
                self._note(one, await one.run())
                if one.outcome.wrong:
                    await network.stop()  # what is left in it belongs to nobody
                    network = None
        finally:
            if network is not None:
                await network.stop()

    def _note(self, one: Round, outcome: Outcome) -> None:
        self.rounds += 1
        self.faults.update(fault.kind for fault in outcome.faults)
        self.total.add(outcome.verdict)
        self.deaths += outcome.deaths
        self.recoveries += outcome.recoveries
        self.spent.update(outcome.spent)
        wrong = outcome.wrong
        if self.args.verbose or wrong:
            shown = ", ".join(f"{f.kind} {f.value}".strip() + f" at {f.at_s:.2f}" for f in outcome.faults)
            word = "WRONG" if wrong else "clean"
            print(f"seed {outcome.seed}: {word} in {outcome.took_s:.0f} s: {shown}", flush=True)
        if not wrong:
            shutil.rmtree(one.folder)
            return
        lines = [f"seed {outcome.seed}: {line}" for line in wrong]
        self.failed += lines
        print(f"  kept: {one.folder}", *lines, sep="\n", flush=True)

    def _report(self, took_s: float) -> None:
        total = self.total
        worst = max(self.recoveries, default=0.0)
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        spent = ", ".join(f"{name} {s / max(1, self.rounds):.1f}" for name, s in self.spent.items())
        print(
            f"rounds               {self.rounds} in {took_s:.0f} s, from seed {self.args.seed}",
            f"seconds a round      {spent}",
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
    parser.add_argument("--jobs", type=int, default=2, help="rounds side by side")
    parser.add_argument(
        "--senders", type=int, default=18, help="in each round, besides a client of 12 messages"
    )
    parser.add_argument("--kinds", help="only these kinds of faults, ',' between")
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
