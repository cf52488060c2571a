"""Days and hours as people text them, and as they are printed.

Reading gives every day that a text can mean, the likeliest first; who asks decides whether to take the
first or to ask back. All days are local; the caller turns them into UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from appliance.conversation.calendar import from_ethiopian, local_hour, to_ethiopian
from appliance.conversation.phrases import Language
from appliance.conversation.words import Tag, has_word

__all__ = ["Moment", "clock", "day", "day_short", "read"]

MINUTES_PER_DAY: Final = 1440


class Moment(msgspec.Struct, frozen=True):
    """When somebody wants to go.

    days: every reading, the likeliest first; empty: no day was named. unclear: the readings differ and
    nothing in the text decides. minutes: the departure's minute of the day, several readings when the clock
    is unclear (6:30 may count from midnight, noon or six); window: (first, last) minute of a part of the day.
    used: positions of the tags that are spent.
    """

    days: tuple[dt.date, ...] = ()
    unclear: bool = False
    minutes: tuple[int, ...] = ()
    window: tuple[int, int] | None = None
    used: frozenset[int] = frozenset()


_PARTS: Final = {
    "part_night": (0, 359),
    "part_morning": (0, 719),
    "part_afternoon": (720, 1079),
    "part_evening": (1020, 1439),
}
_AHEAD: Final = (("after_tomorrow", 2), ("tomorrow", 1), ("today", 0), ("tonight", 0), ("next_week", 7))
_WEEKDAY: Final = {f"wd_{n}": n - 1 for n in range(1, 8)}
_GREGORIAN: Final = {f"g_{n}": n for n in range(1, 13)}
_ETHIOPIAN: Final = {f"e_{n}": n for n in range(1, 14)}
_MONTHS: Final = (*_GREGORIAN, *_ETHIOPIAN)
_RANGE: Final = frozenset(
    {"and", "to", "or", "until", "till", "እና", "እስከ", "ወይም", "ወይ", "fi", "hanga", "ykn", "ን", "ክሳብ"}
)
_NUMBER: Final = {f"num_{n}": n for n in range(1, 11)}


def number_of(tag: Tag) -> int | None:
    """The number that a tag is, in digits or in words."""
    if tag.kind == "number":
        return int(tag.values[0][:6])
    if tag.kind == "word":
        return next((_NUMBER[v] for v in tag.values if v in _NUMBER), None)
    return None


def read(tags: Sequence[Tag], today: dt.date, calendar: str, *, horizon_days: int = 90) -> Moment:
    """Find the day and the hour in a tagged text.

    calendar: how a bare number is read first. horizon_days: a reading further ahead than this gives way to
    a nearer one of the other calendar.
    """
    used: set[int] = set()
    minutes, window = _read_hour(tags, used)
    days: list[dt.date] = []
    unclear = False
    for at, tag in enumerate(tags):
        if at in used or days:
            continue
        if tag.kind == "numeric":
            days = _numeric(tag.values[0], today, calendar, horizon_days)
            if days:
                used.add(at)
        elif tag.kind == "word":
            days, unclear = _by_word(tags, at, today, used, horizon_days)
    if len(days) == 1 and (other := _or_another(tags, max(used, default=0), today, used, horizon_days)):
        days, unclear = [*days, other], other != days[0]
    if not days:
        days = _bare_day(tags, today, calendar, used)
    if has_word(tags, 0, "tonight") or any(has_word(tags, at, "tonight") for at in range(len(tags))):
        window = window or _PARTS["part_evening"]
    return Moment(tuple(days), unclear, minutes, window, frozenset(used))


def _by_word(
    tags: Sequence[Tag], at: int, today: dt.date, used: set[int], horizon_days: int
) -> tuple[list[dt.date], bool]:
    values = tags[at].values
    for concept, ahead in _AHEAD:
        if concept in values:
            named = _weekday_near(tags, at)
            if concept == "next_week" and named is not None:
                used.update((at, named[0]))
                monday = today + dt.timedelta(days=7 - today.weekday())
                return [monday + dt.timedelta(days=named[1])], False
            used.add(at)
            if concept == "tomorrow":  # nege wediya, dhri tsbah: the day beyond
                for beside in (at - 1, at + 1):
                    if has_word(tags, beside, "beyond") or (beside < at and has_word(tags, beside, "in")):
                        used.add(beside)
                        ahead = 2
            return [today + dt.timedelta(days=ahead)], False
    if "weekend" in values:
        used.add(at)
        return [today + dt.timedelta(days=(5 - today.weekday()) % 7)], False
    weekday = next((_WEEKDAY[v] for v in values if v in _WEEKDAY), None)
    months = [(_GREGORIAN[v], "gregorian") for v in values if v in _GREGORIAN]
    months += [(_ETHIOPIAN[v], "ethiopian") for v in values if v in _ETHIOPIAN]
    if months:
        days = _with_month(tags, at, months, today, used, horizon_days)
        if days:
            near = [d for d in days if (d - today).days <= horizon_days] or days
            return near, len(near) > 1
    near_week = any(has_word(tags, position, "next_week") for position in (at + 1, at + 2))
    if weekday is not None and not near_week and not _followed_by_date(tags, at):
        used.add(at)
        return [today + dt.timedelta(days=(weekday - today.weekday()) % 7 or 7)], False
    if "day" in values or "week" in values:
        count = number_of(tags[at - 1]) if at else None
        if at and tags[at - 1].text == "a":
            count = 1
        marked = (
            has_word(tags, at + 1, "later", "in")
            or has_word(tags, at - 2, "in", "from")
            or (at and tags[at - 1].role == "from")
        )
        if count is None and has_word(tags, at + 2, "later"):  # Oromo says "guyyaa 3 booda"
            count, marked = (number_of(tags[at + 1]), True)
            used.add(at + 1)
        if count is not None and marked and count <= 60:
            used.update((at - 1, at))
            return [today + dt.timedelta(days=count * (7 if "week" in values else 1))], False
    return [], False


def _or_another(
    tags: Sequence[Tag], at: int, today: dt.date, used: set[int], horizon_days: int
) -> dt.date | None:
    """Another day after an "or": two days are named, and only the person knows which."""
    if not has_word(tags, at + 1, "or") or at + 2 >= len(tags) or tags[at + 2].kind != "word":
        return None
    days, _ = _by_word(tags, at + 2, today, used, horizon_days)
    return days[0] if days else None


def _weekday_near(tags: Sequence[Tag], at: int) -> tuple[int, int] | None:
    """Position and number of a weekday beside a word, "of" and the like between them."""
    for position in (at + 1, at - 1, at + 2, at - 2):
        if has_word(tags, position, *_WEEKDAY):
            return position, next(_WEEKDAY[v] for v in tags[position].values if v in _WEEKDAY)
    return None


def _followed_by_date(tags: Sequence[Tag], at: int) -> bool:
    """ "Friday 27 Nov": the date says more than the weekday."""
    rest = tags[at + 1 : at + 4]
    return any(t.kind == "numeric" and _split(t.values[0]) is not None for t in rest[:2]) or any(
        t.kind == "word" and any(v in _GREGORIAN or v in _ETHIOPIAN for v in t.values) for t in rest
    )


def _with_month(
    tags: Sequence[Tag],
    at: int,
    months: list[tuple[int, str]],
    today: dt.date,
    used: set[int],
    horizon_days: int,
) -> list[dt.date]:
    def near(number: int | None) -> bool:
        found = [d for month, calendar in months for d in _next(number or 0, month, None, calendar, today)]
        return any((d - today).days <= horizon_days for d in found)

    def number_at(position: int) -> int | None:
        if not 0 <= position < len(tags) or position in used:
            return None
        if tags[position].kind == "numeric":  # 25-27 Nov: the first of the days
            ends = _split(tags[position].values[0])
            return ends[0] if ends is not None and len(ends) == 2 and ends[0] < ends[1] else None
        counted = has_word(tags, position + 1, "person", "seat", "ticket", "friend")
        # "25 nama 2": Oromo counts behind the word, so the two are the people and 25 is the day.
        behind = position + 2 < len(tags) and number_of(tags[position + 2]) is not None
        if position > at and counted and not behind:
            return None
        return number_of(tags[position])

    for step in (-1, 1, -2, 2):
        between = at + step // 2 if abs(step) == 2 else None
        if between is not None and not has_word(tags, between, "ordinal", "filler", "from", "to"):
            continue
        day = number_at(at + step)
        if day is None or not 1 <= day <= 31:
            continue
        if step == -1 and not near(day) and near(number_at(at + 1)):
            continue  # "5 nov 30": five people, the 30th
        if step < 0 and at + step > 0 and tags[at + step - 1].text in _RANGE:  # 25 and 27 November
            first = number_at(at + step - 2)
            if first is not None and first < day and not has_word(tags, at + step - 2, "person"):
                used.add(at + step)
                step, day = step - 2, first
        year = None
        for position in (at + 1, at + step + 1, at + step + 2):
            candidate = number_at(position)
            if candidate is not None and 1900 <= candidate <= 2199:
                year = candidate
                used.add(position)
                break
        days = [d for month, calendar in months for d in _next(day, month, year, calendar, today)]
        if days:
            used.update((at, at + step))
            if between is not None:
                used.add(between)
            if has_word(tags, at + step + 1, "ordinal"):
                used.add(at + step + 1)
            return sorted(set(days))
    return []


def _next(day: int, month: int, year: int | None, calendar: str, today: dt.date) -> list[dt.date]:
    """The day in that month: of that year, or the next one to come."""
    try:
        if calendar == "ethiopian":
            now = to_ethiopian(today).year
            for candidate in (year,) if year else (now, now + 1):
                found = from_ethiopian(candidate, month, day)
                if year or found >= today:
                    return [found]
        else:
            for candidate in (year,) if year else (today.year, today.year + 1):
                found = dt.date(candidate, month, day)
                if year or found >= today:
                    return [found]
    except ValueError:
        return []
    return []


def _split(text: str) -> list[int] | None:
    parts = re.split(r"[-/.]", text)
    if len(parts) not in (2, 3) or not all(p.isdigit() for p in parts):
        return None
    return [int(p) for p in parts]


def _numeric(text: str, today: dt.date, calendar: str, horizon_days: int) -> list[dt.date]:
    """The day of 12-05, 12/05/2026, 2026-12-05, 15/3/2019: day first, except when the year is.

    A reading that nobody could book yet gives way to one that they can; what was read is always said back
    with its weekday and month, so that nothing is guessed in silence.
    """
    parts = _split(text)
    if parts is None:
        return []
    if len(parts) == 3:
        year_first = parts[0] > 31
        year, month, day = parts if year_first else (parts[2], parts[1], parts[0])
        if year < 100:
            year += 2000
        # The calendars are seven or eight years apart: the year says which one is meant.
        near = min(("gregorian", "ethiopian"), key=lambda c: abs(year - _year(today, c)))
        return _next(day, month, year, near, today) or (
            [] if year_first else _next(month, day, year, near, today)
        )
    readings = _next(parts[0], parts[1], None, calendar, today)
    if calendar == "ethiopian":
        readings += _next(parts[0], parts[1], None, "gregorian", today)
    # Month first is how nobody here writes, unless the day first is no day or too far off to be meant.
    readings += _next(parts[1], parts[0], None, "gregorian", today)
    if calendar == "gregorian":
        # 20/3 in December: no 20 March that can be booked, but a 20 Hidar.
        readings += _next(parts[0], parts[1], None, "ethiopian", today)
    readings.sort(key=lambda date: (date - today).days > horizon_days)
    return list(dict.fromkeys(readings))[:1]


def _year(today: dt.date, calendar: str) -> int:
    return to_ethiopian(today).year if calendar == "ethiopian" else today.year


def _bare_day(tags: Sequence[Tag], today: dt.date, calendar: str, used: set[int]) -> list[dt.date]:
    """25, 25th, on the 25: the next day with that number; below 10 only with th, st, nd or rd."""
    for at, tag in enumerate(tags):
        if at in used or tag.kind != "number":
            continue
        day = int(tag.values[0][:6])
        ordinal = has_word(tags, at + 1, "ordinal")
        if not 1 <= day <= 31 or (day < 11 and not ordinal):
            continue
        if not ordinal and (has_word(tags, at + 1, "person", "seat", "book", "day", "week")):
            continue
        if has_word(tags, at + 1, *_MONTHS) or has_word(tags, at - 1, *_MONTHS):
            continue  # 30 Pagumen: a day that does not exist
        found = _next_numbered(day, today, calendar)
        if found is not None:
            used.add(at)
            if ordinal:
                used.add(at + 1)
            return [found]
    return []


def _next_numbered(day: int, today: dt.date, calendar: str) -> dt.date | None:
    for ahead in range(0, 70):
        candidate = today + dt.timedelta(days=ahead)
        number = to_ethiopian(candidate).day if calendar == "ethiopian" else candidate.day
        if number == day:
            return candidate
    return None


def _read_hour(tags: Sequence[Tag], used: set[int]) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    window = None
    part = ""
    for at, tag in enumerate(tags):
        if tag.kind == "word" and any(v in _PARTS for v in tag.values):
            part = next(v for v in tag.values if v in _PARTS)
            window = _PARTS[part]
            used.add(at)
            break
    for at, tag in enumerate(tags):
        hour = minute = None
        if tag.kind == "numeric" and (match := re.fullmatch(r"(\d{1,2})[:.](\d{2})", tag.values[0])):
            h, m = int(match.group(1)), int(match.group(2))
            colon = ":" in tag.values[0]
            near = has_word(tags, at + 1, "am", "pm", "hour") or has_word(tags, at - 1, "hour")
            if h < 24 and m < 60 and (colon or near or m > 13):
                hour, minute = h, m
        elif (number := number_of(tag)) is not None and number < 24:
            local = has_word(tags, at + 1, "hour") and tags[at + 1].text not in ("at",)
            before = has_word(tags, at - 1, "hour")
            half = has_word(tags, at - 1, "half_past")
            if local or before or half or has_word(tags, at + 1, "am", "pm"):
                half = half or has_word(tags, at + (2 if local else 1), "half_after")
                hour, minute = number, 30 if half else 0
        if hour is None or minute is None or at in used:
            continue
        used.add(at)
        spoken = {tags[i].languages for i in (at - 1, at + 1) if has_word(tags, i, "hour")}
        for neighbour in (at - 1, at + 1):
            if has_word(tags, neighbour, "hour", "am", "pm"):
                used.add(neighbour)
        if has_word(tags, at + 1, "am"):
            return (hour % 12 * 60 + minute,), None
        if has_word(tags, at + 1, "pm"):
            return ((hour % 12 + 12) * 60 + minute,), None
        if hour == 0 or hour > 12:
            return (hour * 60 + minute,), None
        local_first = any(languages and "en" not in languages for languages in spoken)
        return _hours(hour, minute, window if part else None, local_first=local_first), None
    return (), window


def _hours(hour: int, minute: int, window: tuple[int, int] | None, *, local_first: bool) -> tuple[int, ...]:
    """All minutes of the day that "6:30" can be, the likelier clock first."""
    plain = [(hour % 24) * 60 + minute, ((hour + 12) % 24) * 60 + minute]
    counted = [((hour % 12) + 6) * 60 + minute, ((hour % 12 + 18) % 24) * 60 + minute]
    ranked = counted + plain if local_first else plain[:1] + counted + plain[1:]
    if window is not None:
        within = [m for m in ranked if window[0] <= m <= window[1]]
        ranked = within or ranked
    return tuple(dict.fromkeys(ranked))


# -- printing


def day(date: dt.date, language: Language) -> str:
    """A day in both calendars with its weekday: `Mon 23 Nov 2026 (14 Hidar 2019)`."""
    names, ethiopian = language.names, to_ethiopian(date)
    weekday = names.weekdays[date.weekday()]
    local = f"{ethiopian.day} {names.ethiopian[ethiopian.month - 1]} {ethiopian.year}"
    if language.calendar == "ethiopian":
        return f"{weekday} {local} ({date.day}/{date.month}/{date.year})"
    return f"{weekday} {date.day:02} {names.gregorian[date.month - 1]} {date.year} ({local})"


def day_short(date: dt.date, language: Language) -> str:
    """A day near enough to need no year: `Mon 23 Nov (14 Hidar)`, `ሰኞ 14 ኅዳር (23/11)`."""
    names, ethiopian = language.names, to_ethiopian(date)
    weekday = names.weekdays[date.weekday()]
    local = f"{ethiopian.day} {names.ethiopian[ethiopian.month - 1]}"
    if language.calendar == "ethiopian":
        return f"{weekday} {local} ({date.day}/{date.month})"
    return f"{weekday} {date.day} {names.gregorian[date.month - 1]} ({local})"


def clock(minute_of_day: int, language: Language) -> str:
    """A time of day, with the hour counted from six where the language counts so."""
    hour, minute = divmod(minute_of_day % MINUTES_PER_DAY, 60)
    spoken = f"{local_hour(hour)}:{minute:02}" if minute else language.hour.format(n=local_hour(hour))
    part = language.names.parts[hour // 6]
    return language.clock.format(clock=f"{hour:02}:{minute:02}", hour=spoken, part=part)
