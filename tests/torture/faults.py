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

from tests.torture.providers import SPOILT

__all__ = ["ELSEWHERE", "KINDS", "MODEM", "POINTS", "SHORT", "Fault", "Spoiler", "compile_library", "plan"]

SOURCE: Final = Path(__file__).with_name("faulty.c")
_CONTROL: Final = struct.Struct("=iiiiq")  # struct control of faulty.c

# Named steps of the code (appliance/faults.py) at which the process that passes them is killed.
POINTS: Final = (
    "writer.before_begin",
    "writer.before_commit",
    "writer.after_commit",
    "store.accepted",
    "store.part_accepted",
    "dispatcher.before_send",
    "dispatcher.results",
    "dispatcher.committed",
    "worker.before_turn",
    "worker.after_turn",
    "outbound.recovered",
    "outbound.claimed",
    "outbound.settled",
    "outbound.swept",
    "modem.before_submit",
    "modem.submitted",
    "modem.stored",
    "modem.reported",
    "provider.before_request",
    "provider.answered",
    "provider.reported",
    "gateway.queued",
    "webhook.before_post",
    "webhook.posted",
    "campaign.before_slice",
    "campaign.slice",
    "clock.before_move",
    "clock.moved",
)
# Those of services that this bench's box does not have; the tests of each service kill at them.
ELSEWHERE: Final = ("llm.", "telebirr.")
ONCE: Final = ("outbound.recovered", "outbound.swept", "campaign", "clock", "store.part_accepted")
KILLS: Final = ("kill main", "kill worker", "kill both", "kill at a point", "freeze", "freeze worker")
DISK: Final = ("slow sync", "failing sync", "full disk", "filled disk", "locked file")
CLOCK: Final = ("clock forward", "clock back")
OUTSIDE: Final = ("provider", "webhooks")
MODEM: Final = (
    "modem vanishes", "modem hangs", "modem resets", "network lost", "line noise", "storage full",
    "brown-out", "answer lost", "refused", "deliveries", "reports",
)  # fmt: skip
KINDS: Final = KILLS + DISK + CLOCK + OUTSIDE + MODEM
# What takes its time to heal is drawn seldom: an answer is awaited for a minute before it is given up, a full
# SIM may be found by the sweep of every two minutes, a campaign that found the disk nearly full looks again
# after half a minute.
SLOW: Final = frozenset(
    {"modem hangs", "modem resets", "brown-out", "answer lost", "refused", "storage full", "filled disk"}
)
# Each kind once, in few rounds: the slow ones together, and first, so that the others fit beside them.
SHORT: Final = (
    ("modem hangs", "answer lost", "refused", "kill main"),
    ("kill worker", "slow sync", "provider", "deliveries"),
    ("kill both", "webhooks", "line noise"),
    ("kill at a point", "freeze worker", "reports"),
    ("freeze", "full disk", "network lost"),
    ("failing sync", "modem vanishes"),
    ("locked file", "clock forward"),
    ("filled disk", "clock back"),
    ("modem resets", "storage full", "brown-out"),
)
_WEIGHTS: Final = [0.25 if kind in SLOW else 4.0 for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Fault:
    """at_s: after the traffic began. lasts_s: of faults that end. value: ms, point, word or seconds."""

    kind: str
    at_s: float
    lasts_s: float = 0.0
    value: str = ""


def plan(rng: random.Random, *, kinds: tuple[str, ...] = KINDS, most: int | None = 3) -> list[Fault]:
    """One to `most` faults of a round, in order of time; None: one of each kind."""
    weights = _WEIGHTS if kinds is KINDS else None
    chosen = list(kinds) if most is None else rng.choices(kinds, weights, k=rng.randint(1, most))
    return sorted((_fault(rng, kind) for kind in chosen), key=lambda fault: fault.at_s)


def _fault(rng: random.Random, kind: str) -> Fault:
    at_s = rng.uniform(0.0, 1.2)
    match kind:
        case "kill at a point":
            point = rng.choice(POINTS)
            passes = 1 if point.startswith(ONCE) else rng.randint(1, 30)
            return Fault(kind, at_s, value=f"{point}=kill@{passes}")
        case "slow sync":
            return Fault(kind, at_s, rng.uniform(0.3, 1.5), str(rng.choice((5, 20, 20, 100, 300))))
        case "failing sync" | "full disk" | "filled disk" | "freeze" | "freeze worker":
            return Fault(kind, at_s, rng.uniform(0.1, 1.2))
        case "locked file":
            return Fault(kind, at_s, rng.choice((0.3, 1.0, 2.0, 5.5)))
        case "clock forward" | "clock back":
            seconds = rng.choice((20, 90, 1_200, 86_400, 40 * 86_400))
            return Fault(kind, at_s, rng.uniform(0.2, 1.5), str(seconds))
        case "provider":
            return Fault(kind, at_s, value=rng.choice(SPOILT))
        case "modem vanishes" | "network lost":
            return Fault(kind, at_s, rng.uniform(0.3, 2.0))
        case "modem hangs":
            return Fault(kind, at_s, rng.uniform(0.3, 1.5))
        case "brown-out":
            return Fault(kind, at_s, value=rng.choice(("pdu", "result")))
        case "refused":
            return Fault(kind, at_s, value=rng.choice(("38", "42", "41")))
        case "deliveries":
            return Fault(kind, at_s, value="double")
        case "reports":
            return Fault(kind, at_s, value=rng.choice(("lose", "delay", "double", "shuffle")))
    return Fault(kind, at_s)


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
