"""Doing many ops together must give what doing them one by one gives."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.conversation.turn import Session
from appliance.message import Inbound
from appliance.store import inbound, sessions, turns
from appliance.store.bulk import COMBINED, BulkInsert, BulkMismatch, chunks, select_in
from appliance.store.database import connect_writer, prepare
from appliance.store.effects import EFFECTS, EffectContext, EffectRefused
from appliance.store.turns import TurnWork

NOW = 1_790_000_000_000
Call = tuple[Callable[..., Any], tuple[Any, ...]]


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    paths = [prepare(tmp_path / f"{name}.db").path for name in ("single", "together")]
    with closing(connect_writer(paths[0])) as one, closing(connect_writer(paths[1])) as other:
        yield one, other


@pytest.fixture(autouse=True)
def effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        db.execute(
            "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms) VALUES (?, ?, '', 0)",
            (ctx.sender, ctx.inbound_id),
        )

    def refuse(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        raise EffectRefused("no", left=1)

    monkeypatch.setitem(EFFECTS, "test.note", note)
    monkeypatch.setitem(EFFECTS, "test.refuse", refuse)


def judge(db: sqlite3.Connection, message: Inbound) -> str | None:
    return "judged" if message.sender.endswith("7") else None


def calls_of(rng: random.Random) -> Iterator[tuple[Callable[..., Any], list[tuple[Any, ...]]]]:
    """Runs of one op each, as they come in groups."""
    for _ in range(40):
        kind = rng.choice(["accept", "commit", "converse"])
        count = rng.choice([2, 3, 5, 17, 70, 130])
        if kind == "accept":
            yield (
                inbound.accept_many,
                [([message(rng) for _ in range(rng.randint(0, 4))], judge) for _ in range(count)],
            )
        elif kind == "commit":
            yield turns.commit_turn, [(work(rng, number),) for number in rng.sample(range(1, 900), count)]
        else:
            yield turns.converse, [(m := message(rng), judge, talk(rng, m.sender)) for _ in range(count)]


def message(rng: random.Random) -> Inbound:
    number = rng.randrange(400)
    return Inbound(
        channel="http",
        sender=f"+2519110000{rng.randrange(60):02d}",
        recipient="8400",
        text=f"text {number} ሰላም",
        received_at_ms=NOW + number,
        sent_at_ms=rng.choice([None, NOW]),
        natural_key=rng.choice([None, f"k{number}", f"k{number}"]),
        partial=rng.random() < 0.1,
    )


def work(rng: random.Random, inbound_id: int, sender: str | None = None) -> TurnWork:
    sender = sender or f"+2519110000{rng.randrange(60):02d}"
    session = Session(sender=sender, app="a", state=rng.choice("XYZ"), data={"n": rng.random()})
    replies = [
        (f"r{n}", rng.choice(["", "", sender, "+251911999999"]), rng.choice(["reply", "otp"]))
        for n in range(rng.choice([0, 1, 1, 1, 3]))
    ]
    effects = rng.choice([[], [], [], [("test.note", {})], [("test.note", {}), ("test.refuse", {})]])
    kept = None if rng.random() < 0.1 else sessions.row_of(session)
    return TurnWork(inbound_id, sender, NOW, kept, replies, effects, rng.random() < 0.5)


def talk(rng: random.Random, sender: str) -> TurnWork:
    """Without effects: those are written one by one after the others, so that ids would differ."""
    return work(rng, -1, sender)._replace(effects=[])


def contents(db: sqlite3.Connection) -> dict[str, list[Any]]:
    orders = {"inbound": "id", "session": "sender", "outbound": "id", "undecoded": "id"}
    return {name: db.execute(f"SELECT * FROM {name} ORDER BY {by}").fetchall() for name, by in orders.items()}


@pytest.mark.parametrize("seed", range(6))
def test_ops_together_give_what_they_give_one_by_one(
    databases: tuple[sqlite3.Connection, sqlite3.Connection], seed: int
) -> None:
    single, together = databases
    for op, calls in calls_of(random.Random(seed)):
        one_by_one = []
        for args in calls:
            single.execute("BEGIN IMMEDIATE")
            one_by_one.append(plain(op(single, *args)))
            single.execute("COMMIT")
        together.execute("BEGIN IMMEDIATE")
        at_once = [plain(answer) for answer in COMBINED[op](together, calls)]
        together.execute("COMMIT")
        if op is not turns.commit_turn:
            assert at_once == one_by_one
        assert [kind for kind, _ in at_once] == [kind for kind, _ in one_by_one]
    assert same(contents(together)) == same(contents(single))


def same(dump: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Turns with effects follow those without: only the order of their rows may differ."""
    return {
        "inbound": dump["inbound"],
        "session": [row[0] for row in dump["session"]],
        "outbound": sorted(repr(row[1:]) for row in dump["outbound"]),
        "undecoded": sorted(repr(row[1:]) for row in dump["undecoded"]),
    }


def plain(answer: Any) -> tuple[str, Any]:
    return type(answer).__name__, answer


def test_turn_twice_in_one_group_counts_once(databases: tuple[sqlite3.Connection, Any]) -> None:
    db, _ = databases
    inbound.accept_many(db, [message(random.Random(n)) for n in range(3)])
    twice = TurnWork(1, "+251911000001", NOW, None, [("hi", "", "reply")], [])
    answers = COMBINED[turns.commit_turn](db, [(twice,), (twice._replace(now_ms=NOW + 1),)])
    assert [type(answer).__name__ for answer in answers] == ["Committed", "Stale"]
    assert db.execute("SELECT count(*) FROM outbound").fetchone() == (1,)


def test_bulk_insert_ids_are_those_of_the_rows(databases: tuple[sqlite3.Connection, Any]) -> None:
    db, _ = databases
    insert = BulkInsert("INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms)", 4)
    rows = [("c", str(n), "", n) for n in range(151)]
    ids = insert.ids(db, rows[:1]) + insert.ids(db, rows[1:])
    found = dict(db.execute("SELECT id, received_at_ms FROM undecoded").fetchall())
    assert [found[number] for number in ids] == list(range(151))


def test_bulk_insert_that_leaves_a_row_out_is_told(databases: tuple[sqlite3.Connection, Any]) -> None:
    db, _ = databases
    insert = BulkInsert(
        "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms)", 4, "ON CONFLICT DO NOTHING"
    )
    with pytest.raises(BulkMismatch, match="3 of 4"):
        insert.ids(db, [("c", key, "", 0) for key in "abca"])


def test_select_in_finds_all_in_pieces(databases: tuple[sqlite3.Connection, Any]) -> None:
    db, _ = databases
    db.executemany(
        "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms) VALUES ('c', ?, '', 0)",
        [(str(n),) for n in range(200)],
    )
    found = select_in(db, "SELECT id FROM undecoded WHERE id", range(50, 190), "ORDER BY id")
    assert sorted(row[0] for row in found) == list(range(50, 190))
    assert [len(piece) for piece in chunks(list(range(151)))] == [64, 64, 16, 4, 2, 1]


def test_known_keys_are_found_by_their_index(databases: tuple[sqlite3.Connection, Any]) -> None:
    db, _ = databases
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT natural_key, id, state FROM inbound WHERE natural_key IN (?, ?)",
        ("a", "b"),
    ).fetchall()
    assert "inbound_natural_key" in plan[0][3]


@pytest.mark.parametrize("at", [0, 63, 64, 70, 99])
def test_accept_bulk_one_known_key_among_a_hundred_is_the_only_duplicate(
    databases: tuple[sqlite3.Connection, Any], at: int
) -> None:
    db, _ = databases
    messages = [
        Inbound(
            channel="http",
            sender=f"+2519{number:08d}",
            recipient="",
            text="x",
            received_at_ms=NOW,
            natural_key=f"k{number}",
        )
        for number in range(100)
    ]
    before = inbound.accept(db, messages[at])
    found = inbound.accept_bulk(db, [(message, None, None) for message in messages])
    assert [place for place, accepted in enumerate(found) if accepted.duplicate] == [at]
    assert found[at].id == before.id
    keys = dict(db.execute("SELECT id, natural_key FROM inbound"))
    assert [keys[accepted.id] for accepted in found] == [message.natural_key for message in messages]
