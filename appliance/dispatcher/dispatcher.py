"""The dispatcher: gives each sender's messages, one at a time and in order, to whichever worker is free."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, cast

from appliance import faults
from appliance.dispatcher.backlog import Backlog
from appliance.dispatcher.callers import COMMIT_PATIENCE_S, Callers, Conversed
from appliance.dispatcher.door import Door
from appliance.dispatcher.framing import Job, Results, ToWorker
from appliance.dispatcher.mailboxes import WINDOW, Mailboxes, Pending
from appliance.dispatcher.pool import Link, LinkState, Pool, PoolSettings
from appliance.dispatcher.settling import STRIKES, Settler
from appliance.message import Inbound, InboundState
from appliance.store import aside, guards, sessions
from appliance.store.errors import StoreError, StoreUnavailable
from appliance.store.inbound import Accepted
from appliance.store.outbound import QueuedRow
from appliance.store.store import Store

__all__ = ["DEFAULT_APOLOGIES", "SHELL_FACTORY", "Dispatcher"]

logger = logging.getLogger(__name__)

SHELL_FACTORY: Final = "appliance.conversation.shell:Shell"
FRAME_TURNS: Final = 64  # beyond it a bigger frame gains nothing (PERFORMANCE.md section 4)
FRAME_BUDGET_S: Final = 0.004  # a frame holds about so much work, so that slow apps get short frames
PIPELINED_TURN_S: Final = 0.001  # below it a second frame is sent ahead: the round trip would show
TAKE_BACK_S: Final = 0.05  # a worker silent for so long loses the turns it has not begun
WATCH_EVERY_S: Final = 0.02
GROW_AFTER_S: Final = 0.25  # a ready message that waits so long asks for one worker more
SHRINK_AFTER_S: Final = 60.0
FOREIGN_KILLS: Final = 3  # the same for workers that somebody else killed: not the message's fault, mostly
SWEEP_EVERY_S: Final = 1.0
MAX_BACKLOG: Final = 2_000_000
LONGEST_WAIT_S: Final = 120.0  # whom we answer later has given up
MARKS: Final = 4096  # seconds of which we remember what had been accepted by then
TIDY_ROUNDS: Final = 3600  # sweeps between two looks for counts that are over
DRAIN_S: Final = 1.5

DEFAULT_APOLOGIES: Final[Mapping[str, str]] = {
    "": "Sorry, we could not handle your message. A person will look at it. Please try again later.",
}


class Dispatcher:
    """Between the store and the workers. All of it runs on the store's loop.

    on_outbound gets the rows that committed turns put on the queue. turn_limit_s: a turn that takes longer
    loses its worker. window: messages held in memory at most; the rest of a backlog stays on disk.
    reply_route: the route that replies to a message must take, "" for any. own_workers: by name of a
    group, how many workers are its own; group_of: the group of a message, "" for everybody's. longest_wait_s:
    texts that wait longer for a worker make the outside wait.
    """

    def __init__(
        self,
        store: Store,
        *,
        min_workers: int,
        max_workers: int,
        app_settings: dict[str, Any],
        on_outbound: Callable[[Sequence[QueuedRow]], None],
        clock_ms: Callable[[], int],
        languages: Sequence[str] = (),
        default_app: str = "",
        factory: str = SHELL_FACTORY,
        apologies: Mapping[str, str] = DEFAULT_APOLOGIES,
        turn_limit_s: float = 10.0,
        window: int | None = None,
        reply_route: Callable[[Inbound], str] = lambda inbound: "",
        max_backlog: int = MAX_BACKLOG,
        longest_wait_s: float = LONGEST_WAIT_S,
        own_workers: Mapping[str, int] | None = None,
        group_of: Callable[[Inbound], str] | None = None,
        pool: Mapping[str, Any] | None = None,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._turn_limit_s = turn_limit_s
        self._max_backlog = max_backlog
        self._longest_wait_s = longest_wait_s
        self._groups = ("", *(own_workers or {}))
        self._boxes = Mailboxes(WINDOW if window is None else window, group_of=group_of)
        self._pool = Pool(
            PoolSettings(
                database=store.path,
                factory=factory,
                app_settings={"default_app": default_app, "languages": list(languages), **app_settings},
                min_workers=min_workers,
                max_workers=max(min_workers, max_workers),
                own=dict(own_workers or {}),
                **(pool or {}),
            ),
            on_ready=self._pump_soon,
            on_results=self._results,
            on_lost=self._lost,
        )
        self._tokens = itertools.count(1)
        self._secret = os.urandom(32)
        self._door = Door(self._boxes)
        self._callers = Callers(store, self._boxes, clock_ms)
        self._backlog = Backlog(store, self._boxes, self._pump_soon)
        self._settler = Settler(
            store,
            self._boxes,
            self._backlog,
            self._callers,
            on_outbound=on_outbound,
            on_ready=self._pump_soon,
            clock_ms=clock_ms,
            apologies=apologies,
            reply_route=reply_route,
        )
        self._turn_s = 0.001  # moving average of what a turn costs a worker
        self._busy_at_s = 0.0  # when there was last something to do
        self._rate = 0.0  # turns a second, moving average
        self._rated = (0.0, 0)
        self._newest = 0  # the id that was accepted last
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS)  # ids accepted by then, second by second
        self._waits_s = 0.0
        self._aside = 0
        self._pumping = False
        self._watching = False
        self._stopping = False
        self._started = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the workers and take up what was left unanswered; both go on after it returns."""
        self._loop = asyncio.get_running_loop()
        self._started = True
        await self._backlog.count()
        self._boxes.behind = True  # whatever is on disk is found by the first scan
        self._store.on_accepted = self.offer
        self._pool.tend()
        self._backlog.scan()
        self._sweeper = asyncio.create_task(self._sweep(), name="dispatcher sweeper")

    async def stop(self) -> None:
        """Finish the turns that are being run, leave the rest on disk, end the workers; under 3 s."""
        if not self._started or self._stopping:
            return
        self._stopping = self._settler.stopping = True
        self._door.let_in(all_of_them=True)
        self._store.on_accepted = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for draft in self._boxes.drafts():
            if not draft.answering:
                self._settler.persist(draft)
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_S
        # Several kinds of event end this wait; looking is simpler than being told, and happens once.
        while loop.time() < until and self._at_work():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await self._backlog.close()
        await self._pool.close(0.4)
        self._callers.close()

    def _at_work(self) -> bool:
        """Is a turn being run or committed?"""
        return bool(self._settler.committing) or any(
            link.in_flight for link in self._pool.links if link.state != LinkState.KILLED
        )

    # What comes in.

    def offer(self, inbound_id: int, inbound: Inbound) -> None:
        """A message was accepted. Never refuses: what does not fit in memory is read from disk later.

        The store calls this for every message in order of ids; a second call for one changes nothing.
        """
        if self._stopping or inbound_id <= self._boxes.cursor:
            return
        self._backlog.size += 1
        self._newest = inbound_id
        assert self._loop is not None
        if self._boxes.take(inbound_id, inbound, self._loop.time()):
            self._pump_soon()

    @property
    def full(self) -> bool:
        """Should the outside wait? The writer is behind or unwell, or texts wait too many or too long."""
        return (
            self._store.writer.full
            or self._backlog.size >= self._max_backlog
            or self._waits_s >= self._longest_wait_s
            or self._stopping
        )

    @property
    def retry_after_s(self) -> float:
        """A polite time to come back, by how fast work is being done; 1 to 60."""
        if self._store.writer.state != "ok":
            return 5.0
        over = max(0, self._backlog.size - self._max_backlog // 2)
        if self._waits_s >= self._longest_wait_s:
            over = max(over, self._backlog.size // 2)
        return min(60.0, max(1.0, over / self._rate if self._rate > 1 else 1.0))

    async def wait(self, inbound_id: int, timeout_s: float) -> list[str] | None:
        """The replies to the sender, for a caller who carries them himself (HTTP `Prefer: wait`).

        [] when there is nothing to say; None when the time ran out or the replies have gone by air.
        """
        return await self._callers.wait(inbound_id, timeout_s)

    async def converse(self, inbound: Inbound, timeout_s: float) -> Conversed:
        """Accept a message whose caller waits for the replies; both share one commit if they can.

        It is on disk when this returns, whatever became of its turn. Raises as `Store.accept` does.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        draft = self._draft(inbound, now) if self._door.open_for(1) else None
        if draft is None:
            return (await self.converse_many((inbound,), timeout_s))[0]
        self._pump_soon()
        drafts = (draft,)
        timer = loop.call_later(timeout_s, self._time_up, drafts)
        try:
            found: Conversed | Accepted = await draft.caller
        except BaseException:
            self._time_up(drafts)
            raise
        finally:
            timer.cancel()
        if isinstance(found, Conversed):
            return found
        return (await self._waited([found], max(0.0, now + timeout_s - loop.time())))[0]

    async def converse_many(self, messages: Sequence[Inbound], timeout_s: float) -> list[Conversed]:
        """`converse` for each; a key repeated inside the list is a duplicate of the first."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if not self._stopping and not self._door.open_for(len(messages)):
            await self._door.stand(len(messages), timeout_s)
        now = loop.time()
        timeout_s = max(0.0, timeout_s - (now - begun))
        drafts = [self._draft(message, now) for message in messages]
        self._pump_soon()
        timer = loop.call_later(timeout_s, self._time_up, drafts)
        found: list[Conversed | Accepted] = []
        try:
            rest = [message for message, draft in zip(messages, drafts, strict=True) if draft is None]
            taken = iter(await self._store.accept_many(rest) if rest else ())
            for draft in drafts:
                found.append(next(taken) if draft is None else await draft.caller)
        except BaseException:
            # The caller has gone, or the disk refused one of them: what is not yet done stays, by itself.
            self._time_up(drafts)
            raise
        finally:
            timer.cancel()
        if all(isinstance(each, Conversed) for each in found):
            return cast(list[Conversed], found)
        return await self._waited(found, max(0.0, now + timeout_s - loop.time()))

    async def _waited(self, found: Sequence[Conversed | Accepted], left_s: float) -> list[Conversed]:
        """The same with the replies to those that are on disk without their turn, as far as they come."""
        waited = [each for each in found if isinstance(each, Accepted)]
        fresh = {each.id for each in waited if not each.duplicate and each.state is InboundState.ACCEPTED}
        numbers = [each.id for each in waited]
        replies = iter(await self._callers.wait_many(numbers, left_s, fresh=fresh))
        return [
            each
            if isinstance(each, Conversed)
            else Conversed(each.id, each.duplicate, each.state, next(replies))
            for each in found
        ]

    def _draft(self, inbound: Inbound, now_s: float) -> Pending | None:
        draft = None if self._stopping else self._boxes.draft(inbound, now_s)
        if draft is not None:
            assert self._loop is not None
            draft.caller = self._loop.create_future()
            self._backlog.size += 1
        return draft

    def _time_up(self, drafts: Sequence[Pending | None]) -> None:
        """Callers will wait no longer: put their messages on disk, and let a stuck commit not hold them."""
        late = [
            draft
            for draft in drafts
            if draft is not None and (not draft.caller.done() or draft.caller.cancelled())
        ]
        for draft in late:
            self._settler.persist(draft)
        if late:
            assert self._loop is not None
            self._loop.call_later(COMMIT_PATIENCE_S, self._give_up, late)

    def _give_up(self, drafts: Sequence[Pending]) -> None:
        stuck = StoreUnavailable("busy", f"a commit took longer than {COMMIT_PATIENCE_S:g} s")
        for draft in drafts:
            self._settler.tell(draft, stuck)

    # Giving out work.

    def _pump_soon(self) -> None:
        """Give out work at the end of this turn of the loop, so that what comes together goes together."""
        if not self._pumping and self._loop is not None:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._stopping:
            return
        boxes = self._boxes
        if self._door:
            self._door.let_in()
        for group in self._groups:
            self._give_out(group)
        if boxes.wants_scan:
            self._backlog.scan()
        if boxes.held:
            self._watch_soon()

    def _give_out(self, group: str) -> None:
        """Share what waits among the workers of a group."""
        boxes = self._boxes
        ready = boxes.ready_of(group)
        if not ready:
            return
        links = self._pool.ready_of(group)
        for index, link in enumerate(links):
            share = -(-ready // (len(links) - index))
            count = min(share, self._room(link))
            if count > 0:
                jobs = boxes.next(count, group)
                if jobs and jobs[0].solo and link.in_flight:
                    boxes.put_back(jobs[0])
                    break
                self._send(link, jobs)
                ready = boxes.ready_of(group)
                if not ready:
                    break

    def _room(self, link: Link) -> int:
        """How many turns this worker may be given now."""
        most = min(FRAME_TURNS, max(1, int(FRAME_BUDGET_S / self._turn_s)))
        if not link.in_flight:
            return most
        if self._turn_s > PIPELINED_TURN_S or len(link.in_flight) > most:
            return 0
        return 0 if next(iter(link.in_flight.values())).solo else most

    def _send(self, link: Link, taken: list[Pending]) -> None:
        now_ms = self._clock_ms()
        assert self._loop is not None
        if not link.in_flight:
            link.progress_s = self._loop.time()
        jobs = []
        for pending in taken:
            token = next(self._tokens)
            message = pending.inbound
            if not pending.attempt:
                pending.entropy = self._chance(token)
                pending.now_ms = now_ms
            kind = "effect" if pending.attempt else "text"
            if not pending.attempt and message.channel == "timer":
                kind = "event" if message.text else "timer"  # with a text, something came for an app
            link.in_flight[token] = pending
            jobs.append(
                Job(
                    token,
                    pending.id,
                    kind,
                    message.sender,
                    message.channel,
                    message.text,
                    message.received_at_ms if message.sent_at_ms is None else message.sent_at_ms,
                    pending.now_ms,
                    pending.entropy,
                    pending.attempt,
                    pending.effect,
                    pending.reason,
                    pending.detail,
                )
            )
        if faults.armed:
            faults.hit("dispatcher.before_send")
        link.send(ToWorker(jobs))

    def _chance(self, token: int) -> int:
        """64 bits that nobody can foretell: a keyed hash of a counter.

        os.urandom would give the interpreter lock away, and on a busy box wait milliseconds to get it back.
        """
        octets = token.to_bytes(8, "big")
        return int.from_bytes(blake2b(octets, key=self._secret, digest_size=8).digest(), "big")

    # What comes back.

    def _results(self, link: Link, results: Results) -> None:
        if faults.armed:
            faults.hit("dispatcher.results")
        count = len(results.outcomes)
        cost = results.busy_us / 1_000_000 / count
        self._turn_s += (cost - self._turn_s) * min(1.0, 0.05 * count)
        for outcome in results.outcomes:
            pending = link.in_flight.pop(outcome.token, None)
            if pending is None:
                continue  # taken back from it, and run elsewhere
            if not outcome.error:
                self._settler.commit(pending, outcome)
            elif outcome.transient:
                self._settler.again_later(pending)
            else:
                self._settler.strike(pending, outcome.error, STRIKES)
        self._pump_soon()

    # What goes wrong.

    def _lost(self, link: Link, reason: str) -> None:
        """A worker is gone: the turn it was doing failed, those behind it are run again."""
        orphans = list(link.in_flight.values())
        link.in_flight.clear()
        if self._stopping or not orphans:
            return
        # The first is the suspect; since outcomes are sent in heaps it may be innocent. So all of them run
        # alone from now on, and what kills a worker twice is known for certain.
        for pending in reversed(orphans[1:]):
            pending.solo = True
            self._boxes.put_back(pending)
        foreign = not link.verdict and "SIGKILL" in reason
        self._settler.strike(
            orphans[0], f"its worker is gone: {reason}", FOREIGN_KILLS if foreign else STRIKES
        )

    # What is slow.

    def _watch_soon(self) -> None:
        if not self._watching and self._loop is not None and not self._stopping:
            self._watching = True
            self._loop.call_later(WATCH_EVERY_S, self._watch)

    def _watch(self) -> None:
        """Take work back from silent workers, end those over the limit, grow the pool when mail waits."""
        self._watching = False
        assert self._loop is not None
        now = self._loop.time()
        for link in list(self._pool.links):
            if not link.in_flight or link.state not in (LinkState.READY, LinkState.RETIRING):
                continue
            silent_s = now - link.progress_s
            if silent_s >= self._turn_limit_s:
                link.kill(f"a turn took longer than {self._turn_limit_s:g} s")
            elif silent_s >= TAKE_BACK_S and len(link.in_flight) > 1:
                # Only for somebody who is free: on a starved machine all workers are silent, and giving the
                # same turns out again and again would starve it for good.
                if any(not other.in_flight for other in self._pool.ready_of(link.group)):
                    self._take_back(link)
                elif link.group:
                    continue
                elif silent_s >= GROW_AFTER_S:
                    self._pool.grow()
        oldest = self._boxes.oldest_ready()
        if oldest is not None and now - oldest.since_s >= GROW_AFTER_S:
            self._pool.grow()
        if self._boxes.held:
            self._busy_at_s = now
            self._watch_soon()

    def _take_back(self, link: Link) -> None:
        tokens = list(link.in_flight)[1:]
        taken = [link.in_flight.pop(token) for token in tokens]
        link.send(ToWorker(recalled=tokens))
        for pending in reversed(taken):
            self._boxes.put_back(pending)
        self._pump_soon()

    # What is due.

    async def _sweep(self) -> None:
        """Once a second: wake-ups that are due, parts that are overdue, whatever memory has lost."""
        for round_ in itertools.count():
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self._sweep_once(full=round_ % 5 == 0)
                if round_ % TIDY_ROUNDS == TIDY_ROUNDS - 1:
                    await self._store.writer.run(guards.forget_old, self._clock_ms())
            except (sqlite3.Error, StoreError) as error:
                logger.warning("the sweeper could not use the database: %s", error)
            except Exception:
                logger.exception("the sweeper failed; it goes on")

    async def _sweep_once(self, *, full: bool) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        before, handled = self._rated
        if now > before:
            self._rate += ((self._settler.handled - handled) / (now - before) - self._rate) * 0.3
        self._rated = (now, self._settler.handled)
        self._look_at_the_wait(now)
        woken = await self._store.writer.run(sessions.wake_due, self._clock_ms())
        self._store.announce(woken)
        self._pool.tend()
        if self._boxes.wants_scan:
            self._backlog.scan()
        if full:
            await self._store.hand_over_overdue_parts(self._clock_ms())
            await self._backlog.restore_lost()
            self._aside = await self._store.reader.run(aside.count)
            if now - self._busy_at_s > SHRINK_AFTER_S:
                self._pool.shrink()

    def _look_at_the_wait(self, now_s: float) -> None:
        """How long what is on disk only waits already, by what we saw each second of what had been accepted.

        What was on disk at the start counts from the start: a box that comes back with a backlog takes texts.
        """
        marks, cursor = self._marks, self._boxes.cursor
        marks.append((self._newest, now_s))
        while marks and marks[0][0] <= cursor:
            marks.popleft()
        self._waits_s = now_s - marks[0][1] if marks and self._boxes.behind else 0.0

    def snapshot(self) -> dict[str, Any]:
        """For the page: workers, queue and what needs a person's eye. Times are ages in milliseconds."""
        now_s = 0.0 if self._loop is None else self._loop.time()
        oldest = self._boxes.oldest_ready()
        return {
            "workers": [
                {
                    "pid": link.pid,
                    "state": str(link.state),
                    "turns": link.turns,
                    "rss_bytes": link.rss_kib * 1024,
                    "since_ms": int(1000 * (now_s - link.started_s)),
                    "in_flight": len(link.in_flight),
                    "group": link.group,
                }
                for link in self._pool.links
            ],
            "queued": self._backlog.size,
            "oldest_ms": None if oldest is None else max(0, self._clock_ms() - oldest.inbound.received_at_ms),
            "mailboxes": len(self._boxes),
            "in_memory": self._boxes.held,
            "behind": self._boxes.behind,
            "full": self.full,
            "waits_s": round(self._waits_s, 1),
            "handled": self._settler.handled,
            "set_aside": self._settler.set_aside,
            "aside": self._aside,
            "turns_per_s": round(self._rate, 1),
            "turn_ms": round(1000 * self._turn_s, 3),
            "alarm": self._pool.alarm,
            "deaths": self._pool.deaths,
            "recycled": self._pool.recycled,
        }
