"""What the next message costs with 1,000 messages queued and with millions.

    python tests/bench/backlog.py [--backlog 5000000] [--rounds 7]

One message is: the scheduler's choice, its refill from disk when due, the claim and the settled result,
each in a transaction of its own (synchronous=OFF, so that the disk's own time does not hide ours). Two
databases, one small and one large, are measured in turn; the figure is the ratio of their medians.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from appliance.message import Lane
from appliance.outbound.lanes import WINDOW, Lanes
from appliance.store import outbound as ops
from appliance.store.database import known_migrations
from appliance.store.outbound import PartResult

SMALL = 1_000
BATCH = 300  # messages timed in a round
NOW = 1_800_000_000_000
CHUNK = 100_000
MODEM = "modem:bench"


class Queue:
    """A database with a backlog, and the scheduler on it."""

    def __init__(self, path: Path, backlog: int) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        for migration in known_migrations():
            self.db.executescript(migration.sql)
        self._fill(backlog)
        self.lanes = Lanes()
        for key, due_ms in ops.active_keys(self.db):
            self.lanes.schedule(key, due_ms)
        self.turn = 0

    def _fill(self, backlog: int) -> None:
        """Four fifths bulk of ten clients, the rest normal: what a campaign leaves."""
        for start in range(0, backlog, CHUNK):
            self.db.execute("BEGIN")
            self.db.executemany(
                "INSERT INTO outbound (recipient, text, lane, client_id, created_at_ms, expires_at_ms,"
                " deadline_ms) VALUES (?, 'A notice that a business sends to all of its customers.',"
                " ?, ?, ?, ?, ?)",
                (
                    (
                        f"+2519{number:08d}",
                        Lane.NORMAL if number % 5 == 0 else Lane.BULK,
                        number % 10,
                        NOW,
                        NOW + 10**9,
                        NOW + 10**9,
                    )
                    for number in range(start, min(start + CHUNK, backlog))
                ),
            )
            self.db.execute("COMMIT")

    def send(self, messages: int) -> float:
        """Seconds for `messages` messages through choice, claim and result."""
        db, lanes = self.db, self.lanes
        started = time.perf_counter()
        for _ in range(messages):
            lanes.tick(NOW)
            for key in lanes.wants():
                rows, due_ms = ops.load_queue(db, key, NOW, WINDOW)
                lanes.refill(key, rows, due_ms, NOW)
            row = lanes.take(("", MODEM), MODEM)
            assert row is not None, "the backlog is used up"
            self.turn += 1
            db.execute("BEGIN")
            claim = ops.claim(db, row.id, channel=MODEM, now_ms=NOW, modem=MODEM)
            db.execute("COMMIT")
            assert isinstance(claim, ops.Claim)
            db.execute("BEGIN")
            sent = PartResult(
                outbound_id=row.id, sequence=1, attempt=1, outcome="sent", tp_mr=self.turn % 256
            )
            ops.settle_part(db, sent, NOW)
            db.execute("COMMIT")
            lanes.done(row)
        return time.perf_counter() - started

    def top_up(self, messages: int) -> None:
        """Put as many back as a round took, so that the small backlog stays what it is."""
        self._fill(messages)
        for key, due_ms in ops.active_keys(self.db):
            self.lanes.schedule(key, due_ms)


def measure(backlog: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Queue(Path(folder) / "small.db", SMALL), Queue(Path(folder) / "large.db", backlog)
        for queue in (small, large):
            queue.send(50)
        ratios, per_small, per_large = [], [], []
        for _ in range(rounds):
            times = []
            for queue in (small, large):
                queue.top_up(BATCH)
                times.append(queue.send(BATCH) / BATCH * 1e6)
            per_small.append(times[0])
            per_large.append(times[1])
            ratios.append(times[1] / times[0])
        return {
            "backlog": backlog,
            "us_with_1000": statistics.median(per_small),
            "us_with_backlog": statistics.median(per_large),
            "ratio": statistics.median(ratios),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backlog", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = measure(args.backlog, args.rounds)
    if args.json:
        print(json.dumps(figures))
    else:
        print(
            f"next message: {figures['us_with_1000']:.0f} us with 1,000 queued, "
            f"{figures['us_with_backlog']:.0f} us with {args.backlog:,}: ratio {figures['ratio']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
