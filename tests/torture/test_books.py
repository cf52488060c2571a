"""The torture bench finds what it looks for: each kind of wrong, planted in a database by hand."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.store.database import known_migrations
from tests.torture.books import Books, Verdict, compare, unfinished
from tests.torture.faults import KINDS, Fault, Spoiler, compile_library, plan

ANN, BEN = "+251900000001", "+251900000002"
HELLO = "Hello"


class File:
    """A database with Ann's message, handled, and its reply, carried. Tests change one thing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        for migration in known_migrations():
            self.db.executescript(migration.sql)
        self.inbound(1, ANN)
        self.outbound(1, ANN, reply_to=1)

    def inbound(self, row_id: int, sender: str, state: str = "handled") -> None:
        self.db.execute(
            "INSERT INTO inbound (id, channel, sender, text, received_at_ms, state)"
            " VALUES (?, 'http', ?, 'x', 1, ?)",
            (row_id, sender, state),
        )

    def outbound(
        self, row_id: int, to: str, *, reply_to: int | None = None, state: str = "delivered"
    ) -> None:
        self.db.execute(
            "INSERT INTO outbound (id, recipient, text, lane, in_reply_to, state, created_at_ms)"
            " VALUES (?, ?, ?, 'reply', ?, ?, 1)",
            (row_id, to, HELLO, reply_to, state),
        )

    def uncertain(self, row_id: int, to: str) -> None:
        self.db.execute(
            "INSERT INTO outbound_part (outbound_id, sequence, attempt, turn, state, modem, recipient)"
            " VALUES (?, 1, 1, 1, 'uncertain', 'm', ?)",
            (row_id, to),
        )

    def verdict(self, carried: int = 1, promised: int = 1, **more: dict[str, int]) -> Verdict:
        return compare(self.path, Books({ANN: promised}, {ANN: [HELLO] * carried}, **more))


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "outpost.db")


def test_books_that_agree_are_clean(file: File) -> None:
    verdict = file.verdict()
    assert verdict.clean and verdict.accepted == 1


def test_promised_message_that_is_not_stored_is_lost(file: File) -> None:
    assert file.verdict(promised=2).lost


def test_message_stored_twice_is_double(file: File) -> None:
    file.inbound(2, ANN)
    file.outbound(2, ANN, reply_to=2)
    assert file.verdict(carried=2).double


@pytest.mark.parametrize("state", ["accepted", "guarded"])
def test_message_without_its_turn_is_lost(file: File, state: str) -> None:
    file.db.execute("UPDATE inbound SET state = ?", (state,))
    assert file.verdict().lost


def test_message_with_two_replies_is_double(file: File) -> None:
    file.outbound(2, ANN, reply_to=1)
    assert file.verdict(carried=2).double


def test_reply_marked_sent_that_nobody_carried_is_lost(file: File) -> None:
    assert file.verdict(carried=0).lost


def test_reply_carried_twice_is_double_unless_one_was_marked_uncertain(file: File) -> None:
    assert file.verdict(carried=2).double
    file.uncertain(1, ANN)
    verdict = file.verdict(carried=2)
    assert verdict.clean and verdict.uncertain == 1
    assert file.verdict(carried=3).double


@pytest.mark.parametrize("state", ["queued", "sending", "failed", "cancelled"])
def test_reply_that_never_left_is_lost(file: File, state: str) -> None:
    file.db.execute("UPDATE outbound SET state = ?", (state,))
    assert file.verdict(carried=0).lost


def test_text_that_the_box_does_not_know_is_a_ledger_difference(file: File) -> None:
    verdict = compare(file.path, Books({ANN: 1}, {ANN: ["Something else"]}))
    assert verdict.ledger


def test_body_that_the_box_does_not_know_is_a_ledger_difference(file: File) -> None:
    assert compare(file.path, Books({ANN: 1}, {ANN: [HELLO]}, {ANN: ["Something else"]})).ledger


def test_message_promised_to_be_sent_and_not_stored_is_lost(file: File) -> None:
    assert file.verdict(queued={BEN: 1}).lost


def test_unfinished_counts_what_is_owed(file: File) -> None:
    assert unfinished(file.path) == 0
    file.inbound(2, BEN, "accepted")
    file.outbound(2, BEN, state="queued")
    assert unfinished(file.path) == 2


def test_plan_is_the_same_for_the_same_seed_and_knows_every_kind() -> None:
    plans = [plan(random.Random(seed)) for seed in range(200)]
    assert plans == [plan(random.Random(seed)) for seed in range(200)]
    assert {fault.kind for each in plans for fault in each} == set(KINDS)


_PROBE = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for line in sys.stdin:
    try:
        os.write(fd, b"x")
        begun = time.monotonic()
        os.fsync(fd)
        print("fine", time.time(), time.monotonic() - begun, flush=True)
    except OSError as error:
        print("error", error.errno, 0, flush=True)
"""


def test_faulty_library_spoils_disk_and_clock_while_a_process_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    spoiler = Spoiler(tmp_path, compile_library(tmp_path / "faulty.so"), data)
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE, str(data / "file")],
        env=os.environ | spoiler.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None

    def probe() -> tuple[str, float, float]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        word, number, took = process.stdout.readline().split()
        return word, float(number), float(took)

    word, wall, _ = probe()
    assert word == "fine" and abs(wall - time.time()) < 60
    spoiler.begin(Fault("full disk", 0))
    assert probe()[:2] == ("error", errno.ENOSPC)
    spoiler.clear()
    spoiler.begin(Fault("failing sync", 0))
    assert probe()[:2] == ("error", errno.EIO)
    spoiler.clear()
    spoiler.begin(Fault("slow sync", 0, value="50"))
    spoiler.begin(Fault("clock back", 0, value="86400"))
    word, wall, took = probe()
    assert word == "fine" and took >= 0.05 and time.time() - wall > 80_000
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    spoiler.close()
