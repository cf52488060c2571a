"""Requests that meet in one commit are answered, charged and stored as if each had come alone."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.message import Lane
from appliance.store import gateway, prices
from appliance.store.bulk import COMBINED
from appliance.store.database import connect_writer, prepare
from appliance.store.enqueue import enqueue
from appliance.store.gateway import NewMessage, Placed, Refused

NOW = 1_790_000_000_000
TABLES = ("outbound", "client_message", "idempotency", "client", "credit", "trace", "webhook_event")


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    paths = [prepare(tmp_path / f"{name}.db").path for name in ("single", "together")]
    with closing(connect_writer(paths[0])) as one, closing(connect_writer(paths[1])) as other:
        for db in (one, other):
            for name, units, low_mark in (("rich", 10_000, 0), ("poor", 12, 6), ("late", 50, 0)):
                client = gateway.add_client(db, name, NOW, actor="test", low_mark=low_mark)
                gateway.add_credit(db, client.id, units, NOW, actor="test")
            gateway.set_client(db, client.id, NOW, actor="test", state="suspended")
            prices.set_price(db, "+2517", 3, NOW, NOW, actor="test")
        yield one, other


def render(results: Sequence[Placed | Refused]) -> tuple[int, bytes]:
    return 202, msgspec.json.encode([type(result).__name__ for result in results])


def request(rng: random.Random, keys: list[str]) -> tuple[Any, ...]:
    messages = [
        NewMessage(
            recipient=rng.choice(("+2519", "+2517")) + f"{rng.randrange(10**8):08d}",
            text="x" * rng.randrange(1, 99),
            lane=rng.choice(list(Lane)),
            encoding="gsm7",
            segments=rng.randrange(1, 4),
            reference=rng.choice(("", "r1")),
            why=rng.choice(("", "cheapest")),
        )
        for _ in range(rng.choice((1, 1, 1, 2, 7)))
    ]
    key = rng.choice(keys) if rng.random() < 0.2 else f"k{rng.randrange(10**9)}"
    return rng.randrange(1, 4), messages, NOW, rng.choice((key, key, key, "")), key.encode(), render


def dump(db: sqlite3.Connection) -> dict[str, list[Any]]:
    return {name: sorted(map(repr, db.execute(f"SELECT * FROM {name}"))) for name in TABLES}


@pytest.mark.parametrize("seed", range(8))
def test_enqueue_together_gives_what_it_gives_one_by_one(
    databases: tuple[sqlite3.Connection, sqlite3.Connection], seed: int
) -> None:
    single, together = databases
    rng = random.Random(seed)
    for _ in range(6):
        calls = [request(rng, ["a", "b", "c"]) for _ in range(rng.randrange(2, 40))]
        one_by_one = [enqueue(single, *call) for call in calls]
        assert COMBINED[enqueue](together, calls) == one_by_one
    assert dump(together) == dump(single)
    assert all(row["difference"] == row["reserved_difference"] == 0 for row in gateway.books(together))


def test_enqueue_key_used_twice_in_one_commit_is_one_message(
    databases: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    db, _ = databases
    message = NewMessage(recipient="+251911000001", text="x", lane=Lane.NORMAL, encoding="gsm7", segments=1)
    call = (1, [message], NOW, "twice", b"h", render)
    first, second = COMBINED[enqueue](db, [call, call])
    assert isinstance(first[0], Placed)
    assert second.body == render(first)[1]
    assert db.execute("SELECT count(*) FROM outbound").fetchone() == (1,)


def test_enqueue_what_belongs_to_a_message_is_written_with_it(
    databases: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    db, _ = databases
    message = NewMessage(recipient="+251911000001", text="x", lane=Lane.NORMAL, encoding="gsm7", segments=1)
    seen: list[int] = []

    def also(db: sqlite3.Connection, placed: Placed) -> None:
        found = db.execute(
            "SELECT outbound_id FROM client_message WHERE outbound_id = ?", (placed.outbound_id,)
        )
        seen.append(found.fetchone()[0])

    COMBINED[enqueue](
        db, [(1, [message] * 3, NOW, "", b"", render, also), (1, [message], NOW, "", b"", render)]
    )
    assert len(seen) == 3
