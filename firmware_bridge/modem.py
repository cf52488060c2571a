"""The one object an application uses: start it, send with it, be told what came in and how it fares.

`run` opens the port, brings the modem up, keeps it up and comes back after every loss, until `stop`.
Everything happens on the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from firmware_bridge.at import command as commands
from firmware_bridge.at import response
from firmware_bridge.at.command import AtCommand
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.errors import (
    Ambiguous,
    AtError,
    AtTimeout,
    BadMessage,
    BridgeError,
    CmsError,
    NotReady,
    PortBusy,
    PortLost,
    PromptLost,
    UsageError,
)
from firmware_bridge.health import REGISTRATION_TEXT, ModemHealth, ModemSettings, Received
from firmware_bridge.inbox import Inbox, OnDeliver, OnStatusReport, OnUndecodable
from firmware_bridge.line import Gate, Line, Urgency
from firmware_bridge.pdu import Submit
from firmware_bridge.profiles import DEFAULT, Profile
from firmware_bridge.startup import Facts, NoPduMode, SimTrouble, Startup
from firmware_bridge.wire_log import WireLog

__all__ = ["Modem", "ModemHealth", "ModemSettings", "Received"]

log = logging.getLogger(__name__)

REOPEN_S: Final = (0.1, 0.3, 0.5, 1.0, 1.0, 2.0)  # then the last again: a replugged modem is back within 5 s
STARTUP_RETRY_S: Final = 10.0
SEND_PATIENCE_S: Final = 3.0  # at stop, for a PDU already written
DETAIL_S: Final = 300.0


class Modem:
    """One modem. The three hand-over functions are awaited before the modem or the network is told that the
    message arrived; if one raises, the message stays where it is and is offered again.

    on_change gets every new ModemHealth, synchronously. wire_log gets one masked line for everything that
    crosses the port. clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: ModemSettings,
        *,
        on_deliver: OnDeliver,
        on_status_report: OnStatusReport,
        on_undecodable: OnUndecodable | None = None,
        on_change: Callable[[ModemHealth], None] | None = None,
        wire_log: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._on_deliver = on_deliver
        self._on_status_report = on_status_report
        self._on_undecodable = on_undecodable
        self._on_change = on_change
        self._wire = WireLog(settings.name, wire_log) if wire_log is not None else None
        self._clock = clock
        self._health = ModemHealth(name=settings.name, port=settings.port, since_ms=_now_ms())
        self._line: Line | None = None
        self._startup: Startup | None = None
        self._inbox: Inbox | None = None
        self._may_send = False
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._restarted = asyncio.Event()
        self._poll_now = asyncio.Event()
        self._round_at = clock()
        self._inbound_before = 0  # received on earlier lines
        self._on_codes: list[Callable[[Urc], None]] = []

    # -- what others see

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def health(self) -> ModemHealth:
        return self._health

    @property
    def ready(self) -> bool:
        """It can send now."""
        return self._may_send

    @property
    def idle_s(self) -> float:
        """Monotonic seconds since the driver last made a round: what a watchdog asks."""
        return self._clock() - self._round_at

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def sweep_soon(self) -> None:
        """List the store before long: somebody believes that a message lies there."""
        if self._inbox is not None:
            self._inbox.sweep_soon()

    # -- life

    async def run(self) -> None:
        """Drive the modem for ever. Returns after `stop`; the port is closed however it ends."""
        attempt = 0
        while not self._stopping.is_set():
            self._round_at = self._clock()
            pause_s = REOPEN_S[min(attempt, len(REOPEN_S) - 1)]
            try:
                attempt += 1
                await self._until_stopped(self._one_life())
                if self._stopping.is_set():
                    break
            except SimTrouble as e:
                state = "parked" if e.parked else "degraded"
                self._set_state(state, str(e), e.next_step)
                pause_s = STARTUP_RETRY_S
            except (PortLost, NoPduMode, BridgeError) as e:
                if self._health.state == "ready" or self._was_up:
                    attempt = 1
                    pause_s = REOPEN_S[0]
                busy = isinstance(e, PortBusy)
                self._set_state(
                    "recovering",
                    str(e),
                    "stop the other program" if busy else "opens the port again",
                )
            except OSError as e:
                self._set_state("recovering", str(e), "opens the port again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
        self._set_state("parked", "stopped", "")

    async def stop(self) -> None:
        """Ask `run` to end; a PDU already written gets SEND_PATIENCE_S for its answer."""
        self._stopping.set()

    _was_up = False

    async def _until_stopped(self, life: Any) -> None:
        task = asyncio.ensure_future(life)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self._finish_send()
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BridgeError):
                    await task

    async def _finish_send(self) -> None:
        line = self._line
        self._may_send = False
        if line is not None and line.dialogue.after_pdu:
            with contextlib.suppress(TimeoutError, PortLost):
                async with asyncio.timeout(SEND_PATIENCE_S):
                    await line.idle()

    async def _one_life(self) -> None:
        """From opening the port to losing it."""
        self._was_up = False
        self._restarted.clear()
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def lost(why: str) -> None:
            if not broken.done():
                broken.set_result(why)

        line = Line(
            on_urc=self._code,
            on_broken=lost,
            trace=self._wire.trace if self._wire else None,
            clock=self._clock,
        )
        try:
            path = self.settings.port
            await line.open(path, self.settings.baud, rtscts=self.settings.rtscts)
            self._line = line
            self._change(port=path)
            while True:
                await self._bring_up(line)
                await self._work(line, broken)
        finally:
            self._may_send = False
            self._ready.clear()
            self._line = None
            line.close()

    async def _bring_up(self, line: Line) -> None:
        """Initialise, from an open line to one that sends and receives."""
        if self._health.state not in ("starting", "parked"):
            self._set_state("recovering", self._health.reason, "initialises the modem")
        startup = Startup(
            line,
            smsc=self.settings.smsc,
            choose=self._choose_profile,
            unlock=self._unlock,
            progress=lambda reason, step: self._set_state("starting", reason, step),
        )
        self._startup = startup
        self._restarted.clear()
        async with line.turn(Urgency.HEALTH):
            facts = await startup.run()
        if self._inbox is not None:
            self._inbound_before += self._inbox.received
        early = self._inbox
        self._inbox = Inbox(
            line,
            facts,
            modem=self.name,
            on_deliver=self._on_deliver,
            on_status_report=self._on_status_report,
            on_undecodable=self._on_undecodable,
            sweep_s=self.settings.sweep_s if facts.notify else min(10.0, self.settings.sweep_s),
            on_change=self._show,
            clock=self._clock,
        )
        del early  # what it had not read yet is still in the store: the new one begins with a sweep
        self._judge()

    async def _work(self, line: Line, broken: asyncio.Future[str]) -> None:
        """Until the modem restarts (returns) or is lost (raises)."""
        assert self._inbox is not None
        self._was_up = True
        tasks: set[asyncio.Future[Any]] = {
            asyncio.create_task(self._inbox.run(), name=f"{self.name} inbox"),
            asyncio.create_task(self._keep(line), name=f"{self.name} keeper"),
            asyncio.create_task(self._restarted.wait(), name=f"{self.name} restart watch"),
        }
        try:
            done, _ = await asyncio.wait({*tasks, broken}, return_when=asyncio.FIRST_COMPLETED)
            if broken.done():
                raise PortLost(broken.result())
            for task in done:
                task.result()  # a side task that died is the end of this life
        finally:
            self._may_send = False
            self._ready.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- keeping watch

    async def _keep(self, line: Line) -> None:
        """Health polls, ahead of the queue; a modem that does not answer them breaks the line by itself."""
        assert self._startup is not None
        startup, facts = self._startup, self._startup.facts
        detail_at = self._clock()
        while True:
            self._round_at = self._clock()
            if self._clock() >= detail_at:
                detail_at = self._clock() + DETAIL_S
                await self._details(line, startup)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.poll_s):
                    await self._poll_now.wait()
            self._poll_now.clear()
            async with line.turn(Urgency.HEALTH):
                await line.execute(commands.basic())
                await startup.poll_registration()
                await startup.poll_signal()
            async with line.turn(Urgency.HEALTH):
                if facts.memory == facts.receiving:
                    await startup.poll_storage()
                if self._inbox is not None and self._inbox.notify_lost:
                    self._inbox.notify_lost = False
                    await startup.notifications()
            self._judge()

    async def _details(self, line: Line, startup: Startup) -> None:
        for step in (startup.poll_signal, startup.poll_operator, startup.network_clock):
            async with line.turn(Urgency.DETAIL):
                await step()
        if startup.facts.imsi is None:
            async with line.turn(Urgency.DETAIL):
                await startup.subscriber()
        self._judge()

    def _judge(self) -> None:
        """State from facts: what can be done with this modem now."""
        startup = self._startup
        if startup is None or self._line is None or self._line.broken is not None:
            return
        facts = startup.facts
        self._may_send = facts.may_send and self._inbox is not None
        if self._may_send:
            self._ready.set()
            self._set_state("ready", *self._alarm())
        else:
            self._ready.clear()
            stat = facts.registration
            text = REGISTRATION_TEXT.get(-1 if stat is None else stat, f"stat {stat}")
            state = "degraded" if self._health.sent or self._health.state == "degraded" else "starting"
            self._set_state(state, f"network: {text}", "waits for registration")
        self._show()

    def _alarm(self) -> tuple[str, str]:
        return "", ""

    def _code(self, code: Urc) -> None:
        kind = code.kind
        if self._inbox is not None:
            self._inbox.take(code)
        if kind is UrcKind.RESTART or (kind is UrcKind.READY and self._was_up):
            self._restarted.set()
        elif kind is UrcKind.REGISTRATION and self._startup is not None:
            stat = response.registration(code.rest, read=False)
            if stat is not None:
                if code.prefix.upper() == "+CREG":
                    self._startup.facts.creg = stat
                elif code.prefix.upper() == "+CEREG":
                    self._startup.facts.cereg = stat
                if self._was_up:
                    self._judge()
        for listener in self._on_codes:
            listener(code)

    # -- sending

    async def send(self, submit: Submit, *, gate: Gate | None = None) -> int:
        """Send one SMS-SUBMIT; return the TP-MR the modem gave it. Sends queue up in order of call.

        gate: awaited between the prompt and the PDU; if it raises, nothing is sent and its error comes out
        here. Raises SendError in one of its kinds. Cancelled before its turn nothing is written; cancelled
        later the dialogue runs to its end by itself and its outcome is lost: shield the call.
        """
        line = self._line
        if line is None or not self._may_send:
            raise NotReady(f"{self.name}: {self._health.state}, {self._health.reason or 'not started'}")
        assert self._startup is not None
        profile = self._startup.facts.profile
        try:
            command = commands.submit(
                submit.encode(),
                submit.tpdu_length,
                timeout_s=profile.send_timeout_s,
                prompt_s=profile.prompt_timeout_s,
            )
        except UsageError as e:
            raise BadMessage(str(e)) from e
        async with line.turn(Urgency.SEND):
            if not self._may_send:
                raise NotReady(f"{self.name}: {self._health.state}, {self._health.reason}")
            lines = await self._submit(line, command, gate)
        mr = _reference(lines)
        if mr is None:
            raise Ambiguous("OK without +CMGS: <mr>")
        self._change(sent=self._health.sent + 1)
        return mr

    async def _submit(self, line: Line, command: AtCommand, gate: Gate | None) -> tuple[str, ...]:
        try:
            return await line.execute(command, gate=gate)
        except AtTimeout as e:
            self._poll_now.set()
            if e.after_pdu:
                raise Ambiguous(str(e), mr=_reference(e.lines)) from e
            raise PromptLost(str(e)) from e
        except CmsError as e:
            self._after_refusal(e)
            raise
        except AtError as e:
            if e.after_pdu and type(e) is AtError:
                raise Ambiguous(str(e)) from e
            raise

    def _after_refusal(self, error: CmsError) -> None:
        """What a code says about the modem rather than about the message."""
        if error.code == 322 and self._inbox is not None:
            self._inbox.sweep_soon()
        if error.code in (331, 310, 311, 313, 316, 330):
            self._poll_now.set()

    async def command(self, text: str, *, timeout_s: float = 30.0) -> tuple[str, ...]:
        """One AT command typed by a person. Raises UnsafeArgument, AtError, AtTimeout, NotReady or
        PortLost."""
        line = self._line
        if line is None:
            raise NotReady(f"{self.name}: {self._health.state}")
        return await line.run(commands.operator_command(text, timeout_s=timeout_s), Urgency.DETAIL)

    # -- health

    def _choose_profile(self, facts: Facts) -> Profile:
        return DEFAULT

    async def _unlock(self, state: str) -> None:
        raise SimTrouble(f"SIM wants {state}", "set the PIN in the configuration", parked=True)

    def _show(self) -> None:
        """Publish what the facts say now."""
        startup, inbox = self._startup, self._inbox
        if startup is None:
            return
        f = startup.facts
        self._change(
            operator=f.operator, registration=f.registration, signal_dbm=f.signal_dbm, imei=f.imei,
            iccid=f.iccid, imsi=f.imsi, own_number=f.own_number, smsc=f.smsc, manufacturer=f.manufacturer or
            None, model=f.model or None, firmware=f.firmware or None, profile=f.profile.name,
            storage_used=f.used, storage_total=f.total, received=self._inbound_before + (inbox.received if
            inbox else 0), network_time_ms=f.network_time_ms, network_time_at=f.network_time_at,
        )  # fmt: skip

    def _set_state(self, state: str, reason: str, next_step: str) -> None:
        health = self._health
        if (state, reason, next_step) != (health.state, health.reason, health.next_step):
            since = health.since_ms if state == health.state else _now_ms()
            if self._wire is not None and state != health.state:
                self._wire.trace("=", f"{state}: {reason}", None)
            self._change(state=state, reason=reason, next_step=next_step, since_ms=since)

    def _change(self, **fields: Any) -> None:
        health = dataclasses.replace(self._health, **fields)
        if health != self._health:
            self._health = health
            if self._on_change is not None:
                self._on_change(health)


def _reference(lines: tuple[str, ...]) -> int | None:
    """<mr> of `+CMGS: <mr>[,<scts>]`."""
    for value in response.values(lines, "+CMGS"):
        return response.integer(response.fields(value)[0])
    return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
