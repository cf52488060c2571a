"""Time stamps of the service centre: TP-SCTS, TP-DT, absolute TP-VP (TS 23.040 9.2.3.11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from firmware_bridge.errors import PduDecodeError, UsageError

__all__ = ["SCTS_OCTETS", "Scts", "decode_scts"]

SCTS_OCTETS: Final = 7
_CENTURY: Final = 2000  # the year has two digits; no SMS is older than this box
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _semi_octet_pair(octet: int) -> int:
    """Two decimal digits, the first in the low half. Raises ValueError if one is no digit."""
    tens, units = octet & 0x0F, octet >> 4
    if tens > 9 or units > 9:
        raise ValueError(octet)
    return 10 * tens + units


@dataclass(frozen=True, slots=True)
class Scts:
    """A time stamp with its zone, as the seven octets it came in.

    Broken service centres send zeros, month 0 or hex digits: the octets are kept and `moment` and
    `utc_ms` are None, so that the message lives and its time of receipt is used.
    """

    octets: bytes

    @property
    def moment(self) -> datetime | None:
        """The time in the service centre's own zone, or None when the octets are no time."""
        year, month, day, hour, minute, second, zone = self.octets
        try:
            # sign is bit 3 of the first semi-octet; the rest counts quarters of an hour
            quarters = _semi_octet_pair(zone & 0xF7)
            offset = timedelta(minutes=-15 * quarters if zone & 0x08 else 15 * quarters)
            return datetime(
                _CENTURY + _semi_octet_pair(year),
                _semi_octet_pair(month),
                _semi_octet_pair(day),
                _semi_octet_pair(hour),
                _semi_octet_pair(minute),
                _semi_octet_pair(second),
                tzinfo=timezone(offset),
            )
        except (ValueError, OverflowError):
            return None

    @property
    def utc_ms(self) -> int | None:
        """UTC milliseconds since 1970, or None when the service centre sent nonsense."""
        moment = self.moment
        return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)

    @property
    def zone_minutes(self) -> int | None:
        """The zone's offset from UTC in minutes (a multiple of 15), or None with the time."""
        moment = self.moment
        offset = None if moment is None else moment.utcoffset()
        return None if offset is None else offset // timedelta(minutes=1)

    def isoformat(self) -> str:
        """`2030-10-05T16:09:59-09:30`, or an empty string when the octets are no time."""
        moment = self.moment
        return "" if moment is None else moment.isoformat()

    @classmethod
    def from_datetime(cls, moment: datetime) -> Scts:
        """Encode an aware datetime of 2000 to 2099, zone cut to quarters of an hour.

        Raises UsageError for a naive one, another century or a zone beyond 19:45 h.
        """
        offset = moment.utcoffset()
        if offset is None:
            raise UsageError("a time stamp needs its zone")
        quarters = round(offset / timedelta(minutes=15))
        if abs(quarters) > 79:
            raise UsageError(f"zone of {offset} does not fit 7 bits of quarter hours")
        local = moment.astimezone(timezone(timedelta(minutes=15 * quarters)))
        if not _CENTURY <= local.year < _CENTURY + 100:
            raise UsageError(f"year {local.year} does not fit two digits from {_CENTURY}")
        pairs = (local.year % 100, local.month, local.day, local.hour, local.minute, local.second)
        octets = [value // 10 | value % 10 << 4 for value in (*pairs, abs(quarters))]
        if quarters < 0:
            octets[-1] |= 0x08
        return cls(bytes(octets))

    @classmethod
    def from_utc_ms(cls, utc_ms: int, *, zone_minutes: int = 0) -> Scts:
        """Encode UTC milliseconds since 1970 in the given zone; parts of a second are cut."""
        zone = timezone(timedelta(minutes=zone_minutes))
        return cls.from_datetime((_EPOCH + timedelta(seconds=utc_ms // 1000)).astimezone(zone))

    @classmethod
    def from_iso(cls, text: str) -> Scts:
        """Read `2030-10-05T16:09:59-09:30`. Raises UsageError if it is no time with a zone."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{text!r} is no time; want 2030-10-05T16:09:59+03:00") from None
        return cls.from_datetime(moment)


def decode_scts(octets: bytes) -> Scts:
    """Wrap seven octets. Raises PduDecodeError for another number of them, never for their values."""
    if len(octets) != SCTS_OCTETS:
        raise PduDecodeError(f"TP-SCTS: {len(octets)} octets; want {SCTS_OCTETS}")
    return Scts(octets)
