"""The grammar of one AT command line (ITU-T V.250 5.2 to 5.4): from text to calls.

`ATE0V1+CMEE=1;+CREG?` is four calls. Nothing here knows what a command means.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Call", "Kind", "LineError", "parse_line", "split_arguments"]


class LineError(Exception):
    """The line is no command line; the modem answers ERROR."""


class Kind(enum.Enum):
    EXECUTE = "execute"  # AT+CMGL, ATZ, ATE0
    READ = "read"  # AT+CREG?
    TEST = "test"  # AT+CNMI=?
    SET = "set"  # AT+CMGF=0


@dataclass(frozen=True, slots=True)
class Call:
    """One command of a line. name: "+CMGF", "E", "&F", "S0"; text: what follows "=" or the number."""

    name: str
    kind: Kind
    text: str = ""

    @property
    def arguments(self) -> list[str | None]:
        """The values after "=", unquoted; None where a value was left out; [] when there are none."""
        return split_arguments(self.text)


# Prefixes of extended commands: "+" is the standard's; the others are Huawei/Cinterion, SIMCom, Telit, ...
_EXTENDED: Final = re.compile(r"[+^*#$%!@][A-Z0-9_&:.\-/]*", re.IGNORECASE)
_BASIC: Final = re.compile(r"(?:S\d+|[&\\]?[A-Z])", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d*")


def _end_of_value(line: str, start: int) -> int:
    """Where the value that begins at `start` ends: at a ";" outside quotes or at the end."""
    quoted = False
    for at in range(start, len(line)):
        if line[at] == '"':
            quoted = not quoted
        elif line[at] == ";" and not quoted:
            return at
    return len(line)


def parse_line(line: str) -> list[Call]:
    """Split what follows "AT" into calls. Raises LineError where the grammar ends.

    A dial command (`D...`) takes the whole rest of the line, as V.250 6.3.1 has it.
    """
    calls: list[Call] = []
    at = 0
    while at < len(line):
        if line[at] in " ;":
            at += 1
            continue
        if extended := _EXTENDED.match(line, at):
            name, at = extended.group().upper(), extended.end()
            end = _end_of_value(line, at)
            rest = line[at:end].strip()
            at = end + 1
            if not rest:
                calls.append(Call(name, Kind.EXECUTE))
            elif rest == "?":
                calls.append(Call(name, Kind.READ))
            elif rest == "=?":
                calls.append(Call(name, Kind.TEST))
            elif rest.startswith("="):
                calls.append(Call(name, Kind.SET, rest[1:].strip()))
            else:
                raise LineError(f"{name}{rest}")
        elif basic := _BASIC.match(line, at):
            name, at = basic.group().upper(), basic.end()
            if name == "D":
                calls.append(Call(name, Kind.EXECUTE, line[at:]))
                return calls
            if line.startswith("=", at) or line.startswith("?", at):
                end = _end_of_value(line, at)
                rest, at = line[at:end], end + 1
                kind = {"?": Kind.READ, "=?": Kind.TEST}.get(rest, Kind.SET)
                calls.append(Call(name, kind, "" if kind is not Kind.SET else rest[1:]))
                continue
            number = _NUMBER.match(line, at)
            text = number.group() if number else ""
            at += len(text)
            calls.append(Call(name, Kind.EXECUTE, text))
        else:
            raise LineError(line[at:])
    return calls


def split_arguments(text: str) -> list[str | None]:
    """Split a value list at commas outside quotes: `1,,"a,b"` is ["1", None, "a,b"]."""
    if not text.strip():
        return []
    values: list[str | None] = []
    current: list[str] = []
    quoted = was_quoted = False
    for character in text + ",":
        if character == '"':
            quoted = not quoted
            was_quoted = True
        elif character == "," and not quoted:
            value = "".join(current) if was_quoted else "".join(current).strip()
            values.append(value if value or was_quoted else None)
            current, was_quoted = [], False
        else:
            current.append(character)
    if quoted:  # one quote missing: the whole rest is the last value
        values.append("".join(current).rstrip(","))
    return values
