"""The worker processes: started, watched, replaced, and kept between a least and a most number."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from appliance.dispatcher import worker
from appliance.dispatcher.framing import FrameError, FrameReader, Results, ToWorker, encode, from_worker
from appliance.dispatcher.mailboxes import Pending

__all__ = ["Link", "LinkState", "Pool", "PoolSettings"]

logger = logging.getLogger(__name__)


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the pool.

    own: by name of a group, how many workers are its own, besides the others.
    factory: "module:name" that makes a worker's Shell from `app_settings`. recycle_turns, recycle_rss_kib:
    a worker that has done or grown so much is replaced when its turn is over; one that grows to kill_rss_kib
    in the middle of a turn is killed, before the system looks for something to kill. start_limit_s: a worker
    that is not ready by then is killed. backoff_s: the first and the longest pause after workers that died
    at once.
    """

    database: Path
    factory: str
    app_settings: dict[str, Any]
    min_workers: int
    max_workers: int
    own: dict[str, int] = {}
    recycle_turns: int = 200_000
    recycle_rss_kib: int = 128 * 1024
    kill_rss_kib: int = 512 * 1024
    start_limit_s: float = 30.0
    backoff_s: tuple[float, float] = (0.2, 30.0)


class LinkState:
    """What a worker is in the middle of."""

    STARTING: Final = "starting"  # process made; its imports run
    READY: Final = "ready"  # takes jobs
    RETIRING: Final = "retiring"  # finishes what it has, then ends: recycled, or no longer needed
    KILLED: Final = "killed"  # by us; its end will be seen in a moment
    GONE: Final = "gone"


class Link(asyncio.Protocol):
    """The main process's end of one worker."""

    def __init__(self, pool: Pool, number: int, started_s: float, group: str = "") -> None:
        self.number = number
        self.group = group  # whose worker it is; "" everybody's
        self.state = LinkState.STARTING
        self.pid = 0
        self.turns = 0
        self.rss_kib = 0
        self.started_s = started_s
        self.progress_s = started_s  # when it last gave an outcome, or got work while it had none
        self.in_flight: dict[int, Pending] = {}  # by token, in the order the worker does them
        self.verdict = ""  # why we killed it
        self.process: SpawnProcess | None = None
        self._pool = pool
        self._frames = FrameReader(from_worker)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, whatever their interface.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for results in self._frames.feed(data):
                self._pool.received(self, results)
        except FrameError as error:
            self.kill(f"it sent nonsense: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)

    def send(self, message: ToWorker) -> None:
        """Write one frame; a worker that is dying takes it with it, and its jobs are run again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def close(self) -> None:
        """Let it finish: it ends when it sees that nothing more will come."""
        if self._transport is not None:
            self._transport.close()

    def kill(self, verdict: str) -> None:
        """End it now; `lost` follows."""
        if self.state in (LinkState.KILLED, LinkState.GONE):
            return
        self.state = LinkState.KILLED
        self.verdict = verdict
        if self.process is not None and self.process.pid is not None:
            self.process.kill()
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """Keeps between min and max workers alive, and those that are some group's own. All runs on the loop.

    on_results(link, results) and on_lost(link, reason) tell the dispatcher; on_ready when there is a new
    worker to give work to.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        on_ready: Callable[[], None],
        on_results: Callable[[Link, Results], None],
        on_lost: Callable[[Link, str], None],
    ) -> None:
        self.settings = settings
        self.links: list[Link] = []
        self.alarm = ""  # what a person should see: workers that die as soon as they start
        self.started = 0
        self.deaths = 0  # not asked for by us
        self.recycled = 0
        self._wanted = settings.min_workers
        self._on_ready = on_ready
        self._on_results = on_results
        self._on_lost = on_lost
        self._crashes = 0  # deaths in a row of workers that had done nothing
        self._not_before_s = 0.0
        self._starting: dict[asyncio.Task[None], str] = {}  # with the group it is for
        self._reaping: set[asyncio.Task[None]] = set()
        self._closing = False
        self._context = multiprocessing.get_context("spawn")

    @property
    def ready(self) -> list[Link]:
        """Everybody's workers that may be given jobs, the least laden first."""
        return self.ready_of("")

    def ready_of(self, group: str) -> list[Link]:
        """The same of one group."""
        links = [link for link in self.links if link.state is LinkState.READY and link.group == group]
        links.sort(key=lambda link: (len(link.in_flight), link.number))
        return links

    @property
    def wanted(self) -> int:
        return self._wanted

    def grow(self) -> bool:
        """One worker more, if the bound allows and none is on its way already."""
        if self._wanted >= self.settings.max_workers or self._coming(""):
            return False
        self._wanted += 1
        self.tend()
        return True

    def shrink(self) -> bool:
        """One worker less, if the bound allows; an idle one goes."""
        idle = [link for link in self.ready if not link.in_flight]
        if self._wanted <= self.settings.min_workers or not idle:
            return False
        self._wanted -= 1
        self._retire(idle[-1])
        return True

    def tend(self) -> None:
        """Start what is missing, replace what is old, kill what never became ready or grows too big."""
        if self._closing:
            return
        now = asyncio.get_running_loop().time()
        for link in self.links:
            if link.state in (LinkState.READY, LinkState.RETIRING):
                link.rss_kib = worker.rss_kib(link.pid) or link.rss_kib
            if link.rss_kib >= self.settings.kill_rss_kib and link.in_flight:
                link.kill(f"it grew to {link.rss_kib // 1024} MiB in a turn")
            elif link.state is LinkState.STARTING and now - link.started_s > self.settings.start_limit_s:
                link.kill("it was not ready in time")
            elif link.state is LinkState.READY and (
                link.turns >= self.settings.recycle_turns or link.rss_kib >= self.settings.recycle_rss_kib
            ):
                self.recycled += 1
                logger.info(
                    "worker %d is replaced after %d turns, at %d KiB", link.pid, link.turns, link.rss_kib
                )
                self._retire(link)
        if now >= self._not_before_s:
            for group, wanted in (("", self._wanted), *self.settings.own.items()):
                for _ in range(wanted - self._coming(group) - len(self.ready_of(group))):
                    task = asyncio.create_task(self._start(group), name="start worker")
                    self._starting[task] = group
                    task.add_done_callback(lambda task: self._starting.pop(task, None))

    async def close(self, patience_s: float) -> None:
        """End all workers; those that are not gone in time are killed."""
        self._closing = True
        if self._starting:
            await asyncio.gather(*self._starting, return_exceptions=True)
        for link in list(self.links):
            link.state = LinkState.RETIRING if link.state is LinkState.READY else link.state
            link.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while self.links and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for link in list(self.links):
            link.kill("it did not end in time")
        while self.links or self._reaping:  # an aborted transport tells of its end one turn of the loop later
            await asyncio.gather(*self._reaping, return_exceptions=True)
            await asyncio.sleep(0)

    def received(self, link: Link, results: Results) -> None:
        """A worker sent something."""
        now = asyncio.get_running_loop().time()
        if results.pid:
            link.pid = results.pid
            if link.state is LinkState.STARTING:
                link.state = LinkState.READY
                self._on_ready()
        if results.rss_kib:
            link.rss_kib = results.rss_kib
        if results.outcomes:
            link.progress_s = now
            link.turns += len(results.outcomes)
            self._crashes = 0
            self.alarm = ""
            self._on_results(link, results)
        if link.state is LinkState.RETIRING and not link.in_flight:
            link.close()

    def lost(self, link: Link) -> None:
        """A worker's connection ended, by whatever cause."""
        if link not in self.links:
            return
        expected = self._closing or (link.state is LinkState.RETIRING and not link.in_flight)
        self.links.remove(link)
        former, link.state = link.state, LinkState.GONE
        task = asyncio.create_task(self._reap(link, former, expected), name=f"reap worker {link.pid}")
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _reap(self, link: Link, former: str, expected: bool) -> None:
        """Collect the process, whose end follows its socket's within a moment, and tell why it ended."""
        process = link.process
        assert process is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.25
        while process.exitcode is None:
            if loop.time() > until:
                process.kill()
            await asyncio.sleep(0.002)
        code = process.exitcode
        process.close()
        reason = link.verdict or _why(code)
        if not expected:
            if former is not LinkState.KILLED:
                self.deaths += 1
                logger.warning("worker %d ended by itself: %s", link.pid, reason)
            else:
                logger.warning("worker %d was killed: %s", link.pid, reason)
            if not link.turns:
                self._back_off(reason)
        self._on_lost(link, reason)
        self.tend()

    def _back_off(self, reason: str) -> None:
        """A worker died before it did anything: the next one waits, twice as long each time."""
        first, longest = self.settings.backoff_s
        pause = min(longest, first * 2 ** min(self._crashes, 16))
        self._crashes += 1
        loop = asyncio.get_running_loop()
        self._not_before_s = loop.time() + pause
        if self._crashes >= 3:
            if not self.alarm:
                logger.error("workers die as soon as they start: %s", reason)
            self.alarm = f"{self._crashes} workers in a row died before their first answer: {reason}"
        loop.call_later(pause + 0.001, self.tend)

    def _retire(self, link: Link) -> None:
        link.state = LinkState.RETIRING
        if not link.in_flight:
            link.close()

    def _coming(self, group: str) -> int:
        """Workers of a group that are being started."""
        made = sum(link.state is LinkState.STARTING and link.group == group for link in self.links)
        return made + sum(each == group for each in self._starting.values())

    async def _start(self, group: str) -> None:
        loop = asyncio.get_running_loop()
        self.started += 1
        link = Link(self, self.started, loop.time(), group)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = self._context.Process(
                target=worker.main,
                name=f"outpost-worker-{link.number}",
                args=(
                    theirs,
                    str(self.settings.database),
                    self.settings.factory,
                    msgspec.json.encode(self.settings.app_settings),
                ),
                daemon=True,
            )
            # In a thread: making a process takes some milliseconds that the loop has better use for.
            await asyncio.to_thread(_make, process)
            link.process = process
            link.pid = process.pid or 0
            self.links.append(link)
            await loop.create_unix_connection(lambda: link, sock=ours)
        except OSError as error:
            logger.error("no worker could be started: %s", error)
            ours.close()
            if link in self.links:
                self.links.remove(link)
            self._back_off(str(error))
        finally:
            theirs.close()
        if self._closing:
            link.close()


def _make(process: SpawnProcess) -> None:
    process.start()
    with contextlib.suppress(OSError):  # if memory runs out, a worker is what can be spared
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("500", encoding="ascii")


def _why(code: int | None) -> str:
    if code is None:
        return "it vanished"
    if code < 0:
        try:
            return f"it died of {signal.Signals(-code).name}"
        except ValueError:
            return f"it died of signal {-code}"
    return f"it ended with status {code}"
