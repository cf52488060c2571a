"""The nouns of the chat that stored look-ups hand to the conversation. Times are UTC ms."""

from __future__ import annotations

import msgspec

__all__ = ["Candidate", "Partner", "Standing"]


class Partner(msgspec.Struct, frozen=True):
    """The other one of a live pair. shares: who of the two said SHARE.

    told: this person knows that they are paired."""

    pair: int
    number: str
    alias: str
    language: str
    shares: bool
    i_share: bool
    last_ms: int
    told: bool = True


class Standing(msgspec.Struct, frozen=True):
    """Where a person is in the chat. waiting_ms: since when they wait, None: they do not. banned_ms: until
    when they are kept out, 0 if not. chats_today and texts_today: of 24 hours, of the local day."""

    alias: str = ""
    topic: str = ""
    waiting_ms: int | None = None
    partner: Partner | None = None
    banned_ms: int = 0
    chats_today: int = 0
    gender: str = ""
    wants: str = ""
    texts_today: int = 0

    @property
    def waiting(self) -> bool:
        return self.waiting_ms is not None


class Candidate(msgspec.Struct, frozen=True):
    """Somebody who waits and fits."""

    number: str
    alias: str
    language: str
