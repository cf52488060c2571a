from __future__ import annotations

import pytest

from firmware_bridge.simulator.timeline import Timeline


def test_timeline_advance_runs_due_actions_in_order_at_their_moments() -> None:
    timeline, seen = Timeline(), []
    timeline.after(2.0, lambda: seen.append(("late", timeline.now)))
    timeline.after(1.0, lambda: seen.append(("early", timeline.now)))
    timeline.after(1.0, lambda: seen.append(("early too", timeline.now)))

    timeline.advance(2.5)

    assert seen == [("early", 1.0), ("early too", 1.0), ("late", 2.0)]
    assert timeline.now == 2.5


def test_timeline_action_scheduled_by_action_runs_in_same_advance() -> None:
    timeline, seen = Timeline(), []
    timeline.after(1.0, lambda: timeline.after(1.0, lambda: seen.append(timeline.now)))

    timeline.advance(5.0)

    assert seen == [2.0]


def test_timeline_cancelled_timer_neither_runs_nor_is_a_deadline() -> None:
    timeline, seen = Timeline(), []
    timer = timeline.after(1.0, lambda: seen.append("ran"))

    timer.cancel()
    timeline.advance(2.0)

    assert seen == []
    assert timeline.next_deadline() is None


def test_timeline_clock_follows_advance() -> None:
    timeline = Timeline(start=100.0, epoch_ms=1_000)

    timeline.advance(101.5)
    timeline.advance(99.0)

    assert timeline.utc_ms == 2_500


def test_timeline_endless_moment_is_told() -> None:
    timeline = Timeline()

    def again() -> None:
        timeline.after(0.0, again)

    again()
    with pytest.raises(RuntimeError, match="never end"):
        timeline.advance(1.0)


def test_timeline_on_earlier_only_for_a_new_first_deadline() -> None:
    timeline, told = Timeline(), []
    timeline.on_earlier = lambda: told.append(timeline.next_deadline())

    for delay_s in (5.0, 7.0, 3.0):
        timeline.after(delay_s, lambda: None)

    assert told == [5.0, 3.0]
