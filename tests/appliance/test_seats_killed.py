"""More people than seats, several workers, and the power goes again and again: no seat is sold twice."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import datetime as dt
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.store.timetable import SAMPLE_FOLDER

pytestmark = pytest.mark.torture

ROOT = Path(__file__).parents[2]
SEATS, PEOPLE, KILLS = 9, 60, 5
READY_S = 30


class Box:
    """`outpost run` with four workers and one small bus a day, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.data = folder / "data"
        tables = folder / "tables"
        tables.mkdir()
        (tables / "towns.csv").write_bytes((SAMPLE_FOLDER / "towns.csv").read_bytes())
        with (tables / "routes.csv").open("w", newline="") as file:
            columns = ("origin", "destination", "km", "typical_duration_min", "fare_etb", "departures")
            csv.writer(file).writerows([columns, ("Addis Ababa", "Hawassa", 275, 315, 445, "05:30")])
        self._config = folder / "outpost.toml"
        self._config.write_text(
            f'data_dir = "{self.data}"\n[http]\nlisten = "{self.url[7:]}"\n[workers]\nmin = 4\nmax = 4\n'
            f'[booking]\ntimetable = "{tables}"\nseats_per_bus = {SEATS}\n'
        )
        self._log = (folder / "log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, http: aiohttp.ClientSession) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self._config)],
            cwd=ROOT, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        async with asyncio.timeout(READY_S):
            while True:
                assert self.process.poll() is None, "the appliance ended"
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


async def test_seats_are_never_sold_twice_whenever_the_box_is_killed(box: Box) -> None:
    chance = random.Random(20261122)
    date = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:

        async def text(number: int, words: str) -> None:
            """Texted until it is taken, as a phone does it."""
            sender = f"+25191100{number:04}"
            body = {"from": sender, "message": words, "messageId": f"{number}-{words}"}
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.post(f"{box.url}/api/sms/incoming", json=body) as answer:
                        if answer.status < 300:
                            return
                        assert answer.status in (429, 503), await answer.text()
                await asyncio.sleep(0.05)

        async def person(number: int) -> None:
            seats = number % 4 + 1
            await text(number, f"BOOK ADDIS HAWASSA {date:%d-%m-%Y} {seats}")
            await asyncio.sleep(chance.random() * 0.3)
            await text(number, "YES")
            if number % 5 == 0:  # and some change their mind, so that seats go round
                await asyncio.sleep(chance.random() * 0.3)
                await text(number, "CANCEL")

        async def kill() -> None:
            for _ in range(KILLS):
                await asyncio.sleep(0.2 + chance.random() * 0.4)
                box.end(signal.SIGKILL)
                await box.start(http)

        await box.start(http)
        people = asyncio.gather(*(person(number) for number in range(PEOPLE)))
        await kill()
        await people
        async with asyncio.timeout(30):
            while await _waiting(box):
                await asyncio.sleep(0.1)
    box.end(signal.SIGTERM)
    _check(box.data / "outpost.db")


async def _waiting(box: Box) -> int:
    def look() -> Any:
        with contextlib.closing(sqlite3.connect(box.data / "outpost.db")) as db:
            return db.execute("SELECT count(*) FROM inbound WHERE state = 'accepted'").fetchone()[0]

    return int(await asyncio.to_thread(look))


def _check(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        bookings = db.execute("SELECT id, holder, seats, numbers, state FROM booking").fetchall()
        taken = db.execute("SELECT number, booking_id FROM seat").fetchall()
        failed = db.execute("SELECT count(*) FROM inbound WHERE state = 'set_aside'").fetchone()
    alive = {row[0]: row for row in bookings if row[4] == "held"}
    assert failed == (0,)
    assert len({number for number, _ in taken}) == len(taken) <= SEATS
    assert {booking for _, booking in taken} == set(alive)  # no seat of a booking that is over
    for booking, _, seats, numbers, _ in alive.values():
        assert sorted(n for n, owner in taken if owner == booking) == sorted(map(int, numbers.split(",")))
        assert len(numbers.split(",")) == seats
    # A YES that was answered by a kill is run again, and books once.
    assert len({row[1] for row in alive.values()}) == len(alive)
    assert sum(row[2] for row in alive.values()) >= SEATS - 4  # the bus fills up: the test tried something
