"""Ticket codes: six characters that nobody takes for one another, read aloud or from a cracked screen."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ALPHABET", "LENGTH", "find_code", "make_code"]

LENGTH: Final = 6
# No 0 O Q, 1 I L, 2 Z, 5-like S, B-like 8: of each group at most one character is in use.
ALPHABET: Final = "ABCDEFGHJKMNPRTUVWXY345679"
# What a person may write for a character that codes have.
_LOOK_ALIKES: Final = str.maketrans({"S": "5", "8": "B", "Q": "G"})
_DIGITS: Final = frozenset("345679")
_CODE: Final = re.compile(r"(?<![A-Z0-9])[A-Z0-9]{6}(?![A-Z0-9])")
_MASK: Final = (1 << 64) - 1


def make_code(entropy: int, attempt: int) -> str:
    """A code from 64 random bits; another one for each attempt. It has a letter and a digit.

    26^6 codes, some 250 million with both: a box sells thousands, so guessing a live one is not worth it.
    """
    # Another odd constant than the loop's: else a second attempt could repeat the first one's second try.
    value = (entropy ^ (attempt * 0xD1B5_4A32_D192_ED03)) & _MASK
    while True:
        # splitmix64: neighbouring inputs give codes that have nothing in common.
        value = (value + 0x9E37_79B9_7F4A_7C15) & _MASK
        mixed = ((value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
        mixed ^= mixed >> 31
        code = ""
        for _ in range(LENGTH):
            mixed, index = divmod(mixed, len(ALPHABET))
            code += ALPHABET[index]
        if 0 < sum(char in _DIGITS for char in code) < LENGTH:
            return code


def find_code(text: str) -> str:
    """The ticket code in a text, its look-alikes put right, or ""."""
    for match in _CODE.finditer(text.upper()):
        if match.group().isalpha():  # STATUS is a word, whatever its S could be
            continue
        code = match.group().translate(_LOOK_ALIKES)
        if all(char in ALPHABET for char in code) and 0 < sum(c in _DIGITS for c in code) < LENGTH:
            return code
    return ""
