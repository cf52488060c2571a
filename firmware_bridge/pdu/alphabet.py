"""The GSM 7 bit default alphabet and its extension table (TS 23.038 6.2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from firmware_bridge.errors import UsageError

__all__ = [
    "BASIC",
    "ESCAPE",
    "EXTENSION",
    "decode_gsm7",
    "encode_gsm7",
    "first_outside_gsm7",
    "septet_cost",
    "septets_of",
]

ESCAPE: Final = 0x1B  # "escape to extension table", TS 23.038 6.2.1

# Index is the septet. The escape itself has no character of its own; U+001B keeps its place.
BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)

EXTENSION: Final[Mapping[int, str]] = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}

_SEPTETS_OF: Final[Mapping[str, bytes]] = {
    **{char: bytes([code]) for code, char in enumerate(BASIC) if code != ESCAPE},
    **{char: bytes([ESCAPE, code]) for code, char in EXTENSION.items()},
}
# One pass in C for a whole text: counting each character by a call was a third of a busy server's time.
_OUTSIDE: Final = re.compile(f"[^{re.escape(''.join(_SEPTETS_OF))}]")
_EXTENDED: Final = re.compile(f"[{re.escape(''.join(EXTENSION.values()))}]")


def septet_cost(char: str) -> int:
    """Septets that one character takes: 1, 2 for the extension table, 0 if it has no place in it."""
    return len(_SEPTETS_OF.get(char, b""))


def first_outside_gsm7(text: str) -> str | None:
    """The first character that the default alphabet cannot carry, or None if all can."""
    found = _OUTSIDE.search(text)
    return found[0] if found else None


def septets_of(text: str) -> int:
    """Septets that a text of the default alphabet and its extension takes: `septet_cost` of all at once."""
    return len(text) + len(_EXTENDED.findall(text))


def encode_gsm7(text: str) -> bytes:
    """Turn text into septets, one per byte, with escapes before extension characters.

    Raises UsageError naming the first character that has no place in the alphabet.
    """
    try:
        return b"".join([_SEPTETS_OF[char] for char in text])
    except KeyError as error:
        char = error.args[0]
        raise UsageError(f"U+{ord(char):04X} is not in the GSM 7 bit default alphabet") from None


def decode_gsm7(septets: bytes, *, basic: str = BASIC, extension: Mapping[int, str] = EXTENSION) -> str:
    """Turn septets, one per byte, into text. Never fails.

    An escape with a code that the extension table does not know shows the basic character of that
    code; an escape behind an escape, or with nothing behind it, shows a space (TS 23.038 6.2.1 and
    6.2.1.1, notes). basic, extension: other tables, when the header names a language.
    """
    if ESCAPE not in septets:
        return "".join([basic[septet] for septet in septets])
    text: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            escaped = False
            text.append(" " if septet == ESCAPE else extension.get(septet) or basic[septet])
        elif septet == ESCAPE:
            escaped = True
        else:
            text.append(basic[septet])
    if escaped:
        text.append(" ")
    return "".join(text)
