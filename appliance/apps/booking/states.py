"""The states of a booking, what each owes to whom, and the one function that moves between them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["TRANSITIONS", "IllegalTransition", "State", "Step", "move"]


class State(enum.StrEnum):
    IDLE = "IDLE"  # nothing is owed
    SEARCH = "SEARCH"  # we asked for a town or a day; the person owes it
    SELECT_TRIP = "SELECT_TRIP"  # departures are listed; the person owes a number
    ASK_PASSENGER_COUNT = "ASK_PASSENGER_COUNT"  # the person owes how many seats
    CONFIRM_BOOKING = "CONFIRM_BOOKING"  # one departure is proposed; the person owes YES or NO
    WAIT_PAYMENT = "WAIT_PAYMENT"  # seats are held; an agent owes the payment, the clock ends the hold


class Step(enum.StrEnum):
    """What a turn came to."""

    ANSWERED = "answered"  # help, status, fares: the dialogue stays where it was
    ASKED = "asked"  # a town or a day is missing or unclear
    LISTED = "listed"  # several departures fit
    COUNTING = "counting"  # only the number of seats is missing
    PROPOSED = "proposed"  # everything is known
    HELD = "held"  # the person said YES and the seats are theirs for a while
    LEFT = "left"  # NO, CANCEL, MENU, or nothing to go on with
    ENDED = "ended"  # the hold was paid, ran out or was given back


_DIALOGUE: Final = (
    State.IDLE,
    State.SEARCH,
    State.SELECT_TRIP,
    State.ASK_PASSENGER_COUNT,
    State.CONFIRM_BOOKING,
    State.WAIT_PAYMENT,
)

# A person may say everything again at any point, so every state can go back to any question; only a
# proposal can be held, and only a hold can end.
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    **{(state, Step.ANSWERED): state for state in _DIALOGUE},
    **{(state, Step.ASKED): State.SEARCH for state in _DIALOGUE},
    **{(state, Step.LISTED): State.SELECT_TRIP for state in _DIALOGUE},
    **{(state, Step.COUNTING): State.ASK_PASSENGER_COUNT for state in _DIALOGUE},
    **{(state, Step.PROPOSED): State.CONFIRM_BOOKING for state in _DIALOGUE},
    **{(state, Step.LEFT): State.IDLE for state in _DIALOGUE},
    (State.CONFIRM_BOOKING, Step.HELD): State.WAIT_PAYMENT,
    (State.WAIT_PAYMENT, Step.ENDED): State.IDLE,
}


class IllegalTransition(Exception):
    """The booking code asked for a step its state does not allow: a bug of ours."""


def move(state: State, step: Step) -> State:
    """The state after a step. Raises IllegalTransition and changes nothing when there is none."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise IllegalTransition(f"{step} in {state}") from None
