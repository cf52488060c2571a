"""The worker process: gets jobs over a socket, runs turns, gives back outcomes; it holds nothing dear.

Started by `spawn`, so it imports what is named here and no more: no web server, no event loop, no write
connection. It reads the sender's session and the apps' look-ups from a read-only connection; order per
sender holds, because the dispatcher gives out a sender's next message only after the commit of the last.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import sqlite3
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from appliance import faults, garbage
from appliance.conversation.turn import Event, Session, Turn
from appliance.dispatcher.framing import FrameReader, Job, Outcome, Results, ToWorker, encode, to_worker
from appliance.store.database import connect_reader
from appliance.store.sessions import bodies_of, decode, load

__all__ = ["Shell", "Worker", "main"]

logger = logging.getLogger(__name__)

FLUSH_AFTER_S: Final = 0.0015  # a finished turn waits no longer than this for the rest of its frame
RSS_EVERY: Final = 256  # turns between looks at our own memory
PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_session_json: Final = msgspec.json.Encoder()


class Shell(Protocol):
    """What a worker runs: `appliance.conversation.shell.Shell`, or a test's own."""

    def turn(self, session: Session, event: Event, looks: dict[str, Any]) -> Turn: ...


def main(connection: socket.socket, database: str, factory: str, settings: bytes) -> None:
    """Run until the other end closes. factory: "module:name" that makes the Shell; settings: its JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C goes to the whole group; the dispatcher decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.setblocking(True)
    garbage.hold()
    worker = Worker(connection, Path(database), factory, msgspec.json.decode(settings))
    garbage.settle()
    try:
        worker.run()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the main process is gone; what we were doing is run again by the next one
    finally:
        connection.close()
    # Nothing here needs an orderly end, and an app's stray thread must not hold the process.
    sys.stderr.flush()
    os._exit(0)


class Worker:
    """One connection's jobs, in the order they come."""

    def __init__(
        self, connection: socket.socket, database: Path, factory: str, settings: dict[str, Any]
    ) -> None:
        self._connection = connection
        self._path = database
        module, _, name = factory.partition(":")
        self._shell: Shell = getattr(importlib.import_module(module), name)(settings)
        self._db = connect_reader(database)
        self._looks: dict[str, Any] = _looks_on(self._db)
        self._reading = False  # a snapshot of the database is open
        self._reader = FrameReader(to_worker)
        self._jobs: deque[Job] = deque()
        self._bodies: dict[str, bytes] = {}  # sessions of the jobs at hand, as they are on disk; b"": none
        self._outcomes: list[Outcome] = []
        self._turns = 0
        self._rss_due = 0

    def run(self) -> None:
        """Serve jobs until the connection ends."""
        self._send(Results(pid=os.getpid(), rss_kib=rss_kib()))
        while self._receive(wait=True):
            started = time.monotonic()
            while self._jobs:
                if faults.armed:
                    faults.hit("worker.before_turn")
                self._outcomes.append(self.outcome(self._jobs.popleft()))
                self._turns += 1
                if faults.armed:
                    faults.hit("worker.after_turn")
                now = time.monotonic()
                if now - started >= FLUSH_AFTER_S or not self._jobs:
                    self._flush(now - started)
                    started = now
                    # After a slow turn the dispatcher may have given the rest to somebody else.
                    if self._jobs and not self._receive(wait=False):
                        return

    def outcome(self, job: Job) -> Outcome:
        """Run one turn; whatever the app does wrong becomes an error in the outcome."""
        try:
            return self._run(job)
        except sqlite3.OperationalError as error:
            self._reopen()
            return Outcome(job.token, error=f"the database could not be read: {error}", transient=True)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            at = f"{Path(where[-1].filename).name}:{where[-1].lineno}" if where else "nowhere"
            # The message may hold the person's words, so only the kind of error and its place are told.
            frames = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(where))
            logger.error("a turn raised %s at %s", type(error).__name__, frames)
            return Outcome(job.token, error=f"the app raised {type(error).__name__} at {at}")

    def _run(self, job: Job) -> Outcome:
        self._begin_reading()
        session = self._session(job.sender)
        if job.kind == "timer" and (session.wake_at_ms is None or session.wake_at_ms > job.now_ms):
            return Outcome(job.token)  # the person wrote in the meantime, and the wake-up is off
        event = Event(
            kind=job.kind,
            sender=job.sender,
            text=job.text,
            now_ms=job.now_ms,
            at_ms=job.at_ms,
            message_id=job.message_id,
            channel=job.channel,
            effect=job.effect,
            reason=job.reason,
            detail=job.detail,
            attempt=job.attempt,
            entropy=job.entropy,
        )
        turn = self._shell.turn(session, event, self._looks)
        after = turn.session
        return Outcome(
            job.token,
            app=after.app,
            state=after.state,
            body=_session_json.encode(after),
            expires_at_ms=after.expires_at_ms,
            wake_at_ms=after.wake_at_ms,
            replies=[(reply.text, reply.to or "", reply.lane) for reply in turn.replies],
            effects=[(effect.name, effect.args) for effect in turn.effects],
        )

    def _receive(self, *, wait: bool) -> bool:
        """Take in what has arrived; False when the other end has closed."""
        try:
            data = self._connection.recv(262144, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        if not data:
            return False
        for message in self._reader.feed(data):
            self._take(message)
        return True

    def _begin_reading(self) -> None:
        """One snapshot for all turns up to the next answer: a statement by itself costs two locks of the file
        and, after each commit of the main process, everything that was read before."""
        if not self._reading:
            self._db.execute("BEGIN")
            self._reading = True

    def _end_reading(self) -> None:
        """Before the answer leaves: what is committed for it has to be seen by the sender's next turn."""
        if self._reading:
            self._reading = False
            self._db.execute("COMMIT")

    def _take(self, message: ToWorker) -> None:
        if message.recalled:
            recalled = set(message.recalled)
            for job in self._jobs:
                if job.token in recalled:  # run elsewhere: what was read for it will not be true for long
                    self._bodies.pop(job.sender, None)
            self._jobs = deque(job for job in self._jobs if job.token not in recalled)
        self._jobs.extend(message.jobs)
        if len(message.jobs) > 1:
            # One statement for the frame. Nobody else handles these senders until we have answered.
            try:
                self._begin_reading()
                self._bodies.update(bodies_of(self._db, [job.sender for job in message.jobs]))
            except sqlite3.Error:
                self._bodies.clear()  # each turn tries for itself, and says what is wrong

    def _session(self, sender: str) -> Session:
        body = self._bodies.pop(sender, None)
        session = load(self._db, sender) if body is None else decode(body)
        return session or Session(sender=sender)

    def _flush(self, busy_s: float) -> None:
        self._end_reading()
        outcomes, self._outcomes = self._outcomes, []
        rss = 0
        if self._turns >= self._rss_due:
            self._rss_due = self._turns + RSS_EVERY
            rss = rss_kib()
        self._send(Results(outcomes, int(busy_s * 1_000_000), rss))

    def _send(self, results: Results) -> None:
        self._connection.sendall(encode(results))

    def _reopen(self) -> None:
        self._reading = False
        try:
            self._db.close()
            self._db = connect_reader(self._path)
            self._looks = _looks_on(self._db)
        except sqlite3.Error:
            logger.exception("the database cannot be opened for reading")


def _looks_on(db: sqlite3.Connection) -> dict[str, Any]:
    """The apps' read-only views; none where no app brings one."""
    try:
        module = importlib.import_module("appliance.store.lookups")
    except ModuleNotFoundError as error:
        if error.name != "appliance.store.lookups":
            raise
        return {}
    looks: dict[str, Any] = module.looks_on(db)
    return looks


def rss_kib(pid: int | str = "self") -> int:
    """Resident memory now (not its peak, which would have us recycled for one big turn long ago)."""
    try:
        with Path(f"/proc/{pid}/statm").open("rb") as file:
            return int(file.read().split()[1]) * PAGE_KIB
    except (OSError, IndexError, ValueError):
        return 0
