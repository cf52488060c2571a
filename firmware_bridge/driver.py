"""The life of one modem: find its port, bring it up, watch it, climb the ladder when it fails, begin again.

The driver owns the line and tells the truth about it on the health board; `modem.Modem` is its public face.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from firmware_bridge.at import response
from firmware_bridge.at.command import basic
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.canary import Canary
from firmware_bridge.discovery import PortFinder, usb_path
from firmware_bridge.errors import (
    AtError,
    AtTimeout,
    BridgeError,
    PortBusy,
    PortLost,
)
from firmware_bridge.health import REGISTRATION_TEXT, HealthBoard, ModemSettings, wall_ms
from firmware_bridge.inbox import Inbox
from firmware_bridge.ladder import Ladder, Rung, Trouble
from firmware_bridge.line import Line, Urgency
from firmware_bridge.pin import PinRecord, give_pin, pin_key
from firmware_bridge.profiles import Profile, choose
from firmware_bridge.startup import Facts, NoPduMode, SimTrouble, Startup
from firmware_bridge.steps import radio_off_and_on, reset
from firmware_bridge.usb import rebind
from firmware_bridge.wire_log import WireLog

__all__ = ["Driver"]

log = logging.getLogger(__name__)

REOPEN_S: Final = (0.1, 0.3, 0.5, 1.0, 1.0, 2.0)  # then the last again: a replugged modem is back within 5 s
HEARTBEAT_S: Final = 10.0
OVERDUE_S: Final = 10.0  # a deadline of the dialogue missed by this much: the driver is stuck
SILENT_STEP_S: Final = 60.0
ASK_AGAIN_S: Final = 1.0
SIM_RETRY_S: Final = 10.0
PARKED_RETRY_S: Final = 60.0  # a person may have changed the SIM
STOP_PATIENCE_S: Final = 2.0  # for the answer to a PDU already written
DETAIL_S: Final = 300.0
REPAIRS: Final = 6  # times that settings refused at the start are asked for again, REPAIR_S apart
REPAIR_S: Final = 5.0
BUSY_S: Final = 5.0  # a send so lately means that sending goes on
BUSY_FACTOR: Final = 4
QUIET_S: Final = 1.0
QUIET_PATIENCE_S: Final = 60.0
ANSWERED_LATELY_S: Final = 1.0  # an answer this fresh is as good as asking AT
STORE_ALARM: Final = 0.8
RESTARTS_ALARM: Final = 3  # an hour
ONE_RESTART_S: Final = 30.0
SENDS_FAIL: Final = 5  # one after the other, none of them the message's own fault
RESET_LEAVES_S: Final = 4.0  # a reset modem's port vanishes in this time, or stays


class Reopen(BridgeError):
    """A step of the ladder wants the port opened again."""


class Driver:
    """See the module. `run` never raises but CancelledError; `stop` ends it."""

    def __init__(
        self,
        settings: ModemSettings,
        *,
        inbox: Inbox,
        board: HealthBoard,
        profiles: tuple[Profile, ...],
        pins: PinRecord,
        canary: Callable[[str], Awaitable[object]],
        wire: WireLog | None,
        recorder: Callable[[str, bytes | str], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.inbox = inbox
        self.ladder = Ladder()
        self.line: Line | None = None
        self.may_send = False
        self.ready = asyncio.Event()
        self.canary = Canary(settings.canary_number, settings.canary_s, canary)
        self.round_at = clock()
        self.last_traffic = clock()
        self.up_at = clock()
        self._board = board
        self._profiles = profiles
        self._pins = pins
        self._wire = wire
        self._recorder = recorder
        self._clock = clock
        self._startup: Startup | None = None
        self._stopping = asyncio.Event()
        self._restarted = asyncio.Event()
        self._poll_now = asyncio.Event()
        self._failures = 0
        self._sent_at = float("-inf")
        self._restarts: list[float] = []
        self._unregistered_since: float | None = None
        self._finder = PortFinder(settings, clock=clock)
        self._usb_path: str | None = None
        self._rebind_due = False
        self._climbed_at = float("-inf")
        self._listeners: list[Callable[[Urc], None]] = []
        self._up = False
        self._heart: asyncio.TimerHandle | None = None

    # -- for the modem

    @property
    def facts(self) -> Facts:
        return self._startup.facts if self._startup is not None else Facts()

    def poll_soon(self) -> None:
        self._poll_now.set()

    def sent(self, error: Exception | None) -> None:
        """Note how a send went; an error only if it tells of the modem rather than of the message."""
        self.last_traffic = self._sent_at = self._clock()
        self._failures = 0 if error is None else self._failures + 1
        if error is not None:
            self._poll_now.set()

    def listen(self, listener: Callable[[Urc], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def canary_is_back(self) -> None:
        self.canary.forget()
        self.last_traffic = self._clock()

    def stop(self) -> None:
        self._stopping.set()

    # -- life

    async def run(self) -> None:
        failed = 0
        try:
            while not self._stopping.is_set():
                pause_s = REOPEN_S[min(failed, len(REOPEN_S) - 1)]
                failed += 1
                self._up = False
                try:
                    await self._until_stopped(self._one_life())
                except Exception as e:  # a modem task that dies takes the modem away for good: never
                    pause_s = self._explain(e, pause_s)
                if self._up:
                    failed = 0
                    self._finder.lost()
                await self._rest(pause_s)
        finally:
            self._board.state("parked", "stopped")

    async def _until_stopped(self, life: Any) -> None:
        """Run one life; stop cuts it short, letting a PDU that is out get its answer."""
        task = asyncio.ensure_future(life)
        stop = asyncio.ensure_future(self._stopping.wait())
        self._beat()
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self._finish_send()
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            if self._heart is not None:
                self._heart.cancel()
            stop.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _beat(self) -> None:
        self._heart = asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)
        due = self.line.dialogue.next_deadline() if self.line is not None else None
        if due is None or due > self._clock() - OVERDUE_S:
            self.round_at = self._clock()

    async def _finish_send(self) -> None:
        line = self.line
        self._close_gate()
        if line is not None and line.dialogue.after_pdu:
            with contextlib.suppress(TimeoutError, PortLost):
                async with asyncio.timeout(STOP_PATIENCE_S):
                    await line.idle()

    async def _rest(self, pause_s: float) -> None:
        self.round_at = self._clock()
        until = self._clock() + pause_s
        while not self._stopping.is_set() and (left := until - self._clock()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, HEARTBEAT_S)):
                    await self._stopping.wait()
            self.round_at = self._clock()

    def _explain(self, error: Exception, pause_s: float) -> float:
        """Put a failure on the board and the ladder; return how long to wait before the next life."""
        now = self._clock()
        if isinstance(error, SimTrouble):
            self._board.state("parked" if error.parked else "degraded", str(error), error.next_step)
            return PARKED_RETRY_S if error.parked else SIM_RETRY_S
        if isinstance(error, PortBusy):
            self._board.state("recovering", str(error), "stop the other program; looks again every 2 s")
            return max(pause_s, 2.0)
        if isinstance(error, Reopen):
            self._board.state("recovering", str(error), "opens the port again")
            return 0.2
        if isinstance(error, PortLost) and error.silent:
            return self._climb_outside(str(error), now)
        if isinstance(error, PortLost):
            if self._up:
                self.ladder.note("port lost", str(error), wall_ms=wall_ms())
            self._board.state("recovering", str(error), "opens the port again as soon as it is back")
            return REOPEN_S[0] if self._up else pause_s
        if isinstance(error, NoPduMode):
            return self._climb_outside(str(error), now)
        if isinstance(error, BridgeError | OSError):
            self._board.state("recovering", str(error), "opens the port again as soon as it is there")
            return pause_s
        log.error("%s: driver failed", self.settings.name, exc_info=error)
        self._board.state("recovering", f"{type(error).__name__}: {error}", "starts over; please report this")
        return max(pause_s, 5.0)

    def _climb_outside(self, reason: str, now: float) -> float:
        """The next step when the line is gone: re-open, or pull the plug by software.

        Asking again costs nothing and is no step, so it goes on all the time; the steps are taken a minute
        apart.
        """
        if now - self._climbed_at < SILENT_STEP_S:
            return ASK_AGAIN_S
        self._climbed_at = now
        rung = self.ladder.next(Trouble.SILENT, reason, now=now, wall_ms=wall_ms())
        if rung is None:
            self._board.state("parked", reason, "check power and cable; goes on asking")
        else:
            self._board.state("recovering", reason, rung.value)
        self._rebind_due = rung is Rung.REBIND
        return ASK_AGAIN_S

    # -- one life: from opening the port to losing it

    async def _one_life(self) -> None:
        if self._rebind_due:
            self._rebind_due = False
            why = await rebind(self._usb_path)
            if why:
                self.ladder.skipped(why)
        path = await self._finder.find()
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def lost(why: str) -> None:
            # At once: a caller that waits for ready and sends in turn would else never let go of the loop.
            self._close_gate()
            if not broken.done():
                broken.set_result(why)

        line = Line(on_urc=self._code, on_broken=lost, trace=self._tracer(), clock=self._clock)
        try:
            await line.open(path, self.settings.baud, rtscts=self.settings.rtscts)
            self.line = line
            self._usb_path = usb_path(path)
            self._board.change(port=path, usb_path=self._usb_path)
            await self._bring_up(line, path)
            while True:
                trouble = await self._work(line, broken)
                await self._recover(line, path, *trouble)
        finally:
            self._close_gate()
            self.line = None
            line.close()
            self._finder.release()

    def _tracer(self) -> Callable[..., None] | None:
        wire, recorder = self._wire, self._recorder
        if wire is None and recorder is None:
            return None

        def trace(mark: str, data: bytes | str, command: Any) -> None:
            if wire is not None:
                wire.trace(mark, data, command)
            if recorder is not None:
                recorder(mark, data)

        return trace

    async def _bring_up(self, line: Line, path: str) -> None:
        """Initialise, from an open line to one that sends and receives."""
        settings = self.settings
        if self._board.now.state not in ("starting", "parked"):
            self._board.state("recovering", self._board.now.reason, "initialises the modem")

        async def unlock(state: str) -> None:
            key = pin_key(settings.name, startup.facts.imei, settings.pin or "")
            await give_pin(line, state=state, pin=settings.pin, key=key, record=self._pins)

        def progress(reason: str, next_step: str) -> None:
            if self._board.now.state != "recovering":
                self._board.state("starting", reason, next_step)

        startup = Startup(line, smsc=settings.smsc, choose=self._profile, unlock=unlock, progress=progress)
        self._restarted.clear()
        async with line.turn(Urgency.HEALTH):
            try:
                await startup.run()
            finally:
                self._startup = startup
                self.show()
        facts = startup.facts
        self._finder.confirm(facts.imei, path)
        self.inbox.attach(line, facts, sweep_s=self._sweep_pause(facts))
        self.up_at = self._clock()
        self._up = True
        self._failures = 0
        self._unregistered_since = self._clock()
        self._judge()

    def _profile(self, facts: Facts) -> Profile:
        identity = {
            "manufacturer": facts.manufacturer,
            "model": facts.model,
            "firmware": facts.firmware,
        }
        return choose(self.settings.profile, identity, self._profiles)

    async def _work(self, line: Line, broken: asyncio.Future[str]) -> tuple[Trouble, str]:
        """Until there is trouble (returned) or the line is lost (raised)."""
        name = self.settings.name
        keeper = asyncio.create_task(self._keep(line), name=f"{name} keeper")
        restart = asyncio.create_task(self._restarted.wait(), name=f"{name} restart watch")
        tasks: set[asyncio.Future[Any]] = {
            asyncio.create_task(self.inbox.run(), name=f"{name} inbox"),
            keeper,
            restart,
        }
        try:
            done, _ = await asyncio.wait({*tasks, broken}, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                raise PortLost(broken.result(), silent=line.silent)
            for task in done:
                task.result()  # a side task that died is the end of this life
            if restart.done():
                self._note_restart()
                return Trouble.RESTARTED, "the modem restarted by itself"
            return keeper.result()
        finally:
            self._close_gate()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note_restart(self) -> None:
        """RDY, +CFUN: 1 and SMS Ready of one start are one restart."""
        now = self._clock()
        if not self._restarts or now - self._restarts[-1] > ONE_RESTART_S:
            self.ladder.note("restarted", "restart banner", wall_ms=wall_ms())
            self._restarts = [t for t in self._restarts if now - t < 3600] + [now]

    async def _recover(self, line: Line, path: str, trouble: Trouble, reason: str) -> None:
        """Take the next step while the line still stands. Raises Reopen when the step is to leave it."""
        if trouble is Trouble.RESTARTED:
            # Its own doing and ours to mend, at once and however often; resetting it would not help it.
            self._board.state("recovering", reason, Rung.INITIALISE.value)
            await self._bring_up(line, path)
            return
        now = self._clock()
        rung = self.ladder.next(trouble, reason, now=now, wall_ms=wall_ms())
        if rung is None:
            wait_s = max(10.0, self.ladder.free_at(trouble, now=now) - now)
            self._board.state("parked", reason, f"all steps used up; tries again in {wait_s / 60:.0f} min")
            await self._rest(min(wait_s, PARKED_RETRY_S))
            raise Reopen(reason)
        self._board.state("recovering", reason, rung.value)
        if rung in (Rung.DRAIN, Rung.ASK):
            async with line.turn(Urgency.HEALTH):
                await line.synchronise()
            self._judge()
            return
        if rung is Rung.INITIALISE:
            await self._bring_up(line, path)
            return
        if rung is Rung.RADIO:
            if not await radio_off_and_on(line):
                self.ladder.skipped("the modem refuses CFUN=0")
            await self._bring_up(line, path)
            return
        if rung is Rung.RESET:
            await reset(line)
            await self._rest(RESET_LEAVES_S)
        if rung is Rung.REBIND:
            self._rebind_due = True
        raise Reopen(f"{reason}: {rung.value}")

    # -- keeping watch

    async def _keep(self, line: Line) -> tuple[Trouble, str]:
        """Polls, ahead of the queue; returns when the ladder is wanted."""
        assert self._startup is not None
        startup, facts = self._startup, self._startup.facts
        detail_at = self._clock()
        misses = repairs = 0
        while True:
            if self._clock() >= detail_at:
                detail_at = self._clock() + DETAIL_S
                await self._details(line, startup)
            with contextlib.suppress(TimeoutError):
                pause_s = self._poll_pause()
                if not startup.complete and repairs < REPAIRS:
                    pause_s = min(pause_s, REPAIR_S)
                async with asyncio.timeout(pause_s):
                    await self._poll_now.wait()
            self._poll_now.clear()
            try:
                async with line.turn(Urgency.HEALTH):
                    if self._clock() - line.last_answer > ANSWERED_LATELY_S:
                        await line.execute(basic())
                    await startup.poll_registration()
                    await startup.poll_signal()
                    if await startup.settings_lost():
                        self.ladder.note("settings lost", "+CNMI has changed", wall_ms=wall_ms())
                        return Trouble.RESTARTED, "the modem has lost its settings"
                async with line.turn(Urgency.HEALTH):
                    if facts.memory == facts.receiving:
                        await startup.poll_storage()
                    if self.inbox.notify_lost:
                        self.inbox.notify_lost = False
                        await startup.notifications()
                misses = 0
            except AtTimeout:
                misses += 1
                if misses >= 3:
                    return Trouble.UNSTABLE, "three polls without an answer"
                continue
            except AtError:
                pass  # it answers AT with an error: odd, but alive
            if facts.used is not None and facts.used > self.inbox.left:
                self.inbox.sweep_soon()  # something lies there that nobody announced
            if not startup.complete and repairs < REPAIRS:
                repairs += 1
                await self._complete(line, startup)
            self._judge()
            trouble = self._trouble()
            if trouble is not None:
                return trouble
            await self._mind_canary()

    async def _complete(self, line: Line, startup: Startup) -> None:
        """What was refused while the modem was starting may be taken now."""
        async with line.turn(Urgency.HEALTH):
            changed = await startup.complete_later()
        if changed:
            self.inbox.attach(line, startup.facts, sweep_s=self._sweep_pause(startup.facts))

    def _sweep_pause(self, facts: Facts) -> float:
        """Without announcements the sweep is all there is."""
        return self.settings.sweep_s if facts.notify else min(10.0, self.settings.sweep_s)

    def _poll_pause(self) -> float:
        """Quicker while the network is being waited for; slower while sends prove that all is well, since a
        poll is six commands of up to 50 ms each."""
        if not self.may_send:
            return min(5.0, self.settings.poll_s)
        busy = self._clock() - self._sent_at < BUSY_S and not self._failures
        return self.settings.poll_s * (BUSY_FACTOR if busy else 1)

    async def _details(self, line: Line, startup: Startup) -> None:
        steps = [startup.poll_signal, startup.poll_operator, startup.network_clock]
        if startup.facts.imsi is None:
            steps.append(startup.subscriber)
        for step in steps:
            await self._quiet(line)
            async with line.turn(Urgency.DETAIL):
                await step()
        self._judge()

    async def _quiet(self, line: Line) -> None:
        """Wait for a pause in the sending: what is merely shown may not cost a message its time."""
        until = self._clock() + QUIET_PATIENCE_S
        while (now := self._clock()) < until:
            if line.dialogue.idle and not line.queued and now - self._sent_at >= QUIET_S:
                return
            await asyncio.sleep(QUIET_S / 2)

    def _trouble(self) -> tuple[Trouble, str] | None:
        now = self._clock()
        if self._failures >= SENDS_FAIL:
            self._failures = 0
            return Trouble.SENDS_FAIL, f"{SENDS_FAIL} sends failed one after the other"
        since = self._unregistered_since
        # A network that says no is not persuaded by restarting the modem.
        if since is not None and self.facts.registration != 3 and now - since > self.ladder.proof_s:
            self._unregistered_since = now
            return Trouble.UNREGISTERED, f"not registered for {now - since:.0f} s"
        if self.canary.is_lost(now=now):
            return Trouble.CANARY, "the canary message did not come back"
        return None

    async def _mind_canary(self) -> None:
        now = self._clock()
        if self.may_send and self.canary.is_due(now=now, last_traffic=self.last_traffic):
            self.last_traffic = now
            await self.canary.fly(now=now)

    def _judge(self) -> None:
        """State from facts: what can be done with this modem now."""
        if self._startup is None or self.line is None or self.line.broken is not None or not self._up:
            return
        facts, now = self.facts, self._clock()
        self.may_send = facts.may_send
        if self.may_send:
            self._unregistered_since = None
            self.ready.set()
            self.ladder.healthy(now=now, wall_ms=wall_ms())
            alarms = self._alarms(facts)
            self._board.change(alarms=alarms)
            if alarms:
                self._board.state("degraded", alarms[0], "keeps working; see the alarm")
            else:
                self._board.state("ready")
        else:
            self.ready.clear()
            if self._unregistered_since is None:
                self._unregistered_since = now
            stat = facts.registration
            text = REGISTRATION_TEXT.get(-1 if stat is None else stat, f"stat {stat}")
            step = "waits for the network"
            if stat == 3:
                step = "the network refuses this SIM: ask the operator; looks again every 5 s"
            was = self._board.now.state
            self._board.state("starting" if was == "starting" else "degraded", f"network: {text}", step)
        self.show()

    def _alarms(self, facts: Facts) -> tuple[str, ...]:
        found = []
        if facts.used is not None and facts.total and facts.used >= STORE_ALARM * facts.total:
            found.append(f"message store {facts.used} of {facts.total} full; draining")
        if self.inbox.stuck_deletes:
            found.append(f"{self.inbox.stuck_deletes} messages cannot be deleted from the modem")
        now = self._clock()
        restarts = sum(now - t < 3600 for t in self._restarts)
        if restarts >= RESTARTS_ALARM:
            found.append(f"restarted {restarts} times within an hour: power supply or USB cable?")
        return tuple(found)

    def _close_gate(self) -> None:
        self.may_send = False
        self.ready.clear()

    def _code(self, code: Urc) -> None:
        kind = code.kind
        self.inbox.take(code)
        if kind is UrcKind.RESTART or (kind is UrcKind.READY and self._up):
            self._restarted.set()
        elif kind is UrcKind.REGISTRATION and self._startup is not None:
            stat = response.registration(code.rest, read=False)
            if stat is not None and code.prefix.upper() == "+CREG":
                self.facts.creg = stat
            elif stat is not None and code.prefix.upper() == "+CEREG":
                self.facts.cereg = stat
            self._judge()
        elif kind is UrcKind.SIGNAL and code.prefix.upper() == "^RSSI":
            self._signal(code)
        for listener in tuple(self._listeners):
            listener(code)

    def _signal(self, code: Urc) -> None:
        rssi = response.integer(code.rest)
        if rssi is not None and 0 <= rssi <= 31:
            self.facts.signal_dbm = -113 + 2 * rssi
            self.show()

    def show(self) -> None:
        """Publish what the facts say now."""
        f = self.facts
        self._board.change(
            operator=f.operator, registration=f.registration, signal_dbm=f.signal_dbm, imei=f.imei,
            iccid=f.iccid, imsi=f.imsi, own_number=f.own_number, smsc=f.smsc, manufacturer=f.manufacturer or
            None, model=f.model or None, firmware=f.firmware or None, profile=f.profile.name,
            storage_used=f.used, storage_total=f.total, received=self.inbox.received,
            network_time_ms=f.network_time_ms, network_time_at=f.network_time_at,
        )  # fmt: skip
