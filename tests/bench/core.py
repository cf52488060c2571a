"""How fast the core is: store, dispatcher and workers, each figure beside its limit in the same run.

    python -m tests.bench.core [--rounds 5] [--only NAME ...] [--json FILE]

Rounds go through all contestants of a figure in turn, and the figure is the median of the rounds' ratios,
since absolute numbers swing with the neighbours of a virtual machine. Everything is synchronous=FULL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from appliance.dispatcher.dispatcher import SHELL_FACTORY, Dispatcher
from appliance.loop import loop_factory
from appliance.message import Inbound, InboundState
from appliance.store.database import connect_writer, prepare
from appliance.store.feed import Feed
from appliance.store.store import Store
from appliance.store.turns import Committed
from tests.bench.bench_shell import transition

TRIVIAL: Final = "tests.bench.bench_shell:Trivial"
HEAVY: Final = "tests.bench.bench_shell:Heavy"
TEXT: Final = "BOOK ADDIS HAWASSA TOMORROW 2"
SENDERS: Final = 3000
TABLE: Final = (
    "CREATE TABLE raw (id INTEGER PRIMARY KEY, natural_key TEXT UNIQUE, sender TEXT NOT NULL,"
    " text TEXT NOT NULL, state TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX raw_waiting ON raw (id) WHERE state = 'accepted'"
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def message(number: int, run: str, senders: int = SENDERS, text: str = TEXT) -> Inbound:
    return Inbound(
        channel="http",
        sender=f"+2519{number % senders:08d}",
        recipient="8400",
        text=text,
        received_at_ms=now_ms(),
        natural_key=f"http:{run}:{number}",
    )


class Rates:
    """Rounds of one figure: what each contestant did a second, and its CPU."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, float]] = []

    def ratio(self, ours: str, limit: str) -> float:
        return statistics.median(each[ours] / each[limit] for each in self.rounds)

    def median(self, name: str) -> float:
        return statistics.median(each[name] for each in self.rounds)


async def rate(work: Callable[[], Awaitable[int]]) -> tuple[float, float]:
    """Run once: (items a second, CPU microseconds of this process an item)."""
    started, cpu = time.perf_counter(), time.process_time()
    count = await work()
    return count / (time.perf_counter() - started), (time.process_time() - cpu) / count * 1e6


async def spread(count: int, lanes: int, one: Callable[[int], Awaitable[Any]]) -> int:
    """Call `one` for each number, `lanes` at a time."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return count


@contextlib.asynccontextmanager
async def box(factory: str, workers: int = 1) -> AsyncIterator[tuple[Store, Dispatcher]]:
    """A store and a dispatcher in a new directory, warm."""
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(Path(folder))
        dispatcher = Dispatcher(
            store,
            min_workers=workers,
            max_workers=workers,
            app_settings={},
            on_outbound=lambda rows: None,
            clock_ms=now_ms,
            factory=factory,
        )
        await dispatcher.start()
        try:
            await dispatcher.converse_many([message(n, "warm") for n in range(200)], 30)
            while len([w for w in dispatcher.snapshot()["workers"] if w["state"] == "ready"]) < workers:
                await asyncio.sleep(0.01)
            yield store, dispatcher
        finally:
            await dispatcher.stop()
            await store.close()


async def accept_batches(rounds: int) -> dict[str, Any]:
    """Messages accepted in lists of 100, against raw SQLite inserting 1,000 rows a commit."""
    rates = Rates()
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(Path(folder) / "store")
        raw = connect_writer(prepare(Path(folder) / "raw.db").path)
        raw.executescript(TABLE)
        try:
            for number in range(rounds):
                lists = [[message(at * 100 + n, f"a{number}") for n in range(100)] for at in range(200)]

                async def batches() -> int:
                    await spread(200, 8, lambda at: store.accept_many(lists[at]))  # noqa: B023
                    return 20_000

                async def single(at: int, run: str = f"s{number}") -> None:
                    await store.accept(message(at, run))

                async def limit(run: int = number) -> int:
                    return await asyncio.to_thread(insert_raw, raw, run, 20)

                ours, cpu = await rate(batches)
                one, one_cpu = await rate(lambda: spread(8000, 100, single))
                bare, _ = await rate(limit)
                found = {"accept_many": ours, "cpu": cpu, "accept": one, "one_cpu": one_cpu, "raw": bare}
                rates.rounds.append(found)
        finally:
            raw.close()
            await store.close()
    return {
        "figure": "accept, lists of 100, to raw SQLite FULL in thousands",
        "value": rates.ratio("accept_many", "raw"),
        "must": 0.40,
        "goal": 0.80,
        "more": {
            "accept_many_per_s": rates.median("accept_many"),
            "accept_many_cpu_us": rates.median("cpu"),
            "accept_per_s": rates.median("accept"),
            "accept_cpu_us": rates.median("one_cpu"),
            "raw_per_s": rates.median("raw"),
        },
    }


def insert_raw(db: sqlite3.Connection, run: int, commits: int) -> int:
    for commit in range(commits):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO raw (natural_key, sender, text, state, at_ms) VALUES (?, ?, ?, 'accepted', ?)",
            [
                (f"{run}:{commit}:{n}", f"+2519{n % SENDERS:08d}", TEXT, 1_790_000_000_000)
                for n in range(1000)
            ],
        )
        db.execute("COMMIT")
    return commits * 1000


async def dispatcher_alone(rounds: int) -> dict[str, Any]:
    """Turns through mailboxes, frames and a worker, over a store that does nothing; against a pool."""
    rates = Rates()
    with tempfile.TemporaryDirectory() as folder:
        path = prepare(Path(folder) / "empty.db").path
        store = NoStore(path)
        dispatcher = Dispatcher(
            store,  # type: ignore[arg-type]  # as much of a store as the dispatcher uses
            min_workers=1,
            max_workers=1,
            app_settings={},
            on_outbound=lambda rows: None,
            clock_ms=now_ms,
            factory=TRIVIAL,
        )
        await dispatcher.start()
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            await loop.run_in_executor(pool, transition, 1)
            number = 0

            messages = [message(n, "d", 100_000) for n in range(20_000)]

            async def turns() -> int:
                nonlocal number
                target = store.done + len(messages)
                for each in messages:
                    while number - store.done > 1500:
                        await store.moved.wait()
                        store.moved.clear()
                    number += 1
                    dispatcher.offer(number, each)
                while store.done < target:
                    await store.moved.wait()
                    store.moved.clear()
                return len(messages)

            async def one_by_one() -> int:
                for n in range(500):
                    await loop.run_in_executor(pool, transition, n)
                return 500

            await turns()
            for _ in range(rounds):
                ours, cpu = await rate(turns)
                limit, _ = await rate(one_by_one)
                rates.rounds.append({"dispatcher": ours, "cpu": cpu, "pool": limit})
        await dispatcher.stop()
    return {
        "figure": "dispatcher alone, to ProcessPoolExecutor one by one",
        "value": rates.ratio("dispatcher", "pool"),
        "must": 30,
        "goal": 100,
        "more": {
            "turns_per_s": rates.median("dispatcher"),
            "main_cpu_us": rates.median("cpu"),
            "pool_per_s": rates.median("pool"),
        },
    }


class NoStore:
    """Says yes to every commit at once; workers read an empty database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.feed = Feed()
        self.done = 0
        self.moved = asyncio.Event()
        self.on_accepted: Any = None
        self.judge = self.judge_caller = lambda db, message: None
        self.reader = SimpleNamespace(run=self._read)
        self.writer = SimpleNamespace(post=self._post, run=self._write, full=False, state="ok")

    async def _read(self, fn: Any, *args: Any) -> Any:
        return 0 if fn.__name__ == "count_waiting" else []

    async def _write(self, fn: Any, *args: Any) -> Any:
        return []

    def _post(self, op: Any, args: tuple[Any, ...], done: Any) -> None:
        self.done += 1
        self.moved.set()
        done(Committed(args[0].inbound_id, [], []), None)

    def announce(self, accepted: Any) -> None: ...

    async def hand_over_overdue_parts(self, now: int) -> int:
        return 0


async def conversations(rounds: int) -> dict[str, Any]:
    """Whole turns with the booking app: one commit for message and turn, against a commit for each."""
    rates = Rates()
    async with box(SHELL_FACTORY) as (store, dispatcher):
        for number in range(rounds):

            async def shared(at: int, run: str = f"c{number}") -> None:
                answer = await dispatcher.converse(message(at, run), 30)
                assert answer.state is InboundState.HANDLED

            async def apart(at: int, run: str = f"w{number}") -> None:
                accepted = await store.accept(message(at, run))
                await dispatcher.wait(accepted.id, 30)

            async def batch(at: int, run: str = f"b{number}") -> None:
                await dispatcher.converse_many([message(at * 100 + n, run) for n in range(100)], 30)

            one, one_cpu = await rate(lambda: spread(3000, 100, shared))
            two, two_cpu = await rate(lambda: spread(3000, 100, apart))
            many, many_cpu = await rate(lambda: spread(40, 8, batch))
            rates.rounds.append(
                {
                    "one": one,
                    "one_cpu": one_cpu,
                    "two": two,
                    "two_cpu": two_cpu,
                    "many": many * 100,
                    "many_cpu": many_cpu / 100,
                    "turn_us": 1000 * dispatcher.snapshot()["turn_ms"],
                }
            )
    return {
        "figure": "whole turn, one shared commit, to a commit each",
        "value": rates.ratio("one", "two"),
        "must": 1.0,
        "goal": 1.1,
        "more": {
            "turns_per_s": rates.median("one"),
            "main_cpu_us": rates.median("one_cpu"),
            "two_commits_per_s": rates.median("two"),
            "two_commits_cpu_us": rates.median("two_cpu"),
            "batches_per_s": rates.median("many"),
            "batches_cpu_us": rates.median("many_cpu"),
            "app_turn_us": rates.median("turn_us"),
        },
    }


async def second_core(rounds: int) -> dict[str, Any]:
    """A heavy app, 5 ms a turn: two workers against one."""
    rates = Rates()
    async with box(HEAVY, 1) as (_, one), box(HEAVY, 2) as (_, two):
        for number in range(rounds):

            async def turn(dispatcher: Dispatcher, at: int, run: str = f"h{number}") -> None:
                await dispatcher.converse(message(at, run), 30)

            single, _ = await rate(lambda: spread(200, 32, lambda n: turn(one, n)))
            double, _ = await rate(lambda: spread(400, 32, lambda n: turn(two, n)))
            rates.rounds.append({"one": single, "two": double})
    return {
        "figure": "second core: two workers to one, 5 ms a turn",
        "value": rates.ratio("two", "one"),
        "must": 1.7,
        "goal": 1.9,
        "more": {"one_per_s": rates.median("one"), "two_per_s": rates.median("two")},
    }


async def session_memory(rounds: int) -> dict[str, Any]:
    """Resident memory that a live session adds, main process and worker together, KiB."""
    del rounds
    async with box(SHELL_FACTORY) as (store, dispatcher):

        async def talk(start: int, count: int, run: str) -> None:
            for at in range(start, start + count, 100):
                batch = [message(n, run, 10**8) for n in range(at, at + 100)]
                await dispatcher.converse_many(batch, 30)

        def resident_kib() -> int:
            worker = dispatcher.snapshot()["workers"][0]["pid"]
            pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (os.getpid(), worker)]
            return sum(pages) * os.sysconf("SC_PAGE_SIZE") // 1024

        await talk(0, 4000, "first")
        before = resident_kib()
        await talk(10_000, 10_000, "second")
        after = resident_kib()
        found = await store.reader.run(lambda db: db.execute("SELECT count(*) FROM session").fetchone()[0])
        assert found >= 14_000
    return {
        "figure": "RSS a live session adds, KiB",
        "value": (after - before) / 10_000,
        "must": 4.0,
        "goal": 1.5,
        "less_is_better": True,
        "more": {"before_mib": before / 1024, "after_mib": after / 1024},
    }


FIGURES: Final[dict[str, Callable[[int], Awaitable[dict[str, Any]]]]] = {
    "accept": accept_batches,
    "dispatcher": dispatcher_alone,
    "conversation": conversations,
    "cores": second_core,
    "sessions": session_memory,
}


def measure(rounds: int, only: list[str] | None = None) -> list[dict[str, Any]]:
    """All figures, each in an event loop of its own."""
    found = []
    for name, figure in FIGURES.items():
        if only and name not in only:
            continue
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            found.append({"name": name, **runner.run(figure(rounds))})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(FIGURES))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures = measure(args.rounds, args.only)
    for each in figures:
        short = each["value"] > each["must"] if each.get("less_is_better") else each["value"] < each["must"]
        print(
            f"{each['figure']}: {each['value']:.2f} (must {each['must']}, goal {each['goal']})"
            + (" SHORT" if short else "")
        )
        for name, value in each["more"].items():
            print(f"    {name:22} {value:12,.1f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
