"""A GSM modem without its wire: bytes in by `receive`, bytes out by `take_output`, time from the world.

This file is the terminal adaptor: line editor, echo, result codes, unsolicited lines, prompt. What the
commands mean is in at_commands/; how messages come in is in inbox.py; the radio side is radio.py.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable
from typing import Final

from firmware_bridge.pdu import Deliver, StatusReport
from firmware_bridge.simulator.answers import AtRefusal, Cme, Unknown
from firmware_bridge.simulator.at_commands import find_handler
from firmware_bridge.simulator.at_commands.table import LATER, Answer
from firmware_bridge.simulator.bad_line import BadLine
from firmware_bridge.simulator.faults import Faults
from firmware_bridge.simulator.inbox import Inbox
from firmware_bridge.simulator.line import Call, Kind, LineError, parse_line
from firmware_bridge.simulator.memory import MessageMemory
from firmware_bridge.simulator.network import Network, Outcome
from firmware_bridge.simulator.personality import Chatter, Personality
from firmware_bridge.simulator.radio import Radio
from firmware_bridge.simulator.settings import Settings
from firmware_bridge.simulator.sim_card import SimCard, luhn_digit
from firmware_bridge.simulator.timeline import Timeline, Timer

__all__ = ["GsmModem"]

CTRL_Z: Final = 0x1A
ESC: Final = 0x1B
_CR: Final = 0x0D
_LF: Final = 0x0A
_BACKSPACE: Final = 0x08
_NOT_ECHOED: Final = bytes([CTRL_Z, ESC])
_EDITING: Final = re.compile(rb"[\x08\x0a\x1a\x1b]")

_TIMERS_KEPT: Final = 32  # sweep out the timers that ran when there are twice as many

MAX_LINE: Final = 1024  # V.250 5.2.1 leaves it to the modem; real buffers hold 256 to 2048
MAX_PROMPT: Final = 2048  # a PDU of 176 octets is 352 hex digits; text in UCS-2 hex is longer
MAX_INPUT: Final = 16_384  # what a client may write while the modem is busy; more is lost, as in a UART
MAX_OUTPUT: Final = 262_144  # what the modem may say while nobody reads; the oldest is lost first
MAX_PENDING_URCS: Final = (
    64  # TS 27.005 3.4.1 mode 2: the buffer is the modem's own; beyond it lines are lost
)


class GsmModem:
    """One modem with its SIM on a network. The world calls `receive`; the wire calls `take_output`."""

    def __init__(
        self,
        name: str,
        *,
        serial: int,
        timeline: Timeline,
        network: Network,
        sim: SimCard,
        personality: Personality,
        rng: random.Random,
    ) -> None:
        """name: what faults and the control socket call it. serial: makes the IMEI distinct."""
        self.name = name
        self.serial = serial
        self.timeline = timeline
        self.network = network
        self.sim = sim
        self.personality = personality
        self.rng = rng
        self.powered = True
        self.hung = False
        self.on_output: Callable[[], None] | None = None
        self.on_power: Callable[[bool], None] | None = None  # the pty goes and comes with it
        self.boots = 0
        self.sent = 0
        self.received = 0
        body = f"3569380{serial:07d}"
        self.imei = body + luhn_digit(body)
        self.clock_offset_s: float | None = None  # AT+CCLK= against the network's time
        self.ussd_session: str | None = None
        self.ussd_packed = personality.ussd_packed
        self.memories: dict[str, MessageMemory] = {
            store: MessageMemory(store, capacity=capacity, base=personality.index_base)
            for store, capacity in personality.storages.items()
            if store != "SM"
        }
        if "SM" in personality.storages:
            self.memories["SM"] = sim.messages
        self.settings = Settings()
        self.radio = Radio(self)
        self.inbox = Inbox(self)
        self.port_name = name  # what its port is called; a re-plugged device may get another name
        self.line = BadLine(timeline, rng, self._put)  # a good one until a fault makes it bad
        self._timers: list[Timer] = []
        self._timers_kept = _TIMERS_KEPT
        self._output: deque[bytes] = deque()
        self._output_size = 0
        self._input = bytearray()
        self._line = bytearray()
        self._last_line = ""
        self._calls: deque[Call] = deque()
        self._busy = False
        self._hanging = False  # a command of the family's `hanging` is being waited for in vain
        self._prompt: Callable[[bytes | None], None] | None = None
        self._urcs: deque[str] = deque()
        self._boot_started = timeline.now
        self._chatter_stopped: set[str] = set()
        network.join(self)
        self.boot()

    # --- the network's side (Subscriber)

    @property
    def number(self) -> str:
        """E.164 of the SIM."""
        return self.sim.number

    @property
    def faults(self) -> Faults:
        """The rules in force in this world."""
        return self.network.faults

    @property
    def attached(self) -> bool:
        """Powered, registered, SIM open: the network can reach it."""
        return self.powered and not self.hung and self.radio.in_service

    def take(self, tpdu: Deliver | StatusReport, done: Callable[[Outcome], None]) -> None:
        """One TPDU from the network."""
        self.inbox.take(tpdu, done)

    # --- power

    def boot(self) -> None:
        """Power-up: settings are gone, memories stay, the banner is said, registration begins."""
        self._cancel_timers()
        self.boots += 1
        came_back = not self.powered
        self.powered, self.hung = True, False
        if came_back and self.on_power is not None:
            self.on_power(True)
        self._boot_started = self.timeline.now
        self._input.clear()
        self._line.clear()
        self._calls.clear()
        self._urcs.clear()
        self._busy, self._hanging, self._prompt = False, False, None
        self._chatter_stopped.clear()
        self.factory_settings()
        self.sim.power_up()
        self.inbox.forget()
        self.radio.power_up()
        for banner in self.personality.banner:
            self.schedule(banner.after_s, lambda text=banner.text: self.say(text))  # type: ignore[misc]
        for chatter in self.personality.chatter:
            self._chat(chatter)

    def factory_settings(self) -> None:
        """AT&F, and what a restart does to the volatile settings."""
        settings = Settings(echo=self.personality.echo)
        settings.memories = [self.personality.default_memory] * 3
        if self.personality.cmee_text_always:
            settings.cmee = 2
        self.settings = settings
        self.ussd_packed = self.personality.ussd_packed

    def power_off(self) -> None:
        """Unplugged, or browned out: nothing is answered, what was in work is lost."""
        if self.powered and self.on_power is not None:
            self.on_power(False)
        self.powered = False
        self._cancel_timers()
        self.radio.power_off()
        self.inbox.forget()
        self._output.clear()
        self._output_size = 0

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.line.cut()

    def hang(self) -> None:
        """The firmware hangs: bytes are swallowed, nothing is said, the radio is dead."""
        self.hung = True
        self.radio.power_off()

    def wake(self) -> None:
        """A hang-up of the line ends: what was typed meanwhile is lost, the modem goes on as it was."""
        if self.hung and self.powered:
            self.hung = False
            self._input.clear()
            self._line.clear()
            self._calls.clear()
            self._busy, self._prompt = False, None
            self.radio.search(self.personality.registered_s)

    def schedule(self, delay_s: float, action: Callable[[], object]) -> Timer:
        """An action that dies with the power."""
        timer = self.timeline.after(delay_s, action)
        if len(self._timers) > 2 * self._timers_kept:
            self._timers = [kept for kept in self._timers if kept.waiting]
            self._timers_kept = max(_TIMERS_KEPT, len(self._timers))
        self._timers.append(timer)
        return timer

    @property
    def uptime_s(self) -> float:
        """Seconds since power-up."""
        return self.timeline.now - self._boot_started

    def _chat(self, chatter: Chatter) -> None:
        def speak() -> None:
            if chatter.until is None or chatter.until not in self._chatter_stopped:
                self.urc(chatter.text)
                self.schedule(chatter.every_s, speak)

        self.schedule(chatter.every_s, speak)

    # --- bytes out

    def take_output(self) -> list[bytes]:
        """What the modem has said since the last call, in the pieces in which it was said."""
        pieces = list(self._output)
        self._output.clear()
        self._output_size = 0
        return pieces

    def emit(self, data: bytes) -> None:
        """Put bytes on the line, unless the modem is dead."""
        if data and self.powered and not self.hung:
            self.line.carry(data)

    def _put(self, data: bytes) -> None:
        self._output.append(data)
        self._output_size += len(data)
        while self._output_size > MAX_OUTPUT:
            self._output_size -= len(self._output.popleft())
        if self.on_output is not None:
            self.on_output()

    def say(self, text: str) -> None:
        """One line (V.250 5.7.1), whatever is going on: banner, information text."""
        end = self.personality.line_end
        self.emit(
            (f"\r\n{text}{end}" if self.settings.verbose else f"{text}\r\n").encode("latin-1", "replace")
        )

    def urc(self, text: str) -> None:
        """An unsolicited line; it waits while a command line is being typed or a prompt is open."""
        fault = self.faults.strikes("urc", self.name, text)
        if fault is not None and fault.do == "lose":
            return
        if self._prompt is not None or self._line:
            if len(self._urcs) < MAX_PENDING_URCS:
                self._urcs.append(text)
            return
        self.say(text)

    def _flush_urcs(self) -> None:
        while self._urcs and self._prompt is None and not self._line:
            self.say(self._urcs.popleft())

    def _final(self, code: str) -> None:
        """End the command line with a result code and go on with what was typed meanwhile."""
        self._calls.clear()
        self._busy = False
        if not self.settings.quiet:
            if self.settings.verbose:
                self.emit(f"\r\n{code}{self.personality.line_end}".encode("latin-1", "replace"))
            else:  # V.250 table 1: numbers for the basic ones, text for the rest
                numbers = {"OK": "0", "CONNECT": "1", "RING": "2", "NO CARRIER": "3", "ERROR": "4"}
                self.emit(f"{numbers.get(code, code)}\r".encode("latin-1", "replace"))
        self._flush_urcs()
        self._pump()

    # --- bytes in

    def receive(self, data: bytes) -> None:
        """Bytes from the client, in any chunks."""
        if self.hung or not self.powered:
            return
        if self._hanging:  # V.250 5.6.1: a character aborts a command that goes on and on
            self._hanging = False
            self.silent()
        room = MAX_INPUT - len(self._input)
        self._input += data[:room]
        self._pump()

    def _pump(self) -> None:
        """Work off the input until it is used up or the modem is busy with a command."""
        while self._input and not self._busy and self.powered and not self.hung:
            if self._prompt is not None:
                if not self._pump_prompt():
                    return
            else:
                self._pump_line()

    def _pump_line(self) -> None:
        """Take the input up to the end of one command line, or all of it."""
        end = self._input.find(_CR)
        typed = bytes(self._input[: end + 1] if end >= 0 else self._input)
        del self._input[: len(typed)]
        if self.settings.echo:
            self.emit(typed.translate(None, _NOT_ECHOED))
        if end >= 0 and not self._line and not _EDITING.search(typed):  # nearly always: a whole line at once
            self._execute(typed[:-1].decode("latin-1"))
            return
        for byte in typed:
            if byte == _CR:
                line = self._line.decode("latin-1")
                self._line.clear()
                self._execute(line)
            elif byte == _BACKSPACE:
                del self._line[-1:]
            elif byte in (CTRL_Z, ESC):  # nothing to send or to abort: both end what was typed so far
                self._line.clear()
                self._flush_urcs()
            elif byte != _LF and len(self._line) < MAX_LINE:
                self._line.append(byte)

    def _pump_prompt(self) -> bool:
        """Collect what follows the prompt; False when more bytes are needed."""
        ends = [at for at in (self._input.find(CTRL_Z), self._input.find(ESC)) if at >= 0]
        end = min(ends) if ends else len(self._input)
        typed = bytes(self._input[:end])
        if self.settings.echo:
            self.emit(typed)
        self._line += typed[: MAX_PROMPT - len(self._line)]
        del self._input[:end]
        if not ends:
            return False
        aborted = self._input.pop(0) == ESC
        text, done = bytes(self._line), self._prompt
        self._line.clear()
        self._prompt = None
        self._busy = True
        assert done is not None
        self._guard(lambda: done(None if aborted else text))
        return True

    # --- commands

    def _execute(self, line: str) -> None:
        """Run one command line, if it is one."""
        upper = line.upper().strip()
        if upper == "A/" or (upper.endswith("A/") and "AT" not in upper):
            line, upper = self._last_line, self._last_line.upper()
        start = upper.find("AT")
        if start < 0:
            self._flush_urcs()
            return  # V.250 5.2.1: what does not begin with AT is not for the modem
        line = line.strip()
        self._last_line = line
        body = line[start + 2 :]
        self._busy = True
        fault = self.faults.strikes("command", self.name, body)
        if fault is not None:
            match fault.do:
                case "error":
                    self._final(fault.text or "ERROR")
                    return
                case "swallow":  # no answer at all; the next command is heard again
                    self._busy = False
                    return
                case "hang":
                    self.hang()
                    return
                case "delay":
                    self.schedule(fault.seconds, lambda: self._start(body))
                    return
                case "reset":
                    self.reset()
                    return
                case "garbage":
                    self.emit(bytes(self.rng.randrange(256) for _ in range(int(fault.seconds) or 16)))
                case "urc":
                    self.say(fault.text)
        self._start(body)

    def _start(self, body: str) -> None:
        try:
            self._calls = deque(parse_line(body))
        except LineError:
            self._final(self.personality.unknown_answer)
            return
        self._next_call()

    def _next_call(self) -> None:
        """Run the calls that are left; a LATER answer stops here until `resume`."""
        while self._calls:
            call = self._calls.popleft()
            self._note_for_chatter(call)
            try:
                lines = self._answer(call)
            except AtRefusal as refusal:
                self._final(refusal.line(self.settings.cmee))
                return
            if lines is LATER:
                return
            for text in lines:
                self.say(text)
            if self.personality.cpin_without_ok and call.name == "+CPIN" and call.kind is Kind.READ and lines:
                self._busy = False
                self._pump()
                return
        self._final("OK")

    def _note_for_chatter(self, call: Call) -> None:
        if not self.personality.chatter:
            return
        suffix = {Kind.READ: "?", Kind.TEST: "=?", Kind.SET: f"={call.text}", Kind.EXECUTE: call.text}[
            call.kind
        ]
        self._chatter_stopped.add(call.name + suffix)

    def _answer(self, call: Call) -> Answer:
        personality = self.personality
        form = call.name + {Kind.READ: "?", Kind.TEST: "=?"}.get(call.kind, "")
        if form in personality.hanging or call.name in personality.hanging:
            self._hanging = True
            return LATER
        if form in personality.refused or call.name in personality.refused:
            raise Unknown(personality.unknown_answer)
        if form in personality.fixed:
            return list(personality.fixed[form])
        handler = find_handler(call, personality)
        if handler is None:
            raise Unknown(personality.unknown_answer)
        if handler.needs_sim:
            self.check_sim(sms=handler.needs_sms)
        return handler.run(self, call)

    def check_sim(self, *, sms: bool) -> None:
        """Raise what a modem answers whose SIM is not ready for this command."""
        self.radio.check_sim(sms=sms)

    def resume(self, lines: list[str]) -> None:
        """A command that answered LATER has its information lines now; the rest of the line goes on."""
        for text in lines:
            self.say(text)
        self._next_call()

    def refuse(self, refusal: AtRefusal) -> None:
        """A command that answered LATER ends with an error."""
        self._final(refusal.line(self.settings.cmee))

    def later(self, delay_s: float, work: Callable[[], list[str]]) -> Answer:
        """Answer after `delay_s`: `work` gives the lines or raises AtRefusal. For handlers to return."""

        def finish() -> None:
            try:
                lines = work()
            except AtRefusal as refusal:
                self.refuse(refusal)
            else:
                self.resume(lines)

        self.schedule(delay_s, finish)
        return LATER

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except AtRefusal as refusal:
            self.refuse(refusal)

    def ask(self, done: Callable[[bytes | None], None], *, subject: str = "") -> Answer:
        """Give the prompt and collect up to Ctrl-Z or ESC; then `done(text)`, or `done(None)` on ESC.

        `done` ends the command itself, by `resume` or `refuse`, or raises AtRefusal.
        """
        fault = self.faults.strikes("prompt", self.name, subject)
        delay_s = self.personality.prompt_delay_s
        prompt = self.personality.prompt
        if fault is not None:
            match fault.do:
                case "delay":
                    delay_s += fault.seconds
                case "swallow":  # the modem waits for the PDU, and nobody knows
                    prompt = ""
                case "urc":  # said behind the prompt, where the PDU is about to be echoed
                    prompt += f"\r\n{fault.text}\r\n"
                case "text":
                    prompt = fault.text
                case "hang":
                    self.hang()
                    return LATER
                case "refuse":
                    raise Cme(fault.code)

        def open_prompt() -> None:
            self._prompt = done
            self._busy = False
            self._line.clear()
            self.emit(prompt.encode("latin-1"))
            self._pump()

        if delay_s > 0:
            self.schedule(delay_s, open_prompt)
        else:
            open_prompt()
        return LATER

    def fail(self, text: str) -> None:
        """The command in work ends with this line, whatever it is."""
        self._final(text)

    def brown_out(self, seconds: float) -> None:
        """The supply breaks down and comes back `seconds` later; the command in work is never answered."""
        self.power_off()
        self.timeline.after(seconds, self.boot)

    def silent(self) -> None:
        """The answer of the command in work is lost; the modem goes on."""
        self._calls.clear()
        self._busy = False
        self._pump()

    def reset(self) -> None:
        """A restart by itself or by AT+CFUN=1,1: like power-up, on the same wire."""
        self.radio.power_off()
        self.boot()
