"""What is older than the operator keeps is forgotten: texts and numbers, not what still waits."""

from __future__ import annotations

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
