"""What is counted, and how the hour's picture is kept."""

from __future__ import annotations

from appliance.observe.counts import MINUTES_KEPT, SAMPLE_EVERY, Counts, Minute

T0 = 1_795_000_020_000  # a whole minute
MINUTE = 60_000


class Clock:
    now_ms = T0

    def __call__(self) -> int:
        return self.now_ms


def test_counts_changes_are_counted_by_kind_and_state() -> None:
    counts = Counts(Clock())
    for state in ("accepted", "handled", "accepted"):
        counts.take({"kind": "in", "id": 1, "state": state})
    counts.take({"kind": "out", "id": 1, "state": "sent"})
    assert counts.by_state == {("in", "accepted"): 2, ("in", "handled"): 1, ("out", "sent"): 1}


def test_counts_last_hour_holds_each_message_in_its_minute_and_zeros_between() -> None:
    clock = Clock()
    counts = Counts(clock)
    counts.take({"kind": "in", "id": 1, "state": "accepted"})
    clock.now_ms += 2 * MINUTE + 59_999
    counts.take({"kind": "out", "id": 1, "state": "sent"})
    hour = counts.last_hour()
    assert len(hour) == MINUTES_KEPT
    assert [tuple(minute) for minute in hour[-3:]] == [
        (T0, 1, 0),
        (T0 + MINUTE, 0, 0),
        (T0 + 2 * MINUTE, 0, 1),
    ]
    clock.now_ms += 61 * MINUTE
    assert sum(minute.came_in + minute.went_out for minute in counts.last_hour()) == 0


def test_counts_clock_that_jumps_back_adds_to_the_latest_minute() -> None:
    clock = Clock()
    counts = Counts(clock)
    counts.take({"kind": "in", "id": 1, "state": "accepted"})
    clock.now_ms -= 30 * MINUTE
    counts.take({"kind": "in", "id": 2, "state": "accepted"})
    clock.now_ms = T0
    assert counts.last_hour()[-1].came_in == 2


def test_counts_times_one_request_in_sixteen() -> None:
    counts = Counts(Clock())
    for _ in range(2 * SAMPLE_EVERY):
        counts.request_done("/", 200, 0.003)
    assert counts.requests == {("/", 200): 2 * SAMPLE_EVERY}
    assert sum(counts.request_seconds["/"].buckets) == 2
    assert counts.request_seconds["/"].buckets[1] == 2


def test_counts_earlier_minutes_are_merged_with_those_counted_since() -> None:
    clock = Clock()
    counts = Counts(clock)
    counts.take({"kind": "in", "id": 1, "state": "accepted"})
    counts.add_earlier([Minute(T0 - MINUTE, 3, 2), Minute(T0, 1, 1)])
    counts.take({"kind": "in", "id": 2, "state": "accepted"})
    assert [tuple(minute) for minute in counts.last_hour()[-2:]] == [(T0 - MINUTE, 3, 2), (T0, 3, 1)]
