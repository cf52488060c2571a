"""A thousand pairs in the whole box, workers and box killed: nobody in two, nobody stuck in none."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.store.chat import ChatLook
from tests.sim.harness import Gone, Outpost, wait_for

PEOPLE = [f"+2519{number:08}" for number in range(2000)]
BATCH = 250
ODD_PAIRS = (
    "SELECT pair_id FROM chat_member GROUP BY pair_id HAVING count(*) <> 2 UNION ALL"
    " SELECT id FROM chat_pair WHERE ended_ms IS NULL AND id NOT IN (SELECT pair_id FROM chat_member)"
    " UNION ALL SELECT m.pair_id FROM chat_member m JOIN chat_pair c ON c.id = m.pair_id"
    " WHERE c.ended_ms IS NOT NULL"
    " UNION ALL SELECT m.pair_id FROM chat_member m JOIN chat_person p USING (number)"
    " WHERE p.waiting_ms IS NOT NULL"
)


class Crowd:
    """People who text the box by HTTP; each text once, however often it must be posted."""

    def __init__(self, box: Outpost, chance: random.Random) -> None:
        self.box, self.chance = box, chance
        self.sent = 0

    def text(self, texts: list[tuple[str, str]], *, kill: str = "") -> None:
        """Post (person, text) in batches; somewhere in the middle a worker or the box is killed."""
        batches = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
        unlucky = self.chance.randrange(len(batches)) if kill else -1
        for number, batch in enumerate(batches):
            body = []
            for person, text in batch:
                self.sent += 1
                message = {"from": person, "to": "8400", "message": text, "messageId": f"c{self.sent}"}
                body.append(message)
            self._post(body)
            if number == unlucky:
                self._kill(kill)

    def _post(self, body: list[dict[str, Any]]) -> None:
        def taken() -> bool:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, OSError, Gone):
                status, _ = self.box.post(body)
                return bool(status in (200, 202))
            return False

        wait_for("the batch is taken", taken, 60)

    def _kill(self, what: str) -> None:
        if what == "box":
            self.box.kill()
            self.box.start()
        else:
            for pid in self.box.workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def settle(self) -> None:
        """Wait until every text had its turn."""
        waiting = "SELECT count(*) FROM inbound WHERE state = 'accepted'"
        wait_for("every text handled", lambda: self.box.count(waiting) == 0, 120)
        assert self.box.count("SELECT count(*) FROM inbound WHERE channel <> 'timer'") == self.sent
        assert self.box.count("SELECT count(*) FROM inbound WHERE state = 'set_aside'") == 0

    def read(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.box.data / 'outpost.db'}?mode=ro", uri=True)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    box = Outpost(
        tmp_path,
        [],
        "[workers]\nmin = 2\nmax = 2\n[conversation]\ndefault_app = 'chat'\n"
        "[limits]\nnormal = [1000, 5000, 10000]\nall_a_minute = 1000000\n[spending]\nperson = 0\nbox = 0\n",
    )
    box.start()
    yield Crowd(box, random.Random(11))
    box.close()


def stuck(db: sqlite3.Connection) -> list[str]:
    """Who waits although somebody who waits too would fit."""
    look = ChatLook(db)
    rows = db.execute(
        "SELECT number, language, topic, gender, wants FROM chat_person WHERE waiting_ms IS NOT NULL"
    ).fetchall()
    (now_ms,) = db.execute("SELECT max(received_at_ms) FROM inbound").fetchone()
    return [row[0] for row in rows if look.candidate(*row, now_ms) is not None]


def check(crowd: Crowd) -> dict[str, int]:
    crowd.settle()
    db = crowd.read()
    try:
        assert db.execute(ODD_PAIRS).fetchall() == []
        assert stuck(db) == []
        pairs, waiting = db.execute(
            "SELECT (SELECT count(*) FROM chat_member) / 2,"
            " (SELECT count(*) FROM chat_person WHERE waiting_ms IS NOT NULL)"
        ).fetchone()
    finally:
        db.close()
    return {"pairs": pairs, "waiting": waiting}


def test_a_thousand_pairs_through_kills_are_whole_and_nobody_is_stuck(crowd: Crowd) -> None:
    chance = crowd.chance
    crowd.text([(person, "CHAT") for person in chance.sample(PEOPLE, len(PEOPLE))], kill="box")
    assert check(crowd) == {"pairs": 1000, "waiting": 0}
    # Each knows it: told by who matched them, by an alarm or by an event.
    untold = "SELECT count(*) FROM chat_member WHERE told = 0"
    wait_for("everybody is told", lambda: crowd.box.count(untold) == 0, 60)
    said = (
        "hello",
        "hi, who are you",
        "NEXT",
        "NEXT",
        "END",
        "CHAT",
        "CHAT music",
        "BLOCK",
        "0911223344",
    )
    for number, kill in enumerate(("worker", "box", "worker")):
        texts = [(person, f"{chance.choice(said)}") for person in chance.sample(PEOPLE, 600)]
        crowd.text(texts, kill=kill)
        print(number, kill, check(crowd))
    crowd.text([(person, "CHAT") for person in chance.sample(PEOPLE, len(PEOPLE))], kill="worker")
    found = check(crowd)
    print(found, crowd.box.count("SELECT count(*) FROM chat_pair"), "pairs made")
    assert 2 * found["pairs"] + found["waiting"] == len(PEOPLE) and found["pairs"] > 900
    # Nobody read a number that was not shared.
    leaked = "SELECT count(*) FROM outbound WHERE text LIKE '%0911223344%'"
    assert crowd.box.count(leaked) == 0
