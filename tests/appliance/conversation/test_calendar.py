from __future__ import annotations

import datetime as dt

import pytest

from appliance.conversation.calendar import from_ethiopian, local_hour, to_ethiopian


@pytest.mark.parametrize(
    ("gregorian", "ethiopian"),
    [
        ("2023-09-12", (2016, 1, 1)), ("2024-09-11", (2017, 1, 1)), ("2026-01-07", (2018, 4, 29)),
        ("2026-11-22", (2019, 3, 13)), ("2027-09-12", (2020, 1, 1)), ("2023-09-11", (2015, 13, 6)),
    ],
)  # fmt: skip
def test_ethiopian_known_days_convert_both_ways(gregorian: str, ethiopian: tuple[int, int, int]) -> None:
    date = dt.date.fromisoformat(gregorian)
    assert to_ethiopian(date) == ethiopian
    assert from_ethiopian(*ethiopian) == date


def test_ethiopian_every_day_of_a_century_round_trips() -> None:
    day = dt.date(1990, 1, 1)
    while day < dt.date(2090, 1, 1):
        assert from_ethiopian(*to_ethiopian(day)) == day
        day += dt.timedelta(days=1)


@pytest.mark.parametrize("date", [(2018, 13, 6), (2016, 13, 6), (2019, 14, 1), (2019, 1, 31), (2019, 0, 1)])
def test_from_ethiopian_of_no_such_day_raises(date: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no Ethiopian date"):
        from_ethiopian(*date)


def test_local_hour_counts_from_six() -> None:
    assert [local_hour(hour) for hour in (0, 6, 7, 13, 18, 23)] == [6, 12, 1, 7, 12, 5]
