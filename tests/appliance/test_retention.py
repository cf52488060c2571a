"""What is older than the operator keeps is forgotten: texts and numbers, not what still waits."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.retention import DAY_MS, PIECE, Retention
from appliance.store.store import Store

NOW_MS = 1_795_334_400_000
ABEBE = "+251911111111"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    yield store
    await store.close()


async def put(store: Store, age_days: int, state: str = "handled", count: int = 1) -> None:
    add = (
        "INSERT INTO inbound (channel, sender, text, received_at_ms, state, natural_key)"
        " VALUES ('http', ?, 'book', ?, ?, 'k' || random())"
    )
    row = (ABEBE, NOW_MS - age_days * DAY_MS, state)
    await store.writer.run(lambda db: db.executemany(add, [row] * count).rowcount)


async def texts(store: Store) -> list[tuple[str, str]]:
    query = "SELECT sender, text FROM inbound ORDER BY id"
    return await store.reader.run(lambda db: db.execute(query).fetchall())


def keeping(store: Store, days: int) -> Retention:
    return Retention(store, days, lambda: NOW_MS, trusted=lambda: True)


async def test_retention_forgets_what_is_older_and_only_that(store: Store) -> None:
    await put(store, 31)
    await put(store, 29)
    await put(store, 31, "accepted")  # still owed a turn
    keeps = keeping(store, 30)
    assert (await keeps.run(), await keeps.run()) == (1, 0)
    assert await texts(store) == [("forgotten", ""), (ABEBE, "book"), (ABEBE, "book")]


async def test_retention_of_sent_messages_leaves_those_under_way(store: Store) -> None:
    add = (
        "INSERT INTO outbound (recipient, text, lane, state, created_at_ms, deadline_ms)"
        " VALUES (?, 'hello', 'reply', ?, ?, ?)"
    )
    for state, deadline in (("delivered", None), ("sent", NOW_MS), ("queued", NOW_MS)):
        row = (ABEBE, state, NOW_MS - 31 * DAY_MS, deadline)
        await store.writer.run(lambda db, row=row: db.execute(add, row).rowcount)
    assert await keeping(store, 30).run() == 1
    left = "SELECT state FROM outbound WHERE text = 'hello' ORDER BY id"
    assert await store.reader.run(lambda db: db.execute(left).fetchall()) == [("sent",), ("queued",)]


async def test_retention_takes_many_rows_in_pieces(store: Store) -> None:
    await put(store, 31, count=2 * PIECE + 5)
    assert await keeping(store, 30).run() == 2 * PIECE + 5


async def test_retention_forgets_questions_flags_and_closed_reports(store: Store) -> None:
    old, new = NOW_MS - 31 * DAY_MS, NOW_MS - 29 * DAY_MS
    sara = "+251922222222"

    def put_talk(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO chat_pair (id, began_ms, last_ms) VALUES (1, 1, 1)")
        for one, other in ((ABEBE, sara), (sara, ABEBE)):
            db.execute(
                "INSERT INTO chat_report (pair_id, reporter, reported, words, at_ms, state)"
                " VALUES (1, ?, ?, 'rude', ?, 'upheld')",
                (one, other, old),
            )
        for at_ms in (old, new):
            db.execute(
                "INSERT INTO chat_flag (pair_id, number, at_ms, kind, text) VALUES (1, ?, ?, 'masked', ?)",
                (ABEBE, at_ms, "bad words"),
            )

    await store.writer.run(put_talk)
    await keeping(store, 30).run()
    await keeping(store, 30).run()
    reports = "SELECT reporter, reported, words FROM chat_report"
    assert await store.reader.run(lambda db: db.execute(reports).fetchall()) == [
        ("forgotten-1", "forgotten-1", ""),
        ("forgotten-2", "forgotten-2", ""),
    ]
    flags = "SELECT number, text FROM chat_flag ORDER BY id"
    assert await store.reader.run(lambda db: db.execute(flags).fetchall()) == [
        ("forgotten-1", ""),
        (ABEBE, "bad words"),
    ]
