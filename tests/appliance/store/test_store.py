"""The store as a whole: one directory, one owner, promises kept over a restart."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.message import Inbound, InboundState
from appliance.store.errors import DataDirectoryInUse, StoreClosed
from appliance.store.parts import Part
from appliance.store.reader import Reader
from appliance.store.store import Store

ALEM = "+251911000001"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    yield store
    await store.close()


def message(text: str = "hello", **fields: Any) -> Inbound:
    usual: dict[str, Any] = {"channel": "http", "sender": ALEM, "recipient": "", "received_at_ms": 1000}
    return Inbound(**usual | fields, text=text)


def part(sequence: int) -> Part:
    return Part(
        channel="modem:one", sender=ALEM, recipient="", reference=1, reference_bits=8, total=2,
        sequence=sequence, encoding="gsm7", data=b"ab", received_at_ms=1,
    )  # fmt: skip


async def test_store_second_owner_of_a_directory_is_refused(store: Store) -> None:
    with pytest.raises(DataDirectoryInUse, match="in use by process"):
        await Store.open(store.data_dir)


async def test_store_directory_is_private_and_free_after_close(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    for _ in range(2):
        store = await Store.open(directory)
        await store.close()
    assert directory.stat().st_mode & 0o077 == 0


async def test_store_announces_each_new_message_once_in_order(store: Store) -> None:
    heard: list[tuple[int, str]] = []
    changes: list[dict[str, Any]] = []
    store.on_accepted = lambda number, inbound: heard.append((number, inbound.text))
    stop = store.feed.subscribe(changes.append)
    await store.accept_many([message("a", natural_key="a"), message("b"), message("c", sender="127")])
    await store.accept(message("a", natural_key="a"))
    assert heard == [(1, "a"), (2, "b")]
    assert [(c["id"], c["state"]) for c in changes if c["kind"] == "in"] == [
        (1, "accepted"), (2, "accepted"), (3, "guarded"),
    ]  # fmt: skip
    stop()
    stop()
    await store.accept(message("d"))
    assert len(changes) == 3


async def test_store_cancelled_caller_does_not_hide_its_message(store: Store) -> None:
    heard: list[int] = []
    store.on_accepted = lambda number, inbound: heard.append(number)
    caller = asyncio.create_task(store.accept(message()))
    await asyncio.sleep(0)  # the op is handed in, the caller waits
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await store.accept(message())
    assert heard == [1, 2]


async def test_store_own_numbers_are_never_answered(store: Store) -> None:
    store.own_numbers.add(ALEM)
    assert (await store.accept(message())).state is InboundState.GUARDED


async def test_store_parts_survive_a_restart(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    assert await store.accept_part(part(2)) is None
    await store.close()
    store = await Store.open(tmp_path)
    heard: list[str] = []
    store.on_accepted = lambda number, inbound: heard.append(inbound.text)
    whole = await store.accept_part(part(1))
    again = await store.accept_part(part(2))
    await store.close()
    assert whole is not None and again is not None
    assert (whole.duplicate, again.duplicate) == (False, True)
    assert heard == ["abab"]


async def test_store_checks_its_file_beside_the_work(store: Store) -> None:
    async with asyncio.timeout(10):
        while store.integrity == "not checked yet":
            await asyncio.sleep(0.005)
    assert store.integrity == "ok"


async def test_store_listener_that_raises_harms_nobody(store: Store) -> None:
    heard: list[dict[str, Any]] = []

    def bad(change: dict[str, Any]) -> None:
        raise RuntimeError("page gone")

    store.feed.subscribe(bad)
    store.feed.subscribe(heard.append)
    await store.accept(message())
    assert len(heard) == 1


async def test_reader_sees_one_moment_and_cannot_write(store: Store) -> None:
    await store.accept(message())
    assert await store.reader.run(lambda db: db.execute("SELECT count(*) FROM inbound").fetchone()) == (1,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.reader.run(lambda db: db.execute("DELETE FROM inbound"))
    with pytest.raises(LookupError):
        await store.reader.run(lambda db: {}["nothing"])
    assert await store.reader.run(lambda db: db.in_transaction)


async def test_reader_closed_refuses(store: Store) -> None:
    reader = Reader(store.path)
    await reader.open()
    await reader.close()
    await reader.close()
    with pytest.raises(StoreClosed):
        await reader.run(lambda db: None)


def test_store_process_that_forgets_to_close_still_ends(tmp_path: Path) -> None:
    """The writer's thread may not hold the process: systemd would have to kill it."""
    script = (
        "import asyncio, pathlib, sys\n"
        "from appliance.store.writer import Writer\n"
        "from appliance.store.database import prepare\n"
        "async def main():\n"
        "    writer = Writer(prepare(pathlib.Path(sys.argv[1]) / 'x.db').path)\n"
        "    writer.start()\n"
        "    await writer.run(lambda db: None)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=10)
