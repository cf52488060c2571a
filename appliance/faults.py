"""Fault points: named steps of the code where a torture run may kill, delay or fail the process.

    if faults.armed:
        faults.hit("writer.before_commit")

Off, a point is one attribute test. Switched on by `OUTPOST_FAULTS`, a list of `name=action[@n]` joined by
commas: at the n-th pass (default 1) of that point in this process do the action: `kill` (SIGKILL to this
process), `raise` (FaultInjected), `exit` (os._exit(70)), `sleep<seconds>` or `ioerr` (an OSError).
`name=action@n+` repeats it from the n-th pass on.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["FaultInjected", "arm", "armed", "disarm", "hit", "parse", "passes"]

ENVIRONMENT: Final = "OUTPOST_FAULTS"
_RULE: Final = re.compile(r"([a-z0-9_.]+)=(kill|raise|exit|ioerr|sleep[0-9.]+)(?:@(\d+)(\+?))?\Z")

armed: bool = False
_rules: dict[str, Rule] = {}
_passes: dict[str, int] = {}


class FaultInjected(Exception):
    """Raised by a point whose rule says so; nothing but a test provokes it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """action at the `at`-th pass of a point, and at each later one when `repeat`."""

    action: str
    at: int
    repeat: bool


def parse(text: str) -> dict[str, Rule]:
    """Read the environment's form. Raises ValueError naming the part that is wrong."""
    rules = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _RULE.match(part)
        if match is None:
            raise ValueError(f"{ENVIRONMENT}: {part!r}; want name=kill|raise|exit|ioerr|sleep<s>[@n[+]]")
        rules[match[1]] = Rule(match[2], int(match[3] or 1), bool(match[4]))
    return rules


def arm(rules: Mapping[str, Rule] | str) -> None:
    """Switch the points on in this process, counting passes from zero."""
    global armed
    _rules.clear()
    _passes.clear()
    _rules.update(parse(rules) if isinstance(rules, str) else rules)
    armed = bool(_rules)


def disarm() -> None:
    """Switch every point off again."""
    arm({})


def passes(name: str) -> int:
    """How often an armed process came by this point."""
    return _passes.get(name, 0)


def hit(name: str) -> None:
    """Pass the point `name`; called only under `if faults.armed`."""
    count = _passes[name] = _passes.get(name, 0) + 1
    rule = _rules.get(name)
    if rule is None or count < rule.at or (count > rule.at and not rule.repeat):
        return
    if rule.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif rule.action == "exit":
        os._exit(70)
    elif rule.action == "ioerr":
        raise OSError(5, f"injected at {name}")
    elif rule.action.startswith("sleep"):
        time.sleep(float(rule.action[5:]))
    else:
        raise FaultInjected(name)


if os.environ.get(ENVIRONMENT):
    arm(os.environ[ENVIRONMENT])
