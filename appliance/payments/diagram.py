"""Draws the states into docs/payments.md from their tables: python -m appliance.payments.diagram."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from appliance.store.payment_states import ORDER_TRANSITIONS, REFUND_TRANSITIONS, OrderStep

__all__ = ["PAGE", "redrawn"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "payments.md"
_FROM_ANY: Final = (OrderStep.MONEY, OrderStep.ODD)  # true of an order in every state but paid


def _drawn(table: Mapping[Any, Any], first: str) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for always in _FROM_ANY:
        targets = {str(target) for (_, taken), target in table.items() if taken is always}
        lines += [f"    any --> {target}: {always}" for target in sorted(targets)]
    for (state, step), target in table.items():
        if step not in _FROM_ANY:
            lines.append(f"    {state} --> {target}: {step}")
    return "\n".join([*lines, "```", ""])


def redrawn(page: str) -> str:
    """The page with the diagrams of today."""
    for name, table, first in (
        ("orders", ORDER_TRANSITIONS, "wanted"),
        ("refunds", REFUND_TRANSITIONS, "owed"),
    ):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        drawn = _drawn(table, first)
        page = place.sub(lambda found, drawn=drawn: found[1] + drawn + found[2], page)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
