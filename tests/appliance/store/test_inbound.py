"""Accepting messages and joining their parts."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from appliance.message import Inbound, InboundState
from appliance.store import inbound, parts, turns
from appliance.store.database import connect_writer, prepare
from appliance.store.parts import PARTS_WAIT_MS, Part

ALEM = "+251911000001"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(prepare(tmp_path / "x.db").path)) as db:
        yield db


def message(text: str = "hello", **fields: Any) -> Inbound:
    usual: dict[str, Any] = {"channel": "http", "sender": ALEM, "recipient": "", "received_at_ms": 1000}
    return Inbound(**usual | fields, text=text)


def part(sequence: int, data: bytes, **fields: Any) -> Part:
    return Part(
        **{
            "channel": "modem:one",
            "sender": ALEM,
            "recipient": "+251911000009",
            "reference": 7,
            "reference_bits": 8,
            "total": 3,
            "encoding": "gsm7",
            "received_at_ms": 1000 + sequence,
        }
        | fields,
        sequence=sequence,
        data=data,
    )


def texts(db: sqlite3.Connection) -> list[tuple[str, int, str]]:
    return db.execute("SELECT text, partial, state FROM inbound ORDER BY id").fetchall()


def test_accept_same_natural_key_is_one_message(db: sqlite3.Connection) -> None:
    first = inbound.accept(db, message(natural_key="k"))
    again = inbound.accept(db, message("other", natural_key="k"))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.id == again.id
    assert texts(db) == [("hello", 0, "accepted")]


def test_accept_without_natural_key_is_never_the_same(db: sqlite3.Connection) -> None:
    ids = {inbound.accept(db, message()).id for _ in range(3)}
    assert len(ids) == 3


def test_accept_many_key_repeated_inside_is_a_duplicate(db: sqlite3.Connection) -> None:
    answers = inbound.accept_many(db, [message(natural_key=key) for key in ("a", "b", "a")])
    assert [answer.duplicate for answer in answers] == [False, False, True]
    assert answers[2].id == answers[0].id


def test_accept_judged_message_is_kept_with_its_reason(db: sqlite3.Connection) -> None:
    answer = inbound.accept(db, message(), lambda _db, _message: "not today")
    assert answer.state is InboundState.GUARDED
    assert db.execute("SELECT state, reason FROM inbound").fetchall() == [("guarded", "not today")]
    assert inbound.waiting_after(db, 0, 10) == []


def test_waiting_after_gives_messages_back_whole_and_in_order(db: sqlite3.Connection) -> None:
    messages = [message(f"t{n}", natural_key=f"k{n}", sent_at_ms=n, partial=n == 2) for n in range(4)]
    inbound.accept_many(db, messages)
    db.execute("UPDATE inbound SET state = 'handled' WHERE id = 1")
    found = inbound.waiting_after(db, 1, 2)
    assert [row.inbound for row in found] == messages[1:3]
    assert [row.id for row in inbound.waiting_after(db, 3, 9)] == [4]


def test_waiting_of_reads_one_sender_by_its_index(db: sqlite3.Connection) -> None:
    inbound.accept_many(db, [message(sender=f"+25191100000{n % 3}") for n in range(9)])
    assert [row.id for row in inbound.waiting_of(db, ALEM, 2, 10)] == [5, 8]
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM inbound INDEXED BY inbound_sender"
        " WHERE sender = ? AND id > ? AND state = 'accepted' ORDER BY id",
        (ALEM, 0),
    ).fetchall()
    assert "SEARCH" in plan[0][3] and len(plan) == 1  # and no sort beside it


def test_strike_counts_and_traces(db: sqlite3.Connection) -> None:
    inbound_id = inbound.accept(db, message()).id
    assert [inbound.strike(db, inbound_id, "hung", 5), inbound.strike(db, inbound_id, "hung", 6)] == [1, 2]
    assert db.execute("SELECT count(*) FROM trace WHERE message = ?", (inbound_id,)).fetchone() == (2,)
    assert inbound.waiting_after(db, 0, 1)[0].attempts == 2


def test_set_aside_message_waits_no_more_until_released(db: sqlite3.Connection) -> None:
    inbound_id = inbound.accept(db, message()).id
    assert inbound.set_aside(db, inbound_id, "poison", 5)
    assert not inbound.set_aside(db, inbound_id, "poison", 5)
    assert inbound.waiting_after(db, 0, 1) == []
    released = inbound.release_set_aside(db, inbound_id, 6)
    assert released is not None and released.inbound == message()
    assert [row.id for row in inbound.waiting_after(db, 0, 1)] == [inbound_id]


def test_keep_undecoded_same_tpdu_is_kept_once(db: sqlite3.Connection) -> None:
    assert inbound.keep_undecoded(db, "modem:one", "07", "too short", 1) is not None
    assert inbound.keep_undecoded(db, "modem:one", "07", "too short", 2) is None


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_accept_part_any_order_joins_in_sequence(db: sqlite3.Connection, order: tuple[int, ...]) -> None:
    data = {1: b"one ", 2: b"two ", 3: b"three"}
    results = [parts.accept_part(db, part(n, data[n])) for n in order]
    assert [result.accepted is None for result in results] == [True, True, False]
    assert texts(db) == [("one two three", 0, "accepted")]


def test_accept_part_repeated_after_the_whole_names_the_same_message(db: sqlite3.Connection) -> None:
    for n in (1, 2, 3):
        last = parts.accept_part(db, part(n, b"x"))
    again = parts.accept_part(db, part(2, b"x"))
    assert last.accepted is not None and again.accepted is not None
    assert again.accepted.duplicate and again.accepted.id == last.accepted.id
    assert len(texts(db)) == 1


def test_accept_part_repeated_under_another_time_stamp_is_ignored(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(1, b"a", sent_at_ms=1))
    parts.accept_part(db, part(1, b"a", sent_at_ms=2))
    parts.accept_part(db, part(2, b"b"))
    parts.accept_part(db, part(3, b"c"))
    assert texts(db) == [("abc", 0, "accepted")]


def test_accept_part_surrogate_pair_across_parts_is_one_character(db: sqlite3.Connection) -> None:
    octets = "ab😀".encode("utf-16-be")
    parts.accept_part(db, part(2, octets[6:], total=2, encoding="ucs2"))
    parts.accept_part(db, part(1, octets[:6], total=2, encoding="ucs2"))
    assert texts(db) == [("ab😀", 0, "accepted")]


def test_accept_part_each_part_may_have_its_own_encoding(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(1, b"plain ", total=2))
    parts.accept_part(db, part(2, "ሰላም".encode("utf-16-be"), total=2, encoding="ucs2"))
    assert texts(db) == [("plain ሰላም", 0, "accepted")]


@pytest.mark.parametrize(
    "other", [{"reference": 8}, {"sender": "+251911000002"}, {"total": 2}, {"reference_bits": 16}]
)
def test_accept_part_of_another_message_is_not_mixed_in(
    db: sqlite3.Connection, other: dict[str, Any]
) -> None:
    parts.accept_part(db, part(1, b"a"))
    parts.accept_part(db, part(3, b"c"))
    result = parts.accept_part(db, part(2, b"B", **other))
    assert result.accepted is None
    assert texts(db) == []


def test_accept_part_reused_reference_hands_the_old_message_over(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(1, b"old"))
    result = parts.accept_part(db, part(1, b"new ", sent_at_ms=9))
    assert result.accepted is None and len(result.joined) == 1
    parts.accept_part(db, part(2, b"message "))
    parts.accept_part(db, part(3, b"whole"))
    assert texts(db) == [("old …", 1, "accepted"), ("new message whole", 0, "accepted")]


def test_hand_over_overdue_marks_what_is_missing(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(2, b"middle"))
    assert parts.hand_over_overdue(db, 1002 + PARTS_WAIT_MS - 1) == []
    joined = parts.hand_over_overdue(db, 1002 + PARTS_WAIT_MS)
    assert [(each.inbound.text, each.inbound.partial) for each in joined] == [("… middle …", True)]
    assert parts.hand_over_overdue(db, 10**12) == []


def test_hand_over_overdue_after_the_clock_was_set_back(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(1, b"future", received_at_ms=10**12))
    assert len(parts.hand_over_overdue(db, 1000)) == 1


def test_late_part_of_a_message_handed_over_is_kept_without_an_answer(db: sqlite3.Connection) -> None:
    parts.accept_part(db, part(1, b"half", total=2))
    parts.hand_over_overdue(db, 10**7)
    parts.accept_part(db, part(2, b"rest", total=2, received_at_ms=10**7))
    parts.hand_over_overdue(db, 10**8)
    assert texts(db) == [("half …", 1, "accepted"), ("… rest", 1, "guarded")]


def test_accept_part_many_interleaved_messages_all_join(db: sqlite3.Connection) -> None:
    rng = random.Random(7)
    deck = [
        part(n, f"{sender}/{reference}/{n} ".encode(), sender=f"+2519110000{sender:02d}", reference=reference)
        for sender in range(5)
        for reference in range(6)
        for n in (1, 2, 3)
    ]
    deck += rng.sample(deck, 20)  # the network repeats some
    rng.shuffle(deck)
    for each in deck:
        parts.accept_part(db, each)
    expected = {f"{s}/{r}/1 {s}/{r}/2 {s}/{r}/3" for s in range(5) for r in range(6)}
    assert {text for text, _, _ in texts(db)} == expected
    assert len(texts(db)) == 30


@pytest.mark.parametrize("state", list(InboundState))
def test_every_op_moves_a_message_only_as_the_table_allows(
    db: sqlite3.Connection, state: InboundState
) -> None:
    moves = {
        InboundState.HANDLED: lambda number: turns.commit_turn(
            db, turns.TurnWork(number, ALEM, 5, None, (), ())
        ),
        InboundState.SET_ASIDE: lambda number: inbound.set_aside(db, number, "why", 5),
        InboundState.ACCEPTED: lambda number: inbound.release_set_aside(db, number, 5),
    }
    for target, move in moves.items():
        number = inbound.accept(db, message()).id
        db.execute("UPDATE inbound SET state = ? WHERE id = ?", (state, number))
        move(number)
        (after,) = db.execute("SELECT state FROM inbound WHERE id = ?", (number,)).fetchone()
        assert after == (target if target in inbound.INBOUND_MOVES[state] else state)
