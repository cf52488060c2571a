"""The dialogue with one modem, sans-IO: bytes and time in, events and bytes out.

One command is outstanding at a time. Whatever the modem sends, `receive` returns events and never raises;
only our own misuse raises. A deadline that passes leaves the line out of step: the dialogue then writes
ESC, CR and AT, waits for an OK, then for a silence, and reports `Synced`; late lines of the lost command
cannot answer the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_bridge.at import urc as urcs
from firmware_bridge.at.command import ESC, AtCommand
from firmware_bridge.at.lexer import Garbage, Lexer, Prompt
from firmware_bridge.at.result_codes import Final_, FinalKind, final_result
from firmware_bridge.at.states import AtInput, AtState, move
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.errors import IllegalTransition

__all__ = [
    "AtDialogue",
    "AtEvent",
    "Completed",
    "Fault",
    "Prompted",
    "Silent",
    "Synced",
    "TimedOut",
    "Urc",
    "Write",
]

# A full store of 255 messages is 510 lines of at most 420 characters; what exceeds this is not an answer.
MAX_ANSWER_LINES: Final = 1200
MAX_ANSWER_CHARS: Final = 512 * 1024

# The hex line comes in the same breath as its header; a header without it must not swallow a later line.
SECOND_LINE_S: Final = 3.0
# A USSD text may hold line ends inside its quotes; networks send at most 182 octets.
MAX_USSD_LINES: Final = 24
GATE_S: Final = 15.0  # shorter than the patience of any modem at its prompt (SIM800: 60 s)

SYNC_ANSWER_S: Final = 2.0
SYNC_TRIES: Final = 5
SYNC_SILENCE_S: Final = 0.15
SYNC_SILENCE_MAX_S: Final = 2.0
# After a missed call the NO CARRIER that ends it must not end a command.
CALL_ENDS_S: Final = 90.0

# ESC ends a prompt that nobody answered. Every second time plain AT: some emulators take one read for one
# command.
_RESYNC: Final = (ESC + b"\r" + b"AT\r", b"AT\r")


@dataclass(frozen=True, slots=True)
class Completed:
    """A final result came. lines: the information lines, without echo and codes. truncated: some were
    dropped."""

    command: AtCommand
    final: Final_
    lines: tuple[str, ...]
    after_pdu: bool
    truncated: bool = False

    @property
    def ok(self) -> bool:
        return self.final.kind is FinalKind.OK


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No final result: its time passed, or the modem restarted. after_pdu: the PDU had been written."""

    command: AtCommand
    after_pdu: bool
    lines: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Prompted:
    """The modem wants the PDU: call `payload` or `abort`."""

    command: AtCommand


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes the dialogue itself wants written."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """The line is in step again after `TimedOut`."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing answers any more; re-open or reset. The dialogue stays out of step."""

    tries: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that no modem should send was dropped."""

    why: str


AtEvent = Completed | TimedOut | Prompted | Write | Synced | Silent | Fault | Urc


class AtDialogue:
    """See the module. Times are monotonic seconds, given by the caller as `now`."""

    def __init__(self) -> None:
        self._state = AtState.IDLE
        self._lexer = Lexer()
        self._command: AtCommand | None = None
        self._lines: list[str] = []
        self._chars = 0
        self._truncated = False
        self._deadline: float | None = None
        self._sync_tries = 0
        self._drain_until = 0.0
        self._header: str | None = None  # of a two-line code whose second line is due
        self._open_ussd: list[str] = []  # lines of a +CUSD whose quote is not closed
        self._second_line_by: float | None = None
        self._in_call_until = 0.0

    @property
    def state(self) -> AtState:
        return self._state

    @property
    def idle(self) -> bool:
        return self._state is AtState.IDLE

    @property
    def after_pdu(self) -> bool:
        """A message is neither sent nor unsent right now."""
        return self._state is AtState.AWAIT_SENT

    @property
    def buffered(self) -> int:
        """Octets and characters kept; bounded by MAX_LINE + MAX_ANSWER_CHARS and a USSD text."""
        return self._lexer.buffered + self._chars + sum(map(len, self._open_ussd))

    # -- our side

    def send(self, command: AtCommand, *, now: float) -> bytes:
        """Start a command; write what is returned. Raises IllegalTransition unless idle."""
        is_submit = command.payload is not None
        self._state = move(self._state, AtInput.SUBMIT_SENT if is_submit else AtInput.COMMAND_SENT)
        self._begin(command)
        self._lexer.expect_prompt = is_submit
        self._deadline = now + (command.prompt_s if is_submit else command.timeout_s)
        return command.encoded

    def payload(self, *, now: float) -> bytes:
        """The PDU and Ctrl-Z, once prompted. From here until the final result the message is in doubt."""
        if self._command is None:
            raise IllegalTransition("no PDU is wanted")
        self._state = move(self._state, AtInput.PDU_SENT)
        self._deadline = now + self._command.timeout_s
        return self._command.encoded_payload

    def abort(self, *, now: float) -> bytes:
        """ESC instead of the PDU: nothing is sent, and the line is brought back in step."""
        self._state = move(self._state, AtInput.ABORTED)
        self._command = None
        return self._resync(now, tries=1)

    def resync(self, *, now: float) -> bytes:
        """Bring an idle line into step: at start, when nobody knows what the modem was in the middle of."""
        if self._state is not AtState.IDLE:
            raise IllegalTransition(f"resync in state {self._state.value}")
        self._state = AtState.DESYNCED
        return self._resync(now, tries=1)

    # -- the modem's side

    def receive(self, data: bytes, *, now: float) -> list[AtEvent]:
        """Bytes as they came, in any split. Never raises for what they hold."""
        events: list[AtEvent] = []
        for token in self._lexer.tokens(data):
            if isinstance(token, Prompt):
                self._prompt(events, now)
            elif isinstance(token, Garbage):
                events.append(Fault(f"line of {token.length} octets dropped"))
            else:
                self._line(token.text, events, now)
        return events

    def next_deadline(self) -> float | None:
        """Monotonic seconds at which to call `deadline_passed`; None: nothing is awaited."""
        due = [d for d in (self._deadline, self._second_line_by) if d is not None]
        return min(due) if due else None

    def deadline_passed(self, *, now: float) -> list[AtEvent]:
        """Call at or after `next_deadline`; early calls change nothing."""
        events: list[AtEvent] = []
        if self._second_line_by is not None and now >= self._second_line_by:
            self._drop_second_line(events)
        if self._deadline is None or now < self._deadline:
            return events
        before = self._state
        if before is AtState.DRAINING:
            self._state = move(before, AtInput.DEADLINE_PASSED)
            self._deadline = None
            events.append(Synced())
        elif before is AtState.DESYNCED:
            if self._sync_tries >= SYNC_TRIES:
                self._deadline = None
                events.append(Silent(self._sync_tries))
            else:
                self._state = move(before, AtInput.DEADLINE_PASSED)
                events.append(Write(self._resync(now, tries=self._sync_tries + 1)))
        else:
            assert self._command is not None
            limit = self._command.timeout_s
            if before in (AtState.AWAIT_PROMPT, AtState.PROMPTED):
                limit = self._command.prompt_s
            self._lose(AtInput.DEADLINE_PASSED, f"no answer in {limit:g} s", events, now)
        return events

    def reset(self) -> list[AtEvent]:
        """The port is gone: forget everything. What was outstanding is reported as TimedOut."""
        events: list[AtEvent] = []
        if self._command is not None:
            events.append(TimedOut(self._command, self.after_pdu, tuple(self._lines), "port lost"))
        self.__init__()  # type: ignore[misc]  # the one way to miss no field
        return events

    # -- inside

    def _begin(self, command: AtCommand) -> None:
        self._command = command
        self._lines = []
        self._chars = 0
        self._truncated = False

    def _resync(self, now: float, *, tries: int) -> bytes:
        self._lexer.expect_prompt = False
        self._sync_tries = tries
        self._deadline = now + SYNC_ANSWER_S
        return _RESYNC[(tries - 1) % 2]

    def _lose(self, what: AtInput, why: str, events: list[AtEvent], now: float) -> None:
        command, after_pdu = self._command, self.after_pdu
        self._state = move(self._state, what)
        if command is not None:
            events.append(TimedOut(command, after_pdu, tuple(self._lines), why))
        self._command = None
        self._lines, self._chars = [], 0
        events.append(Write(self._resync(now, tries=1)))

    def _prompt(self, events: list[AtEvent], now: float) -> None:
        self._lexer.expect_prompt = False
        if self._state is AtState.AWAIT_PROMPT and self._command is not None:
            self._state = move(self._state, AtInput.PROMPT_SEEN)
            self._deadline = now + GATE_S
            events.append(Prompted(self._command))

    def _line(self, text: str, events: list[AtEvent], now: float) -> None:
        if self._open_ussd and self._continue_ussd(text, events):
            return
        if self._header is not None and urcs.is_hex(text, least=5):
            self._complete_two_line(text, events)
            return
        if self._is_echo(text):
            return
        if self._state in (AtState.DESYNCED, AtState.DRAINING):
            text = text.lstrip("> ")  # a prompt that came after we had given it up
            if not text or text == "AT":
                return
        if self._starts_urc(text, events, now):
            return
        final = final_result(text)
        if final is not None and final.kind is FinalKind.CALL and now < self._in_call_until:
            events.append(Urc(UrcKind.CALL, text))
            return
        if final is not None:
            self._final(final, events, now)
            return
        self._information(text, events, now)

    def _starts_urc(self, text: str, events: list[AtEvent], now: float) -> bool:
        """Take `text` if it is a code nobody asked for; True if it was."""
        prefix = text.partition(":")[0].rstrip().upper()
        if prefix in urcs.TWO_LINE and ":" in text:
            self._start_two_line(text, events, now)
            return True
        if prefix == "+CUSD" and text.count('"') % 2:
            self._open_ussd = [text]
            self._second_line_by = now + SECOND_LINE_S
            return True
        command = self._command
        pending = None if command is None else command.name
        if command is None and final_result(text) is not None:
            return False
        code = urcs.classify(text, pending=pending, pending_read=command is not None and command.is_read)
        if code is None:
            return False
        if code.kind is UrcKind.UNKNOWN and self._state is not AtState.IDLE:
            self._late(now)
        if code.kind is UrcKind.CALL:
            self._in_call_until = now + CALL_ENDS_S
        events.append(code)
        if code.kind is UrcKind.RESTART and not text.upper().startswith("+CFUN"):
            self._restarted(events, now)
        return True

    def _restarted(self, events: list[AtEvent], now: float) -> None:
        self._header, self._open_ussd, self._second_line_by = None, [], None
        if self._state is not AtState.IDLE:
            self._lose(AtInput.RESTARTED, "the modem restarted", events, now)

    def _final(self, final: Final_, events: list[AtEvent], now: float) -> None:
        state = self._state
        if state is AtState.IDLE:
            return  # a stray OK: nobody waits for it
        self._state = move(state, AtInput.FINAL_RESULT)
        if self._state is AtState.DRAINING:
            if state is AtState.DESYNCED:
                self._drain_until = now + SYNC_SILENCE_MAX_S
            self._late(now)
            return
        command = self._command
        assert command is not None
        events.append(
            Completed(command, final, tuple(self._lines), state is AtState.AWAIT_SENT, self._truncated)
        )
        self._command = None
        self._lines, self._chars = [], 0
        self._deadline = None
        self._lexer.expect_prompt = False

    def _information(self, text: str, events: list[AtEvent], now: float) -> None:
        if self._command is None:
            self._late(now)
        elif len(self._lines) >= MAX_ANSWER_LINES or self._chars + len(text) > MAX_ANSWER_CHARS:
            if not self._truncated:
                events.append(Fault(f"answer to {self._command.name} exceeds {MAX_ANSWER_LINES} lines"))
            self._truncated = True
        else:
            self._lines.append(text)
            self._chars += len(text)
            if self._command.enough_s is not None and self._deadline is not None:
                self._deadline = min(self._deadline, now + self._command.enough_s)

    def _late(self, now: float) -> None:
        """A line of a command that was given up: the silence that proves we are in step starts over."""
        if self._state is AtState.DRAINING:
            self._deadline = min(now + SYNC_SILENCE_S, self._drain_until)

    def _is_echo(self, text: str) -> bool:
        command = self._command
        if command is None:
            return False
        if text[-len(command.line) :].upper() == command.line.upper() and not self._lines:
            return True  # possibly with power-up noise in front of it
        return command.payload is not None and text.upper() == command.payload

    # -- codes of more than one line

    def _start_two_line(self, text: str, events: list[AtEvent], now: float) -> None:
        self._drop_second_line(events)
        head, _, tail = text.rpartition(",")
        if head and urcs.is_hex(tail.strip(), least=10):  # header and PDU on one line
            self._header = head
            self._complete_two_line(tail.strip(), events)
        else:
            self._header = text
            self._second_line_by = now + SECOND_LINE_S

    def _complete_two_line(self, text: str, events: list[AtEvent]) -> None:
        header = self._header or ""
        self._header, self._second_line_by = None, None
        kind = urcs.TWO_LINE[header.partition(":")[0].rstrip().upper()]
        events.append(Urc(kind, header, text.upper()))

    def _continue_ussd(self, text: str, events: list[AtEvent]) -> bool:
        """Join `text` to the open USSD answer; False if it plainly belongs to something else."""
        if '"' not in text and (final_result(text) is not None or (text[:1] in "+^#*" and ":" in text)):
            return False
        self._open_ussd.append(text)
        if text.count('"') % 2 or len(self._open_ussd) >= MAX_USSD_LINES:
            self._finish_ussd(events)
        return True

    def _finish_ussd(self, events: list[AtEvent]) -> None:
        whole = "\n".join(self._open_ussd)[:4096]
        self._open_ussd, self._second_line_by = [], None
        events.append(Urc(UrcKind.USSD, whole))

    def _drop_second_line(self, events: list[AtEvent]) -> None:
        if self._open_ussd:
            self._finish_ussd(events)
        if self._header is not None:
            events.append(Fault(f"{self._header.partition(':')[0]} without its PDU line"))
        self._header, self._second_line_by = None, None
