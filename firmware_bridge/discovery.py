"""Which port is which modem: found by asking, known by IMEI, ICCID and USB path, never by ttyUSB number.

A scan asks every candidate port that nobody holds for its identity; one scan at a time in a process, its
answers shared by all modems that look. A port that opens and never answers AT is left alone for a while:
most modems have two or three such.
"""

from __future__ import annotations

import asyncio
import glob
import os
import re
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from firmware_bridge.at import response
from firmware_bridge.at.command import basic
from firmware_bridge.errors import AtError, AtTimeout, BridgeError, PortBusy, PortLost, PortUnusable
from firmware_bridge.health import ModemSettings
from firmware_bridge.line import Line
from firmware_bridge.startup import straight_iccid

__all__ = ["Found", "PortFinder", "Registry", "WrongModem", "candidates", "others_holding", "usb_path"]

# ttyS* are left out: a probe there talks to consoles, meters and pumps.
PATTERNS: Final = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyHS*", "/dev/wwan*at*")
PROBE_S: Final = 1.5
AT_ONCE: Final = 8
FRESH_S: Final = 2.0  # an answer is shared that long
AVOID_S: Final = 30.0  # a port that turned out to be another modem
# With port "auto" the modem lost is looked for that long before any other is taken.
KNOWN_IMEI_S: Final = 60.0
SILENT_S: Final = 30.0  # a port without an answer is left alone that long
ICCID_COMMANDS: Final = ("AT+CCID", "AT^ICCID?", "AT+QCCID", "AT+ICCID")


@dataclass(frozen=True, slots=True)
class Found:
    """A port that answers AT. usb_path: "1-1.3" of sysfs, None when it is no USB device. interface: its
    number on that device."""

    path: str
    imei: str | None
    iccid: str | None
    usb_path: str | None
    interface: int | None = None
    vendor: str | None = None


@dataclass(slots=True)
class _Asked:
    at: float
    stamp: tuple[int, int]
    found: Found | None


@dataclass(slots=True)
class Registry:
    """What the modems of one process share: the ports they hold, who has which IMEI, and the last scan."""

    clock: Callable[[], float] = time.monotonic
    held: dict[str, str] = field(default_factory=dict)  # real path -> modem name
    owner: dict[str, str] = field(default_factory=dict)  # IMEI -> modem name
    live: dict[str, str] = field(default_factory=dict)  # IMEI -> modem name, while its port is open
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def shared(cls) -> Registry:
        """The registry of the running loop."""
        loop = asyncio.get_running_loop()
        found = _REGISTRIES.get(loop)
        if found is None:
            found = _REGISTRIES[loop] = cls(clock=loop.time)
        return found

    def hold(self, path: str, name: str) -> bool:
        """Claim a port for a modem; False if another modem of this process has it."""
        real = _real(path)
        return self.held.setdefault(real, name) == name

    def release(self, name: str) -> None:
        """Let go of whatever `name` holds: by name, since the path of a port that is gone leads nowhere."""
        for real in [r for r, n in self.held.items() if n == name]:
            del self.held[real]
            self._asked.pop(real, None)
        self.live = {i: n for i, n in self.live.items() if n != name}

    def belongs_to_other(self, imei: str | None, name: str) -> bool:
        """True if `imei` is known to be another modem of this process, or of another name in the
        configuration."""
        return imei is not None and self.owner.get(imei, name) != name

    async def find(
        self,
        name: str,
        ports: Callable[[], Iterable[str]],
        *,
        imei: str | None = None,
        iccid: str | None = None,
        avoid: Sequence[str] = (),
        baud: int = 115200,
    ) -> Found | None:
        """The port to use for `name`, already held for it; None if there is none now.

        imei, iccid: only this modem, this SIM; None: any that belongs to no other name.
        """
        async with self._lock:
            answers = await self._scan(ports, baud, set(map(_real, avoid)))
            fitting = [
                f
                for f in answers
                if not self.belongs_to_other(f.imei, name)
                and (imei is None or f.imei == imei)
                and (iccid is None or f.iccid is None or f.iccid == iccid)
            ]
            # A modem whose SIM could not be read is better than none, one whose SIM matches is better still.
            fitting.sort(key=lambda f: (iccid is not None and f.iccid != iccid, _rank(f), f.path))
            for found in fitting:
                if self.hold(found.path, name):
                    if found.imei is not None:
                        self.owner[found.imei] = name
                    return found
        return None

    async def _scan(self, ports: Callable[[], Iterable[str]], baud: int, avoid: set[str]) -> list[Found]:
        now = self.clock()
        wanted: dict[str, str] = {}
        for path in ports():
            wanted.setdefault(_real(path), path)
        todo = []
        for real, path in wanted.items():
            stamp = _stamp(real)
            asked = self._asked.get(real)
            if real in self.held or real in avoid or stamp is None:
                self._asked.pop(real, None)
                continue
            if asked is not None and asked.stamp == stamp:
                if now - asked.at < (SILENT_S if asked.found is None else FRESH_S):
                    continue
            todo.append((real, path, stamp))
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(real: str, path: str, stamp: tuple[int, int]) -> None:
            async with gate:
                try:
                    found = await probe(path, baud)
                except PortUnusable:
                    self._asked.pop(real, None)  # busy or just gone: ask again next time
                    return
                self._asked[real] = _Asked(self.clock(), stamp, found)

        await asyncio.gather(*(one(*t) for t in todo))
        for real in [r for r in self._asked if r not in wanted]:
            del self._asked[real]
        return [
            a.found for r, a in self._asked.items() if a.found is not None and r in wanted and r not in avoid
        ]


_REGISTRIES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Registry] = weakref.WeakKeyDictionary()


class WrongModem(PortUnusable):
    """The port answers, but it is another modem than the one meant."""


class PortFinder:
    """The port of one modem, by what the modem is: remembers its IMEI from the first time it was up."""

    def __init__(self, settings: ModemSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._imei = settings.imei
        self._lost_at = clock()
        self._avoid: dict[str, float] = {}

    def lost(self) -> None:
        """It was up and is gone now."""
        self._lost_at = self._clock()

    async def find(self) -> str:
        """A path held for us in the registry. Raises PortUnusable with the reason when there is none now."""
        settings, registry, now = self._settings, Registry.shared(), self._clock()
        self._avoid = {p: t for p, t in self._avoid.items() if t > now}
        port, name = settings.port, settings.name
        if port == "auto" or port.startswith("auto:"):
            known = settings.imei or (self._imei if now - self._lost_at < KNOWN_IMEI_S else None)
            found = await registry.find(
                name,
                candidates(port),
                imei=known,
                iccid=settings.iccid,
                avoid=tuple(self._avoid),
                baud=settings.baud,
            )
            if found is None:
                raise PortUnusable("no modem found on any port; is it plugged in and powered?")
            return found.path
        if _real(port) not in self._avoid and _stamp(port) is not None:
            if registry.hold(port, name):
                return port
            raise PortBusy(f"{port}: another modem of this configuration has it")
        if self._imei is None:
            raise PortUnusable(f"{port}: no such port; is the modem plugged in?")
        # It is known by what it is: a replugged modem comes back under whatever name is free.
        siblings = candidates("auto:" + re.sub(r"\d+\Z", "", port) + "*")
        usual = candidates("auto")
        found = await registry.find(
            name,
            lambda: [*siblings(), *usual()],
            imei=self._imei,
            avoid=tuple(self._avoid),
            baud=settings.baud,
        )
        if found is None:
            raise PortUnusable(f"{port}: gone, and on no other port is the modem {mask_imei(self._imei)}")
        return found.path

    def confirm(self, imei: str | None, path: str) -> None:
        """Bind the name to the modem that answers on `path`. Raises WrongModem if it is known to be another.

        An IMEI that another modem shows at the same time is no identity: clones share theirs.
        """
        registry, name, wanted = Registry.shared(), self._settings.name, self._settings.imei
        wrong = wanted is not None and imei is not None and imei != wanted
        owner = registry.owner.get(imei or "", name)
        if wrong or (owner != name and registry.live.get(imei or "") != owner):
            self._avoid[_real(path)] = self._clock() + AVOID_S
            raise WrongModem(f"{path} is the modem {mask_imei(imei)}, not the one meant")
        if imei is not None:
            if self._imei is not None and self._imei != imei and registry.owner.get(self._imei) == name:
                del registry.owner[self._imei]  # a person put another modem there
            if owner == name:
                registry.owner[imei] = registry.live[imei] = name
                self._imei = imei

    def release(self) -> None:
        Registry.shared().release(self._settings.name)


def mask_imei(imei: str | None) -> str:
    return "unknown" if imei is None else f"…{imei[-5:]}"


def candidates(port: str) -> Callable[[], list[str]]:
    """Ports to ask for `port`: "auto" the usual ones, "auto:GLOB" those that match (`auto:/dev/modem*`)."""
    patterns = (port.partition(":")[2],) if port.startswith("auto:") else PATTERNS

    def listed() -> list[str]:
        return sorted({p for pattern in patterns for p in glob.glob(pattern)}, key=_natural)

    return listed


async def probe(path: str, baud: int = 115200, *, timeout_s: float = PROBE_S) -> Found | None:
    """Ask a port who it is; None if it does not talk AT. Raises PortBusy or PortUnusable."""
    # /proc of a busy machine takes tens of milliseconds, which the loop does not have.
    if await asyncio.to_thread(others_holding, path):
        return None
    clock = asyncio.get_running_loop().time
    line = Line(on_urc=lambda code: None, on_broken=lambda why: None, clock=clock)
    await line.open(path, baud)
    try:
        async with asyncio.timeout(timeout_s):
            await line.synchronise()
        await _optional(line, "ATE0")
        imei = response.first_digits(await _optional(line, "AT+CGSN"), 14, 16)
        iccid = None
        for text in ICCID_COMMANDS:
            iccid = response.first_digits(await _optional(line, text), 18, 20)
            if iccid is not None:
                iccid = straight_iccid(iccid)
                break
    except (TimeoutError, PortLost):
        return None
    except BridgeError:
        return None
    finally:
        line.close()
    device, interface, vendor = _usb(path)
    return Found(path, imei, iccid, device, interface, vendor)


async def _optional(line: Line, text: str) -> tuple[str, ...]:
    try:
        return await line.execute(basic(text, timeout_s=2.0))
    except AtError:
        return ()
    except AtTimeout as e:
        return e.lines


def others_holding(path: str) -> bool:
    """True if another process has the port open, as far as /proc lets us see: gammu and others take no
    lock."""
    real = _real(path)
    if real.startswith("/dev/pts/"):
        return False  # the other end's program may well keep the slave open, as simulators do
    me = str(os.getpid())
    for process in glob.glob("/proc/[0-9]*"):
        if process.endswith("/" + me):
            continue
        try:
            for number in os.listdir(process + "/fd"):
                if os.readlink(f"{process}/fd/{number}") == real:
                    return True
        except OSError:
            continue  # another user's, or gone
    return False


def usb_path(path: str) -> str | None:
    """Where the device is plugged in: "1-1.3" of /sys/bus/usb/devices."""
    return _usb(path)[0]


def _usb(path: str) -> tuple[str | None, int | None, str | None]:
    name = os.path.basename(_real(path))
    device = Path("/sys/class/tty", name, "device")
    try:
        here = device.resolve(strict=True)
    except OSError:
        return None, None, None
    interface = None
    for folder in (here, *here.parents):
        number = folder / "bInterfaceNumber"
        if interface is None and number.exists():
            interface = int(number.read_text().strip() or "0", 16)
        if (folder / "idVendor").exists():
            return folder.name, interface, (folder / "idVendor").read_text().strip()
    return None, interface, None


# Where makers put the port that carries unsolicited codes, by USB interface number.
_BEST_INTERFACE: Final = {"2c7c": 2, "1e0e": 2, "12d1": 2, "19d2": 1, "1bc7": 2}


def _rank(found: Found) -> tuple[int, int]:
    best = _BEST_INTERFACE.get(found.vendor or "")
    return (0 if best is not None and found.interface == best else 1, found.interface or 0)


def _real(path: str) -> str:
    return os.path.realpath(path)


def _stamp(real: str) -> tuple[int, int] | None:
    """Changes when a port of the same name is another one."""
    try:
        status = os.stat(real)
    except OSError:
        return None
    return status.st_ino, status.st_rdev


def _natural(path: str) -> tuple[str, int, str]:
    digits = "".join(c for c in os.path.basename(path) if c.isdigit())
    return (os.path.dirname(path), int(digits or 0), path)
