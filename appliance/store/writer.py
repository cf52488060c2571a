"""The single writer: one thread, one read/write connection, group commit.

The loop gathers what is asked of it within one turn of the loop and hands it over as one batch; the thread
takes every batch that has gathered since its last sync and commits them together, so throughput grows with
load while latency stays near one sync. An op is a plain function of the connection without side effects
elsewhere: when an op of a group fails, the group is rolled back and run again with a savepoint around each
op, and only the one that failed is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from appliance import faults
from appliance.store.bulk import COMBINED
from appliance.store.database import connect_writer
from appliance.store.errors import StoreClosed, StoreError, StoreOverloaded, StoreUnavailable

__all__ = ["Done", "Writer", "WriterState", "WriterStats"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]  # (value, None) or (None, error), called on the loop
_Job = tuple[Callable[..., Any], tuple[Any, ...], Done]
_Answer = tuple[Any, BaseException | None]

SOFT_LIMIT: Final = 4096  # ops waiting at which `full` asks the intake to wait
HARD_LIMIT: Final = 32768  # ops waiting at which everything is refused: a bug or a dead disk
MAX_GROUP: Final = 1024  # ops in one transaction: keeps one commit near 20 ms on the disk measured
IDLE_BEAT_S: Final = 1.0
STUCK_S: Final = 10.0  # half a minute is the service's watchdog; a sync that takes this long is no sync
BUSY_PATIENCE_S: Final = 5.0  # how long a foreign lock on the file is waited out before callers are told
LATENCIES_KEPT: Final = 512


class WriterState(enum.StrEnum):
    """What the last attempt to write met; all but the last two are left by the next commit that works."""

    OK = "ok"
    BUSY = "busy"  # another program holds the file's write lock
    FULL = "full"  # no space left
    IOERR = "ioerr"  # the disk failed a read, a write or a sync; the connection is opened anew
    READONLY = "readonly"  # the file system turned read-only, or permissions changed
    CORRUPT = "corrupt"  # the file is damaged: restore a backup
    STOPPED = "stopped"  # closed, or the thread died; nothing is written any more


_STATE_OF: Final = {
    sqlite3.SQLITE_BUSY: WriterState.BUSY,
    sqlite3.SQLITE_LOCKED: WriterState.BUSY,
    sqlite3.SQLITE_PROTOCOL: WriterState.BUSY,
    sqlite3.SQLITE_FULL: WriterState.FULL,
    sqlite3.SQLITE_IOERR: WriterState.IOERR,
    sqlite3.SQLITE_NOMEM: WriterState.IOERR,
    sqlite3.SQLITE_CANTOPEN: WriterState.IOERR,
    sqlite3.SQLITE_READONLY: WriterState.READONLY,
    sqlite3.SQLITE_CORRUPT: WriterState.CORRUPT,
    sqlite3.SQLITE_NOTADB: WriterState.CORRUPT,
}
_BEGIN: Final = "BEGIN IMMEDIATE"


def disk_state(error: BaseException) -> WriterState | None:
    """The state an error of the file or disk stands for; None when the statement itself is at fault."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else _STATE_OF.get(code & 0xFF)
    if isinstance(error, OSError):
        return WriterState.IOERR
    return None


class WriterStats:
    """Counters since start, and the latest groups' sizes and times (seconds), for metrics and benchmarks."""

    __slots__ = (
        "busy_retries", "commits", "failed", "group_sizes", "largest_group", "latencies_s",
        "ops", "reruns", "slowest_s", "total_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.commits = 0
        self.ops = 0
        self.failed = 0
        self.reruns = 0
        self.busy_retries = 0
        self.largest_group = 0
        self.slowest_s = 0.0
        self.total_s = 0.0
        self.group_sizes: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def record(self, size: int, seconds: float) -> None:
        self.commits += 1
        self.ops += size
        self.total_s += seconds
        self.largest_group = max(self.largest_group, size)
        self.slowest_s = max(self.slowest_s, seconds)
        self.group_sizes.append(size)
        self.latencies_s.append(seconds)

    def snapshot(self) -> dict[str, Any]:
        """Plain data: counters, mean group size, and p50/p95/max of the latest commits in milliseconds."""
        recent = sorted(self.latencies_s)
        return {
            "commits": self.commits,
            "ops": self.ops,
            "failed": self.failed,
            "reruns": self.reruns,
            "busy_retries": self.busy_retries,
            "largest_group": self.largest_group,
            "mean_group": round(self.ops / self.commits, 2) if self.commits else 0.0,
            "commit_p50_ms": round(1000 * recent[len(recent) // 2], 3) if recent else 0.0,
            "commit_p95_ms": round(1000 * recent[int(len(recent) * 0.95)], 3) if recent else 0.0,
            "commit_max_ms": round(1000 * self.slowest_s, 3),
        }


class Writer:
    """Owns the write connection. Made, used and closed on one event loop; the ops run in its thread."""

    def __init__(
        self,
        path: Path,
        *,
        soft_limit: int = SOFT_LIMIT,
        hard_limit: int = HARD_LIMIT,
        on_state: Callable[[WriterState, str], None] | None = None,
    ) -> None:
        self.path = path
        self.stats = WriterStats()
        self.state = WriterState.STOPPED
        self.state_detail = "not started"
        self._on_state = on_state
        self._soft_limit = soft_limit
        self._hard_limit = hard_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._queue: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._gathering: list[_Job] = []
        self._waiting = 0  # ops handed in and not yet answered; touched on the loop only
        self._beat = time.monotonic()
        self._closed = False
        self._db: sqlite3.Connection | None = None
        self._owed: list[_Owed] = []  # touched in the thread only

    def start(self) -> None:
        """Open the connection here, so that an error is the caller's, then start the thread."""
        self._loop = asyncio.get_running_loop()
        self._db = connect_writer(self.path)
        self._set_state(WriterState.OK, "")
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Commit what was handed in, then end the thread and close the connection."""
        if self._closed or self._thread is None:
            self._closed = True
            return
        self._closed = True
        self._hand_over()
        self._queue.put(None)
        thread = self._thread
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        await asyncio.sleep(
            0
        )  # the thread's last answers are posted to the loop: let them reach their callers

    @property
    def full(self) -> bool:
        """True when new work from outside must wait (HTTP 503, messages left on the SIM)."""
        return self._waiting >= self._soft_limit or self.state is not WriterState.OK

    @property
    def depth(self) -> int:
        """Ops handed in and not yet answered."""
        return self._waiting

    @property
    def beat_age_s(self) -> float:
        """Seconds since the thread last made progress; below 2 while it is healthy, for the watchdog."""
        return time.monotonic() - self._beat

    @property
    def alive(self) -> bool:
        """Does the thread live and move? A commit stuck in the disk for STUCK_S makes it False."""
        return self._thread is not None and self._thread.is_alive() and self.beat_age_s <= STUCK_S

    def snapshot(self) -> dict[str, Any]:
        """State, queue and the statistics of `WriterStats.snapshot`, as plain data for the page."""
        last = self.stats.latencies_s[-1] if self.stats.latencies_s else 0.0
        return {
            "state": str(self.state),
            "detail": self.state_detail,
            "alive": self.alive,
            "queued": self._waiting,
            "rows": self.stats.ops,
            "last_commit_ms": round(1000 * last, 3),
            **self.stats.snapshot(),
        }

    def submit(
        self, op: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        """Queue an op; the future resolves after the synced commit that holds it.

        It fails with the op's own exception, or with StoreUnavailable when the disk refused, StoreOverloaded
        at the hard bound, StoreClosed after close(). Nothing of a failed op is stored.
        """
        assert self._loop is not None, "the writer is not started"
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            if future.done():  # the caller was cancelled; what was committed stays committed
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        if kwargs:
            self.post(lambda db: op(db, *args, **kwargs), (), done)
        else:
            self.post(op, args, done)
        return future

    async def run(
        self, op: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`submit`, awaited."""
        return await self.submit(op, *args, **kwargs)

    def post(self, op: Callable[..., Any], args: tuple[Any, ...], done: Done) -> None:
        """The cheapest form: `done(value, error)` is called on the loop, in the order of posting.

        Never raises; what is wrong with the writer itself comes through `done` as well.
        """
        loop = self._loop
        assert loop is not None, "the writer is not started"
        if self._closed or self.state is WriterState.STOPPED:
            loop.call_soon(_answer, done, None, StoreClosed("the writer has stopped"))
            return
        if self._waiting >= self._hard_limit:
            loop.call_soon(_answer, done, None, StoreOverloaded(f"{self._waiting} operations are waiting"))
            return
        self._waiting += 1
        gathering = self._gathering
        gathering.append((op, args, done))
        if len(gathering) == 1:
            loop.call_soon(self._hand_over)

    def owe(self, op: Callable[[sqlite3.Connection], Any], then: Callable[[], None]) -> None:
        """An op that everything posted after it relies on: no later op is committed before it is.

        While the disk refuses, it is kept and opens the next transaction. then: called on the loop after it.
        """
        if self._closed or self.state is WriterState.STOPPED:
            return
        assert self._loop is not None, "the writer is not started"
        owed = _Owed(op, then)
        self._waiting += 1
        self._gathering.append((owed, (), owed.done))
        if len(self._gathering) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._gathering:
            batch, self._gathering = self._gathering, []
            self._queue.put(batch)

    # From here on: the writer's thread.

    def _run(self) -> None:
        jobs: list[_Job] = []
        try:
            stopping = False
            while not stopping:
                jobs, stopping = self._gather()
                for start in range(0, len(jobs), MAX_GROUP):
                    group = jobs[start : start + MAX_GROUP]
                    self._deliver(group, self._commit(group))
                    self._beat = time.monotonic()
                jobs = []
        except BaseException as error:  # the thread must never end unseen: callers learn it, the watchdog too
            logger.critical("the writer's thread died", exc_info=error)
            self._set_state(WriterState.STOPPED, f"{type(error).__name__}: {error}")
            self._refuse(jobs)
        finally:
            self._set_state(WriterState.STOPPED, self.state_detail)
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
            self._refuse_queued()

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for work, then take all there is. Returns (jobs, stop after them)."""
        while True:
            try:
                batch = self._queue.get(timeout=IDLE_BEAT_S)
                break
            except queue.Empty:
                if self.state is not WriterState.OK:
                    self._commit([(_probe, (), _nobody)])  # learn of recovery at no caller's cost
                self._beat = time.monotonic()
        if batch is None:
            return [], True
        jobs = batch
        while len(jobs) < MAX_GROUP:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return jobs, True
            jobs.extend(more)
        return jobs, False

    def _commit(self, group: list[_Job]) -> list[_Answer]:
        """Run and commit a group; one answer per job, whatever happens."""
        started = time.monotonic()
        give_up = started + BUSY_PATIENCE_S
        savepoints = False
        while True:
            try:
                if faults.armed:
                    faults.hit("writer.before_begin")
                results = self._attempt(group, savepoints=savepoints)
            except _OpFailed:
                self.stats.reruns += 1
                savepoints = True
                continue
            except Exception as error:
                state = disk_state(error)
                self._roll_back()
                if state is None:
                    state = WriterState.IOERR
                    logger.exception("the writer met an error that is neither an op's nor a known disk state")
                if state is WriterState.BUSY and time.monotonic() < give_up:
                    self.stats.busy_retries += 1
                    self._set_state(state, str(error))
                    time.sleep(0.05)  # the writer's own thread: nobody else waits for it
                    continue
                self._set_state(state, str(error))
                if state in (WriterState.IOERR, WriterState.CORRUPT):
                    self._reopen()
                self.stats.failed += len(group)
                self._owed += [job[0] for job in group if isinstance(job[0], _Owed)]
                refused = StoreUnavailable(str(state), str(error))
                return [(None, refused)] * len(group)
            if self.state is not WriterState.OK:
                self._set_state(WriterState.OK, "")
            self.stats.record(len(group), time.monotonic() - started)
            return results

    def _attempt(self, group: list[_Job], *, savepoints: bool) -> list[_Answer]:
        db = self._db
        if db is None:
            db = self._db = connect_writer(self.path)
        db.execute(_BEGIN)
        owed = self._run_owed(db) if self._owed else []
        results = self._one_by_one(db, group) if savepoints else self._together(db, group)
        if faults.armed:
            faults.hit("writer.before_commit")
        if db.in_transaction:  # a single op that failed has rolled back already
            db.execute("COMMIT")
            if owed:
                self._paid(owed)
        if faults.armed:
            faults.hit("writer.after_commit")
        return results

    def _run_owed(self, db: sqlite3.Connection) -> list[_Owed]:
        """Begin a transaction with what an earlier one owes; one that can never work is given up loudly."""
        for owed in list(self._owed):
            try:
                owed(db)
            except Exception as error:
                if disk_state(error) is not None:
                    raise
                self._owed.remove(owed)
                logger.critical("what all later writes rely on failed", exc_info=error)
        return list(self._owed)

    def _paid(self, owed: list[_Owed]) -> None:
        self._owed = []
        assert self._loop is not None
        for each in owed:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(each.then)

    def _together(self, db: sqlite3.Connection, group: list[_Job]) -> list[_Answer]:
        """Run a group on the hope that nothing fails, neighbouring calls of one op together."""
        results: list[_Answer] = []
        at = 0
        try:
            while at < len(group):
                op, args, _ = group[at]
                end = at + 1
                together = COMBINED.get(op)
                if together is not None:
                    while end < len(group) and group[end][0] is op:
                        end += 1
                if together is not None and end > at + 1:
                    calls = [job[1] for job in group[at:end]]
                    results += [(value, None) for value in together(db, calls)]
                else:
                    results.append((op(db, *args), None))
                at = end
        except Exception as error:
            if disk_state(error) is not None:
                raise
            if len(group) > 1:
                self._roll_back()
                raise _OpFailed from error
            self.stats.failed += 1
            self._roll_back()
            return [(None, error)]
        return results

    def _one_by_one(self, db: sqlite3.Connection, group: list[_Job]) -> list[_Answer]:
        """Run a group in which something fails: each op under a savepoint, each with its own answer."""
        results: list[_Answer] = []
        for op, args, _ in group:
            db.execute("SAVEPOINT op")
            try:
                value = op(db, *args)
            except Exception as error:
                if disk_state(error) is not None:
                    raise
                db.execute("ROLLBACK TO op")
                db.execute("RELEASE op")
                self.stats.failed += 1
                results.append((None, error))
            else:
                db.execute("RELEASE op")
                results.append((value, None))
        return results

    def _roll_back(self) -> None:
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self._reopen()

    def _reopen(self) -> None:
        """Drop a connection whose file misbehaved; the next group opens a new one."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _deliver(self, group: list[_Job], results: list[_Answer]) -> None:
        assert self._loop is not None
        # A closed loop means the program is past caring for answers; the commit stands.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._answer_all, group, results)

    def _answer_all(self, group: list[_Job], results: list[_Answer]) -> None:
        """On the loop: tell each caller. One caller's broken callback harms nobody else."""
        self._waiting -= len(group)
        for (_, _, done), (value, error) in zip(group, results, strict=True):
            try:
                done(value, error)
            except Exception:
                logger.exception("a callback of the writer failed")

    def _refuse(self, jobs: list[_Job]) -> None:
        closed = StoreClosed(f"the writer has stopped: {self.state_detail}")
        if jobs:
            self._deliver(jobs, [(None, closed)] * len(jobs))

    def _refuse_queued(self) -> None:
        while True:
            try:
                batch = self._queue.get_nowait()
            except queue.Empty:
                return
            if batch:
                self._refuse(batch)

    def _set_state(self, state: WriterState, detail: str) -> None:
        changed = state is not self.state
        self.state = state
        self.state_detail = detail
        if not changed:
            return
        if state is WriterState.OK or (state is WriterState.STOPPED and self._closed):
            logger.info("the writer is %s", state)
        else:
            logger.error("the writer is %s: %s", state, detail)
        if self._on_state is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._on_state, state, detail)


class _OpFailed(StoreError):
    """An op of a group failed: the group is run again with savepoints. Never leaves the thread."""


class _Owed:
    """An op that is kept until a commit holds it."""

    __slots__ = ("op", "then")

    def __init__(self, op: Callable[[sqlite3.Connection], Any], then: Callable[[], None]) -> None:
        self.op = op
        self.then = then

    def __call__(self, db: sqlite3.Connection) -> None:
        self.op(db)

    def done(self, value: Any, error: BaseException | None) -> None:
        if error is None:
            self.then()
        elif not isinstance(error, StoreError):
            logger.critical("what all later writes rely on failed", exc_info=error)


def _probe(db: sqlite3.Connection) -> None:
    """A write that changes nothing: does the disk take it again?"""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version={version}")


def _nobody(value: Any, error: BaseException | None) -> None:
    """The answer to a probe goes nowhere."""


def _answer(done: Done, value: Any, error: BaseException | None) -> None:
    done(value, error)
