from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outbound.allowance import Limits, Pace, QuietHours, TokenBucket, period_start_ms

EAT = timezone(timedelta(hours=3))
PERSON = "+251911000001"


def ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=EAT).timestamp() * 1000)  # type: ignore[misc]


def pace(**limits: object) -> Pace:
    return Pace(Limits(**limits), timezone_minutes=180, chance=random.Random(1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("period", "start"),
    [
        ("minute", ms(2026, 11, 22, 0, 30)),
        ("hour", ms(2026, 11, 22, 0, 0)),
        ("day", ms(2026, 11, 22)),
        ("month", ms(2026, 11, 1)),
    ],
)
def test_period_begins_by_local_time(period: str, start: int) -> None:
    assert period_start_ms(period, ms(2026, 11, 22, 0, 30, 59), 180) == start


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=80))
def test_bucket_never_gives_more_than_its_rate_and_one_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate), 0.0, 0
    for pause in pauses:
        now += pause
        while bucket.wait_s(now) == 0 and taken < 10_000:
            bucket.take(now)
            taken += 1
    assert taken <= max(1.0, rate) + rate * now + 1


def test_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(2.0)
    bucket.take(0.0)
    bucket.take(0.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.5)
    assert bucket.wait_s(0.5) == 0


@pytest.mark.parametrize(("hour", "closed"), [(7, True), (8, False), (19, False), (20, True), (0, True)])
def test_quiet_hours_are_local(hour: int, closed: bool) -> None:
    assert QuietHours().closed(ms(2026, 11, 22, hour, 0)) == ({"bulk"} if closed else set())


def test_quiet_hours_over_midnight() -> None:
    night = QuietHours(start=20 * 60, end=6 * 60)
    assert not night.closed(ms(2026, 11, 22, 23, 0))
    assert not night.closed(ms(2026, 11, 22, 5, 59))
    assert night.closed(ms(2026, 11, 22, 12, 0))


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (ms(2026, 11, 22, 21, 0), ms(2026, 11, 23, 8, 0)),
        (ms(2026, 11, 23, 1, 0), ms(2026, 11, 23, 8, 0)),
        (ms(2026, 11, 22, 8, 0), ms(2026, 11, 23, 8, 0)),
    ],
    ids=["evening", "past midnight", "at the opening itself"],
)
def test_quiet_hours_say_when_they_end(now: int, opens: int) -> None:
    assert QuietHours().opens_ms(now) == opens


def test_each_period_has_its_own_ceiling() -> None:
    one = pace(segments={"minute": 2, "hour": 3})
    now = ms(2026, 11, 22, 9, 0)
    one.spend(PERSON, 2, now)
    assert one.used_up(now) == "its minute's 2 segments are used up"
    one.spend(PERSON, 1, now + 60_000)
    assert one.used_up(now + 60_000) == "its hour's 3 segments are used up"
    assert one.used_up(now + 3_600_000) == ""


def test_message_of_more_segments_than_are_left_is_a_problem_for_the_router() -> None:
    one = pace(segments={"day": 3})
    now = ms(2026, 11, 22, 9, 0)
    one.spend(PERSON, 2, now)
    assert one.problem(PERSON, 1, now) == ""
    assert "used up" in one.problem(PERSON, 2, now)


def test_clock_that_goes_back_opens_no_new_period() -> None:
    one = pace(segments={"day": 1})
    now = ms(2026, 11, 22, 9, 0)
    one.spend(PERSON, 1, now)
    assert one.used_up(now - 48 * 3_600_000)


def test_given_back_is_free_again() -> None:
    one = pace(segments={"day": 3})
    now = ms(2026, 11, 22, 9, 0)
    one.spend(PERSON, 3, now)
    one.spend(PERSON, -2, now)
    assert one.problem(PERSON, 2, now) == ""


def test_alarm_at_80_percent() -> None:
    one = pace(segments={"minute": 1, "day": 10}, recipients_per_day=5)
    now = ms(2026, 11, 22, 9, 0)
    for number in range(3):
        one.spend(f"+25191100000{number}", 1, now)
    assert one.alarms(now) == []
    for number in range(3, 8):
        one.spend(f"+25191100000{number % 4}", 1, now)
    assert one.alarms(now) == ["8 of its day's 10 segments are used", "4 of its day's 5 recipients are used"]


def test_lane_at_its_ceiling_leaves_the_rest_to_who_waits_for_an_answer() -> None:
    one, now = pace(segments={"day": 100, "minute": 10}), ms(2026, 11, 22, 10, 0)
    found = []
    for used in (79, 1, 9, 1):
        one.spend(PERSON, used, now)
        found.append(sorted(one.closed(now)))
    assert found == [[], ["bulk"], ["bulk"], ["bulk", "normal"]]
    assert one.closed(ms(2026, 11, 23)) == frozenset()
    assert pace().closed(now) == frozenset()


def test_pause_between_messages_has_jitter_within_its_bounds() -> None:
    one = pace(pause_s=(2.0, 5.0))
    pauses = set()
    for number in range(50):
        one.ended(float(number))
        pauses.add(one.wait_s(float(number)))
    assert all(2.0 <= pause <= 5.0 for pause in pauses)
    assert len(pauses) > 40


def test_loaded_counts_go_on_where_they_stopped() -> None:
    now = ms(2026, 11, 22, 9, 0)
    one = pace(segments={"day": 5}, recipients_per_day=1)
    one.load({"day": (ms(2026, 11, 22), 5)}, ms(2026, 11, 22), [PERSON])
    assert one.used_up(now)
    assert one.may_write_to(PERSON, now)
    assert not one.may_write_to("+251911000002", now)
    assert one.used_up(now + 24 * 3_600_000) == ""
