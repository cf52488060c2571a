"""The states of a conversation with the assistant, what each owes to whom, and the table between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "State", "Step", "move"]


class State(enum.StrEnum):
    IDLE = "IDLE"  # not in the assistant
    ASKING = "ASKING"  # what they text is a question; nothing is owed
    THINKING = "THINKING"  # the model is asked; we owe an answer, at the latest when its deadline has passed


class Step(enum.StrEnum):
    """What a turn came to."""

    ANSWERED = "answered"  # from the knowledge, or a person will answer
    THOUGHT = "asks the model"  # the question is recorded, the main process asks
    TOLD = "the model's turn"  # what came of it was told: its answer, the knowledge's, or a person's later
    LEFT = "left"


# Several questions may be asked at once: an answer that comes while another is owed, or after the person
# left, changes nothing but itself.
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    **{(state, Step.ANSWERED): State.ASKING for state in (State.IDLE, State.ASKING)},
    (State.THINKING, Step.ANSWERED): State.THINKING,
    **{(state, Step.THOUGHT): State.THINKING for state in State},
    (State.THINKING, Step.TOLD): State.ASKING,
    (State.ASKING, Step.TOLD): State.ASKING,
    (State.IDLE, Step.TOLD): State.IDLE,
    **{(state, Step.LEFT): State.IDLE for state in State},
}


def move(state: str, step: Step) -> State:
    """The state after a step; a state that another version stored counts as IDLE."""
    known = State(state) if state in State.__members__ else State.IDLE
    return TRANSITIONS[known, step]
