"""Passengers' names in a text: "Sara Ali, Abel Tesfaye", and what is no name although it is letters."""

from __future__ import annotations

import re
from typing import Final

from appliance.apps.booking.understand import Request
from appliance.conversation.text import words
from appliance.conversation.words import Lexicon

__all__ = ["names_in"]

LONGEST: Final = 40  # characters of one name
_BETWEEN: Final = re.compile(
    r"\s*(?:[,;/&+\n፣፤]|\band\b|\bfi\b|\bet\b|\bna\b|(?<=\s)እና(?=\s)|(?<=\s)ን(?=\s))\s*", re.I
)
_NAME: Final = re.compile(r"[^\W\d_][^\W\d_'’. -]*(?:[ '’.-]+[^\W\d_]+){0,4}\.?")
# Words that are the dialogue's even where a name is waited for.
_COMMANDS: Final = frozenset(
    {
        "yes", "no", "more", "back", "menu", "help", "status", "cancel", "stop", "start", "lang", "check",
        "pay", "wait", "refund", "book", "ticket", "search", "ask_price", "stop_idle",
    }
)  # fmt: skip


def names_in(text: str, request: Request, lexicon: Lexicon, seats: int) -> tuple[str, ...] | None:
    """The names of so many passengers, or None: the text is something else, or names too few or too many."""
    if request.moment.days or (request.origin and request.destination):
        return None  # another way or day is asked for
    parts = [" ".join(part.split()) for part in _BETWEEN.split(text.strip(" .,;\n"))]
    parts = [part for part in parts if part]
    if len(parts) != seats or any(len(part) > LONGEST or not _NAME.fullmatch(part) for part in parts):
        return None
    for part in parts:
        if _COMMANDS & set(lexicon.exact.get("".join(words(part)), ())):
            return None
    if seats == 1 and len(words(parts[0])) == 1 and (request.destination or request.concepts & _COMMANDS):
        return None  # one word that is a town or nearly a command: rather that
    return tuple(parts)
