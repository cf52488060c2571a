"""The table of commands: name to handler, filled by the modules beside this one."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from firmware_bridge.simulator.answers import AtRefusal, Cme
from firmware_bridge.simulator.line import Call, Kind

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

__all__ = ["LATER", "TABLE", "Answer", "Handler", "Later", "command", "number", "ranged"]


class Later(enum.Enum):
    LATER = "later"


LATER: Final = Later.LATER  # the handler will end the command itself, by modem.resume or modem.refuse
Answer = list[str] | Literal[Later.LATER]  # information lines before OK


@dataclass(frozen=True, slots=True)
class Handler:
    """run: the work. needs_sim: refused until the SIM is open; needs_sms: and its messages are readable."""

    run: Callable[[GsmModem, Call], Answer]
    needs_sim: bool = False
    needs_sms: bool = False


TABLE: Final[dict[str, Handler]] = {}


def command(
    *names: str, sim: bool = False, sms: bool = False
) -> Callable[[Callable[[GsmModem, Call], Answer]], Callable[[GsmModem, Call], Answer]]:
    """Enter a handler in the table under these names."""

    def enter(run: Callable[[GsmModem, Call], Answer]) -> Callable[[GsmModem, Call], Answer]:
        for name in names:
            TABLE[name] = Handler(run, needs_sim=sim or sms, needs_sms=sms)
        return run

    return enter


def number(
    arguments: list[str | None], at: int, default: int | None = None, *, refusal: AtRefusal | None = None
) -> int:
    """The argument at a position as a number. Raises `refusal`, by default +CME ERROR 50."""
    value = arguments[at] if at < len(arguments) else None
    if value is None or value == "":
        if default is not None:
            return default
    elif value.isdecimal():
        return int(value)
    raise refusal or Cme(50)


def ranged(
    call: Call, current: int, allowed: tuple[int, ...], *, refusal: AtRefusal | None = None
) -> tuple[int, Answer]:
    """The four forms of a command that is one number: (value from now on, answer)."""
    name = call.name
    if call.kind is Kind.READ:
        return current, [f"{name}: {current}"]
    if call.kind is Kind.TEST:
        return current, [f"{name}: ({','.join(map(str, allowed))})"]
    if call.kind is Kind.EXECUTE:
        return allowed[0], []
    value = number(call.arguments, 0, refusal=refusal)
    if value not in allowed:
        raise refusal or Cme(50)
    return value, []
