"""What is known of a modem, as frozen snapshots that the appliance shows."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from firmware_bridge.errors import UsageError
from firmware_bridge.pdu import Deliver

__all__ = [
    "REGISTRATION_TEXT",
    "USABLE_REGISTRATION",
    "ModemHealth",
    "ModemSettings",
    "Received",
    "signal_dbm",
]

# stat of +CREG (TS 27.007 7.2). SMS works in these; 6 and 7 are SMS only.
USABLE_REGISTRATION: Final = frozenset({1, 5, 6, 7, 9, 10})
REGISTRATION_TEXT: Final[Mapping[int, str]] = {
    0: "not registered, not searching",
    1: "registered, home",
    2: "searching",
    3: "denied",
    4: "unknown",
    5: "registered, roaming",
    6: "registered for SMS only, home",
    7: "registered for SMS only, roaming",
    8: "emergency calls only",
    9: "registered, CSFB not preferred, home",
    10: "registered, CSFB not preferred, roaming",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemSettings:
    """How to find and drive one modem.

    port: a device path, best a /dev/serial/by-id one, or "auto". pin, smsc: None when the SIM needs none set.
    Raises UsageError for what could not be right. profile: name of a file in config/modems/, or "auto" by
    identity. imei, iccid: with port "auto", only the modem with this IMEI or the SIM with this ICCID is
    taken. canary_number: own number for the canary SMS; None: off.
    """

    name: str = "modem"
    port: str = "auto"
    baud: int = 115200
    pin: str | None = None
    smsc: str | None = None
    profile: str | None = "auto"
    imei: str | None = None
    iccid: str | None = None
    rtscts: bool = False
    poll_s: float = 15.0  # between health polls
    sweep_s: float = 120.0  # between sweeps of the store, when nothing asks for one
    canary_number: str | None = None
    canary_s: float = 6 * 3600.0  # idle time after which a canary is sent
    ussd_allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, pattern, want in _WANTED:
            value = getattr(self, name)
            if value is not None and not re.fullmatch(pattern, value):
                raise UsageError(f"modem {self.name!r}: {name}: {value!r}; want {want}")


# What could otherwise reach an AT line, a log line or a path unchecked. The PIN is looked at where it is
# used.
_WANTED: Final = (
    ("name", r"[\w.-]{1,40}", "letters, digits, . - _"),
    ("smsc", r"\+?\d{3,20}", "a number such as +251911299708"),
    ("canary_number", r"\+?\d{3,15}", "a number such as +251911234567"),
    ("imei", r"\d{14,16}", "15 digits"),
    ("iccid", r"\d{18,20}", "19 or 20 digits"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemHealth:
    """state: starting, ready, degraded, recovering or parked. since_ms: UTC. next_step: what the driver or
    the person does next. registration: stat of +CREG or +CEREG, whichever is usable; None unknown.
    signal_dbm: None unknown. storage: of the receiving memory, in messages. sent, received: since the
    program started."""

    name: str
    state: str = "starting"
    reason: str = ""
    since_ms: int = 0
    next_step: str = ""
    port: str = ""
    operator: str | None = None
    registration: int | None = None
    signal_dbm: int | None = None
    imei: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    own_number: str | None = None
    smsc: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware: str | None = None
    profile: str | None = None
    usb_path: str | None = None
    storage_used: int | None = None
    storage_total: int | None = None
    network_time_ms: int | None = None  # UTC as the network gave it, at network_time_at
    network_time_at: float | None = None  # monotonic s of that reading
    alarms: tuple[str, ...] = ()
    sent: int = 0
    received: int = 0

    @property
    def registration_text(self) -> str:
        if self.registration is None:
            return "unknown"
        return REGISTRATION_TEXT.get(self.registration, f"stat {self.registration}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One SMS-DELIVER as it lies in the modem. pdu: with SCA octets. memory: "SM", "ME" ..., or "" when it
    came by +CMT and is stored nowhere; index: its slot then None. modem: name in the configuration."""

    pdu: bytes
    deliver: Deliver
    memory: str
    index: int | None
    modem: str


def signal_dbm(rssi: int) -> int | None:
    """dBm of the first number of +CSQ (TS 27.007 8.5); 99 and 199 mean unknown."""
    if 0 <= rssi <= 31:
        return -113 + 2 * rssi
    if 100 <= rssi <= 191:
        return rssi - 100 - 116  # TD-SCDMA and some LTE parts: RSCP
    return None


class HealthBoard:
    """The current snapshot, and who is told when it changes."""

    COUNT_S: ClassVar[float] = 0.25  # counters are told of this often at most: they change with every send

    def __init__(self, first: ModemHealth, on_change: Callable[[ModemHealth], None] | None) -> None:
        self.now = dataclasses.replace(first, since_ms=wall_ms())
        self._on_change = on_change
        self._untold: asyncio.TimerHandle | None = None

    def change(self, **fields: Any) -> None:
        if any(getattr(self.now, name) != value for name, value in fields.items()):
            self.now = dataclasses.replace(self.now, **fields)
            self._tell()

    def count(self, **fields: int) -> None:
        """Like change, but told of a little later, together with what else has changed by then."""
        self.now = dataclasses.replace(self.now, **cast("dict[str, Any]", fields))
        if self._untold is None:
            self._untold = asyncio.get_running_loop().call_later(self.COUNT_S, self._tell)

    def _tell(self) -> None:
        if self._untold is not None:
            self._untold.cancel()
            self._untold = None
        if self._on_change is not None:
            self._on_change(self.now)

    def state(self, state: str, reason: str = "", next_step: str = "") -> None:
        """since_ms moves only with the state itself."""
        since = self.now.since_ms if state == self.now.state else wall_ms()
        self.change(state=state, reason=reason, next_step=next_step, since_ms=since)


def wall_ms() -> int:
    """UTC milliseconds: for people, never for timers."""
    return time.time_ns() // 1_000_000
