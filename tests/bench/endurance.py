"""What has to hold for longer: a minute of batches, minutes of bookings, and twice what can be served."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.report import Row
from tests.bench.servers import Box, boxed, load, rss_mib

__all__ = ["open_loop", "overload", "sustained"]

RATE: Final = 1157  # messages a second that the box has to serve for as long as they come
BURST: Final = 11_570
DRAIN_S: Final = 120.0  # what was promised has to be served by then
CROWD: Final = 400  # connections of the overload, each with 100 messages on its way


def sustained(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Turns in POSTs of 100 from eight callers, each of whom waits for its answers."""
    with boxed(folder, None) as box:
        load(box.port, "turns", 2.0, 8, core=None)
        more = load(box.port, "turns", args.sustained_s, 8, core=None)
    name = f"turns in POSTs of 100 for {args.sustained_s:g} s"
    return [
        Row("turns", f"{name}, messages/s", more["messages_s"], BURST, None, more=more),
        Row("turns p95", "its p95, ms", more["p95_ms"], 250, 100, less=True),
        Row("turns p99", "its p99, ms", more["p99_ms"], None, 250, less=True),
    ]


def open_loop(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Bookings at 1,157 messages a second, due at fixed times whoever is answered."""
    with boxed(folder, None) as box:
        load(box.port, "talk", 1.0, 20, core=None)
        more = load(box.port, "talk", args.open_s, 200, RATE, core=None)
    return [
        Row(
            "open",
            f"bookings at {RATE:,}/s for {args.open_s:g} s, p95 ms",
            more["p95_ms"],
            50,
            25,
            less=True,
            more=more,
        ),
        Row("open p99", "its p99, ms", more["p99_ms"], 150, 60, less=True),
        Row("open worst", "the p99 of its worst 10 s, ms", more["worst_window_p99_ms"], 500, None, less=True),
    ]


def overload(args: argparse.Namespace, folder: Path) -> list[Row]:
    """Twice what the box can serve is offered; what it promised must be served, at its usual pace."""
    with boxed(folder, None) as box:
        load(box.port, "turns", 2.0, 8, core=None)
        before, begun = box.handled(), time.perf_counter()
        load(box.port, "turns", args.overload_s / 3, 8, core=None)
        peak = (box.handled() - before) / (time.perf_counter() - begun)
        with watched(box) as seen:
            before, begun = box.handled(), time.perf_counter()
            got = load(box.port, "turns", args.overload_s, CROWD, 2 * peak / 100, core=None)
            offered_s = args.overload_s
            during = [each for each in seen if each[0] - begun <= offered_s]
        served = (during[-1][1] - before) / (during[-1][0] - begun)
        limit = time.monotonic() + DRAIN_S
        while box.state()["dispatcher"]["queued"] and time.monotonic() < limit:
            time.sleep(0.1)
        database = box.folder / "data" / "outpost.db"
        rows = count(database, "SELECT count(*) FROM inbound")
        owed = count(database, "SELECT count(*) FROM inbound WHERE state <> 'handled'")
    third = len(during) // 3
    early = max(memory for _, _, memory in during[third // 2 : third]) if third > 1 else during[0][2]
    late = max(memory for _, _, memory in during[-third:]) if third else during[-1][2]
    more = {**got, "peak_s": peak, "served_s": served, "rows": rows, "early_mib": early, "late_mib": late}
    return [
        Row(
            "overload",
            f"twice the load for {args.overload_s:g} s: throughput to the peak",
            served / peak,
            0.9,
            None,
            more=more,
        ),
        Row("overload owed", "messages on disk that got no turn", float(owed), 0, None, less=True),
        Row("overload memory", "RSS at its end to RSS at its beginning", late / early, 1.1, None, less=True),
    ]


@contextlib.contextmanager
def watched(box: Box) -> Iterator[list[tuple[float, int, float]]]:
    """Each second: the time, the turns handled, and the memory in MiB."""
    seen: list[tuple[float, int, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            with contextlib.suppress(OSError):
                seen.append((time.perf_counter(), box.handled(), rss_mib(box.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def count(database: Path, sql: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return int(db.execute(sql).fetchone()[0])
