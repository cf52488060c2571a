"""The `Prefer: wait=N` header (RFC 7240 4.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["MAX_WAIT_S", "wait_preference"]

MAX_WAIT_S: Final = 60  # longer than any turn may take; beyond it a client holds a connection for nothing

_WAIT: Final = re.compile(r'(?:\A|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=\Z|[,;])', re.IGNORECASE)


def wait_preference(values: list[str]) -> int | None:
    """Seconds that the caller is willing to wait, at most MAX_WAIT_S; None when it did not say.

    `values` are the `Prefer` fields as received. A value that is no number is ignored, as the RFC asks;
    the first of several counts.
    """
    for value in values:
        seconds = _seconds(value)
        if seconds is not None:
            return seconds
    return None


@lru_cache(maxsize=256)  # callers say the same each time, and the search costs 5 us
def _seconds(value: str) -> int | None:
    found = _WAIT.search(value)
    return None if found is None else min(int(found[1]), MAX_WAIT_S)
