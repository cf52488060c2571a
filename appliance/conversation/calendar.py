"""The Ethiopian calendar and the clock that counts from six, beside the Gregorian ones.

Twelve months of 30 days and Pagumen of 5, or 6 when the year modulo 4 is 3. The local clock starts at
06:00. Formulae: DOMAIN notes, checked there over 1990 to 2089.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

__all__ = ["EthiopianDate", "from_ethiopian", "local_hour", "to_ethiopian"]

_JDN_OF_ORDINAL: Final = 1_721_425
_EPOCH: Final = 1_723_856


class EthiopianDate(NamedTuple):
    year: int
    month: int  # 1 Meskerem to 13 Pagumen
    day: int


def to_ethiopian(date: dt.date) -> EthiopianDate:
    """The Ethiopian date of a Gregorian one."""
    days = date.toordinal() + _JDN_OF_ORDINAL - _EPOCH
    cycles, rest = divmod(days, 1461)
    year = 4 * cycles + rest // 365 - rest // 1460
    month, day = divmod(rest % 365 + 365 * (rest // 1460), 30)
    return EthiopianDate(year, month + 1, day + 1)


def from_ethiopian(year: int, month: int, day: int) -> dt.date:
    """The Gregorian date of an Ethiopian one. Raises ValueError for a date that does not exist."""
    longest = 30 if month <= 12 else (6 if year % 4 == 3 else 5)
    if not (1 <= month <= 13 and 1 <= day <= longest):
        raise ValueError(f"no Ethiopian date {day}/{month}/{year}")
    jdn = _EPOCH + 365 * year + year // 4 + 30 * month + day - 31
    return dt.date.fromordinal(jdn - _JDN_OF_ORDINAL)


def local_hour(hour: int) -> int:
    """The hour as spoken, counted from six: 7 is 1, 13 is 7, 18 is 12."""
    return (hour - 6) % 12 or 12
