"""Draws the states into docs/booking.md from the table itself: python -m appliance.apps.booking.diagram."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from appliance.apps.booking.states import TRANSITIONS, State, Step

__all__ = ["drawn", "redrawn"]

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "booking.md"
_PLACE: Final = re.compile(r"(<!-- states -->\n).*?(<!-- /states -->)", re.DOTALL)


def drawn() -> str:
    """The table as a Mermaid diagram. Steps that every state allows are drawn once, from `any`."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE"]
    everywhere = [step for step in Step if len({TRANSITIONS.get((state, step)) for state in State}) == 1]
    for step in everywhere:
        target = TRANSITIONS[State.IDLE, step]
        lines.append(f"    any --> {target}: {step}")
    for (state, step), target in TRANSITIONS.items():
        if step not in everywhere and state is not target:
            lines.append(f"    {state} --> {target}: {step}")
    return "\n".join([*lines, "```", ""])


def redrawn(page: str) -> str:
    """The page with the diagram of today."""
    return _PLACE.sub(lambda found: found[1] + drawn() + found[2], page)


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
