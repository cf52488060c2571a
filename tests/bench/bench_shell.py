"""Conversations for benchmarks: one that costs nothing, one that costs 5 ms of a core."""

from __future__ import annotations

import time
from typing import Any

from appliance.conversation.turn import Event, Reply, Session, Turn

HEAVY_S = 0.005


class Trivial:
    """Counts, and answers with one short text."""

    def __init__(self, settings: dict[str, Any]) -> None:
        del settings

    def turn(self, session: Session, event: Event, looks: dict[str, Any]) -> Turn:
        count = session.data.get("count", 0) + 1
        after = Session(
            sender=event.sender,
            app="bench",
            state="COUNTING",
            data={"count": count},
            expires_at_ms=event.now_ms + 900_000,
        )
        return Turn(session=after, replies=[Reply(text="Your message was counted.")])


class Heavy(Trivial):
    """Works a core for 5 ms first, as a plugin or a large template would."""

    def turn(self, session: Session, event: Event, looks: dict[str, Any]) -> Turn:
        until = time.process_time() + HEAVY_S
        while time.process_time() < until:
            pass
        return super().turn(session, event, looks)


def transition(number: int) -> int:
    """What ProcessPoolExecutor is given: a call that costs nothing."""
    return number + 1
