"""A client's money and counts over random lives of messages, with crashes in between: they always add up."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.clock import Line
from appliance.message import OUTBOUND_MOVES, Lane, OutboundState
from appliance.store import gateway, outbound, prices, timeline
from appliance.store.database import known_migrations
from appliance.store.enqueue import enqueue
from appliance.store.gateway import NewMessage

NOW = 1_795_000_000_000
LINE = Line("boot", 0, 0, False, True, 0)
NUMBERS = ("+251911000001", "+251711000001", "+254700000001")


class Crash(Exception):
    """Power fails before the commit."""


class Box:
    """Clients, their messages, and all that can happen to them, each in a transaction that may not end."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = NOW
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("PRAGMA foreign_keys=ON")
        for migration in known_migrations():
            self.db.executescript(migration.sql)
        for name in ("acme", "bolt"):
            self.run(lambda name=name: gateway.add_client(self.db, name, NOW, actor="test"))
        self.ids = [client.id for client in gateway.clients(self.db)]

    def run(self, op: Callable[[], Any], *, crash: bool = False) -> None:
        before = self.books() if crash else None
        self.db.execute("BEGIN IMMEDIATE")
        try:
            op()
            if crash:
                raise Crash
            self.db.execute("COMMIT")
        except (Crash, gateway.ClientRefused):
            self.db.execute("ROLLBACK")
            assert before is None or self.books() == before

    def step(self) -> None:
        self.now += self.chance.choice((0, 1, 1_000, 400_000, 20_000_000))
        op = self.chance.choice(
            (self.credit, self.price, self.send, self.send, self.move, self.move, self.sweep)
        )
        self.run(op, crash=self.chance.random() < 0.15)

    def credit(self) -> None:
        units = self.chance.choice((-500, -3, 1, 7, 40))
        gateway.add_credit(self.db, self.chance.choice(self.ids), units, self.now, actor="test")

    def price(self) -> None:
        prefix = self.chance.choice(("", "+251", "+2517"))
        from_ms = self.now + self.chance.choice((-1, 0, 10_000_000))
        prices.set_price(self.db, prefix, self.chance.randrange(4), from_ms, self.now, actor="test")

    def send(self) -> None:
        messages = [
            NewMessage(
                recipient=self.chance.choice(NUMBERS),
                text="x",
                lane=self.chance.choice(list(Lane)),
                encoding="gsm7",
                segments=self.chance.randint(1, 3),
            )
            for _ in range(self.chance.randint(1, 3))
        ]
        client = self.chance.choice(self.ids)
        enqueue(self.db, client, messages, self.now, "", b"", lambda results: (202, b""))

    def move(self) -> None:
        """Any move that the table of states has, by the op that makes it."""
        found = self.db.execute("SELECT id, state FROM outbound ORDER BY id").fetchall()
        if not found:
            return
        number, word = self.chance.choice(found)
        state = OutboundState(word)
        to = self.chance.choice(sorted(OUTBOUND_MOVES[state]) or [state])
        if to is OutboundState.SENDING:
            outbound.claim(self.db, number, channel="test", now_ms=self.now)
        elif to is OutboundState.QUEUED:
            outbound.requeue(self.db, number, self.now, self.now, "test")
        elif to is OutboundState.UNCERTAIN:
            outbound.doubt(self.db, number, self.now, "test", "us")
        else:
            outbound.move(self.db, number, to, self.now, "test")

    def sweep(self) -> None:
        """Deadlines pass, the box starts anew, or its clock is set."""
        if self.chance.random() < 0.3:
            outbound.recover(self.db, self.now)
        elif self.chance.random() < 0.2:
            by = self.chance.choice((-5_000_000, 3_600_000, 90_000_000))
            timeline.shift(self.db, LINE, by, self.now, 0)
            self.now += by
        else:
            outbound.sweep(self.db, self.now, 50)

    def books(self) -> list[dict[str, int]]:
        return gateway.books(self.db)

    def check(self) -> None:
        for row in self.books():
            assert row["difference"] == row["reserved_difference"] == 0, row
            assert row["balance"] >= 0 and row["reserved"] >= 0
        kept = self.db.execute(
            "SELECT client_id, quarter_ms, lane, state, messages, segments, units FROM client_usage"
            " WHERE messages > 0 ORDER BY 1, 2, 3, 4"
        ).fetchall()
        counted = self.db.execute(
            "SELECT m.client_id, o.created_at_ms / 900000 * 900000, o.lane, o.state, count(*),"
            " sum(m.segments), sum(CASE m.charge WHEN 'settled' THEN m.units ELSE 0 END)"
            " FROM client_message m JOIN outbound o ON o.id = m.outbound_id"
            " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ).fetchall()
        assert kept == counted
        below = "messages < 0 OR segments < 0 OR units < 0"
        assert self.db.execute(f"SELECT count(*) FROM client_usage WHERE {below}").fetchone() == (0,)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_books_and_counts_add_up_whatever_happens_to_messages(seed: int) -> None:
    box = Box(random.Random(seed))
    with contextlib.closing(box.db):
        for _ in range(60):
            box.step()
            box.check()


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box(random.Random(1))
    yield made
    made.db.close()


def test_balance_below_zero_is_refused_by_the_database_itself(box: Box) -> None:
    box.run(lambda: gateway.add_credit(box.db, 1, 5, NOW, actor="test"))
    with pytest.raises(sqlite3.IntegrityError):
        box.db.execute("UPDATE client SET balance = -1 WHERE id = 1")
    with pytest.raises(sqlite3.IntegrityError):  # a message that no balance pays, whoever inserts it
        number = outbound.insert(box.db, outbound.Outbound(recipient=NUMBERS[0], text="x", client_id=1), NOW)
        box.db.execute(
            "INSERT INTO client_message (outbound_id, client_id, encoding, segments, units)"
            " VALUES (?, 1, 'gsm7', 1, 6)",
            (number,),
        )
    box.check()


def test_usage_is_read_without_looking_at_a_message(box: Box) -> None:
    """Else the page of a client with a million of them takes seconds."""
    from appliance.store import analytics

    looked: set[str] = set()

    def note(action: int, table: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ and table:
            looked.add(table)
        return sqlite3.SQLITE_OK

    box.db.set_authorizer(note)
    analytics.volume(box.db, 1, 0, NOW, 180, "day")
    analytics.lane_figures(box.db, 1, 0, NOW)
    assert looked == {"client_usage", "client_latency"}
