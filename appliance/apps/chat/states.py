"""The states of a person in the chat, what each owes to whom, and the table between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "State", "Step"]


class State(enum.StrEnum):
    IDLE = "IDLE"  # not in the chat
    WAITING = "WAITING"  # we owe a partner, or after a while the news that there is none
    TALKING = "TALKING"  # every text goes to the partner
    OVER = "OVER"  # a chat was: an END that crossed its end is meant for it, not for the whole box


class Step(enum.StrEnum):
    """What happens to a person. The database decides it; a session only follows."""

    WAITS = "nobody fits"
    PAIRED = "somebody fits"
    PARTED = "either leaves, blocks, reports, is banned or idle"
    GONE = "leaves the queue, or waited too long"
    LEFT = "says END again"


# NEXT is PARTED and then WAITS or PAIRED in the same turn.
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    **{(state, Step.WAITS): State.WAITING for state in (State.IDLE, State.OVER)},
    **{(state, Step.PAIRED): State.TALKING for state in (State.IDLE, State.OVER, State.WAITING)},
    (State.WAITING, Step.GONE): State.OVER,
    (State.TALKING, Step.PARTED): State.OVER,
    (State.OVER, Step.LEFT): State.IDLE,
}
