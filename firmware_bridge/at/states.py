"""The states of a dialogue, their table, and the one function that moves.

`docs/firmware_bridge.md` draws this table and a test walks all its pairs. Asked of each state: what if the
power fails here? Only AWAIT_SENT answers "a message is neither sent nor unsent".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from firmware_bridge.errors import IllegalTransition

__all__ = ["TRANSITIONS", "AtInput", "AtState", "move"]


class AtState(enum.Enum):
    IDLE = "idle"  # nothing outstanding
    AWAIT_FINAL = "await_final"  # command written; OK, ERROR or +CMS ERROR due
    AWAIT_PROMPT = "await_prompt"  # AT+CMGS written; "> " due (TS 27.005 4.3); nothing is sent yet
    PROMPTED = "prompted"  # the prompt is there; we owe the PDU or an ESC; nothing is sent yet
    AWAIT_SENT = "await_sent"  # PDU and Ctrl-Z written; +CMGS: <mr> and OK due; neither sent nor unsent
    DESYNCED = "desynced"  # a deadline passed; ESC, CR, AT written; any OK due, late bytes may still come
    DRAINING = "draining"  # that OK came; a silence is due, so that no late OK answers the next command


class AtInput(enum.Enum):
    COMMAND_SENT = "command sent"
    SUBMIT_SENT = "submit sent"
    PROMPT_SEEN = "prompt seen"
    PDU_SENT = "PDU sent"
    ABORTED = "aborted"
    FINAL_RESULT = "final result"
    DEADLINE_PASSED = "deadline passed"
    RESTARTED = "restart banner"
    LATE_LINE = "late line"


TRANSITIONS: Final[Mapping[tuple[AtState, AtInput], AtState]] = {
    (AtState.IDLE, AtInput.COMMAND_SENT): AtState.AWAIT_FINAL,
    (AtState.IDLE, AtInput.SUBMIT_SENT): AtState.AWAIT_PROMPT,
    (AtState.AWAIT_PROMPT, AtInput.PROMPT_SEEN): AtState.PROMPTED,
    (AtState.PROMPTED, AtInput.PDU_SENT): AtState.AWAIT_SENT,
    (AtState.PROMPTED, AtInput.ABORTED): AtState.DESYNCED,  # ESC written in place of the PDU
    (AtState.PROMPTED, AtInput.FINAL_RESULT): AtState.IDLE,  # it would not wait any longer
    (AtState.PROMPTED, AtInput.DEADLINE_PASSED): AtState.DESYNCED,
    (AtState.PROMPTED, AtInput.RESTARTED): AtState.DESYNCED,
    (AtState.AWAIT_PROMPT, AtInput.FINAL_RESULT): AtState.IDLE,  # refused before the prompt: +CMS ERROR
    (AtState.AWAIT_FINAL, AtInput.FINAL_RESULT): AtState.IDLE,
    (AtState.AWAIT_SENT, AtInput.FINAL_RESULT): AtState.IDLE,
    (AtState.AWAIT_PROMPT, AtInput.DEADLINE_PASSED): AtState.DESYNCED,
    (AtState.AWAIT_FINAL, AtInput.DEADLINE_PASSED): AtState.DESYNCED,
    (AtState.AWAIT_SENT, AtInput.DEADLINE_PASSED): AtState.DESYNCED,
    (AtState.AWAIT_PROMPT, AtInput.RESTARTED): AtState.DESYNCED,  # it forgot what it was asked
    (AtState.AWAIT_FINAL, AtInput.RESTARTED): AtState.DESYNCED,
    (AtState.AWAIT_SENT, AtInput.RESTARTED): AtState.DESYNCED,
    (AtState.DESYNCED, AtInput.DEADLINE_PASSED): AtState.DESYNCED,  # ask again, some times
    (AtState.DESYNCED, AtInput.RESTARTED): AtState.DESYNCED,
    (AtState.DESYNCED, AtInput.LATE_LINE): AtState.DESYNCED,
    (AtState.DESYNCED, AtInput.FINAL_RESULT): AtState.DRAINING,
    (AtState.DRAINING, AtInput.LATE_LINE): AtState.DRAINING,  # the silence starts over
    (AtState.DRAINING, AtInput.FINAL_RESULT): AtState.DRAINING,
    (AtState.DRAINING, AtInput.RESTARTED): AtState.DESYNCED,
    (AtState.DRAINING, AtInput.DEADLINE_PASSED): AtState.IDLE,
}


def move(state: AtState, what: AtInput) -> AtState:
    """The state after `what`. Raises IllegalTransition, changing nothing, if the table has no such pair."""
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise IllegalTransition(f"{what.value} in state {state.value}") from None
