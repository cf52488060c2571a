r"""Transcripts: what a modem and its driver said, as text that a person reads and a test replays.

    family: Huawei E1752
    origin: recorded at a depot, 2026
    expect profile: huawei-e1752

    > AT+CSQ\r
    < \r\n+CSQ: 20,99\r\n
    < \r\nOK\r\n
    @ 3.250
    < ^RSSI:17\r\n

The head is `key: value` lines up to the first empty line; keys that begin with `expect` are what a test
checks. `>` was written to the port in one piece, `<` was read from it in one piece, `@` is seconds since
the start, `#` and `=` are remarks. Octets outside printable ASCII, and the backslash, are escaped as in
Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from firmware_bridge.errors import BridgeError

__all__ = ["Piece", "Transcript", "TranscriptError", "escape", "unescape"]


class TranscriptError(BridgeError):
    """A transcript that cannot be read: file, line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One write or read. at_s: seconds since the start, 0.0 where nobody noted it."""

    direction: Literal[">", "<"]
    data: bytes
    at_s: float = 0.0


@dataclass(slots=True)
class Transcript:
    name: str
    head: dict[str, str] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)

    @property
    def expected(self) -> dict[str, str]:
        """The head's `expect X: value` as {X: value}."""
        return {k.removeprefix("expect ").strip(): v for k, v in self.head.items() if k.startswith("expect ")}

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Raises TranscriptError."""
        return cls.parse(path.read_text(encoding="ascii", errors="replace").splitlines(), name=path.stem)

    @classmethod
    def parse(cls, lines: Iterable[str], *, name: str = "transcript") -> Transcript:
        found = cls(name)
        in_head, at_s = True, 0.0
        for number, line in enumerate(lines, 1):
            if in_head and not line.strip():
                in_head = False
            elif line.startswith("#") or not line.strip():
                continue
            elif in_head:
                key, colon, value = line.partition(":")
                if not colon:
                    raise TranscriptError(f"{name}:{number}: {line!r}; want key: value")
                found.head[key.strip()] = value.strip()
            elif line[0] in "<>":
                data = unescape(line[2:], where=f"{name}:{number}")
                found.pieces.append(Piece("<" if line[0] == "<" else ">", data, at_s))
            elif line[0] == "@":
                try:
                    at_s = float(line[1:])
                except ValueError as e:
                    raise TranscriptError(f"{name}:{number}: {line!r}; want @ seconds") from e
            elif line[0] not in "=!":
                raise TranscriptError(f"{name}:{number}: {line!r}; want < > @ = or #")
        return found

    def format(self) -> Iterator[str]:
        """The lines of its file."""
        for key, value in self.head.items():
            yield f"{key}: {value}"
        yield ""
        at_s = 0.0
        for piece in self.pieces:
            if piece.at_s - at_s >= 0.001:
                at_s = piece.at_s
                yield f"@ {at_s:.3f}"
            yield f"{piece.direction} {escape(piece.data)}"

    def exchanges(self) -> Iterator[tuple[bytes | None, bytes]]:
        """What was written and all that was read before the next write; the first pair's write is None."""
        asked: bytes | None = None
        answer = b""
        for piece in self.pieces:
            if piece.direction == ">":
                yield asked, answer
                asked, answer = piece.data, b""
            else:
                answer += piece.data
        yield asked, answer


_ESCAPES = {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0x5C: "\\\\"}


def escape(data: bytes) -> str:
    """Octets as printable ASCII."""
    return "".join(
        _ESCAPES.get(octet) or (chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}") for octet in data
    )


def unescape(text: str, *, where: str = "transcript") -> bytes:
    """Undo `escape`. Raises TranscriptError."""

    def one(match: re.Match[str]) -> str:
        short, octet = match[1], match[2]
        if octet is not None:
            return chr(int(octet, 16))
        try:
            return {"r": "\r", "n": "\n", "t": "\t", "\\": "\\", "0": "\0"}[short]
        except KeyError as e:
            raise TranscriptError(f"{where}: \\{short} is no escape; want \\r \\n \\t \\xNN or \\\\") from e

    try:
        return re.sub(r"\\(?:(?!x)(.)|x([0-9a-fA-F]{2}))", one, text).encode("latin-1")
    except UnicodeEncodeError as e:
        raise TranscriptError(f"{where}: more than octets; escape them as \\xNN") from e
