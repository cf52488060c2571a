"""A worker by itself: what it reads of the database, and when."""

from __future__ import annotations

import importlib.util
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.conversation.turn import Session
from appliance.dispatcher.framing import FrameReader, Job, Outcome, ToWorker, from_worker
from appliance.dispatcher.worker import Worker
from appliance.store.database import connect_writer, prepare
from appliance.store.sessions import row_of, save

HERE = Path(__file__).parent
NOW_MS = 1_795_000_000_000


class Desk:
    """A worker in this process, with the other end of its connection and a writer on its database."""

    def __init__(self, path: Path) -> None:
        ours, self._theirs = socket.socketpair()
        self.db = connect_writer(path)
        self.worker = Worker(ours, path, "tiny_shell_of_worker_tests:TinyShell", {})
        self._ours = ours
        self._frames = FrameReader(from_worker)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
        self.worker._db.close()
        self.db.close()

    def write(self, sender: str, count: int) -> None:
        """The main process commits a session of this sender."""
        session = Session(sender=sender, app="tiny", state="TALKING", data={"count": count})
        save(self.db, sender, row_of(session), NOW_MS)

    def run_all(self) -> list[Outcome]:
        """Run the jobs at hand and read what is sent back for them."""
        self.worker._outcomes += [self.worker.outcome(job) for job in self.worker._jobs]
        self.worker._jobs.clear()
        self.worker._flush(0.001)
        return [
            outcome
            for results in self._frames.feed(self._theirs.recv(1 << 20))
            for outcome in results.outcomes
        ]


def job(token: int, sender: str) -> Job:
    return Job(token, token, "text", sender, "http", "hello", NOW_MS, NOW_MS, 7)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    spec = importlib.util.spec_from_file_location("tiny_shell_of_worker_tests", HERE / "tiny_shell.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[spec.name] = module
    desk = Desk(prepare(tmp_path / "outpost.db").path)
    yield desk
    desk.close()
    del sys.modules[spec.name]


@pytest.mark.parametrize("company", [0, 1])
def test_worker_session_committed_after_an_answer_is_seen_by_the_next_turn(desk: Desk, company: int) -> None:
    others = [job(50 + n, f"+25191{n}") for n in range(company)]
    desk.worker._take(ToWorker([job(1, "+1"), *others]))
    assert desk.run_all()[0].replies[0][0] == "1:hello"
    desk.write("+1", 41)
    desk.worker._take(ToWorker([job(2, "+1"), *others]))
    assert desk.run_all()[0].replies[0][0] == "42:hello"


def test_worker_recalled_turn_leaves_nothing_that_its_sender_is_answered_from_later(desk: Desk) -> None:
    desk.worker._take(ToWorker([job(1, "+1"), job(2, "+2")]))
    desk.worker._take(ToWorker([], [2]))
    assert [outcome.token for outcome in desk.run_all()] == [1]
    desk.write("+2", 41)  # its turn was run elsewhere
    desk.worker._take(ToWorker([job(3, "+2")]))
    assert desk.run_all()[0].replies[0][0] == "42:hello"


def test_worker_idle_holds_no_snapshot_that_would_keep_the_log_from_being_emptied(desk: Desk) -> None:
    desk.worker._take(ToWorker([job(1, "+1"), job(2, "+2")]))
    desk.run_all()
    desk.write("+1", 5)
    busy, pages, moved = desk.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, pages, moved) == (0, 0, 0)


def test_worker_database_that_fails_in_a_turn_is_opened_anew(desk: Desk) -> None:
    class Broken:
        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        def close(self) -> None:
            pass

    desk.worker._db.close()
    desk.worker._db = Broken()  # type: ignore[assignment]
    desk.worker._take(ToWorker([job(1, "+1")]))
    (outcome,) = desk.run_all()
    assert outcome.transient
    desk.write("+1", 8)
    desk.worker._take(ToWorker([job(2, "+1")]))
    assert desk.run_all()[0].replies[0][0] == "9:hello"
