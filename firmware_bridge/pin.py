"""The SIM's PIN: tried once, and only when that cannot lock the SIM.

Three wrong PINs lock a SIM, and a box in the field restarts often. So an attempt is recorded before it is
made; a PIN that was refused is not tried again until the configuration names another one, and one whose
outcome a power cut swallowed is tried again only if the SIM shows all three attempts left.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Final, Protocol

from firmware_bridge.at import response
from firmware_bridge.at.command import attempt, basic
from firmware_bridge.errors import AtError, AtTimeout
from firmware_bridge.line import Line
from firmware_bridge.startup import SimTrouble

__all__ = [
    "FilePinRecord",
    "MemoryPinRecord",
    "PinRecord",
    "PinState",
    "attempts_left",
    "give_pin",
    "pin_key",
]

FULL: Final = 3  # attempts a SIM gives (TS 31.101 9.5.1)
# Where makers show the counter, and which number in the answer it is.
COUNTERS: Final[tuple[tuple[str, str, int], ...]] = (
    ("AT+CPINR", "+CPINR", 1),  # TS 27.007 8.65: +CPINR: SIM PIN,3,3
    ("AT^CPIN?", "^CPIN", 3),  # Huawei: ^CPIN: SIM PIN,,10,3,10,3
    ("AT+SPIC", "+SPIC", 0),  # SIMCom: +SPIC: 3,10,0,10
    ("AT+QPINC?", "+QPINC", 1),  # Quectel: +QPINC: "SC",3,10
    ("AT#PCT", "#PCT", 0),  # Telit: #PCT: 3
)


class PinState(enum.StrEnum):
    TRYING = "trying"  # recorded before the attempt; its outcome is not known
    GOOD = "good"
    REFUSED = "refused"


class PinRecord(Protocol):
    """What is remembered of each PIN, under a key that does not give it away. `write` must be durable when it
    returns."""

    def read(self, key: str) -> PinState | None: ...

    def write(self, key: str, state: PinState) -> None: ...


class MemoryPinRecord:
    """Forgets at exit: for the library's first steps and for tests."""

    def __init__(self) -> None:
        self._states: dict[str, PinState] = {}

    def read(self, key: str) -> PinState | None:
        return self._states.get(key)

    def write(self, key: str, state: PinState) -> None:
        self._states[key] = state


class FilePinRecord:
    """A small JSON file, replaced and synced at each write. An unreadable file counts as "trying": it may
    not cost a SIM its last attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, key: str) -> PinState | None:
        try:
            found = self._load().get(key)
            return None if found is None else PinState(found)
        except ValueError:
            return PinState.TRYING

    def write(self, key: str, state: PinState) -> None:
        try:
            states = self._load()
        except ValueError:
            states = {}
        states[key] = state.value
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(states, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _load(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        return found


def pin_key(name: str, imei: str | None, pin: str) -> str:
    """Changes with the PIN, the modem or its name in the configuration."""
    # Slow to reverse even for 10 000 PINs: the file may end up in a support bundle.
    digest = hashlib.scrypt(pin.encode(), salt=f"{name}/{imei or ''}".encode(), n=2**12, r=8, p=1, dklen=16)
    return digest.hex()


async def attempts_left(line: Line) -> int | None:
    """PIN attempts the SIM has left; None if the modem does not show it."""
    for text, name, position in COUNTERS:
        try:
            lines = await line.execute(basic(text))
        except (AtError, AtTimeout):
            continue
        for value in response.values(lines, name):
            found = response.fields(value)
            if len(found) > position and (number := response.integer(found[position])) is not None:
                return number
    return None


async def give_pin(line: Line, *, state: str, pin: str | None, key: str, record: PinRecord) -> None:
    """Enter the PIN if that is safe. state: the text of +CPIN?. Raises SimTrouble, parked, with
    instructions."""
    if "PUK" in state:
        raise SimTrouble(
            f"SIM is locked: it wants {state}",
            "put the SIM in a phone, enter the PUK from its card, then set the PIN in the configuration",
            parked=True,
        )
    if state != "SIM PIN":
        raise SimTrouble(f"modem wants {state}", "this lock is the operator's; ask him", parked=True)
    if pin is None:
        raise SimTrouble("SIM wants its PIN", "set pin in the configuration of this modem", parked=True)
    if not re.fullmatch(r"\d{4,8}", pin):
        raise SimTrouble(
            "the configured PIN is not 4 to 8 digits", "correct pin in the configuration", parked=True
        )
    before = record.read(key)
    if before is PinState.REFUSED:
        raise SimTrouble(
            "the SIM refused the configured PIN",
            "correct pin in the configuration; it is not tried again",
            parked=True,
        )
    left = await attempts_left(line)
    if left is not None and left < FULL:
        raise SimTrouble(
            f"only {left} PIN attempts left on the SIM",
            "put the SIM in a phone and enter the right PIN there once",
            parked=True,
        )
    if left is None and before is PinState.TRYING:
        raise SimTrouble(
            "the PIN was tried before and its outcome was lost",
            "put the SIM in a phone to see that its PIN is right, then set pin in the configuration again",
            parked=True,
        )
    record.write(key, PinState.TRYING)
    try:
        await line.execute(attempt("+CPIN", pin, timeout_s=15.0, secret=True))
    except AtError as e:
        record.write(key, PinState.REFUSED)
        raise SimTrouble(
            "the SIM refused the configured PIN",
            "correct pin in the configuration; it is not tried again",
            parked=True,
        ) from e
    except AtTimeout as e:
        raise SimTrouble("no answer to the PIN", "asks the SIM whether it took it") from e
    record.write(key, PinState.GOOD)
