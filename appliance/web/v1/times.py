"""Times as clients write them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, overload

from appliance.web.problem import field_error

__all__ = ["parse_time"]

_LATEST_MS: Final = 7_258_118_400_000  # the year 2200: what is beyond is a slip, and no database's date


@overload
def parse_time(text: str, where: str) -> int: ...
@overload
def parse_time(text: str | None, where: str) -> int | None: ...
def parse_time(text: str | None, where: str) -> int | None:
    """UTC milliseconds of an ISO 8601 time with a zone; None of None. Raises a Problem that names `where`."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("no zone")
        at_ms = int(at.timestamp() * 1000)
        if not 0 <= at_ms < _LATEST_MS:
            raise ValueError("not of this age")
    except (ValueError, OverflowError):
        raise field_error(where, "ISO 8601 with a zone", text[:40]) from None
    return at_ms
