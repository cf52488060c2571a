"""Draw into docs/ what is data in the code: the dialogue's states, the modem families.

`python docs/state_diagram.py` after a change of either; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent


def diagram() -> str:
    """The table as a Mermaid state diagram; inputs that lead the same way share an arrow."""
    from firmware_bridge.at.states import TRANSITIONS, AtState

    arrows: dict[tuple[AtState, AtState], list[str]] = {}
    for (state, what), after in TRANSITIONS.items():
        arrows.setdefault((state, after), []).append(what.value)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> idle"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(why)}" for (a, b), why in arrows.items()]
    return "\n".join([*lines, "```", ""])


def families() -> str:
    """The profiles as a table."""
    from firmware_bridge.profiles import load_profiles

    lines = ["", "| profile | family | to know |", "|---|---|---|"]
    for profile in load_profiles():
        lines.append(f"| `{profile.name}` | {profile.family} | {'; '.join(profile.notes)} |")
    return "\n".join([*lines, "", ""])


def _between(text: str, what: str, drawn: str) -> str:
    begin, end = f"<!-- {what} -->\n", f"<!-- end of {what} -->"
    head, _, rest = text.partition(begin)
    return head + begin + drawn + end + rest.partition(end)[2]


def page_with_diagram(text: str) -> str:
    """docs/firmware_bridge.md with its diagram drawn anew."""
    return _between(text, "diagram", diagram())


def page_with_families(text: str) -> str:
    """docs/modems.md with its families listed anew."""
    return _between(text, "families", families())


if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent))
    for name, draw in (("firmware_bridge.md", page_with_diagram), ("modems.md", page_with_families)):
        page = DOCS / name
        page.write_text(draw(page.read_text(encoding="utf-8")), encoding="utf-8")
