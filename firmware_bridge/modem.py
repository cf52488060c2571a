"""The one object an application uses: start it, send with it, be told what came in and how it fares.

`run` opens the port, brings the modem up, keeps it up and comes back after every loss, until `stop`.
Everything happens on the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from firmware_bridge import ussd as ussd_codes
from firmware_bridge.at import command as commands
from firmware_bridge.at import response
from firmware_bridge.at.command import AtCommand
from firmware_bridge.driver import Driver
from firmware_bridge.errors import (
    Ambiguous,
    AtError,
    AtTimeout,
    BadMessage,
    BadUssd,
    CmeError,
    CmsError,
    NotReady,
    PortLost,
    PromptLost,
    SendAction,
    UsageError,
    UssdNotAllowed,
)
from firmware_bridge.health import HealthBoard, ModemHealth, ModemSettings, Received
from firmware_bridge.inbox import Inbox, OnDeliver, OnStatusReport, OnUndecodable
from firmware_bridge.ladder import Entry
from firmware_bridge.line import Gate, Line, Urgency
from firmware_bridge.pdu import Submit, submits
from firmware_bridge.pin import MemoryPinRecord, PinRecord
from firmware_bridge.profiles import PROFILE_DIRECTORY, choose, load_profiles
from firmware_bridge.ussd import UssdAnswer, UssdState
from firmware_bridge.wire_log import WireLog

__all__ = ["Modem", "ModemHealth", "ModemSettings", "Received"]

USSD_REPLIES: Final = 8  # answers to menus in one call
# Refusals that mean "not yet" in the first seconds after start-up: not allowed, SIM busy, please wait.
STARTING_CMS: Final = frozenset({302, 314, 515})
STARTING_CME: Final = frozenset({14, 515})
# RP causes by which a network refuses the subscriber: it was reached, so no reset of the modem helps.
SUBSCRIBER_CMS: Final = frozenset({8, 21, 28, 29, 50, 69})
STARTING_RETRY_S: Final = 1.0


class Modem:
    """One modem. The three hand-over functions are awaited before the modem or the network is told that the
    message arrived; if one raises, the message stays where it is and is offered again.

    on_change gets every new ModemHealth, synchronously. wire_log gets one masked line for everything that
    crosses the port; recorder the unmasked pieces. pins: what is remembered of PIN attempts; it must
    survive a restart. clock: monotonic seconds. Raises UsageError if the settings name a profile that does
    not exist.
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
        recorder: Callable[[str, bytes | str], None] | None = None,
        pins: PinRecord | None = None,
        profile_directory: Path = PROFILE_DIRECTORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._on_deliver = on_deliver
        self._clock = clock
        profiles = load_profiles(profile_directory)
        choose(settings.profile, {}, profiles)
        self._board = HealthBoard(ModemHealth(name=settings.name, port=settings.port), on_change)
        inbox = Inbox(
            modem=settings.name,
            on_deliver=self._deliver,
            on_status_report=on_status_report,
            on_undecodable=on_undecodable,
            on_change=lambda: self._driver.show(),
            clock=clock,
        )
        self._driver = Driver(
            settings,
            inbox=inbox,
            board=self._board,
            profiles=profiles,
            pins=pins or MemoryPinRecord(),
            canary=self._send_canary,
            wire=WireLog(settings.name, wire_log) if wire_log is not None else None,
            recorder=recorder,
            clock=clock,
        )

    # -- what others see

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def health(self) -> ModemHealth:
        return self._board.now

    @property
    def history(self) -> tuple[Entry, ...]:
        """What was seen and done to keep it healthy, oldest first."""
        return tuple(self._driver.ladder.history)

    @property
    def ready(self) -> bool:
        """It can send now."""
        return self._driver.may_send

    @property
    def idle_s(self) -> float:
        """Monotonic seconds since the driver last made a round: what a watchdog asks."""
        return self._clock() - self._driver.round_at

    @property
    def queued(self) -> int:
        """Calls that wait for the line."""
        return self._driver.line.queued if self._driver.line is not None else 0

    def network_time_ms(self) -> int | None:
        """UTC now by the network's clock, None if it never gave one. Good to about a second."""
        health = self.health
        if health.network_time_ms is None or health.network_time_at is None:
            return None
        return health.network_time_ms + int((self._clock() - health.network_time_at) * 1000)

    async def wait_ready(self) -> None:
        await self._driver.ready.wait()

    # -- life

    async def run(self) -> None:
        """Drive the modem for ever. Returns after `stop`; the port is closed however it ends."""
        await self._driver.run()

    async def stop(self) -> None:
        """Ask `run` to end; a PDU already written gets two seconds for its answer."""
        self._driver.stop()

    def sweep_soon(self) -> None:
        """List the store before long: somebody believes that a message lies there."""
        self._driver.inbox.sweep_soon()

    # -- sending

    async def send(self, submit: Submit, *, gate: Gate | None = None) -> int:
        """Send one SMS-SUBMIT; return the TP-MR the modem gave it. Sends queue up in order of call.

        gate: awaited between the prompt and the PDU; if it raises, nothing is sent and its error comes out
        here. Raises SendError in one of its kinds. Cancelled before its turn nothing is written; cancelled
        later the dialogue runs to its end by itself and its outcome is lost: shield the call.
        """
        driver = self._driver
        line = self._line_to_send()
        profile = driver.facts.profile
        try:
            command = commands.submit(
                submit.encode(),
                submit.tpdu_length,
                timeout_s=profile.send_timeout_s,
                prompt_s=profile.prompt_timeout_s,
            )
        except UsageError as e:
            raise BadMessage(str(e)) from e
        while True:
            async with line.turn(Urgency.SEND):
                self._line_to_send()
                try:
                    lines = await self._submit(line, command, gate)
                    break
                except (CmsError, CmeError) as e:
                    if e.after_pdu or not self._still_starting(e):
                        raise
            # Registered, and its SMS part still not ready: it says so before the prompt, so nothing was sent.
            await asyncio.sleep(STARTING_RETRY_S)
            line = self._line_to_send()
        mr = _reference(lines)
        if mr is None:
            raise Ambiguous("OK without +CMGS: <mr>")
        driver.sent(None)
        self._board.count(sent=self.health.sent + 1)
        return mr

    def _still_starting(self, error: CmsError | CmeError) -> bool:
        codes = STARTING_CMS if isinstance(error, CmsError) else STARTING_CME
        since = self._clock() - self._driver.up_at
        return error.code in codes and since < self._driver.facts.profile.sim_patience_s

    def _line_to_send(self) -> Line:
        line, health = self._driver.line, self.health
        if line is None or not self._driver.may_send:
            raise NotReady(f"{self.name}: {health.state}, {health.reason or 'not started'}")
        return line

    async def _submit(self, line: Line, command: AtCommand, gate: Gate | None) -> tuple[str, ...]:
        driver = self._driver
        try:
            return await line.execute(command, gate=gate)
        except AtTimeout as e:
            driver.sent(e)
            if e.after_pdu:
                raise Ambiguous(str(e), mr=_reference(e.lines)) from e
            raise PromptLost(str(e)) from e
        except (CmsError, CmeError) as e:
            starting = not e.after_pdu and self._still_starting(e)
            refused = isinstance(e, CmsError) and e.code in SUBSCRIBER_CMS
            if e.action in (SendAction.ATTENTION, SendAction.RETRY_LATER) and not starting:
                driver.sent(None if refused else e)
            if isinstance(e, CmsError) and e.code == 322:
                driver.inbox.sweep_soon()
            raise
        except PortLost:
            raise
        except AtError as e:
            driver.sent(e)
            if e.after_pdu:
                raise Ambiguous(str(e)) from e
            raise

    async def _send_canary(self, text: str) -> None:
        assert self.settings.canary_number is not None
        await self.send(submits(self.settings.canary_number, text, reference=0)[0])

    async def _deliver(self, received: Received) -> None:
        token = self._driver.canary.token
        if token is not None and received.deliver.text == token:
            self._driver.canary_is_back()
            return
        self._driver.last_traffic = self._clock()
        await self._on_deliver(received)

    # -- by hand

    async def command(self, text: str, *, timeout_s: float = 30.0) -> tuple[str, ...]:
        """One AT command typed by a person. Raises UnsafeArgument, AtError, AtTimeout, NotReady or
        PortLost."""
        return await self._any_line().run(
            commands.operator_command(text, timeout_s=timeout_s), Urgency.DETAIL
        )

    async def ussd(
        self, code: str, *replies: str, any_code: bool = False, timeout_s: float = ussd_codes.ANSWER_S
    ) -> tuple[UssdAnswer, ...]:
        """Dial a USSD code and answer its menus with `replies`, in one turn of the line: no send in between.

        Only codes of settings.ussd_allow, unless any_code. Returns every answer of the network. Raises
        UssdError.
        """
        if not any_code and not ussd_codes.allowed(code, self.settings.ussd_allow):
            raise UssdNotAllowed(f"{code} is not on this modem's list of allowed codes (ussd_allow)")
        if len(replies) > USSD_REPLIES:
            raise BadUssd(f"{len(replies)} replies; at most {USSD_REPLIES}")
        line = self._any_line()
        packed = self._driver.facts.profile.ussd_packed
        answers: list[UssdAnswer] = []
        async with line.turn(Urgency.SEND):
            for text in (code, *replies):
                answers.append(
                    await ussd_codes.dial(line, text, self._driver.listen, packed=packed, timeout_s=timeout_s)
                )
                if answers[-1].state is not UssdState.REPLY_WANTED:
                    break
            if answers[-1].state is UssdState.REPLY_WANTED:
                with contextlib.suppress(PortLost):
                    await ussd_codes.hang_up(line)
        return tuple(answers)

    def _any_line(self) -> Line:
        line = self._driver.line
        if line is None:
            raise NotReady(f"{self.name}: {self.health.state}, {self.health.reason or 'not started'}")
        return line


def _reference(lines: tuple[str, ...]) -> int | None:
    """<mr> of `+CMGS: <mr>[,<scts>]`."""
    for value in response.values(lines, "+CMGS"):
        return response.integer(response.fields(value)[0])
    return None
