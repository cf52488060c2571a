"""Our side of the radio benchmark, as a process of its own so that its CPU time is its own.

    python radio_driver.py LINK_DIR MODEMS MESSAGES

drives modem0 .. of a running simulator back to back and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the benchmark runs from a checkout, from any folder

from appliance import loop  # noqa: E402
from firmware_bridge.modem import Modem, ModemSettings  # noqa: E402
from firmware_bridge.pdu import submits  # noqa: E402

TEXT = "Your seat to Hawassa is booked: 06:30, bus 4, seats 11 and 12. Pay 482"  # 70 characters
READY_S = 60.0


def phone_of(position: int) -> str:
    """The number that the modem at a position sends to."""
    return f"+{251922000001 + position}"


class GapMeter:
    """Our seconds from the OK behind +CMGS to the next AT+CMGS, where bytes enter and leave the driver.

    Something else may be asked in between: a health poll, or AT+CNMA for a report. The modem's time for its
    answer is not ours; what we take behind it is. interrupted: how often that was so.
    """

    def __init__(self) -> None:
        self.gaps_s: list[float] = []
        self.interrupted = 0
        self._answered: dict[str, float] = {}  # since when it is our turn
        self._own_s: dict[str, float] = {}  # what we took so far in this gap
        self._accepted: set[str] = set()

    def __call__(self, line: str) -> None:
        name, mark, text = line.split(" ", 2)
        if mark == "<" and text.startswith("+CMGS:"):
            self._accepted.add(name)
        elif mark == "<" and text == "OK" and name in self._accepted:
            self._accepted.discard(name)
            self._answered[name], self._own_s[name] = time.perf_counter(), 0.0
        elif mark == "<" and name in self._own_s and (text == "OK" or "ERROR" in text):
            self._answered[name] = time.perf_counter()
        elif mark == ">" and (answered := self._answered.pop(name, None)) is not None:
            self._own_s[name] += time.perf_counter() - answered
            if text.startswith("AT+CMGS="):
                self.gaps_s.append(self._own_s.pop(name))
            else:
                self.interrupted += 1


async def _nothing(*_: Any) -> None:
    return None


async def _drive(modem: Modem, recipient: str, messages: int) -> None:
    (submit,) = submits(recipient, TEXT)
    for _ in range(messages):
        await modem.send(submit)


async def measure(link_dir: Path, count: int, messages: int) -> dict[str, Any]:
    gaps = GapMeter()
    modems = [
        Modem(
            ModemSettings(name=f"modem{position}", port=str(link_dir / f"modem{position}"), profile=None),
            on_deliver=_nothing,
            on_status_report=_nothing,
            wire_log=gaps,
        )
        for position in range(count)
    ]
    tasks = [asyncio.create_task(modem.run(), name=modem.name) for modem in modems]
    began = time.perf_counter()
    ready = asyncio.gather(*(modem.wait_ready() for modem in modems))
    done, _ = await asyncio.wait({*tasks, ready}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a modem that gave up says why
    if ready not in done:
        raise TimeoutError(f"{[m.health.state for m in modems].count('ready')} of {count} modems are ready")
    ready_s = time.perf_counter() - began
    cpu_before, wall_before = cpu_s(), time.perf_counter()
    await asyncio.gather(
        *(_drive(modem, phone_of(position), messages) for position, modem in enumerate(modems))
    )
    used_s, wall_s = cpu_s() - cpu_before, time.perf_counter() - wall_before
    for modem in modems:
        await modem.stop()
    await asyncio.gather(*tasks)
    return {"ready_s": round(ready_s, 3), **summary(gaps, used_s, wall_s)}


def summary(gaps: GapMeter, used_s: float, wall_s: float) -> dict[str, Any]:
    """What both programs print: used_s of CPU in wall_s."""
    gaps_ms = sorted(gap * 1000 for gap in gaps.gaps_s)
    return {
        "loop": loop.loop_name(),
        "wall_s": round(wall_s, 3),
        "cpu_percent": round(100 * used_s / wall_s, 2),
        "gaps": len(gaps_ms),
        "gaps_interrupted": gaps.interrupted,
        "gap_ms_p50": _percentile(gaps_ms, 50),
        "gap_ms_p99": _percentile(gaps_ms, 99),
        "gap_ms_max": _percentile(gaps_ms, 100),
    }


def cpu_s() -> float:
    """Of this process and its threads so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _percentile(ordered: list[float], percent: int) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


if __name__ == "__main__":
    print(json.dumps(loop.run(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
