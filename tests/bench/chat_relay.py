"""Does looking slow the relay? `python -m tests.bench.chat_relay`: texts between pairs, with admins or not.

Rounds alternate between nobody looking, and an admin who opens the list and a pair every second while a
digest is made every second, which is more than any admin does. Prints the median and the 95th percentile of a
text's way: from the HTTP call until its turn is committed and the partner's SMS is on the queue.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
from pathlib import Path

from appliance.store import moderation
from tests.sim.harness import Outpost

PAIRS = 500
TEXTS = 600  # of a round
ROUNDS = 6
PACE_S = 1.0  # between two looks, as fast as a person clicks
SETTINGS = (
    "[conversation]\ndefault_app = 'chat'\n[limits]\nnormal = [100000, 100000, 100000]\n"
    "all_a_minute = 1000000\n[spending]\nperson = 0\nbox = 0\n"
)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        box = Outpost(Path(folder), [], SETTINGS)
        box.start()
        try:
            return _measure(box)
        finally:
            box.close()


def _measure(box: Outpost) -> int:
    people = [f"+2519{number:08}" for number in range(2 * PAIRS)]
    for at in range(0, len(people), 250):
        box.post([_text(person, "CHAT") for person in people[at : at + 250]], Prefer="wait=30")
    looking, stop = threading.Event(), threading.Event()
    seen = itertools.count()
    admins = [
        threading.Thread(target=_look, args=(box, looking, stop, seen)),
        threading.Thread(target=_digest, args=(box, looking, stop, seen)),
    ]
    for admin in admins:
        admin.start()
    ways: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(ROUNDS):
        watched = bool(round_ % 2)
        (looking.set if watched else looking.clear)()
        for number in range(TEXTS):
            started = time.perf_counter()
            box.post(_text(people[number % len(people)], f"text {round_}.{number}"), Prefer="wait=10")
            ways[watched].append(1000 * (time.perf_counter() - started))
    stop.set()
    looking.set()
    for admin in admins:
        admin.join()
    for watched, took in ways.items():
        cuts = statistics.quantiles(took, n=20)
        who = f"admins looked {next(seen)} times" if watched else "nobody looks"
        print(
            f"{who:28} p50 {statistics.median(took):6.1f} ms   p95 {cuts[18]:6.1f} ms   ({len(took)} texts)"
        )
    return 0


_numbers = itertools.count()


def _text(person: str, text: str) -> dict[str, str]:
    return {"from": person, "to": "8400", "message": text, "messageId": f"r{next(_numbers)}"}


def _look(box: Outpost, looking: threading.Event, stop: threading.Event, seen: itertools.count[int]) -> None:
    while not stop.is_set():
        looking.wait()
        for path in ("/chat", "/chat/7"):
            with contextlib.suppress(urllib.error.URLError):
                box.get(path)
                next(seen)
        time.sleep(PACE_S)


def _digest(
    box: Outpost, looking: threading.Event, stop: threading.Event, seen: itertools.count[int]
) -> None:
    db = sqlite3.connect(f"file:{box.data / 'outpost.db'}?mode=ro", uri=True, check_same_thread=False)
    while not stop.is_set():
        looking.wait()
        moderation.digest(db, 0, 1 << 50)
        next(seen)
        time.sleep(PACE_S)
    db.close()


if __name__ == "__main__":
    sys.exit(main())
