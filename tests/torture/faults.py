"""What goes wrong in a round: a seeded plan, and a library that spoils disk and clock."""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["KINDS", "POINTS", "Fault", "Spoiler", "compile_library", "plan"]

SOURCE: Final = Path(__file__).with_name("faulty.c")
_CONTROL: Final = struct.Struct("=iiiiq")  # struct control of faulty.c

# Named steps of the code (appliance/faults.py) at which the process that passes them is killed.
POINTS: Final = (
    "writer.before_begin",
    "writer.before_commit",
    "writer.after_commit",
    "dispatcher.before_send",
    "dispatcher.results",
    "dispatcher.committed",
    "worker.before_turn",
    "worker.after_turn",
    "store.accepted",
)
KINDS: Final = (
    "kill main", "kill worker", "kill both", "kill at a point", "freeze",
    "slow sync", "failing sync", "full disk", "clock forward", "clock back",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """at_s: after the round's traffic began. lasts_s: of faults that end. value: ms, point or seconds."""

    kind: str
    at_s: float
    lasts_s: float = 0.0
    value: str = ""


def plan(rng: random.Random, *, kinds: tuple[str, ...] = KINDS, most: int = 3) -> list[Fault]:
    """One to `most` faults of a round, in order of time."""
    faults = []
    for _ in range(rng.randint(1, most)):
        kind, at_s = rng.choice(kinds), rng.uniform(0.0, 1.5)
        if kind == "kill at a point":
            faults.append(Fault(kind, at_s, value=f"{rng.choice(POINTS)}=kill@{rng.randint(1, 40)}"))
        elif kind == "slow sync":
            faults.append(Fault(kind, at_s, rng.uniform(0.3, 1.5), str(rng.choice((5, 20, 100, 300)))))
        elif kind in ("failing sync", "full disk", "freeze"):
            faults.append(Fault(kind, at_s, rng.uniform(0.1, 1.2)))
        elif kind.startswith("clock"):
            seconds = rng.choice((90, 1_200, 86_400, 40 * 86_400))
            faults.append(Fault(kind, at_s, rng.uniform(0.5, 2.0), str(seconds)))
        else:
            faults.append(Fault(kind, at_s))
    return sorted(faults, key=lambda fault: fault.at_s)


def compile_library(target: Path) -> Path:
    """Build faulty.c. Raises RuntimeError without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("gcc is missing; install it with: sudo apt-get install -y gcc libc6-dev")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        str(target),
        str(SOURCE),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return target


class Spoiler:
    """Switches the faults of faulty.c on and off in a running process."""

    def __init__(self, folder: Path, library: Path, data: Path) -> None:
        file = folder / "faults.bin"
        file.write_bytes(bytes(_CONTROL.size))
        self._file = open(file, "r+b")
        self._map = mmap.mmap(self._file.fileno(), _CONTROL.size)
        self._state = {"delay_ms": 0, "sync_errno": 0, "write_errno": 0, "offset_s": 0}
        self.env = {"LD_PRELOAD": str(library), "TORTURE_CONTROL": str(file), "TORTURE_DIR": str(data)}

    def set(self, **changes: int) -> None:
        self._state |= changes
        state = self._state
        self._map[:] = _CONTROL.pack(
            state["delay_ms"], state["sync_errno"], state["write_errno"], 0, state["offset_s"]
        )

    def begin(self, fault: Fault) -> None:
        match fault.kind:
            case "slow sync":
                self.set(delay_ms=int(fault.value))
            case "failing sync":
                self.set(sync_errno=errno.EIO)
            case "full disk":
                self.set(write_errno=errno.ENOSPC)
            case "clock forward":
                self.set(offset_s=int(fault.value))
            case "clock back":
                self.set(offset_s=-int(fault.value))

    def clear(self) -> None:
        self.set(delay_ms=0, sync_errno=0, write_errno=0, offset_s=0)

    def close(self) -> None:
        self._map.close()
        self._file.close()
        os.unlink(self._file.name)
