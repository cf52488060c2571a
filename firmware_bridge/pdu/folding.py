"""Folding of typographic characters that would turn a whole message into UCS-2.

One curly quote costs a sender more than half of each segment. The folding changes looks only, never
a letter, and says what it changed. Hudhaa, the glottal stop of Afaan Oromo, is often typed as U+2019
or a modifier letter and is folded to the ASCII apostrophe that phones expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from firmware_bridge.pdu.alphabet import first_outside_gsm7

__all__ = ["FOLDS", "Folded", "fold_to_gsm7"]

FOLDS: Final[Mapping[str, str]] = {
    # apostrophes and single quotes
    **dict.fromkeys("‘’‚‛′ʼʻʹʾʿˈ`´＇", "'"),
    # double quotes
    **dict.fromkeys("“”„‟«»″＂", '"'),
    "‹": "<",
    "›": ">",
    # hyphens, dashes, minus
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63\uff0d", "-"),
    "…": "...",
    "•": "*",
    "·": ".",
    "×": "x",
    "÷": "/",
    "⁄": "/",
    "→": "->",
    "←": "<-",
    "✓": "OK",
    "✔": "OK",
    # spaces: no-break, en to hair, narrow, medium, ideographic; tab
    **dict.fromkeys(
        "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
        " ",
    ),
    # line ends: TS 23.038 has LF, and CR is left to those who mean it
    "\u0085": "\n",
    "\u2028": "\n",
    "\u2029": "\n",
    # without any look of their own
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", ""),
}

_TABLE: Final = str.maketrans(dict(FOLDS))


@dataclass(frozen=True, slots=True)
class Folded:
    """A text after folding.

    changes: (what stood there, what stands there now), each pair once, in order of appearance.
    fits: the text is now wholly within the GSM alphabet.
    """

    text: str
    changes: tuple[tuple[str, str], ...]
    fits: bool


def fold_to_gsm7(text: str) -> Folded:
    """Replace typographic characters by their plain forms if that keeps the text out of UCS-2.

    A text that is UCS-2 anyhow, by an Ethiopic letter or an emoji, is given back as it was: there
    folding saves nothing, and zero-width joiners and quotes belong to it. Only CR LF becomes LF.
    """
    plain = text.replace("\r\n", "\n")
    folded = plain.translate(_TABLE)
    if first_outside_gsm7(folded) is not None:
        return Folded(plain, (), False)
    changes = dict.fromkeys((char, FOLDS[char]) for char in plain if char in FOLDS)
    return Folded(folded, tuple(changes), True)
