"""`make bench`: each figure beside its limit, in turns, in the same run.

Server on core 0, client on core 1. A round is one window of the limit and one of ours; the figure is the
median of the rounds' ratios, because absolute numbers of a shared machine swing two- or threefold. The
numbers go to .outpost/bench/ as JSON, the table to the terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
OUT: Final = ROOT / ".outpost" / "bench"
SERVER_CORE, CLIENT_CORE = 0, os.cpu_count() and (os.cpu_count() or 1) - 1
CONNECTIONS: Final = 100
RATE: Final = 1157  # messages a second that the box has to serve for as long as they come

Figure = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pin(core: int | None) -> Callable[[], None] | None:
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def until_open(port: int) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.005)
    raise SystemExit("a server did not start")


@contextlib.contextmanager
def serving(
    command: list[str], port: int, core: int | None = SERVER_CORE
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=pin(core))
    try:
        until_open(port)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def empty() -> Iterator[int]:
    port = free_port()
    with serving([sys.executable, str(HERE / "empty.py"), str(port)], port):
        yield port


@contextlib.contextmanager
def outpost(folder: Path, core: int | None = SERVER_CORE) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The appliance as shipped, without a modem: one worker, metrics and access log on, on the real disk."""
    port = free_port()
    config = folder / "outpost.toml"
    config.write_text(
        f'data_dir = "{folder}/data"\n[http]\nlisten = "127.0.0.1:{port}"\n'
        '[workers]\nmin = 1\nmax = 1\n[log]\nlevel = "warning"\n'
    )
    with serving([sys.executable, "-m", "appliance", "run", "--config", str(config)], port, core) as process:
        yield port, process


def load(
    port: int, kind: str, seconds: float, connections: int = CONNECTIONS, rate: float | None = None
) -> Figure:
    command = [sys.executable, str(HERE / "load.py"), str(port), kind, str(seconds), str(connections)]
    done = subprocess.run(
        [*command, *([str(rate)] if rate else [])],
        check=True, stdout=subprocess.PIPE, preexec_fn=pin(CLIENT_CORE or None),
    )  # fmt: skip
    got: Figure = json.loads(done.stdout)
    if got["bad"]:
        print(f"  {kind}: refused: {got['bad']}", file=sys.stderr)
    return got


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


def raw_sqlite(folder: Path, seconds: float) -> float:
    """Rows a second of SQLite alone: FULL, 1,000 rows a commit, on the same core and disk."""
    code = (
        "import os, sqlite3, sys, time\n"
        f"os.sched_setaffinity(0, {{{SERVER_CORE}}})\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA journal_mode=WAL'); db.execute('PRAGMA synchronous=FULL')\n"
        "db.execute('CREATE TABLE IF NOT EXISTS m (id INTEGER PRIMARY KEY, sender TEXT, text TEXT,'\n"
        "           ' key TEXT UNIQUE)')\n"
        "text = 'Your balance is 12.50 birr, valid until 30/11.'\n"
        "done, begun, run = 0, time.perf_counter(), time.time_ns()\n"
        "while time.perf_counter() < begun + float(sys.argv[2]):\n"
        "    db.execute('BEGIN IMMEDIATE')\n"
        "    db.executemany('INSERT INTO m (sender, text, key) VALUES (?, ?, ?)',\n"
        "        (('8400', text, f'{run}-{done + i}') for i in range(1000)))\n"
        "    db.execute('COMMIT'); done += 1000\n"
        "print(done / (time.perf_counter() - begun))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "raw.db"), str(seconds)], check=True, capture_output=True
    )
    return float(done.stdout)


def start_and_memory(folder: Path, rounds: int) -> tuple[Figure, Figure]:
    """Start to the first 202 beside `import aiohttp.web`; RSS of main and worker beside bare imports."""
    ratios, starts, imports = [], [], []
    body = json.dumps({"from": "8400", "message": "x"}).encode()
    for number in range(rounds):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import aiohttp.web"], check=True)
        imports.append(time.perf_counter() - begun)
        (folder / f"start{number}").mkdir()
        begun = time.perf_counter()
        with outpost(folder / f"start{number}", None) as (port, _):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/sms/incoming", body, {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(request, timeout=20).close()
            starts.append(time.perf_counter() - begun)
        ratios.append(starts[-1] / imports[-1])
    start = {"ratio": statistics.median(ratios), "ratios": ratios, "s": statistics.median(starts)}
    with outpost(folder, None) as (port, process):
        load(port, "turn", 1.0, 10)
        idle = rss_mib(process.pid)
        load(port, "batch", 5.0, 8)
        load(port, "turn", 5.0)
        used = rss_mib(process.pid)
    bare = subprocess.run(
        [sys.executable, "-c",
         "import aiohttp.web, uvloop, orjson, msgspec, sqlite3, aiosqlite, diskcache, prometheus_client, os;"
         "print(open('/proc/self/statm').read().split()[1])"],
        check=True, capture_output=True,
    )  # fmt: skip
    limit = int(bare.stdout) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return start, {"ratio": used / limit, "mib": used, "idle_mib": idle, "limit_mib": limit}


def rss_mib(pid: int) -> float:
    """Resident memory of a process and its children."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        pids += map(int, path.read_text().split())
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    window, rounds = args.window, args.rounds
    found: dict[str, Figure] = {}
    with empty() as limit_port, outpost(folder) as (port, _):
        limit = lambda: float(load(limit_port, "empty", window)["messages_s"])  # noqa: E731
        for kind in ("empty", "accept", "turn"):  # warm both
            load(limit_port if kind == "empty" else port, kind, 0.5)
        found["accept / E"] = in_turns(rounds, limit, lambda: load(port, "accept", window))
        found["accept in 100s / raw SQLite"] = in_turns(
            rounds, lambda: raw_sqlite(folder, window), lambda: load(port, "batch", window, 8)
        )
        found["turn / E"] = in_turns(rounds, limit, lambda: load(port, "turn", window))
        turns = [load(port, "turns", window, 8) for _ in range(rounds)]
        found["turns in 100s"] = {
            key: statistics.median(window_[key] for window_ in turns)
            for key in ("messages_s", "p95_ms", "p99_ms")
        }
        found[f"open loop {RATE}/s"] = load(port, "turn", args.open_s, CONNECTIONS, RATE)
    found["start / import"], found["RSS / imports"] = start_and_memory(folder, rounds)
    return found


GOALS: Final = {
    "accept / E": "0.60, goal 0.85",
    "accept in 100s / raw SQLite": "0.40, goal 0.80",
    "turn / E": "0.40, goal 0.75",
    "turns in 100s": "11,570/s, p95 < 250 ms",
    f"open loop {RATE}/s": "p95 < 50, p99 < 150 ms",
    "start / import": "5, goal 2 (less is better)",
    "RSS / imports": "2.8, goal 2.0 (less is better)",
}


def show(found: dict[str, Figure]) -> None:
    print(f"{'figure':30} {'ratio':>6} {'ours':>10} {'limit':>10} {'p95 ms':>7} {'p99 ms':>7}   must")
    for name, figure in found.items():
        ours = figure.get("messages_s", figure.get("mib", figure.get("s")))
        limit = figure.get("limit_s", figure.get("limit_mib"))
        cells = [figure.get("ratio"), ours, limit, figure.get("p95_ms"), figure.get("p99_ms")]
        widths, places = (6, 10, 10, 7, 7), (2, 1, 1, 1, 1)
        texts = [
            f"{'' if cell is None else format(cell, f',.{digits}f'):>{width}}"
            for cell, width, digits in zip(cells, widths, places, strict=True)
        ]
        print(f"{name:30} {' '.join(texts)}   {GOALS.get(name, '')}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description="Speed, each figure beside its limit.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=2.0, help="seconds a window")
    parser.add_argument(
        "--open-s", type=float, default=30.0, help="seconds of the open loop; 600 in the long form"
    )
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    # On the disk of the checkout: a benchmark of syncs on a tmpfs would be one of nothing.
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        found = measure(args, Path(folder))
    machine = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "cores": os.cpu_count()}
    target = OUT / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.write_text(json.dumps({"machine": machine, "args": vars(args), "figures": found}, indent=1))
    show(found)
    print(f"kept in {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
