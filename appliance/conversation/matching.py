"""When two questions, or an answer and what it is drawn from, speak of the same: by the words that count.

Words are compared in Latin letters, so that Amharic spellings meet, and by their beginning, so that endings
and slips of the thumb do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from appliance.conversation.text import latin

__all__ = ["alike", "keys", "share_known"]

LEAST_LETTERS: Final = 3
_COMMON: Final = frozenset(  # as `latin(fold(word))` writes them
    "the is are you your does did can could will would for and how what when where which who have has get"
    " with from that this there please tel about want ned should must much many take bring some any new wey"
    " ale lay ena lene snt seat endet yet mn yhla ychalal lefelg efelgalehu".split()
)


def keys(words: Iterable[str]) -> list[str]:
    """The words that count, in Latin letters. words: folded, as `text.words` gives them."""
    return [
        key for key in (latin(word) for word in words) if len(key) >= LEAST_LETTERS and key not in _COMMON
    ]


def alike(one: str, other: str) -> bool:
    """Whether two keys are the same word but for their ends."""
    length = min(len(one), len(other))
    shared = next((n for n in range(length) if one[n] != other[n]), length)
    return shared >= LEAST_LETTERS and shared >= max(len(one), len(other)) - 3


def share_known(said: Sequence[str], known: Iterable[str]) -> float:
    """How many of the keys `said` are alike one that is known, 0 to 1; 0 when nothing is said."""
    known = set(known)
    return sum(any(alike(key, word) for word in known) for key in said) / len(said) if said else 0.0
