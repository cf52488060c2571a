"""The store as the rest of the appliance sees it: open, accept, read, write, close."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from appliance import faults
from appliance.guard.admission import Admission
from appliance.guard.tiers import GuardSettings
from appliance.message import Inbound, InboundState
from appliance.store import effects, guards, inbound, parts
from appliance.store.database import DATABASE_NAME, Prepared, prepare, quick_check
from appliance.store.errors import DataDirectoryInUse
from appliance.store.feed import Feed
from appliance.store.inbound import Accepted, Judge
from appliance.store.parts import Joined, Part, PartResult
from appliance.store.reader import Reader
from appliance.store.writer import Writer, WriterState

__all__ = ["Store"]

logger = logging.getLogger(__name__)

LOCK_NAME: Final = "outpost.db.lock"

OnAccepted = Callable[[int, Inbound], None]


class Store:
    """One data directory. Made by `open`; everything but the ops themselves runs on one event loop.

    on_accepted is called on the loop, in the order of ids, for each new message that is owed a turn; the
    dispatcher sets it. own_numbers: the box's own SIMs, whose messages are never answered. limit_text: what
    somebody is told who texts more than is answered; None: nothing.
    """

    def __init__(
        self, data_dir: Path, lock: IO[bytes], prepared: Prepared, guard: GuardSettings | None
    ) -> None:
        self.data_dir = data_dir
        self.path = prepared.path
        self.prepared = prepared
        self.feed = Feed()
        self.writer = Writer(prepared.path, on_state=self._writer_state)
        self.reader = Reader(prepared.path)
        self.own_numbers: set[str] = set()
        self.on_accepted: OnAccepted | None = None
        self.integrity = "not checked yet"  # "ok", or what quick_check complained of
        self.admission = Admission(self.own_numbers, guard)
        self.limit_text: guards.LimitText | None = None
        # For messages whose replies go over the air ...
        self.judge: Judge = guards.telling(self.admission, lambda: self.limit_text)
        self.judge_caller: Judge = self.admission.sender  # ... and for callers who carry them themselves
        self._lock = lock
        self._checking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, data_dir: Path, *, guard: GuardSettings | None = None) -> Store:
        """Lock the directory, migrate the file, start the writer; the integrity check goes on beside it.

        Raises DataDirectoryInUse, SchemaTooNew, MigrationFailed, OSError or sqlite3.Error.
        """
        effects.load()
        lock = _take_lock(data_dir)
        try:
            prepared = await asyncio.to_thread(prepare, data_dir / DATABASE_NAME)
            store = cls(data_dir, lock, prepared, guard)
            store.writer.start()
            await store.reader.open()
        except BaseException:
            lock.close()
            raise
        store._checking = asyncio.create_task(store._check(), name="store-quick-check")
        return store

    async def close(self) -> None:
        """Commit what is under way, then close both connections and give the directory free."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        await self.reader.close()
        await self.writer.close()  # last, so that its connection is the one that tidies the WAL away
        self._lock.close()

    async def accept(self, message: Inbound) -> Accepted:
        """Put a message on disk. When this returns, it is synced and its turn is owed.

        Raises StoreUnavailable, StoreOverloaded or StoreClosed; then nothing was promised to anybody.
        """
        accepted = await self._accept_synced([message])
        return accepted[0]

    async def accept_many(self, messages: Sequence[Inbound]) -> list[Accepted]:
        """The same for a list, in one commit: all or none. A key repeated inside the list is a duplicate."""
        return await self._accept_synced(messages)

    def _accept_synced(self, messages: Sequence[Inbound]) -> asyncio.Future[list[Accepted]]:
        # The announcement hangs on the commit and not on the caller: a caller that is cancelled while it
        # waits (its HTTP client went away) must not leave a message that nobody serves.
        future: asyncio.Future[list[Accepted]] = asyncio.get_running_loop().create_future()

        def done(value: list[Accepted] | None, error: BaseException | None) -> None:
            if faults.armed:
                faults.hit("store.accepted")
            if value is not None:
                for message, accepted in zip(messages, value, strict=True):
                    if not accepted.duplicate:
                        self._announce(accepted.id, message, accepted.state)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value or [])

        self.writer.post(inbound.accept_many, (messages, self.judge), done)
        return future

    async def accept_part(self, part: Part) -> Accepted | None:
        """Put one part of a concatenated message on disk. None: more parts are awaited.

        Raises as `accept` does.
        """
        future: asyncio.Future[Accepted | None] = asyncio.get_running_loop().create_future()

        def done(value: PartResult | None, error: BaseException | None) -> None:
            if faults.armed:
                faults.hit("store.part_accepted")
            if value is not None:
                self._announce_joined(value.joined)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None if value is None else value.accepted)

        self.writer.post(parts.accept_part, (part, self.judge), done)
        return await future

    async def hand_over_overdue_parts(self, now_ms: int, *, wait_ms: int = parts.PARTS_WAIT_MS) -> int:
        """Hand over the messages whose missing parts are overdue. Returns how many there were."""
        joined = await self.writer.run(parts.hand_over_overdue, now_ms, self.judge, wait_ms=wait_ms)
        self._announce_joined(joined)
        return len(joined)

    async def keep_undecoded(self, channel: str, pdu: bytes, error: str, now_ms: int) -> int | None:
        """Keep a TPDU nobody could decode; None when it is kept already."""
        return await self.writer.run(inbound.keep_undecoded, channel, pdu.hex().upper(), error, now_ms)

    def announce(self, accepted: Sequence[tuple[int, Inbound]]) -> None:
        """Tell of messages that another op accepted (timers): the dispatcher first, then the feed."""
        for inbound_id, message in accepted:
            self._announce(inbound_id, message, InboundState.ACCEPTED)

    def _announce_joined(self, joined: Sequence[Joined]) -> None:
        for whole in joined:
            self._announce(whole.id, whole.inbound, whole.state)

    def _announce(self, inbound_id: int, message: Inbound, state: InboundState) -> None:
        if state is InboundState.ACCEPTED and self.on_accepted is not None:
            self.on_accepted(inbound_id, message)
        if self.feed:
            self.feed.publish({"kind": "in", "id": inbound_id, "state": str(state)})

    def _writer_state(self, state: WriterState, detail: str) -> None:
        self.feed.publish({"kind": "writer", "id": 0, "state": str(state), "reason": detail})

    async def _check(self) -> None:
        result = await asyncio.to_thread(quick_check, self.path)
        self.integrity = result
        if result != "ok":
            logger.critical("the database is damaged: %s", result)
            self.feed.publish({"kind": "integrity", "id": 0, "state": result})


def _take_lock(data_dir: Path) -> IO[bytes]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (data_dir / LOCK_NAME).open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(32).decode("ascii", "replace").strip() or "unknown"
        file.close()
        raise DataDirectoryInUse(f"{data_dir} is in use by process {holder}") from error
    file.truncate(0)
    file.write(str(os.getpid()).encode("ascii"))
    file.flush()
    return file
