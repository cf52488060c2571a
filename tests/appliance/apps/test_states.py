from __future__ import annotations

import itertools

import pytest

from appliance.apps.booking.codes import ALPHABET, find_code, make_code
from appliance.apps.booking.diagram import PAGE, redrawn
from appliance.apps.booking.states import TRANSITIONS, IllegalTransition, State, Step, move


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_move_follows_the_table_and_refuses_the_rest(state: State, step: Step) -> None:
    if (state, step) in TRANSITIONS:
        assert move(state, step) is TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalTransition):
            move(state, step)


def test_held_seats_are_left_only_by_ending_them_or_beside_another_dialogue() -> None:
    assert {state for (state, step) in TRANSITIONS if step is Step.HELD} == {State.CONFIRM_BOOKING}
    assert {state for (state, step) in TRANSITIONS if step is Step.ENDED} == {State.WAIT_PAYMENT}


def test_page_shows_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert redrawn(page) == page


def test_codes_are_six_characters_without_look_alikes_and_differ() -> None:
    codes = {make_code(entropy, attempt) for entropy in range(2000) for attempt in range(3)}
    assert len(codes) >= 5990  # two in 250 million may meet
    assert all(len({make_code(entropy, attempt) for attempt in range(4)}) == 4 for entropy in range(2000))
    for code in codes:
        assert len(code) == 6 and set(code) <= set(ALPHABET)
        assert any(c.isdigit() for c in code) and any(c.isalpha() for c in code)
        assert find_code(f"pay {code.lower()} please") == code
    assert not set("0O1IL2ZS8Q") & set(ALPHABET)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("PAY A83D5F", "AB3D5F"),
        ("pay ab3dsf.", "AB3D5F"),
        ("STATUS", ""),
        ("AB3D5", ""),
        ("XAB3D5F", ""),
        ("", ""),
    ],
)
def test_find_code_puts_look_alikes_right(text: str, code: str) -> None:
    assert find_code(text) == code
