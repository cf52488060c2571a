"""What time it is, on a box whose clock may wake up years in the past, and be set while it runs.

Sources, best first: a system clock that NTP disciplines; the network's time by the modem (NITZ); the
system clock alone, as long as it did not start behind what this box has already seen; and, if it did, the
last time seen plus the time since the start. A system clock that is set while the box runs is believed,
back or forward: somebody or something set it. While the time is not trusted, nothing that is bound to an
hour of the day is sent.

Stored deadlines are moments of one line of time, and a clock that is set tears that line. So a `Clock` that
was given a line (`resume`) does not follow a jump by itself: `now_ms` goes on along the old line until
`take` is called by who moves the deadlines with it (`appliance.timekeeper`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "STEP_MS",
    "Clock",
    "ClockState",
    "Line",
    "once_a_tick",
    "system_clock_is_disciplined",
    "uptime_ms",
]

log = logging.getLogger(__name__)

BUILT_MS: Final = 1_767_225_600_000  # 2026-01-01: no honest clock shows less to this program
SAVE_EVERY_MS: Final = 600_000  # one small write in ten minutes does not wear the card
AGREE_MS: Final = 120_000  # NITZ comes in whole seconds, late, and some networks are a minute off
STEP_MS: Final = 5_000  # less than this is no jump: nothing here has a deadline that would suffer
_STA_UNSYNC: Final = 0x0040  # linux/timex.h
_TIME_ERROR: Final = 5  # what adjtimex returns for a clock that nobody disciplines


class ClockState(NamedTuple):
    """For the page and `check`. source: "ntp", "network", "system" or "saved"."""

    trusted: bool
    source: str
    reason: str


class Line(NamedTuple):
    """A line of time as it is stored: what this box's time is to the kernel's time since the boot.

    boot: the kernel's boot_id. base_ms: this box's time at the boot; system_ms: the system clock's. network:
    the difference is the network's word. known: NTP or a network has confirmed the time in this boot.
    since_ms: where the line begins; what is stored with an earlier time is from before the boot.
    """

    boot: str
    base_ms: int
    system_ms: int
    network: bool
    known: bool
    since_ms: int


def uptime_ms() -> int:
    """Milliseconds since the boot, those of a suspended box included; nobody can set it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def once_a_tick(now_ms: Callable[[], int]) -> Callable[[], int]:
    """The same time for all that happens in one turn of the event loop: a request asks for it five times.

    Outside of the loop it is `now_ms` itself.
    """
    known: list[int] = []

    def read() -> int:
        for now in known:  # rather than an index, which another thread could find gone
            return now
        now = now_ms()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return now
        known.append(now)
        loop.call_soon(known.clear)  # the first thing of the next turn, which nothing delays
        return now

    return read


class Clock:
    """`now_ms` for the whole appliance. file: where the last time seen is kept across power cuts."""

    def __init__(
        self,
        file: Path | None = None,
        *,
        system_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], int] = uptime_ms,
        disciplined: Callable[[], bool] | None = None,
    ) -> None:
        self._file = file
        self._system_ms = system_ms
        self._monotonic_ms = monotonic_ms
        self._disciplined = disciplined or system_clock_is_disciplined
        self._saved_ms = self._floor_ms = max(BUILT_MS, _read(file))
        self._floor_at = monotonic_ms()
        self._offset_ms: int | None = None  # the network's time minus the system's, while it is in use
        self._system_base = system_ms() - self._floor_at  # the system's time at the boot, as last seen
        self._base: int | None = None  # of the line of time, once there is one
        self._since_ms = 0
        self._agreed = False  # a network's time was near the system's
        self._known = False

    def now_ms(self) -> int:
        """UTC milliseconds, the best this box knows; with a line of time, along it."""
        up_ms = self._monotonic_ms()
        now_ms = self._source_ms(up_ms)
        if self._base is not None:
            off_ms = now_ms - up_ms - self._base
            if -STEP_MS < off_ms < STEP_MS:
                self._base += off_ms
            else:
                now_ms = up_ms + self._base
        if now_ms - self._saved_ms >= SAVE_EVERY_MS:
            self._save(now_ms)
        return now_ms

    def _source_ms(self, up_ms: int) -> int:
        """What the best source says now."""
        system_ms = self._system_ms()
        if abs(system_ms - up_ms - self._system_base) >= STEP_MS:
            self._system_base = system_ms - up_ms
            if BUILT_MS <= system_ms < self._floor_ms:
                self._lower(system_ms)
            elif system_ms < BUILT_MS and self._base is not None:
                self._floor_ms, self._floor_at = self._base + up_ms, up_ms  # not believed: the line goes on
        now_ms = system_ms + (self._offset_ms or 0)
        if now_ms >= self._floor_ms:
            return now_ms
        return self._floor_ms + up_ms - self._floor_at

    @property
    def trusted(self) -> bool:
        if self._offset_ms is not None:
            return True
        self._source_ms(self._monotonic_ms())  # a clock that was set back is believed from then on
        return self._system_ms() >= self._floor_ms

    # The line of time.

    def resume(self, stored: Line | None, boot: str) -> int:
        """Take up the line of time, where this boot has one already. Returns the jump since then, in ms.

        A program that starts again in the same boot knows by the kernel's clock how much time went by.
        Across a boot nobody knows: a new line begins.
        """
        up_ms = self._monotonic_ms()
        if stored is None or stored.boot != boot:
            self._base = self._source_ms(up_ms) - up_ms
            self._since_ms = self._base + up_ms
            return 0
        self._base, self._since_ms, self._known = stored.base_ms, stored.since_ms, stored.known
        system_ms = self._system_ms()
        off_ms = stored.base_ms - stored.system_ms
        if abs(system_ms - up_ms - stored.system_ms) < STEP_MS:  # nobody has set the system clock since
            if stored.network:
                self._offset_ms = off_ms
            self._floor_ms, self._floor_at = stored.base_ms + up_ms, up_ms
        elif system_ms >= BUILT_MS:
            self._floor_ms, self._floor_at = min(self._floor_ms, system_ms), up_ms
        else:
            self._floor_ms, self._floor_at = stored.base_ms + up_ms, up_ms
        self._system_base = system_ms - up_ms
        return self.jump_ms()

    def jump_ms(self) -> int:
        """How far the best source is from the line of time; 0 while they agree."""
        assert self._base is not None, "there is no line of time yet"
        up_ms = self._monotonic_ms()
        off_ms = self._source_ms(up_ms) - up_ms - self._base
        return off_ms if abs(off_ms) >= STEP_MS else 0

    def take(self, jump_ms: int) -> None:
        """Follow a jump: from now on the time is the source's."""
        assert self._base is not None, "there is no line of time yet"
        self._base += jump_ms
        self._since_ms += jump_ms

    def line(self, boot: str) -> Line:
        """The line as it is to be stored."""
        assert self._base is not None, "there is no line of time yet"
        self._source_ms(self._monotonic_ms())
        return Line(
            boot, self._base, self._system_base, self._offset_ms is not None, self._known, self._since_ms
        )

    def confirm(self) -> bool:
        """Note whether NTP or a network stands behind the time, once in this boot. True: it does now."""
        disciplined = self._disciplined()
        if disciplined and BUILT_MS <= (system_ms := self._system_ms()) < self._floor_ms:
            self._lower(system_ms)  # NTP outranks a saved time that came from a clock which ran ahead
        if not self._known and (disciplined or self._agreed or self._offset_ms is not None):
            self._known = True
            return True
        return False

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
            self._agreed = True
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
