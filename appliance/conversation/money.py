"""Amounts of money: integer santim (1 birr is 100), printed as each language writes them."""

from __future__ import annotations

from appliance.conversation.phrases import Language

__all__ = ["money"]


def money(santim: int, language: Language) -> str:
    """`1,250.00 ETB`, `1,250 ብር`; santim are never dropped when there are any."""
    birr, rest = divmod(santim, 100)
    amount = f"{birr:,}.{rest:02}" if language.santim or rest else f"{birr:,}"
    return language.money.format(amount=amount)
