"""The torture bench finds what it looks for: each kind of wrong, planted in a database by hand."""

from __future__ import annotations

import errno
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.store.database import known_migrations
from tests.torture.books import Books, Verdict, compare, unfinished
from tests.torture.box import ROOT
from tests.torture.faults import ELSEWHERE, KINDS, POINTS, SHORT, Fault, Spoiler, compile_library, plan

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


@pytest.mark.parametrize("state", ["queued", "sending", "failed", "cancelled", "expired"])
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


class Business(File):
    """The same with a client: 10 units given, one message to Ben sent for 2, told, and heard."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.db.executescript("""
            INSERT INTO client (id, name, created_at_ms) VALUES (1, 'torture', 1);
            INSERT INTO credit (client_id, at_ms, units, actor) VALUES (1, 1, 10, 'me');
            INSERT INTO outbound (id, client_id, recipient, text, lane, created_at_ms)
                VALUES (2, 1, '+251900000002', 'Hello', 'normal', 1);
            INSERT INTO client_message (outbound_id, client_id, encoding, segments, units)
                VALUES (2, 1, 'gsm7', 1, 2);
            UPDATE outbound SET state = 'sending' WHERE id = 2;
            UPDATE outbound SET state = 'sent' WHERE id = 2;
            INSERT INTO webhook_endpoint (id, client_id, url, secret, created_at_ms)
                VALUES (1, 1, 'u', 's', 1);
            INSERT INTO webhook_event (id, client_id, type, ordering, body, at_ms)
                VALUES (7, 1, 'message.sent', '+251900000002', '{"id": "out_2"}', 1);
            INSERT INTO webhook_delivery (endpoint_id, event_id, ordering, state, next_attempt_ms)
                VALUES (1, 7, '+251900000002', 'done', 1);
        """)
        self.heard, self.first, self.carried, self.promised, self.credit = {"evt_7": 2}, {BEN: [7]}, 1, 1, 10

    def judged(self) -> Verdict:
        carried = {ANN: [HELLO], BEN: [HELLO] * self.carried}
        return compare(
            self.path,
            Books({ANN: 1}, carried, client={BEN: self.promised}, heard=self.heard, first=self.first,
                  credit=self.credit),
        )  # fmt: skip


@pytest.fixture
def business(tmp_path: Path) -> Business:
    return Business(tmp_path / "outpost.db")


def test_books_of_a_client_that_agree_are_clean(business: Business) -> None:
    verdict = business.judged()
    assert verdict.clean and verdict.accepted == 2, verdict.lines()


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("UPDATE outbound SET client_id = 0 WHERE id = 2", "lost"),
        ("UPDATE webhook_event SET type = 'message.failed'", "lost"),
        ("UPDATE client SET balance = balance + 1", "ledger"),
        ("UPDATE client SET reserved = reserved + 1", "ledger"),
        ("INSERT INTO credit (client_id, at_ms, units, actor) VALUES (1, 1, 5, 'nobody')", "ledger"),
        ("UPDATE outbound SET state = 'cancelled' WHERE id = 2", "ledger"),
    ],
)
def test_wrong_row_of_a_client_is_found(business: Business, sql: str, kind: str) -> None:
    business.db.execute(sql)
    assert getattr(business.judged(), kind)


def test_promise_to_a_client_that_is_kept_twice_is_double(business: Business) -> None:
    business.promised = 0
    assert business.judged().double


def test_event_that_nobody_heard_is_lost(business: Business) -> None:
    business.heard = {}
    assert business.judged().lost


def test_event_that_never_happened_is_a_ledger_difference(business: Business) -> None:
    business.heard["evt_8"] = 1
    assert business.judged().ledger


def test_events_out_of_order_are_a_ledger_difference(business: Business) -> None:
    business.first = {BEN: [9, 7]}
    assert business.judged().ledger


def test_provider_that_carried_twice_may_do_so_once_a_doubt_is_marked(business: Business) -> None:
    business.carried = 2
    assert business.judged().double
    business.db.execute("UPDATE outbound SET doubted = 1 WHERE id = 2")
    verdict = business.judged()
    assert verdict.clean and verdict.uncertain == 1


def test_unfinished_counts_webhooks_and_campaigns(business: Business) -> None:
    business.db.execute("UPDATE webhook_delivery SET state = 'pending'")
    assert unfinished(business.path) == 1


def test_unfinished_counts_what_is_owed(file: File) -> None:
    assert unfinished(file.path) == 0
    file.inbound(2, BEN, "accepted")
    file.outbound(2, BEN, state="queued")
    assert unfinished(file.path) == 2


def test_plan_is_the_same_for_the_same_seed_and_knows_every_kind_and_point() -> None:
    plans = [plan(random.Random(seed)) for seed in range(2_000)]
    assert plans == [plan(random.Random(seed)) for seed in range(2_000)]
    assert {fault.kind for each in plans for fault in each} == set(KINDS)
    points = {fault.value.partition("=")[0] for each in plans for fault in each if "=kill" in fault.value}
    assert points == set(POINTS)


def test_short_form_has_each_kind_once() -> None:
    assert sorted(kind for kinds in SHORT for kind in kinds) == sorted(KINDS)
    for kinds in SHORT:
        assert sorted(fault.kind for fault in plan(random.Random(1), kinds=kinds, most=None)) == sorted(kinds)


def test_every_fault_point_of_the_code_is_in_the_plan_and_in_the_docs() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "appliance").rglob("*.py"))
    named = set(re.findall(r'faults\.hit\("([a-z_.]+)"\)', code))
    assert {point for point in named if not point.startswith(ELSEWHERE)} == set(POINTS)
    docs = (ROOT / "docs" / "store.md").read_text()
    assert [point for point in named if f"`{point}`" not in docs] == []


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
