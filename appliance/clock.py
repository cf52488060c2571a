"""What time it is, on a box whose clock may wake up years in the past.

Sources, best first: a system clock that NTP disciplines; the network's time by the modem (NITZ); the
system clock alone, as long as it is not behind what this box has already seen; and, if it is, the last
time seen plus the time since the start. `now_ms` never falls behind the saved time. While the time is not
trusted, nothing expires and nothing that is bound to an hour of the day is sent.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Clock", "ClockState", "system_clock_is_disciplined"]

log = logging.getLogger(__name__)

BUILT_MS: Final = 1_767_225_600_000  # 2026-01-01: no honest clock shows less to this program
SAVE_EVERY_MS: Final = 600_000  # one small write in ten minutes does not wear the card
AGREE_MS: Final = 120_000  # NITZ comes in whole seconds, late, and some networks are a minute off
_STA_UNSYNC: Final = 0x0040  # linux/timex.h
_TIME_ERROR: Final = 5  # what adjtimex returns for a clock that nobody disciplines


class ClockState(NamedTuple):
    """For the page and `check`. source: "ntp", "network", "system" or "saved"."""

    trusted: bool
    source: str
    reason: str


class Clock:
    """`now_ms` for the whole appliance. file: where the last time seen is kept across power cuts."""

    def __init__(
        self,
        file: Path | None = None,
        *,
        system_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        disciplined: Callable[[], bool] | None = None,
    ) -> None:
        self._file = file
        self._system_ms = system_ms
        self._monotonic_ms = monotonic_ms
        self._disciplined = disciplined or system_clock_is_disciplined
        self._saved_ms = self._floor_ms = max(BUILT_MS, _read(file))
        self._floor_at = monotonic_ms()
        self._offset_ms: int | None = None  # the network's time minus the system's, while it is in use
        self._said: ClockState | None = None

    def now_ms(self) -> int:
        """UTC milliseconds, the best this box knows."""
        now_ms = self._system_ms() + (self._offset_ms or 0)
        if now_ms < self._floor_ms:
            return self._floor_ms + self._monotonic_ms() - self._floor_at
        if now_ms - self._saved_ms >= SAVE_EVERY_MS:
            self._save(now_ms)
        return now_ms

    @property
    def trusted(self) -> bool:
        return self._offset_ms is not None or self._system_ms() >= self._floor_ms

    def state(self) -> ClockState:
        """Why the time is what it is."""
        if self._offset_ms is not None:
            off_s = abs(self._offset_ms) // 1000
            return ClockState(
                True, "network", f"the system clock is {off_s} s off; the network's time is used"
            )
        if self._system_ms() < self._floor_ms:
            return ClockState(
                False,
                "saved",
                "the system clock is behind the last time this box has seen; set it, or wait for NTP",
            )
        if self._disciplined():
            return ClockState(True, "ntp", "")
        return ClockState(True, "system", "nobody disciplines the system clock")

    def network_says(self, network_ms: int) -> None:
        """A modem told the network's time (NITZ, +CCLK). Used where the system clock is not to be trusted."""
        if network_ms < BUILT_MS:
            return  # the factory's value of a modem that was never told
        off_ms = network_ms - self._system_ms()
        if abs(off_ms) <= AGREE_MS or (self._disciplined() and self._system_ms() >= self._floor_ms):
            if self._offset_ms is not None:
                log.info("the system clock is right again; the network's time is no longer needed")
            self._offset_ms = None
            if self._floor_ms > network_ms + AGREE_MS:
                self._lower(min(network_ms, self._system_ms()))
            return
        if self._offset_ms is None or abs(off_ms - self._offset_ms) > AGREE_MS:
            log.warning("the system clock is %d s off; the network's time is used", off_ms // 1000)
        self._offset_ms = off_ms
        if network_ms < self._floor_ms:
            # The saved time came from a clock that ran ahead; what the network says outranks it.
            self._lower(network_ms)

    def message_says(self, sent_at_ms: int) -> None:
        """A text's SCTS: the time cannot be earlier. Believed only while nothing better is known."""
        if not self.trusted and sent_at_ms > self.now_ms():
            self._floor_ms, self._floor_at = sent_at_ms, self._monotonic_ms()

    def _lower(self, now_ms: int) -> None:
        self._floor_ms, self._floor_at = now_ms, self._monotonic_ms()
        self._save(now_ms)

    def _save(self, now_ms: int) -> None:
        self._saved_ms = now_ms
        if self._system_ms() + (self._offset_ms or 0) >= now_ms:
            self._floor_ms, self._floor_at = now_ms, self._monotonic_ms()
        if self._file is None:
            return
        # A torn or lost write costs ten minutes of knowledge, so it is not worth a sync.
        with contextlib.suppress(OSError):
            new = self._file.with_suffix(".new")
            new.write_text(f"{now_ms}\n", encoding="ascii")
            new.replace(self._file)


def system_clock_is_disciplined() -> bool:
    """Whether NTP (or PTP) steers the kernel's clock, by adjtimex(2)."""

    class Timex(ctypes.Structure):
        _fields_ = [
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        ]

    answer = Timex()
    try:
        result = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer))
    except (OSError, AttributeError):
        return False
    return result not in (-1, _TIME_ERROR) and not answer.status & _STA_UNSYNC


def _read(file: Path | None) -> int:
    if file is None or not os.path.exists(file):
        return 0
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii").strip())
    return 0
