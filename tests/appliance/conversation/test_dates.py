from __future__ import annotations

import datetime as dt

import pytest

from appliance.conversation.dates import clock, day, day_short, read
from appliance.conversation.kit import Kit
from appliance.conversation.words import Lexicon, Names, tag

SUNDAY = dt.date(2026, 11, 22)  # 13 Hidar 2019


def moment(text: str, lexicon: Lexicon, names: Names, calendar: str = "gregorian"):
    return read(tag(text, lexicon, names), SUNDAY, calendar)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("today", "2026-11-22"), ("tomorrow", "2026-11-23"), ("tommorow", "2026-11-23"), ("2morrow",
        "2026-11-23"),
        ("day after tomorrow", "2026-11-24"), ("friday", "2026-11-27"), ("next friday", "2026-11-27"),
        ("sunday", "2026-11-29"), ("next week", "2026-11-29"), ("in 3 days", "2026-11-25"),
        ("25-11", "2026-11-25"), ("25/11/2026", "2026-11-25"), ("2026-12-05", "2026-12-05"),
        ("5.12", "2026-12-05"), ("25th", "2026-11-25"), ("on 21", "2026-12-21"), ("5 december", "2026-12-05"),
        ("dec 5th", "2026-12-05"), ("5th of dec", "2026-12-05"), ("friday 27 nov", "2026-11-27"),
        ("16 hidar", "2026-11-25"), ("kal", "2026-11-23"), ("25-27 nov", "2026-11-25"),
        ("between 25 and 27 november", "2026-11-25"), ("in a week", "2026-11-29"),
        ("ነገ", "2026-11-23"), ("ለነገ", "2026-11-23"),
        ("ከነገ ወዲያ", "2026-11-24"), ("ዓርብ", "2026-11-27"), ("አርብ ጠዋት", "2026-11-27"), ("ኅዳር 16", "2026-11-25"),
        ("ህዳር ፲፮", "2026-11-25"), ("16/3/2019", "2026-11-25"), ("ከ3 ቀን በኋላ", "2026-11-25"),
    ],
)  # fmt: skip
def test_read_day_as_people_write_it(text: str, date: str, lexicon: Lexicon, names: Names) -> None:
    found = moment(text, lexicon, names)
    assert (found.days[0].isoformat(), found.unclear) == (date, False)


def test_read_numeric_day_counts_in_the_calendar_of_the_language(lexicon: Lexicon, names: Names) -> None:
    assert moment("16/3", lexicon, names, "ethiopian").days[0] == dt.date(2026, 11, 25)
    assert moment("16", lexicon, names, "ethiopian").days[0] == dt.date(2026, 11, 25)
    assert moment("25/12", lexicon, names, "ethiopian").days[0] == dt.date(2026, 12, 25)


@pytest.mark.parametrize(
    ("text", "date"),
    [("12-05", "2026-12-05"), ("5-12", "2026-12-05"), ("13/3", "2026-11-22"), ("12/25", "2026-12-25")],
)
def test_read_numeric_day_too_far_to_be_meant_gives_way_to_a_nearer_one(
    text: str, date: str, lexicon: Lexicon, names: Names
) -> None:
    found = moment(text, lexicon, names)
    assert (found.days, found.unclear) == ((dt.date.fromisoformat(date),), False)


def test_read_two_weekdays_with_or_is_unclear(lexicon: Lexicon, names: Names) -> None:
    found = moment("fri or sat", lexicon, names)
    assert (found.days, found.unclear) == ((dt.date(2026, 11, 27), dt.date(2026, 11, 28)), True)


def test_read_month_of_two_calendars_is_unclear(lexicon: Lexicon, names: Names) -> None:
    found = moment("Muddee 5", lexicon, names, "ethiopian")
    assert found.unclear
    assert set(found.days) == {dt.date(2026, 12, 5), dt.date(2026, 12, 14)}


@pytest.mark.parametrize("text", ["2", "hawassa", "31-31", "99/99/99", "30 pagumen", "0-0", "2 people"])
def test_read_no_day_finds_none(text: str, lexicon: Lexicon, names: Names) -> None:
    assert moment(text, lexicon, names).days == ()


@pytest.mark.parametrize(
    ("text", "first"),
    [("6am", 360), ("2pm", 840), ("14:30", 870), ("at 6:30", 390), ("12 ሰዓት ጠዋት", 360), ("1 ሰዓት", 420),
     ("ጠዋት 2 ሰዓት", 480), ("ማታ 12 ሰዓት", 1080), ("6 o'clock", 360)],
)  # fmt: skip
def test_read_hour_takes_the_clock_of_its_language(
    text: str, first: int, lexicon: Lexicon, names: Names
) -> None:
    assert moment(text, lexicon, names).minutes[0] == first


def test_read_bare_hour_keeps_every_reading(lexicon: Lexicon, names: Names) -> None:
    assert set(moment("6:30", lexicon, names).minutes) == {390, 1110, 750, 30}


def test_print_day_shows_both_calendars(kit: Kit) -> None:
    english, amharic = kit.phrases.languages["en"], kit.phrases.languages["am"]
    assert day(SUNDAY, english) == "Sun 22 Nov 2026 (13 Hidar 2019)"
    assert day_short(SUNDAY, english) == "Sun 22 Nov (13 Hidar)"
    assert day(SUNDAY, amharic) == "እሑድ 13 ኅዳር 2019 (22/11/2026)"


def test_print_clock_counts_from_six_in_amharic(kit: Kit) -> None:
    english, amharic = kit.phrases.languages["en"], kit.phrases.languages["am"]
    assert clock(360, english) == "06:00"
    assert [clock(m, amharic) for m in (0, 360, 810, 1080)] == [
        "00:00 (6 ሰዓት ሌሊት)", "06:00 (12 ሰዓት ጠዋት)", "13:30 (7:30 ከሰዓት)", "18:00 (12 ሰዓት ማታ)"
    ]  # fmt: skip
