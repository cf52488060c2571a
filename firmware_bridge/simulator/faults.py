"""Faults as rules: at which point of a modem's work, how often, and what goes wrong there.

The core asks `strikes(point, ...)` at each point where reality goes wrong and does what the rule says.
Without rules every answer is None. All chance comes from the world's seed.
"""

from __future__ import annotations

import random
import re
from typing import Final

import msgspec

__all__ = ["POINTS", "Faults", "Rule"]

# Where a fault can strike: what `match` is held against there, and what can be done there.
POINTS: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "command": (
        "a command line, without AT",
        frozenset({"error", "swallow", "hang", "delay", "reset", "garbage", "urc"}),
    ),
    "prompt": (
        "the number of octets, before the prompt",
        frozenset({"delay", "swallow", "text", "urc", "hang", "refuse"}),
    ),
    "pdu": (
        "the recipient, after Ctrl-Z and before the radio",
        frozenset({"refuse", "error", "hang", "brownout", "swallow", "delay"}),
    ),
    "submit": ("the recipient, at the SMSC", frozenset({"refuse", "lie"})),
    "result": (
        "the recipient, when the SMSC has the message and the modem is about to say so",
        frozenset({"swallow", "error", "hang", "brownout", "delay"}),
    ),
    "deliver": ("the sender, when a message reaches the modem", frozenset({"lose", "double"})),
    "report": (
        "the recipient, when a report is due",
        frozenset({"lose", "delay", "double", "shuffle", "fail"}),
    ),
    "delete": ("the index, at AT+CMGD", frozenset({"ignore", "refuse", "swallow"})),
    "urc": ("the unsolicited line about to be said", frozenset({"lose"})),
}


class Rule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One fault. It strikes at `point` when `match` is found there, after `skip` misses, `times` times.

    modem: only there; None: anywhere. chance: 0 to 1. seconds, code, text, number: what `do` needs.
    """

    point: str
    do: str
    modem: str | None = None
    match: str | None = None
    skip: int = 0
    times: int | None = None
    chance: float = 1.0
    seconds: float = 0.0
    code: int = 0
    text: str = ""
    struck: int = 0

    def __post_init__(self) -> None:
        if self.point not in POINTS:
            raise ValueError(f"fault point {self.point!r}; want one of {', '.join(POINTS)}")
        verbs = POINTS[self.point][1]
        if self.do not in verbs:
            raise ValueError(f"{self.point}: do {self.do!r}; want one of {', '.join(sorted(verbs))}")


class Faults:
    """The rules in force, in the order they were added; the first that applies strikes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.rules: list[Rule] = []

    def add(self, rule: Rule) -> Rule:
        """Put a rule in force."""
        self.rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule back; nothing happens when it is gone already."""
        if rule in self.rules:
            self.rules.remove(rule)

    def clear(self, modem: str | None = None) -> None:
        """Take back all rules, or all of one modem."""
        self.rules = [rule for rule in self.rules if modem is not None and rule.modem != modem]

    def strikes(self, point: str, modem: str, subject: str = "") -> Rule | None:
        """The rule that strikes here and now, or None."""
        if not self.rules:
            return None
        for rule in self.rules:
            if rule.point != point or (rule.modem is not None and rule.modem != modem):
                continue
            if rule.match is not None and re.search(rule.match, subject) is None:
                continue
            if rule.chance < 1.0 and self._rng.random() >= rule.chance:
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.times is not None and rule.struck >= rule.times:
                continue
            rule.struck += 1
            return rule
        return None
