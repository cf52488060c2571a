"""Codes and replies between the parts of long messages, with the power cut again and again."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

KILLS = 6


def run(data: Path, file: Path, kill_after_s: float | None) -> int:
    """One life of the box; returns its exit status, negative when it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.appliance.outbound.line_box", str(data), str(file)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    timer = threading.Timer(kill_after_s or 60.0, child.kill)
    timer.start()
    try:
        return child.wait()
    finally:
        timer.cancel()
        child.stdout.close()


def test_killed_between_parts_sends_nothing_twice_but_what_is_marked(tmp_path: Path) -> None:
    chance = random.Random(5)
    data, file = tmp_path / "data", tmp_path / "air"
    killed = sum(run(data, file, chance.uniform(0.05, 0.5)) < 0 for _ in range(KILLS))
    assert run(data, file, None) == 0
    air = Counter(file.read_text().split("\n")[:-1])
    with closing(sqlite3.connect(data / "outpost.db")) as db:
        rows = db.execute("SELECT text, state, doubted, segments FROM outbound").fetchall()
    assert killed >= 2  # else there was nothing to see
    assert sum(doubted for _, _, doubted, _ in rows) <= killed  # one part of the modem at most, each time
    for text, state, doubted, segments in rows:
        parts = [air[f"{text}/{sequence}"] for sequence in range(1, segments + 1)]
        if not doubted:
            assert (state, set(parts)) == ("sent", {1}), text
        assert max(parts) <= 1 + doubted, text
    order = [line.rpartition("/")[0] for line in file.read_text().split("\n")[:-1]]
    passed = sum(
        earlier == later != between and earlier.startswith("long")
        for earlier, between, later in zip(order, order[1:], order[2:], strict=False)
    )
    assert passed  # they did go between two parts
