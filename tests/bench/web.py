"""The figures of HTTP: windows of the limit and of the appliance take turns; the median ratio counts."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench.report import Row
from tests.bench.servers import SERVER_CORE, Box, Figure, boxed, empty, kannel, load, rss_mib

__all__ = ["accept", "batch", "beside_kannel", "memory", "start", "turn"]

MESSAGES: Final = 100_000  # after which the memory is looked at
BARE: Final = "aiohttp.web, uvloop, orjson, msgspec, sqlite3, aiosqlite, diskcache, prometheus_client"

RAW: Final = """\
import os, sqlite3, sys, time
os.sched_setaffinity(0, {int(sys.argv[3])})
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('PRAGMA journal_mode=WAL'); db.execute('PRAGMA synchronous=FULL')
db.executescript('''CREATE TABLE IF NOT EXISTS raw (id INTEGER PRIMARY KEY, channel TEXT NOT NULL,
  sender TEXT NOT NULL, recipient TEXT NOT NULL, text TEXT NOT NULL, natural_key TEXT UNIQUE,
  sent_at_ms INTEGER, received_at_ms INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS raw_waiting ON raw (id) WHERE state = 'accepted';''')
text = 'Your balance is 12.50 birr, valid until 30/11.'
done, begun, run = 0, time.perf_counter(), time.time_ns()
while time.perf_counter() < begun + float(sys.argv[2]):
    rows = [('http', '8400', '+251911000001', text, f'http:{run:x}-{done + i}', 1800000000000, 1800000000000,
             'accepted') for i in range(1000)]
    db.execute('BEGIN IMMEDIATE')
    db.executemany('INSERT INTO raw (channel, sender, recipient, text, natural_key, sent_at_ms,'
                   ' received_at_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?)', rows)
    db.execute('COMMIT'); done += 1000
print(done / (time.perf_counter() - begun))
"""


def in_turns(rounds: int, limit: Callable[[], float], ours: Callable[[], Figure]) -> Figure:
    """The median of the rounds' ratios, with all that was measured."""
    limits, windows = [], []
    for _ in range(rounds):
        limits.append(limit())
        windows.append(ours())
    ratios = [window["messages_s"] / one for window, one in zip(windows, limits, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "messages_s": statistics.median(window["messages_s"] for window in windows),
        "limit_s": statistics.median(limits),
        "p95_ms": statistics.median(window["p95_ms"] for window in windows),
        "p99_ms": statistics.median(window["p99_ms"] for window in windows),
    }


def _against_e(
    args: argparse.Namespace, folder: Path, kinds: dict[str, str], must: float, goal: float
) -> list[Row]:
    rows = []
    with empty() as limit_port, boxed(folder) as box:
        for kind in ("empty", *kinds):  # warm both
            load(limit_port if kind == "empty" else box.port, kind, 0.5, key=box.key)
        for kind, figure in kinds.items():
            more = in_turns(
                args.rounds,
                lambda: float(load(limit_port, "empty", args.window)["messages_s"]),
                lambda: load(box.port, kind, args.window, key=box.key),  # noqa: B023
            )
            rows.append(Row(kind, figure, more["ratio"], must, goal, more=more))
    return rows


def accept(args: argparse.Namespace, folder: Path) -> list[Row]:
    """One message a POST, 100 connections, to E."""
    kinds = {"send": "accept, POST /v1/messages, to E", "accept": "accept, POST /api/sms/incoming, to E"}
    return _against_e(args, folder, kinds, 0.60, 0.85)


def turn(args: argparse.Namespace, folder: Path) -> list[Row]:
    """A whole turn by HTTP, 100 connections, to E."""
    return _against_e(args, folder, {"turn": "whole turn by HTTP, to E"}, 0.40, 0.75)


def batch(args: argparse.Namespace, folder: Path) -> list[Row]:
    """POSTs of 100, to raw SQLite with 1,000 rows a commit: the same columns, a unique key, one index."""

    def raw() -> float:
        done = subprocess.run(
            [sys.executable, "-c", RAW, str(folder / "raw.db"), str(args.window), str(SERVER_CORE)],
            check=True,
            capture_output=True,
        )
        return float(done.stdout)

    rows = []
    with boxed(folder) as box:
        for kind, figure, must, goal in (
            ("batch", "accept in POSTs of 100, to raw SQLite", 0.40, 0.80),
            ("sends", "the same, /v1/messages/batch: two rows, charged", None, None),
        ):
            load(box.port, kind, 0.5, 8, key=box.key)
            more = in_turns(args.rounds, raw, lambda: load(box.port, kind, args.window, 8, key=box.key))  # noqa: B023
            rows.append(Row(kind, figure, more["ratio"], must, goal, more=more))
    return rows


def beside_kannel(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Accepting beside Kannel with its file store, on the same core in the same minutes; 50 connections."""
    with kannel(folder / "kannel") as peer, boxed(folder) as box:
        if peer is None:
            print("  kannel is not installed: sudo apt-get install -y kannel", file=sys.stderr)
            return []

        def theirs(seconds: float = args.window) -> float:
            found = float(load(peer.port, "kannel", seconds, 50)["messages_s"])
            peer.until_idle()
            return found

        theirs(0.5)
        load(box.port, "send", 0.5, 50, key=box.key)
        more = in_turns(args.rounds, theirs, lambda: load(box.port, "send", args.window, 50, key=box.key))
    return [Row("kannel", "accept, to Kannel with its file store", more["ratio"], 1.0, 1.5, more=more)]


def start(args: argparse.Namespace, folder: Path) -> list[Row]:
    """From the command to the first durable 202, to `import aiohttp.web`."""
    ratios, starts, imports = [], [], []
    for number in range(args.rounds + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True)
        imports.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        with Box(folder / f"start{number}", None).running() as box:
            assert box.post("x") == 202
            starts.append(time.perf_counter() - begun)
        ratios.append(starts[-1] / imports[-1])
    # The first is left out: it reads everything from the disk.
    more = {
        "ratios": ratios[1:],
        "s": statistics.median(starts[1:]),
        "limit_s": statistics.median(imports[1:]),
    }
    return [
        Row(
            "start",
            "start to the first 202, to importing aiohttp",
            statistics.median(ratios[1:]),
            5,
            2,
            less=True,
            more=more,
        )
    ]


def memory(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Main process and worker after 100,000 turns, to a process that only imports."""
    with boxed(folder, None) as box:
        idle = rss_mib(box.pid)
        while box.handled() < MESSAGES:
            load(box.port, "turns", 5.0, 8, core=None)
        (worker,) = box.workers()
        used = rss_mib(box.pid, only=(worker,))
        everything = rss_mib(box.pid)
    code = f"import {BARE}; print(open('/proc/self/statm').read().split()[1])"
    bare = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    limit = int(bare.stdout) * 4096 / 2**20
    # Python's own resource tracker, 11 MiB that do nothing, is in "everything" only.
    more = {"mib": used, "idle_mib": idle, "limit_mib": limit, "everything_mib": everything}
    return [
        Row(
            "memory",
            "RSS of main and worker after 100,000 turns, to bare imports",
            used / limit,
            2.8,
            2.0,
            less=True,
            more=more,
        )
    ]
