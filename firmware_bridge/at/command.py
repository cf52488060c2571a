"""AT commands as values, and the one place that decides what text may stand in them.

Everything that leaves for the modem is an `AtCommand`, and an `AtCommand` cannot be made with a CR, LF,
Ctrl-Z, ESC or an unpaired quote in it, whoever asked for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import UnsafeArgument

__all__ = [
    "CTRL_Z",
    "DEFAULT_TIMEOUT_S",
    "ESC",
    "MAX_COMMAND",
    "AtCommand",
    "ask",
    "attempt",
    "basic",
    "operator_command",
    "submit",
]

ESC: Final = b"\x1b"
CTRL_Z: Final = b"\x1a"

# Cheap modules take 256 (SIM800) to 559 (SIM7600) characters; the longest we build is +CUSD in UCS-2 hex.
MAX_COMMAND: Final = 512
# 1 + 11 octets of SCA and 164 of TPDU (TS 23.040 9.2.3), as hex, with room for oversized SCAs.
MAX_PAYLOAD: Final = 2 * 200

DEFAULT_TIMEOUT_S: Final = 5.0

_NAME: Final = re.compile(r"[+^#*$%&]?[A-Z][A-Z0-9_]*\Z|[A-Z&][0-9]?\Z")
_LINE: Final = re.compile(r"AT[\x20-\x7e]*\Z")
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})+\Z")
# Commands that leave command mode, wait for a prompt, or move the line out from under us.
_NOT_BY_HAND: Final = re.compile(
    r"(?:\A|;)\s*(?:\+CMGS|\+CMGW|\+CMSS|\+CMGC|\+CNMA|\+CGDATA|\+IPR|\+IFC|\+CMUX|D|A|O|Z|\+CPIN|\+CPWD|\+CLCK"
    r"|\+CMGF|\+CPMS|\+CNMI|\+CUSD|\+CMGD|\+CMGDA|E|Q|V"
    # ... or off the network, which the driver would take for a fault of the modem's
    r"|\+CFUN\s*=\s*[04]|\+COPS\s*=\s*[12]|\+CREG\s*=\s*\d|\+CSMS\s*=\s*\d)(?![A-Z])",
)


@dataclass(frozen=True, slots=True)
class AtCommand:
    """One command line, complete with AT and without its CR.

    payload: upper-case hex to be written after the prompt, ended by Ctrl-Z; None for most.
    timeout_s: until the final result, from the writing of the line (or of the payload).
    prompt_s: until the prompt. Raises UnsafeArgument on anything that could end the line early.
    enough_s: after the first information line wait no longer than this for the final result: for questions
    that some modems answer without one (Wavecom's AT+CPIN?). secret: its arguments never reach a log.
    """

    line: str
    timeout_s: float = DEFAULT_TIMEOUT_S
    payload: str | None = None
    prompt_s: float = 10.0
    enough_s: float | None = None
    secret: bool = False

    def __post_init__(self) -> None:
        if len(self.line) > MAX_COMMAND:
            raise UnsafeArgument(f"AT line of {len(self.line)} characters; at most {MAX_COMMAND}")
        if not _LINE.match(self.line):
            raise UnsafeArgument(f"AT line holds more than printable ASCII: {self.line!r}")
        if self.line.count('"') % 2:
            raise UnsafeArgument(f"AT line with an unpaired quote: {self.line!r}")
        if self.payload is not None and (len(self.payload) > MAX_PAYLOAD or not _HEX.match(self.payload)):
            raise UnsafeArgument(f"PDU must be 1 to {MAX_PAYLOAD // 2} octets of upper-case hex")

    @property
    def name(self) -> str:
        """`+CMGS` of `AT+CMGS=23`; empty for `AT` alone."""
        return re.split(r"[=?;\s]", self.line[2:], maxsplit=1)[0]

    @property
    def is_read(self) -> bool:
        """`AT+X?`, whose answer is told from a URC of the same prefix by being awaited."""
        return self.line.endswith("?") and not self.line.endswith("=?")

    @property
    def encoded(self) -> bytes:
        return self.line.encode("ascii") + b"\r"

    @property
    def encoded_payload(self) -> bytes:
        return (self.payload or "").encode("ascii") + CTRL_Z


def basic(line: str = "AT", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> AtCommand:
    """A fixed command line written in our own code or in a profile: `ATE0`, `AT^CURC=0`."""
    return AtCommand(line, timeout_s=timeout_s)


def ask(name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, enough_s: float | None = None) -> AtCommand:
    """`AT+X?`."""
    return AtCommand(f"AT{_checked_name(name)}?", timeout_s=timeout_s, enough_s=enough_s)


def attempt(
    name: str, *arguments: int | str | None, timeout_s: float = DEFAULT_TIMEOUT_S, secret: bool = False
) -> AtCommand:
    """`AT+X=1,"text"`: numbers as they are, text quoted, None left empty; no arguments: `AT+X`.

    Raises UnsafeArgument if a text holds a quote or anything but printable ASCII.
    """
    line = f"AT{_checked_name(name)}"
    if arguments:
        line += "=" + ",".join(_argument(a) for a in arguments)
    return AtCommand(line, timeout_s=timeout_s, secret=secret)


def submit(pdu: bytes, tpdu_length: int, *, timeout_s: float, prompt_s: float = 10.0) -> AtCommand:
    """AT+CMGS in PDU mode (TS 27.005 4.3). pdu: with SCA octets. tpdu_length: octets without them."""
    if not 1 <= tpdu_length <= len(pdu):
        raise UnsafeArgument(f"TPDU of {tpdu_length} octets in a PDU of {len(pdu)}")
    return AtCommand(
        f"AT+CMGS={tpdu_length:d}", timeout_s=timeout_s, payload=pdu.hex().upper(), prompt_s=prompt_s
    )


def operator_command(line: str, *, timeout_s: float = 30.0) -> AtCommand:
    """A command line typed by a person. Raises UnsafeArgument for those that would pull the line from
    under the driver: prompts, data mode, PINs, message storage, USSD (which has its own call)."""
    upper = line.strip()
    if not upper[:2].upper() == "AT":
        raise UnsafeArgument(f"not an AT command: {line!r}")
    body = upper[2:]
    if _NOT_BY_HAND.search(re.sub(r'"[^"]*"', '""', body).upper()):
        raise UnsafeArgument(f"not allowed by hand while the driver owns the port: {line!r}")
    return AtCommand("AT" + body, timeout_s=timeout_s)


def _checked_name(name: str) -> str:
    if not _NAME.match(name):
        raise UnsafeArgument(f"not a command name: {name!r}")
    return name


def _argument(value: int | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(int(value))
    if '"' in value or not re.fullmatch(r"[\x20-\x7e]*", value):
        raise UnsafeArgument(f"argument holds a quote or more than printable ASCII: {value!r}")
    return f'"{value}"'
