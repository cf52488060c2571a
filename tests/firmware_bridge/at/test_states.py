"""The table of states: every pair is either in it or refused, and no state is a trap."""

from __future__ import annotations

import itertools

import pytest

from firmware_bridge.at.states import TRANSITIONS, AtInput, AtState, move
from firmware_bridge.errors import IllegalTransition


@pytest.mark.parametrize(("state", "what"), list(itertools.product(AtState, AtInput)))
def test_move_follows_the_table_or_refuses(state: AtState, what: AtInput) -> None:
    if (state, what) in TRANSITIONS:
        assert move(state, what) is TRANSITIONS[state, what]
    else:
        with pytest.raises(IllegalTransition):
            move(state, what)


def test_table_leads_from_every_state_back_to_idle() -> None:
    for start in AtState:
        reached = {start}
        while True:
            more = {after for (state, _), after in TRANSITIONS.items() if state in reached} - reached
            if not more:
                break
            reached |= more
        assert AtState.IDLE in reached, start


def test_table_gives_every_waiting_state_a_deadline() -> None:
    for state in AtState:
        assert state is AtState.IDLE or (state, AtInput.DEADLINE_PASSED) in TRANSITIONS
