"""Wrong passwords of the page, counted by address, so that nobody finds the right one by trying."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["GUESSES", "WINDOW_S", "Guesses"]

GUESSES: Final = 5  # wrong ones from an address before it has to wait ...
WINDOW_S: Final = 900.0  # ... until so long after the first of them
_ADDRESSES_KEPT: Final = 4_096


class Guesses:
    """In memory: a restart forgives. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0: now."""
        count, since = self._known.get(_network(address), (0, 0.0))
        return max(0.0, since + WINDOW_S - self._clock()) if count >= GUESSES else 0.0

    def wrong(self, address: str) -> None:
        key, now = _network(address), self._clock()
        count, since = self._known.pop(key, (0, now))
        if now - since >= WINDOW_S:
            count, since = 0, now
        self._known[key] = (count + 1, since)
        if len(self._known) > _ADDRESSES_KEPT:
            self._known.popitem(last=False)

    def right(self, address: str) -> None:
        self._known.pop(_network(address), None)


def _network(address: str) -> str:
    """An IPv6 caller has a network of addresses to guess from: all of it counts as one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
