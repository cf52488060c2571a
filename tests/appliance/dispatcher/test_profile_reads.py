"""What a person's profile costs: no more than one query a message, and one for a frame of many people."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.dispatcher.framing import Job, ToWorker
from appliance.dispatcher.worker import Worker
from appliance.store.database import connect_writer, prepare
from appliance.store.timetable import import_sample

NOW_MS = 1_795_334_400_000  # 2026-11-22 08:00 UTC
# Where it is kept who a person is: the dialogue, the language, the opt-out and the tier.
PROFILE = ("session", "person")
TEXTS = ("BOOK ADDIS HAWASSA TOMORROW 2", "NO", "STATUS", "HELP", "LANG AM", "ዋጋ አዲስ ሐረር", "MENU", "hello")


class Counted:
    """The statements that a worker ran on its connection."""

    def __init__(self, worker: Worker) -> None:
        self.statements: list[str] = []
        worker._db.set_trace_callback(self.statements.append)

    def of_profile(self) -> int:
        found = [s for s in self.statements if any(f"FROM {table}" in s for table in PROFILE)]
        self.statements.clear()
        return len(found)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    path = tmp_path / "outpost.db"
    prepare(path)
    db = connect_writer(path)
    with db:
        db.execute("BEGIN")
        import_sample(db, now_ms=NOW_MS)
    db.close()
    ours, theirs = socket.socketpair()
    made = Worker(theirs, path, "appliance.conversation.shell:Shell", {"conversation": {}})
    yield made
    made._db.close()
    ours.close()
    theirs.close()


def job(token: int, sender: str, text: str) -> Job:
    return Job(token, token, "text", sender, "modem:m0", text, NOW_MS, NOW_MS, 1)


@pytest.mark.parametrize("text", TEXTS)
def test_message_costs_one_query_for_the_profile(worker: Worker, text: str) -> None:
    counted = Counted(worker)
    worker.outcome(job(1, "+251911111111", text))
    assert counted.of_profile() == 1


def test_frame_of_two_people_costs_one_query_for_both(worker: Worker) -> None:
    counted = Counted(worker)
    jobs = [job(1, "+251911111111", TEXTS[0]), job(2, "+251922222222", TEXTS[2])]
    worker._take(ToWorker(jobs=jobs))
    for each in jobs:
        assert not worker.outcome(each).error
    assert counted.of_profile() == 1
