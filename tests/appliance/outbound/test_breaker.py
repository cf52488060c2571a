from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outbound.breaker import TRANSITIONS, Breaker, BreakerEvent, BreakerState


def opened(**more: float) -> Breaker:
    breaker = Breaker(threshold=3, **more)
    for _ in range(3):
        breaker.failed(0.0, "no answer")
    return breaker


def test_transitions_name_every_pair_that_can_happen() -> None:
    possible = set(itertools.product(BreakerState, BreakerEvent))
    assert set(TRANSITIONS) <= possible
    assert {after for after in TRANSITIONS.values()} == set(BreakerState)


def test_closed_lets_everything_pass_and_a_success_forgets_failures() -> None:
    breaker = Breaker(threshold=3)
    for _ in range(10):
        breaker.failed(0.0, "x")
        breaker.failed(0.0, "x")
        breaker.succeeded(0.0)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.acquire(0.0)
    assert breaker.acquire(0.0)


def test_failures_in_a_row_open_it_with_their_reason() -> None:
    breaker = opened()
    assert breaker.state is BreakerState.OPEN
    assert breaker.reason == "3 failures in a row, the last: no answer"
    assert not breaker.acquire(14.9)


def test_one_answer_that_the_whole_route_is_ill_opens_it() -> None:
    breaker = Breaker()
    breaker.failed(0.0, "HTTP 401", at_once=True)
    assert (breaker.state, breaker.reason) == (BreakerState.OPEN, "HTTP 401")


def test_after_its_rest_one_message_is_the_probe() -> None:
    breaker = opened()
    assert breaker.allows(15.0)
    assert breaker.acquire(15.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.acquire(15.0)


def test_probe_that_works_closes_it_and_the_next_rest_is_short_again() -> None:
    breaker = opened()
    breaker.acquire(15.0)
    breaker.succeeded(16.0)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(20.0, "x", at_once=True)
    assert breaker.retry_at == 35.0


def test_probe_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    breaker = opened(first_rest_s=10.0, longest_rest_s=60.0)
    rests, now = [], 0.0
    for _ in range(5):
        assert breaker.retry_at is not None
        rests.append(breaker.retry_at - now)
        now = breaker.retry_at
        assert breaker.acquire(now)
        breaker.failed(now, "still ill")
    assert rests == [10.0, 20.0, 40.0, 60.0, 60.0]


def test_probe_that_was_not_used_lets_the_next_one_try() -> None:
    breaker = opened()
    breaker.acquire(15.0)
    breaker.abandoned(15.0)
    assert breaker.acquire(15.0)


def test_late_success_of_an_earlier_message_does_not_end_the_rest() -> None:
    breaker = opened()
    breaker.succeeded(1.0)
    assert breaker.state is BreakerState.OPEN


def test_asked_for_quiet_is_obeyed_and_the_longer_wish_counts() -> None:
    breaker = Breaker()
    breaker.asked_for_quiet(0.0, 30.0, "HTTP 429")
    breaker.asked_for_quiet(1.0, 5.0, "HTTP 429")
    assert not breaker.allows(29.9)
    assert breaker.allows(30.0)


def test_history_tells_each_move_with_time_and_reason() -> None:
    breaker = opened()
    breaker.acquire(15.0)
    breaker.succeeded(16.0)
    assert [(change.at, change.after.value) for change in breaker.history] == [
        (0.0, "open"),
        (15.0, "half-open"),
        (16.0, "closed"),
    ]
    assert all(change.reason for change in breaker.history)


def test_snapshot_says_when_it_is_tried_again_and_what_led_there() -> None:
    breaker = opened()
    assert breaker.snapshot(5.0) == {
        "state": "open",
        "reason": "3 failures in a row, the last: no answer",
        "retry_in_s": 10.0,
        "history": [{"ago_s": 5.0, "state": "open", "reason": "3 failures in a row, the last: no answer"}],
    }


@pytest.mark.parametrize("probes", [1, 2])
@given(st.lists(st.sampled_from(["ok", "fail", "ill", "quiet", "ask", "drop", "wait"]), max_size=60))
def test_any_order_of_events_keeps_it_sound(probes: int, steps: list[str]) -> None:
    breaker, now = Breaker(threshold=2, first_rest_s=1.0, longest_rest_s=8.0), 0.0
    for step in steps:
        match step:
            case "ok":
                breaker.succeeded(now)
            case "fail":
                breaker.failed(now, "x")
            case "ill":
                breaker.failed(now, "x", at_once=True)
            case "quiet":
                breaker.asked_for_quiet(now, 3.0, "x")
            case "ask":
                breaker.acquire(now)
            case "drop":
                breaker.abandoned(now)
            case "wait":
                now += 0.7 * probes
        if breaker.state is BreakerState.OPEN:
            assert breaker.retry_at is not None
            assert breaker.retry_at <= now + 8.0
    # It can always be left: after the longest rest somebody may send, or a probe is out.
    assert breaker.allows(now + 8.0) or breaker.state is BreakerState.HALF_OPEN
