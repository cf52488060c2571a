"""How many SMS a text costs, known before it is sent, so that a reply can be cut to fit.

The modem side owns the real segmenting; a test holds the two counts equal. Sizes: TS 23.038 6.2.1 and
TS 23.040 9.2.3.24 with an 8-bit concatenation reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["fit_lines", "segments", "tidy"]

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
_FOREIGN: Final = re.compile(f"[^{re.escape(''.join(sorted(_BASIC | _EXTENDED)))}]")
_LOOK_ALIKES: Final = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "“": '"',
        "”": '"',
        "–": "-",
        "—": "-",
        "…": "...",
        "\u00a0": " ",
        "\t": " ",
    }
)


def tidy(text: str) -> str:
    """Replace the typographic characters that would turn a Latin text into UCS-2 (hudhaa among them)."""
    return text.translate(_LOOK_ALIKES)


def segments(text: str) -> int:
    """SMS that this text takes; an empty text takes one."""
    if _FOREIGN.search(text) is None:
        single, joined, wide = 160, 153, _EXTENDED
        units = len(text) + sum(map(text.count, _EXTENDED))
    else:
        single, joined, wide = 70, 67, None
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if units <= single:
        return 1
    sizes = [2 if (c in wide if wide is not None else c > "\uffff") else 1 for c in text]
    count, room = 1, joined
    for size in sizes:  # neither an escape pair nor a surrogate pair is split
        if size > room:
            count, room = count + 1, joined
        room -= size
    return count


def fit_lines(head: str, lines: Sequence[str], foot: str, *, budget: int) -> tuple[str, int]:
    """Join head, as many lines as fit, and foot. Returns the text and how many lines are in it.

    At least one line is kept: a reply that says nothing would be worse than one that costs more.
    """
    for count in range(len(lines), 1, -1):
        text = "\n".join([head, *lines[:count], foot]).strip("\n")
        if segments(text) <= budget:
            return text, count
    return "\n".join([head, *lines[:1], foot]).strip("\n"), min(1, len(lines))
