"""Recording a real modem's dialogue as a transcript, with everybody's number, text and code taken out.

Masking keeps every length, so that the pieces stay the pieces the port gave: numbers keep their first digits,
texts become x, PDUs are taken apart, masked and put together again, and what cannot be taken apart is
blotted out.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from firmware_bridge.errors import BridgeError
from firmware_bridge.pdu import Address, Deliver, StatusReport, Submit
from firmware_bridge.transcript import Piece, Transcript

__all__ = ["Recorder", "mask_line"]

_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){10,}(?![0-9A-Za-z])")
_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z.])\+?\d{7,}F?(?![0-9A-Za-z.])")
_PIN: Final = re.compile(r'(?<=CPIN=)"?\d+"?', re.IGNORECASE)
_USSD: Final = re.compile(r'(?P<head>\+CUSD[:=] ?\d+, ?"?)(?P<text>[^"]+)', re.IGNORECASE)
_KEPT_DIGITS: Final = (
    4  # +251, or an IMEI's and ICCID's first ones: they tell makers and networks, not people
)

M = TypeVar("M", Deliver, Submit)


class Recorder:
    """Feed it what crosses the port; `transcript` is what may be shown to others."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.transcript = Transcript("recording")
        self._clock = clock
        self._start = clock()
        self._held: list[tuple[bytes, float]] = []  # reads whose last line has not ended yet
        self._in_ussd = False

    def feed(self, mark: str, data: bytes | str) -> None:
        """mark: ">" written, "<" read; others are left out. In the form of Modem's `recorder`."""
        if isinstance(data, str) or mark not in "<>":
            return
        at_s = self._clock() - self._start
        if mark == ">":
            self._release()
            self.transcript.pieces.append(Piece(">", self._masked(data), at_s))
            return
        self._held.append((data, at_s))
        if data.endswith((b"\r", b"\n", b"> ", b">")) or len(self._held) > 256:
            self._release()

    def finish(self) -> Transcript:
        self._release()
        return self.transcript

    def _release(self) -> None:
        whole = self._masked(b"".join(data for data, _ in self._held))
        at = 0
        for data, at_s in self._held:
            self.transcript.pieces.append(Piece("<", whole[at : at + len(data)], at_s))
            at += len(data)
        self._held.clear()

    def _masked(self, data: bytes) -> bytes:
        parts = re.split(rb"([\r\n\x1a\x1b]+)", data)
        parts[::2] = [self._line(p.decode("latin-1")).encode("latin-1") for p in parts[::2]]
        masked = b"".join(parts)
        return masked if len(masked) == len(data) else b"?" * len(data)

    def _line(self, line: str) -> str:
        # A USSD text may run over several lines; until its quote closes all of it is somebody's.
        if self._in_ussd:
            head, quote, tail = line.partition('"')
            self._in_ussd = not quote
            return _blot(head) + quote + tail
        if re.match(r"\s*(?:AT)?\+CUSD[:=]", line, re.IGNORECASE) and line.count('"') % 2:
            self._in_ussd = True
        return mask_line(line)


def mask_line(line: str) -> str:
    """One line of the same length without anybody's number, text or code."""
    line = _PIN.sub(lambda m: re.sub(r"\d", "0", m[0]), line)
    if match := _USSD.search(line):
        return line[: match.start("text")] + _blot(match["text"]) + line[match.end("text") :]
    line = _HEX.sub(lambda m: _mask_hex(m[0]), line)
    return _NUMBER.sub(lambda m: _mask_digits(m[0]), line)


def _blot(text: str) -> str:
    if re.fullmatch(r"[*#0-9]+", text):
        return re.sub(r"(?<=[*#0-9]{3})\d", "0", text)  # what follows the code may be a number
    if re.fullmatch(r"(?:[0-9A-Fa-f]{4})+", text):
        return "0078" * (len(text) // 4)
    return re.sub(r"\w", "x", text)


def _mask_digits(text: str) -> str:
    sign = text[:1] if text.startswith("+") else ""
    digits = text[len(sign) :]
    kept = digits[:_KEPT_DIGITS]
    return sign + kept + re.sub(r"\d", "0", digits[_KEPT_DIGITS:])


def _mask_hex(text: str) -> str:
    if len(text) <= 22 and text[:-1].isdigit() and text[-1] in "0123456789Ff":
        return _mask_digits(text)  # an ICCID or a number, not a PDU
    try:
        raw = bytes.fromhex(text)
        masked = _mask_pdu(raw)
    except (BridgeError, ValueError, IndexError):
        masked = None
    if masked is None or len(masked) * 2 != len(text):
        return text[:4] + "0" * (len(text) - 4)
    found = masked.hex()
    return found.upper() if text.upper() == text else found


def _mask_pdu(raw: bytes) -> bytes:
    kind = raw[1 + raw[0]] & 3
    if kind == 2:
        report = StatusReport.decode(raw)
        return dataclasses.replace(report, recipient=_mask_address(report.recipient), extra=b"").encode()
    if kind == 0:
        try:
            deliver = Deliver.decode(raw)
            return _mask_data(dataclasses.replace(deliver, sender=_mask_address(deliver.sender))).encode()
        except BridgeError:
            pass
    submit = Submit.decode(raw)
    return _mask_data(dataclasses.replace(submit, recipient=_mask_address(submit.recipient))).encode()


def _mask_address(address: Address) -> Address:
    if address.is_alphanumeric:
        return dataclasses.replace(address, digits="x" * len(address.digits))
    return dataclasses.replace(address, digits=_mask_digits(address.digits))


def _mask_data(message: M) -> M:
    if message.encoding == "ucs2":
        data = b"\x00x" * (len(message.data) // 2) + b"x" * (len(message.data) % 2)
    else:
        data = b"x" * len(message.data)
    return dataclasses.replace(message, data=data)
