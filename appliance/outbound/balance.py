"""What an operator says of a SIM's credit: read by patterns that are data (config/balances.toml). Pure."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Balance", "BalanceErrors", "BalanceRule", "Balances", "Operator", "load_balances"]

FILE: Final = Path(__file__).resolve().parents[2] / "config" / "balances.toml"
LONGEST: Final = 1_600  # characters that are looked at: ten parts of an SMS; a USSD answer has 182
MOST_SANTIM: Final = 100_000_000  # a million birr: a bigger amount is a misread one
_GROUPS: Final = frozenset({"amount", "bundle", "date"})


class BalanceErrors(Exception):
    """The patterns cannot be used. `lines`: one per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Balance:
    """amount_santim: None where the text names none. bundle: as it says, "100 SMS". bundle_end: its day."""

    amount_santim: int | None = None
    bundle: str = ""
    bundle_end: dt.date | None = None


@dataclass(frozen=True, slots=True)
class BalanceRule:
    """What a modem's route asks. code: USSD, "" to hear texts only. low, floor: santim; 0 for none."""

    code: str = ""
    low: int = 0
    floor: int = 0
    every_s: float = 6 * 3600.0


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file. verified: its wordings were seen on a SIM."""

    name: str
    ussd: str
    patterns: tuple[str, ...]
    senders: tuple[str, ...] = ()
    date_formats: tuple[str, ...] = ("%d/%m/%Y",)
    verified: bool = False


class Balances:
    """The operators whose words are understood."""

    def __init__(self, operators: Iterable[Operator]) -> None:
        self._known: list[tuple[Operator, tuple[re.Pattern[str], ...]]] = []
        errors = []
        for operator in operators:
            patterns = []
            for number, pattern in enumerate(operator.patterns):
                try:
                    patterns.append(_compiled(pattern))
                except (re.error, ValueError) as error:
                    errors.append(f"balances.toml: {operator.name}: patterns[{number}]: {error}")
            self._known.append((operator, tuple(patterns)))
        if errors:
            raise BalanceErrors(errors)

    def answer(self, code: str, text: str) -> Balance | None:
        """What the answer to a USSD code says; None: nothing that any pattern knows."""
        known = sorted(self._known, key=lambda each: each[0].ussd != code)
        found = (_read(text, operator, patterns) for operator, patterns in known)
        return next((balance for balance in found if balance is not None), None)

    def listens_to(self, sender: str) -> bool:
        """Whether a text from there may speak of credit."""
        return any(_is(sender, operator) for operator, _ in self._known)

    def text(self, sender: str, text: str) -> Balance | None:
        """What an operator's own SMS says; None: another sender, or about something else."""
        for operator, patterns in self._known:
            if _is(sender, operator):
                return _read(text, operator, patterns)
        return None


def load_balances(path: Path = FILE) -> Balances:
    """The file's operators. Raises BalanceErrors with a line for each mistake."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("operator", [])
        return Balances(msgspec.convert(tables, tuple[Operator, ...]))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BalanceErrors([f"{path.name}: {error}"]) from error


def _is(sender: str, operator: Operator) -> bool:
    return sender.casefold() in (each.casefold() for each in operator.senders)


def _compiled(pattern: str) -> re.Pattern[str]:
    found = re.compile(pattern, re.IGNORECASE)
    if not found.groupindex or not _GROUPS.issuperset(found.groupindex):
        raise ValueError("want a group named amount, bundle or date")
    return found


def _read(text: str, operator: Operator, patterns: Sequence[re.Pattern[str]]) -> Balance | None:
    line = " ".join(text[:LONGEST].split())
    amount: int | None = None
    bundle, end = "", None
    for match in filter(None, (pattern.search(line) for pattern in patterns)):
        said = match.groupdict()
        if amount is None and said.get("amount"):
            amount = _santim(said["amount"])
        bundle = bundle or said.get("bundle") or ""
        if end is None and said.get("date"):
            end = _day(said["date"], operator.date_formats)
    if amount is None and not bundle and end is None:
        return None
    return Balance(amount, bundle, end)


def _santim(text: str) -> int | None:
    try:
        santim = int(Decimal(text.replace(",", "")) * 100)
    except InvalidOperation:
        return None
    return santim if santim <= MOST_SANTIM else None


def _day(text: str, formats: Sequence[str]) -> dt.date | None:
    for each in formats:
        try:
            return dt.datetime.strptime(text, each).date()
        except ValueError:
            continue
    return None
