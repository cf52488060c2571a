"""Bytes from a modem into lines and prompts, whatever the chunking.

Lines end in CR or LF, in any number and order (Huawei writes CR CR LF); empty lines do not exist. The
prompt of AT+CMGS is `>` at the start of a line with nothing after it, so it can only be told from text
while one is awaited: the dialogue says when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_LINE", "Garbage", "Lexer", "Line", "Prompt", "Token"]

# The longest honest line is a +CMGL header with its PDU behind it on one line (about 420 characters) or a
# USSD answer in UCS-2 hex (about 750). Anything longer is noise, and noise must not grow.
MAX_LINE: Final = 4096

_CR: Final = 0x0D
_LF: Final = 0x0A
# Ctrl-Z and ESC come back as echo after a prompt; NUL and the rest are line noise at power-up.
_DROPPED: Final = bytes(c for c in range(0x20) if c not in (0x09, _CR, _LF)) + b"\x7f"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its ends. text: Latin-1, so that every octet survives; stripped of blanks."""

    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The `>` that asks for a PDU."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A line longer than MAX_LINE was dropped. length: octets seen until it ended."""

    length: int


Token = Line | Prompt | Garbage


class Lexer:
    """Feed it any split of the bytes; the tokens are the same."""

    def __init__(self) -> None:
        self.expect_prompt = False
        self._pending = bytearray()
        self._overflow = 0  # octets of the line being dropped; 0: none is

    def feed(self, data: bytes) -> list[Token]:
        """Return the tokens completed by `data`. Keeps at most MAX_LINE octets."""
        tokens: list[Token] = []
        for token in self.tokens(data):
            tokens.append(token)
        return tokens

    def tokens(self, data: bytes) -> TokenStream:
        """Tokens one at a time: `expect_prompt` may change between two of them."""
        return TokenStream(self, data)

    def reset(self) -> None:
        """Forget a half line: the port was re-opened."""
        self._pending.clear()
        self._overflow = 0

    @property
    def buffered(self) -> int:
        return len(self._pending)


class TokenStream:
    """Iterator over the tokens in one read."""

    def __init__(self, lexer: Lexer, data: bytes) -> None:
        self._lexer = lexer
        self._data = data.translate(None, _DROPPED)
        self._at = 0

    def __iter__(self) -> TokenStream:
        return self

    def __next__(self) -> Token:
        lexer, data = self._lexer, self._data
        pending = lexer._pending
        while True:
            end = self._line_end()
            if end < 0:
                self._keep(data[self._at :])
                self._at = len(data)
                if self._take_prompt():
                    return Prompt()
                raise StopIteration
            # The prompt may be followed by a line in the same read: it ends where the `>` does.
            head = data[self._at : end]
            if lexer.expect_prompt and not lexer._overflow:
                start = bytes(pending) + head
                if start.lstrip(b" ").startswith(b">"):
                    skip = start.index(b">") + 1 - len(pending)
                    pending.clear()
                    self._at += max(skip, 0)
                    return Prompt()
            self._at = end + 1
            self._keep(head)
            if lexer._overflow:
                length, lexer._overflow = lexer._overflow, 0
                pending.clear()
                return Garbage(length)
            text = pending.decode("latin-1").strip()
            pending.clear()
            if text:
                return Line(text)

    def _line_end(self) -> int:
        cr = self._data.find(b"\r", self._at)
        lf = self._data.find(b"\n", self._at)
        if cr < 0 or lf < 0:
            return max(cr, lf)
        return min(cr, lf)

    def _keep(self, piece: bytes) -> None:
        lexer = self._lexer
        if lexer._overflow:
            lexer._overflow += len(piece)
        elif len(lexer._pending) + len(piece) > MAX_LINE:
            lexer._overflow = len(lexer._pending) + len(piece)
            lexer._pending.clear()
        else:
            lexer._pending += piece

    def _take_prompt(self) -> bool:
        lexer = self._lexer
        if not lexer.expect_prompt or lexer._overflow:
            return False
        text = bytes(lexer._pending).lstrip(b" ")
        if not text.startswith(b">"):
            return False
        lexer._pending[:] = text[1:].lstrip(b" ")
        return True
