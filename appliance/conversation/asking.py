"""The nouns of the assistant that stored look-ups hand to the conversation. Times are UTC ms."""

from __future__ import annotations

import msgspec

__all__ = ["Asked", "Fact", "Known"]


class Fact(msgspec.Struct, frozen=True):
    """A question of the knowledge base and its answer."""

    question: str
    answer: str


class Asked(msgspec.Struct, frozen=True):
    """A question that the model was asked. state: 'asking', 'answered', 'failed' or 'told'."""

    state: str
    words: str
    language: str
    answer: str
    facts: tuple[Fact, ...]


class Known(msgspec.Struct, frozen=True):
    """What the box knows of a person that no model may see: names (passengers' too) and ticket codes."""

    names: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
