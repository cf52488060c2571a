"""The writer: group commit, one op's failure alone, and the disk's troubles as states."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.store import writer as writer_module
from appliance.store.database import Migration, connect_reader, prepare
from appliance.store.errors import StoreClosed, StoreOverloaded, StoreUnavailable
from appliance.store.writer import Writer, WriterState

TABLE = Migration(1, "t", "CREATE TABLE t (x INTEGER PRIMARY KEY, y TEXT) STRICT;")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return prepare(tmp_path / "x.db", [TABLE]).path


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    writer = Writer(path)
    writer.start()
    yield writer
    await writer.close()


def put(db: sqlite3.Connection, x: int) -> int:
    db.execute("INSERT INTO t VALUES (?, NULL)", (x,))
    return x * 10


def put_then_fail(db: sqlite3.Connection, x: int) -> None:
    put(db, x)
    raise LookupError(x)


def stored(path: Path) -> list[int]:
    with closing(connect_reader(path)) as db:
        return [row[0] for row in db.execute("SELECT x FROM t ORDER BY x")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_writer_answers_after_the_commit(writer: Writer, path: Path) -> None:
    assert await writer.run(put, 4) == 40
    assert stored(path) == [4]


async def test_writer_ops_of_one_loop_turn_share_a_commit(writer: Writer) -> None:
    answers = await asyncio.gather(*(writer.submit(put, x) for x in range(200)))
    assert answers == [x * 10 for x in range(200)]
    assert writer.stats.commits == 1
    assert writer.stats.largest_group == 200


async def test_writer_op_that_fails_in_a_group_fails_alone(writer: Writer, path: Path) -> None:
    jobs = [writer.submit(put_then_fail if x == 3 else put, x) for x in range(6)]
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(answers[3], LookupError)
    assert [a for a in answers if not isinstance(a, LookupError)] == [0, 10, 20, 40, 50]
    assert stored(path) == [0, 1, 2, 4, 5]
    assert writer.state is WriterState.OK


async def test_writer_statement_error_in_a_group_fails_alone(writer: Writer, path: Path) -> None:
    answers = await asyncio.gather(*(writer.submit(put, x) for x in (1, 1, 2)), return_exceptions=True)
    assert answers[0] == 10 and answers[2] == 20
    assert isinstance(answers[1], sqlite3.IntegrityError)
    assert stored(path) == [1, 2]


async def test_writer_single_failing_op_leaves_nothing(writer: Writer, path: Path) -> None:
    with pytest.raises(LookupError):
        await writer.run(put_then_fail, 1)
    assert stored(path) == []


async def test_writer_cancelled_caller_harms_nobody(writer: Writer, path: Path) -> None:
    jobs = [writer.submit(put, x) for x in range(3)]
    jobs[1].cancel()
    assert await jobs[0] == 0
    assert await jobs[2] == 20
    assert stored(path) == [0, 1, 2]


async def test_writer_callback_that_raises_harms_nobody(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(value: Any, error: BaseException | None) -> None:
        raise RuntimeError("client gone")

    writer.post(put, (1,), bad)
    assert await writer.run(put, 2) == 20
    assert "a callback of the writer failed" in caplog.text
    assert await writer.run(put, 3) == 30


async def test_writer_beyond_the_soft_bound_is_full(path: Path) -> None:
    writer = Writer(path, soft_limit=3)
    writer.start()
    jobs = [writer.submit(put, x) for x in range(3)]
    assert writer.full
    await asyncio.gather(*jobs)
    assert not writer.full
    await writer.close()


async def test_writer_beyond_the_hard_bound_refuses(path: Path) -> None:
    writer = Writer(path, hard_limit=3)
    writer.start()
    jobs = [writer.submit(put, x) for x in range(4)]
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert answers[:3] == [0, 10, 20]
    assert isinstance(answers[3], StoreOverloaded) and answers[3].transient
    await writer.close()


async def test_writer_close_commits_what_was_handed_in(path: Path) -> None:
    writer = Writer(path)
    writer.start()
    job = writer.submit(put, 1)
    await writer.close()
    assert await job == 10
    assert stored(path) == [1]
    assert not writer.alive
    with pytest.raises(StoreClosed):
        await writer.run(put, 2)


async def test_writer_foreign_lock_is_waited_out(writer: Writer, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        job = writer.submit(put, 1)
        await until(lambda: writer.state is WriterState.BUSY)
        assert writer.full
        other.execute("ROLLBACK")
        assert await job == 10
    assert writer.state is WriterState.OK
    assert writer.stats.busy_retries >= 1


async def test_writer_foreign_lock_held_too_long_is_told(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BUSY_PATIENCE_S", 0.0)
    monkeypatch.setattr(writer_module, "IDLE_BEAT_S", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable) as refused:
            await writer.run(put, 1)
        assert refused.value.state == "busy"
        other.execute("ROLLBACK")
    assert await writer.run(put, 2) == 20
    assert stored(path) == [2]


async def test_writer_full_file_is_a_state_that_is_left_by_itself(
    writer: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "IDLE_BEAT_S", 0.01)

    def cap(db: sqlite3.Connection, pages: int) -> None:
        db.execute(f"PRAGMA max_page_count={pages}")

    def fill(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t (y) VALUES (?)", ("x" * 100_000,))

    await writer.run(cap, 4)
    with pytest.raises(StoreUnavailable) as refused:
        await writer.run(fill)
    assert refused.value.state == "full" and refused.value.transient
    await until(lambda: writer.state is WriterState.OK)  # the probe writes no new page, so it works
    assert await writer.run(put, 1) == 10
    assert stored(path) == [1]


async def test_writer_io_error_opens_a_new_connection(writer: Writer, path: Path) -> None:
    seen: list[int] = []

    def break_disk(db: sqlite3.Connection) -> None:
        seen.append(id(db))
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreUnavailable) as refused:
        await writer.run(break_disk)
    assert refused.value.state == "ioerr"
    assert await writer.run(put, 1) == 10
    assert stored(path) == [1]


async def test_writer_state_changes_are_told_on_the_loop(path: Path) -> None:
    told: list[tuple[str, str]] = []
    here = threading.get_ident()

    def on_state(state: WriterState, detail: str) -> None:
        assert threading.get_ident() == here
        told.append((str(state), detail))

    writer = Writer(path, on_state=on_state)
    writer.start()

    def break_disk(db: sqlite3.Connection) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreUnavailable):
        await writer.run(break_disk)
    await writer.run(put, 1)
    await until(lambda: len(told) >= 3)
    await writer.close()
    assert [state for state, _ in told[:3]] == ["ok", "ioerr", "ok"]


async def test_writer_thread_that_dies_is_seen(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def die(db: sqlite3.Connection) -> None:
        raise SystemExit

    writer = Writer(path)
    writer.start()
    with caplog.at_level(logging.CRITICAL), pytest.raises(StoreClosed):
        await writer.run(die)
    await until(lambda: not writer.alive)
    assert "the writer's thread died" in caplog.text
    with pytest.raises(StoreClosed):
        await writer.run(put, 1)
    await writer.close()


async def test_writer_stuck_in_a_commit_is_not_alive(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    def hold(db: sqlite3.Connection) -> None:
        held.wait(10)

    job = writer.submit(hold)
    monkeypatch.setattr(writer_module, "STUCK_S", 0.05)
    await until(lambda: not writer.alive)
    held.set()
    await job
    monkeypatch.setattr(writer_module, "STUCK_S", 10.0)
    assert writer.alive


async def test_writer_idle_keeps_its_beat(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "IDLE_BEAT_S", 0.01)
    await writer.run(put, 1)
    first = writer._beat
    await until(lambda: writer._beat > first)
