"""Whom somebody wants to meet, by the words behind CHAT: a topic, who they are, who the other should be."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.conversation.wordlists import WordLists

__all__ = ["Wishes", "read_wishes"]

TOPIC_WORDS = 2


class Wishes(msgspec.Struct, frozen=True):
    """topic: folded, "" for any. gender: "f" or "m" as they say they are, wants: as the other should be."""

    topic: str = ""
    gender: str = ""
    wants: str = ""


def read_wishes(heard: Sequence[str], lists: WordLists) -> Wishes:
    """Read the words: `football`, `f` (the other), `me f for m`, `m f` (first oneself, then the other)."""
    own = wants = ""
    topic: list[str] = []
    of_me = False
    for word in heard:
        gender = lists.gender(word)
        if word in lists.me:
            of_me = True
        elif word in lists.other:
            of_me = False
        elif gender and of_me:
            own, of_me = gender, False
        elif gender and wants and not own:
            own, wants = wants, gender
        elif gender:
            wants = gender
        elif word not in lists.small and len(topic) < TOPIC_WORDS:
            topic.append(word)
    return Wishes(" ".join(topic), own, wants)
