"""One open line to a modem: port and dialogue joined on the loop, and whose turn it is to speak.

`execute` runs one command; `turn` reserves the line for a sequence of them, most urgent first. A turn ends
only when the dialogue is in step again, so nobody ever speaks into another's answer, however a caller was
cancelled.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from firmware_bridge.at.command import AtCommand
from firmware_bridge.at.dialogue import (
    AtDialogue,
    AtEvent,
    Completed,
    Fault,
    Prompted,
    Silent,
    Synced,
    TimedOut,
    Write,
)
from firmware_bridge.at.result_codes import FinalKind
from firmware_bridge.at.states import AtState
from firmware_bridge.at.urc import Urc
from firmware_bridge.errors import AtError, AtTimeout, CmeError, CmsError, PortLost
from firmware_bridge.port import Port

__all__ = ["Gate", "Line", "Urgency"]

Gate = Callable[[], Awaitable[None]]


class Urgency(enum.IntEnum):
    """Who speaks next when several wait; equal ones in order of arrival."""

    ACKNOWLEDGE = 0  # CNMA: the network counts the seconds
    HEALTH = 1  # short, and due
    INBOUND = 2  # a full store silences the network
    SEND = 3
    SWEEP = 4  # long, and only a backstop
    DETAIL = 5  # operator name and the like


class Line:
    """See the module. on_urc: every unsolicited code. on_silent: nothing answers, or the port is gone;
    called once, after which everything raises. trace: (mark, text) for the wire log, unmasked."""

    def __init__(
        self,
        *,
        on_urc: Callable[[Urc], None],
        on_broken: Callable[[str], None],
        trace: Callable[[str, bytes | str, AtCommand | None], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = 0.0,
    ) -> None:
        self.dialogue = AtDialogue()
        self.pause_s = pause_s  # between a final result and the next command, for cheap modules
        self.broken: str | None = None
        self.silent = False  # broken for want of an answer, not of a port
        self.hangs: set[str] = set()  # names of commands that got no answer on this line
        self._port: Port | None = None
        self._on_urc = on_urc
        self._on_broken = on_broken
        self._trace = trace
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._pending: asyncio.Future[Completed] | None = None
        self._gate: Gate | None = None
        self._gate_task: asyncio.Task[None] | None = None
        self._gate_error: BaseException | None = None
        self._idle_waiters: list[Callable[[], None]] = []
        self._held = False
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._last_final = 0.0
        self.last_answer: float = clock()  # monotonic s of the last final result: proof of life

    # -- opening and closing

    async def open(self, path: str, baud: int, *, rtscts: bool = False) -> None:
        """Raises PortBusy or PortUnusable."""
        self._port = await Port.open(path, baud, on_bytes=self._received, on_lost=self._break, rtscts=rtscts)

    def close(self) -> None:
        """Let go of the port; whoever waits gets PortLost."""
        if self._port is not None:
            self._port.close()
        self._fail("port closed")

    def now(self) -> float:
        """Monotonic seconds of this line's clock."""
        return self._clock()

    @property
    def queued(self) -> int:
        """How many wait for a turn."""
        return sum(not future.done() for _, _, future in self._waiting)

    # -- turns

    @asynccontextmanager
    async def turn(self, urgency: Urgency) -> AsyncIterator[None]:
        """Hold the line. Raises PortLost if it breaks while waiting."""
        await self._take(urgency)
        try:
            yield
        finally:
            self._when_idle(self._give)

    async def _take(self, urgency: Urgency) -> None:
        self._check()
        if not self._held:
            self._held = True
            return
        future: asyncio.Future[None] = self._loop.create_future()
        heapq.heappush(self._waiting, (int(urgency), next(self._order), future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give()  # it was ours already
            raise

    def _give(self) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
                return
        self._held = False

    def _when_idle(self, then: Callable[[], None]) -> None:
        if self.broken is not None or self.dialogue.idle:
            then()
        else:
            self._idle_waiters.append(then)

    # -- commands

    async def execute(self, command: AtCommand, *, gate: Gate | None = None) -> tuple[str, ...]:
        """Run one command inside a turn; return its information lines.

        Raises CmsError, CmeError, AtError, AtTimeout or PortLost; for a submit also what `gate` raised,
        nothing having been sent then. A caller cancelled here leaves the command to finish by itself.
        """
        self._check()
        if not self.dialogue.idle:
            await self.idle()
        if self.pause_s:
            rest = self._last_final + self.pause_s - self._clock()
            if rest > 0:
                await asyncio.sleep(rest)
                self._check()
        data = self.dialogue.send(command, now=self._clock())
        pending: asyncio.Future[Completed] = self._loop.create_future()
        self._pending, self._gate, self._gate_error = pending, gate, None
        self._write(data, command)
        self._arm()
        completed = await pending
        if completed.ok:
            return completed.lines
        raise _refusal(completed)

    async def try_execute(self, command: AtCommand) -> tuple[str, ...] | None:
        """Like execute, for what a modem may not know: None when it refuses or does not answer."""
        try:
            return await self.execute(command)
        except (AtError, AtTimeout):
            return None

    async def run(self, command: AtCommand, urgency: Urgency) -> tuple[str, ...]:
        """One command in a turn of its own."""
        async with self.turn(urgency):
            return await self.execute(command)

    async def synchronise(self) -> None:
        """ESC, CR, AT until an OK and a silence: in step whatever the modem was doing. Raises ModemSilent."""
        if self.dialogue.idle:
            self._write(self.dialogue.resync(now=self._clock()), None)
            self._arm()
        await self.idle()

    async def idle(self) -> None:
        """Wait until the dialogue is in step with nothing outstanding."""
        self._check()
        if self.dialogue.idle:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._idle_waiters.append(lambda: _wake(future))
        await future
        self._check()

    def _check(self) -> None:
        if self.broken is not None:
            raise PortLost(self.broken, silent=self.silent)

    # -- events

    def _received(self, data: bytes) -> None:
        if self._trace is not None:
            self._trace("<", data, None)
        self._handle(self.dialogue.receive(data, now=self._clock()))
        self._arm()

    def _handle(self, events: list[AtEvent]) -> None:
        for event in events:
            if isinstance(event, Urc):
                self._on_urc(event)
            elif isinstance(event, Completed):
                self._last_final = self.last_answer = self._clock()
                self._drop_gate()
                self._resolve(event)
            elif isinstance(event, Prompted):
                self._prompted(event)
            elif isinstance(event, Write):
                self._write(event.data, None)
            elif isinstance(event, TimedOut):
                self._note("!", f"{event.command.name or 'AT'}: {event.why}")
                self._drop_gate()
                self._reject(_timeout(event))
            elif isinstance(event, Synced):
                self.last_answer = self._clock()
                self._note("=", "in step")
                if self._gate_error is not None:
                    self._reject(self._gate_error)
            elif isinstance(event, Silent):
                self.silent = True
                self._break(f"no answer to AT, {event.tries} times")
            elif isinstance(event, Fault):
                self._note("!", event.why)
        if self._idle_waiters and self.dialogue.idle:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter()

    def _prompted(self, event: Prompted) -> None:
        if self.dialogue.state is not AtState.PROMPTED:
            return  # the same read went on: it refused or restarted right after its prompt
        if self._gate is None:
            self._write(self.dialogue.payload(now=self._clock()), event.command)
            return
        self._gate_task = asyncio.ensure_future(self._pass_gate(self._gate, event.command))

    async def _pass_gate(self, gate: Gate, command: AtCommand) -> None:
        try:
            await gate()
        except asyncio.CancelledError:
            return  # the prompt is gone; whoever cancelled has dealt with it
        except Exception as e:  # the caller's own error: handed back to the caller once the line is in step
            if self.dialogue.state is AtState.PROMPTED:
                self._gate_error = e
                self._write(self.dialogue.abort(now=self._clock()), None)
                self._arm()
            return
        if self.broken is None and self.dialogue.state is AtState.PROMPTED:
            self._write(self.dialogue.payload(now=self._clock()), command)
            self._arm()

    def _drop_gate(self) -> None:
        task, self._gate_task = self._gate_task, None
        if task is not None and not task.done():
            task.cancel()

    def _resolve(self, completed: Completed) -> None:
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_result(completed)

    def _reject(self, error: BaseException) -> None:
        pending, self._pending = self._pending, None
        self._gate_error = None
        if pending is not None and not pending.done():
            pending.set_exception(error)
            pending.exception()  # a cancelled caller never fetches it

    def _write(self, data: bytes, command: AtCommand | None) -> None:
        if self._trace is not None:
            self._trace(">", data, command)
        if self._port is None:
            return
        try:
            self._port.write(data)
        except PortLost as e:
            self._loop.call_soon(self._break, str(e))

    def _break(self, why: str) -> None:
        if self.broken is None:
            self._note("!", why)
            if self._port is not None:
                self._port.close()
            self._fail(why)
            self._on_broken(why)

    def _fail(self, why: str) -> None:
        if self.broken is not None:
            return
        self.broken = why
        after_pdu = self.dialogue.after_pdu
        self.dialogue.reset()
        self._disarm()
        self._drop_gate()
        self._reject(PortLost(why, after_pdu=after_pdu, silent=self.silent))
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(PortLost(why, silent=self.silent))
                future.exception()
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            waiter()

    def _note(self, mark: str, text: str) -> None:
        if self._trace is not None:
            self._trace(mark, text, None)

    # -- the deadline

    def _arm(self) -> None:
        due = self.dialogue.next_deadline()
        if due is None:
            self._disarm()
            return
        # An earlier timer fires, finds nothing due, and arms the later one: cheaper than one timer a command.
        if self._timer is not None and self._timer_at is not None and self._timer_at <= due:
            return
        self._disarm()
        self._timer_at = due
        self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, None

    def _fire(self) -> None:
        self._timer, self._timer_at = None, None
        self._handle(self.dialogue.deadline_passed(now=self._clock()))
        if self.broken is None:
            self._arm()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _timeout(event: TimedOut) -> AtTimeout:
    command = event.command
    limit = command.timeout_s if event.after_pdu or command.payload is None else command.prompt_s
    return AtTimeout(command.name or "AT", limit, after_pdu=event.after_pdu, lines=event.lines, why=event.why)


def _refusal(completed: Completed) -> AtError:
    final, name = completed.final, completed.command.name or "AT"
    if final.kind is FinalKind.CMS:
        return CmsError(final.code, text=final.text, command=name, after_pdu=completed.after_pdu)
    if final.kind is FinalKind.CME:
        return CmeError(final.code, text=final.text, command=name, after_pdu=completed.after_pdu)
    return AtError(final.line, command=name, after_pdu=completed.after_pdu)
