"""The wire log: one line for everything that crosses a port, without anybody's number, text or PIN.

`>` sent, `<` received, `=` state, `!` fault, each with the modem's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from firmware_bridge.at.command import AtCommand

__all__ = ["WireLog", "mask"]

_HEX: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{20,}(?![0-9A-Za-z])")
_NUMBER: Final = re.compile(r"\+?\d{7,}")
_USSD: Final = re.compile(r'(\+CUSD: ?\d+, ?").*("|\Z)', re.DOTALL)
_PIN: Final = re.compile(r"(AT[+^]CPIN=).*", re.IGNORECASE)


def mask(text: str) -> str:
    """PDUs become their length, USSD texts and PINs stars, long numbers keep their ends."""
    text = _PIN.sub(r"\1***", text)
    text = _USSD.sub(r"\1***\2", text)
    text = _HEX.sub(lambda m: f"<{len(m[0]) // 2} octets>", text)
    return _NUMBER.sub(lambda m: m[0][:4] + "…" + m[0][-2:], text)


class WireLog:
    """Joins reads into whole lines before masking: half a number is a number too."""

    def __init__(self, name: str, sink: Callable[[str], None]) -> None:
        self._name = name
        self._sink = sink
        self._half = b""

    def trace(self, mark: str, data: bytes | str, command: AtCommand | None) -> None:
        if isinstance(data, str):
            self._sink(f"{self._name} {mark} {mask(data)}")
            return
        if mark == "<":
            *whole, self._half = re.split(rb"[\r\n]+", self._half + data)
            if self._half.lstrip().startswith(b">"):
                whole, self._half = [*whole, self._half], b""
            if len(self._half) > 4096:
                self._half = b""
            lines = whole
        else:
            lines = [data]
        for line in lines:
            text = line.decode("latin-1").strip("\r\n\x1a ").replace("\x1b", "<ESC>").replace("\r", "<CR>")
            if text:
                if command is not None and command.secret:
                    text = f"AT{command.name}=***"
                self._sink(f"{self._name} {mark} {mask(text)}")
