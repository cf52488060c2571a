"""Money texts of the wallets: reading what came in, by patterns that are data (config/receipts.toml).

A receipt is proof only when the modem received it from the wallet's own sender. Text that no pattern fits is
no receipt, whatever it says about money.
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Receipt", "ReceiptErrors", "Wallet", "Wallets", "load_wallets"]

FILE: Final = Path(__file__).resolve().parents[2] / "config" / "receipts.toml"
_AMOUNT: Final = r"(?P<amount>\d[\d,]*(?:\.\d{1,2})?)\.?"
_PAYER: Final = r"(?P<payer>\+?[\d*]{8,14})"
_DAYS: Final = "123456789ABCDEFGHIJKLMNOPQRSTUV"
MOST_SANTIM: Final = 100_000_000  # a million birr: a bigger amount is a misread one


class ReceiptErrors(Exception):
    """The patterns cannot be used. `lines`: one per mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Receipt(msgspec.Struct, frozen=True):
    """payer: what the wallet shows of the number, such as 2519****1234, or "". dated: its ID fits the day."""

    wallet: str
    reference: str
    amount_santim: int
    payer: str
    dated: bool


class Wallet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    senders: tuple[str, ...]
    reference: str
    patterns: tuple[str, ...]
    year_of_a: int = 0


class Wallets:
    """The wallets whose texts count here."""

    def __init__(self, wallets: Iterable[Wallet]) -> None:
        self._by_sender: dict[str, tuple[Wallet, tuple[re.Pattern[str], ...]]] = {}
        errors = []
        for wallet in wallets:
            patterns = []
            for number, pattern in enumerate(wallet.patterns):
                try:
                    patterns.append(_compiled(pattern, wallet.reference))
                except (re.error, ValueError) as error:
                    errors.append(f"receipts.toml: {wallet.name}: patterns[{number}]: {error}")
            for sender in wallet.senders:
                self._by_sender[sender.casefold()] = (wallet, tuple(patterns))
        if errors:
            raise ReceiptErrors(errors)

    def is_wallet(self, sender: str) -> bool:
        """Whether texts of this sender are about money, and never answered."""
        return sender.casefold() in self._by_sender

    def read(self, sender: str, text: str, today: dt.date) -> Receipt | None:
        """What came in, or None: the text is something else."""
        known = self._by_sender.get(sender.casefold())
        if known is None:
            return None
        wallet, patterns = known
        plain = " ".join(text.split())
        for pattern in patterns:
            found = pattern.search(plain)
            if found is None:
                continue
            amount = _santim(found["amount"])
            if not 0 < amount <= MOST_SANTIM:
                return None
            reference = found["reference"].upper()
            payer = found.groupdict().get("payer") or ""
            return Receipt(wallet.name, reference, amount, payer, _fits(reference, wallet, today))
        return None


def _compiled(pattern: str, reference: str) -> re.Pattern[str]:
    for needed in ("{amount}", "{reference}"):
        if needed not in pattern:
            raise ValueError(f"no {needed}")
    whole = (
        pattern.replace("{amount}", _AMOUNT)
        .replace("{payer}", _PAYER)
        .replace("{reference}", rf"(?P<reference>{reference})(?![A-Z0-9])")
    )
    return re.compile(whole, re.IGNORECASE)


def _santim(text: str) -> int:
    birr, _, rest = text.replace(",", "").partition(".")
    return int(birr) * 100 + int(rest.ljust(2, "0") if rest else 0)


def _fits(reference: str, wallet: Wallet, today: dt.date) -> bool:
    """Whether the date inside the ID is today's, a day more or less: plausible, not proof."""
    if not wallet.year_of_a:
        return True
    try:
        date = dt.date(
            wallet.year_of_a + ord(reference[0]) - ord("A"),
            ord(reference[1]) - ord("A") + 1,
            _DAYS.index(reference[2]) + 1,
        )
    except ValueError:
        return False
    return abs((date - today).days) <= 1


@lru_cache(maxsize=4)
def _file(path: Path) -> tuple[Wallet, ...]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(tree.get("wallet", []), tuple[Wallet, ...])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ReceiptErrors([f"{path.name}: {error}"]) from error


def load_wallets(names: Iterable[str], path: Path | None = None) -> Wallets:
    """The wallets an operator uses, by name. Raises ReceiptErrors for a name that is not in the file."""
    wallets = {wallet.name: wallet for wallet in _file(path or FILE)}
    wanted = list(names)
    unknown = [name for name in wanted if name not in wallets]
    if unknown:
        known = ", ".join(wallets)
        raise ReceiptErrors([f"payments.wallets: {name!r}; want one of {known}" for name in unknown])
    return Wallets(wallets[name] for name in wanted)
