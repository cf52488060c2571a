"""Reading the information lines of answers, in all the forms that modems give them.

Each function takes lines as the dialogue hands them over and returns what it could read, None or nothing for
what it could not: an odd answer to a question we can do without is no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from firmware_bridge.at.urc import is_hex

__all__ = [
    "StoredPdu",
    "clock_ms",
    "fields",
    "first_digits",
    "identity_line",
    "integer",
    "memory_lists",
    "range_lists",
    "registration",
    "stored_messages",
    "values",
]

_PREFIXED: Final = re.compile(r"\s*[+^#*$%&]?[A-Za-z][A-Za-z0-9_]*\s*:")


def fields(text: str) -> list[str]:
    """Split at commas outside quotes and brackets; quotes and blanks around a field go, a missing quote is
    forgiven: `"SM" , 3,"0B,"x"` gives `SM`, `3`, `0B`, `x`."""
    found, piece, quoted, depth = [], "", False, 0
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
            # `"0B,"0100701"`: a quote right after a comma opens a field even if one seemed open.
            if not quoted and piece.endswith(",") and text[position - 1] == ",":
                found.append(piece[:-1].strip())
                piece, quoted = "", True
        elif character == "(" and not quoted:
            depth += 1
            piece += character
        elif character == ")" and not quoted:
            depth = max(0, depth - 1)
            piece += character
        elif character == "," and not quoted and not depth:
            found.append(piece.strip())
            piece = ""
        else:
            piece += character
    found.append(piece.strip())
    return found


def values(lines: Iterable[str], name: str) -> list[str]:
    """What follows `name:` in the lines that start with it, in order."""
    wanted = name.upper()
    found = []
    for line in lines:
        prefix, colon, rest = line.partition(":")
        if colon and prefix.strip().upper() == wanted:
            found.append(rest.strip())
    return found


def integer(text: str) -> int | None:
    """A decimal number with leading zeros, blanks or quotes around or inside it (`" 0 5"` is 5)."""
    digits = text.strip().strip('"').replace(" ", "")
    return int(digits) if re.fullmatch(r"-?\d{1,9}", digits) else None


def identity_line(lines: Sequence[str], name: str) -> str:
    """Answer to AT+CGMI and its like: with or without prefix, quotes, a leading blank, or several lines."""
    own = values(lines, name)
    if own:
        return own[0].strip('" ')
    for line in lines:
        text = line.strip('" ')
        if text and not re.match(r"[+^#*$%&][A-Z0-9_]+\s*:", text):
            # Nokia S60 answers `V 05.56` over several lines; the first says it.
            return re.sub(r"\A(?:Manufacturer|Model|Revision|IMEI)\s*:\s*", "", text, flags=re.IGNORECASE)
    return ""


def first_digits(lines: Iterable[str], least: int, most: int) -> str | None:
    """The first run of `least` to `most` digits that stands alone: IMEI, IMSI, ICCID (whose filler F
    goes)."""
    for line in lines:
        for run in re.findall(
            r"(?<![0-9A-Za-z])([0-9]+)[Ff]?(?![0-9A-Za-z])", line.partition(":")[2] or line
        ):
            if least <= len(run) <= most:
                return str(run)
    return None


def registration(text: str, *, read: bool) -> int | None:
    """stat from what follows `+CREG:` (TS 27.007 7.2). read: it answers AT+CREG?, so <n> may come first.

    Some (Samsung) send the code in the form of the answer: an unquoted small second field is then the stat.
    """
    found = text.split(",")
    first = integer(found[0])
    if len(found) == 1:
        return first
    second = found[1].strip()
    if '"' not in second and second.isdigit() and len(second) <= 3 and int(second) <= 11:
        if read or len(found) in (4, 5):
            return int(second)
    if read and not second:
        return None  # `+CREG: 2,,`
    return first


def range_lists(text: str) -> list[frozenset[int]]:
    """`(0-2),(0,1,3),(0)` as sets of numbers; a bare number is a set of one, `()` an empty one."""
    found = []
    for bracket, bare in re.findall(r"\(([^()]*)\)|(\d+)", text):
        numbers: set[int] = set()
        for low, high in re.findall(r"(\d+)\s*(?:-\s*(\d+))?", bracket or bare):
            numbers.update(range(int(low), min(int(high or low), int(low) + 255) + 1))
        found.append(frozenset(numbers))
    return found


def memory_lists(text: str) -> list[tuple[str, ...]]:
    """`+CPMS=?` in its forms: bracketed lists, bare strings, nested brackets, a missing quote. One tuple of
    names for each memory; empty: no access."""
    inner = text.strip()
    if inner.startswith("((") and inner.endswith("))"):
        inner = inner[1:-1]
    groups = re.findall(r"\(([^()]*)\)|\"?([A-Z]{2}(?:_P)?)\"?(?=\s*(?:,|\Z))", inner)
    return [tuple(re.findall(r"[A-Z]{2}(?:_P)?", bracket or bare)) for bracket, bare in groups]


def clock_ms(text: str) -> int | None:
    """UTC milliseconds of `yy/MM/dd,hh:mm:ss±zz` (TS 27.007 8.15), zz in quarters of an hour.

    None for what is no time and for the values of a clock nobody has set: modems wake in 1980, 2000, 2002,
    2004.
    """
    match = re.fullmatch(r"(\d{2,4})/(\d\d)/(\d\d),(\d\d):(\d\d):(\d\d)([+-]\d{1,2})?", text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    year += 2000 if year < 100 else 0
    if not 2020 <= year < 2080:
        return None
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return int(local.timestamp() * 1000) - int(match[7] or 0) * 15 * 60 * 1000


@dataclass(frozen=True, slots=True)
class StoredPdu:
    """One entry of +CMGL or +CMGR. index: slot, None for +CMGR. stat: 0 unread, 1 read, 2 unsent, 3 sent,
    None unknown. length: TPDU octets as announced. pdu: hex as received, upper case, possibly cut short."""

    index: int | None
    stat: int | None
    length: int | None
    pdu: str

    @property
    def is_ours(self) -> bool:
        """Received, not a draft or a copy of something sent."""
        return self.stat not in (2, 3)


_STAT_WORDS: Final = {"REC UNREAD": 0, "REC READ": 1, "STO UNSENT": 2, "STO SENT": 3}


def stored_messages(lines: Iterable[str], name: str) -> list[StoredPdu]:
    """Entries of +CMGL (name "+CMGL") or +CMGR: `i,stat,[alpha],len` or `i,stat,len` and a PDU line, or all
    on one line. A last entry cut short in its header is dropped; junk between the lines is skipped."""
    found: list[StoredPdu] = []
    header: list[str] | None = None
    wanted = name.upper()
    for line in lines:
        prefix, colon, rest = line.partition(":")
        if colon and prefix.strip().upper() == wanted:
            header = fields(rest)
            if len(header) > 2 and is_hex(header[-1], least=10):
                found.append(_entry(header[:-1], header[-1], wanted))
                header = None
        elif header is not None and re.fullmatch(r"[0-9A-Fa-f]{4,}", line):
            found.append(_entry(header, line, wanted))
            header = None
    return found


def _entry(header: list[str], pdu: str, name: str) -> StoredPdu:
    index = None
    if name == "+CMGL":
        index, header = integer(header[0]), header[1:]
    stat = _STAT_WORDS.get(header[0].upper()) if header else None
    if stat is None and header:
        stat = integer(header[0])
    length = integer(header[-1]) if len(header) > 1 else None
    return StoredPdu(index, stat, length, pdu.upper())
