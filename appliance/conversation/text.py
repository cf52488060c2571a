"""Folding: two spellings that mean the same become the same text, for matching only.

Nothing here is ever sent: Tigrinya keeps apart what the folding joins. Rules: DOMAIN notes on Ethiopic
homophones, labiovelars, digits and punctuation; Latin is lower-cased and loses doubled letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

__all__ = ["ethiopic_number", "fold", "is_ethiopic", "latin", "skeleton", "spoken", "words"]

# Whole series of eight orders that Amharic speakers write for one another.
_SERIES: Final = {0x1210: 0x1200, 0x1280: 0x1200, 0x1220: 0x1230, 0x12D0: 0x12A0, 0x1340: 0x1338}
# Orders that are mixed within a series, and labiovelars written for plain o.
_SINGLES: Final = {"ሃ": "ሀ", "ኣ": "አ", "ጐ": "ጎ", "ኰ": "ኮ", "ቈ": "ቆ", "ቐ": "ቀ", "ኸ": "ከ"}
_ONES: Final = "፩፪፫፬፭፮፯፰፱"
_TENS: Final = "፲፳፴፵፶፷፸፹፺"


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for source, target in _SERIES.items():
        for order in range(8):
            folded = chr(target + order)
            table[source + order] = _SINGLES.get(folded, folded)
    # The Tigrinya q (U+1250) and kh (U+12B8) series: folded onto q and k for look-up only.
    for source, target in ((0x1250, 0x1240), (0x12B8, 0x12A8)):
        for order in range(8):
            table[source + order] = chr(target + order)
    for single, folded in _SINGLES.items():
        table[ord(single)] = folded
    table[0x12BB] = "ካ"
    # Apostrophes in all their shapes carry the hudhaa and the ejectives: the bare letters match.
    for mark in "'`´‘’ʼʻ′":
        table[ord(mark)] = ""
    for mark in "፡።፣፤፥፦፧፨":
        table[ord(mark)] = " "
    return table


_FOLDS: Final = _table()
_NUMERAL: Final = re.compile(r"[፩-፼]+")
# A word of two letters is an abbreviation (AA for Addis Ababa), not a long sound.
_DOUBLED: Final = re.compile(r"(?<![a-z])([a-z])\1(?![a-z])|([a-z])\2+")
_WORD: Final = re.compile(r"\d{1,4}(?:[-/.:]\d{1,4})+|\d+|[^\W\d_]+", re.UNICODE)


def is_ethiopic(char: str) -> bool:
    """Whether it is in one of the Ethiopic blocks, punctuation and digits among them."""
    return "ሀ" <= char <= "᎟" or "ⶀ" <= char <= "⷟" or "ꬁ" <= char <= "꬯"


def ethiopic_number(text: str) -> int | None:
    """Value of an Ethiopic numeral (additive, no zero): ፲፪ is 12, ፻፳ is 120, ፳፻፲፰ is 2018.

    Returns None if a character is no Ethiopic digit.
    """
    total = group = 0
    for char in text:
        if char in _ONES:
            group += _ONES.index(char) + 1
        elif char in _TENS:
            group += (_TENS.index(char) + 1) * 10
        elif char == "፻":
            group = (group or 1) * 100
        elif char == "፼":
            total, group = (total + (group or 1)) * 10_000, 0
        else:
            return None
    return total + group


def _single(match: re.Match[str]) -> str:
    return match.group(2) or match.group()


@lru_cache(maxsize=8192)
def fold(text: str) -> str:
    """Fold a text of any length to what is compared; words stay separated by single blanks."""
    text = unicodedata.normalize("NFKC", text)
    text = _NUMERAL.sub(lambda m: str(ethiopic_number(m.group())), text)
    text = text.lower().translate(_FOLDS)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    text = _DOUBLED.sub(_single, text)
    return " ".join(text.split())


# Thousands commas belong to the number, every other comma separates.
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}\b)")


def words(text: str) -> list[str]:
    """The folded words of a text, in order. Numbers split from letters, dates (12-05, 6:30) stay whole."""
    return list(_words(text))


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_THOUSANDS.sub("", fold(text))))


# -- Ethiopic written in Latin letters, so that one measure compares both scripts

_CONSONANTS: Final = {
    0x1200: "h", 0x1208: "l", 0x1210: "h", 0x1218: "m", 0x1220: "s", 0x1228: "r", 0x1230: "s",
    0x1238: "sh", 0x1240: "k", 0x1248: "k", 0x1250: "k", 0x1258: "k", 0x1260: "b", 0x1268: "v",
    0x1270: "t", 0x1278: "ch", 0x1280: "h", 0x1288: "h", 0x1290: "n", 0x1298: "ny", 0x12A0: "",
    0x12A8: "k", 0x12B0: "k", 0x12B8: "h", 0x12C0: "h", 0x12C8: "w", 0x12D0: "", 0x12D8: "z",
    0x12E0: "zh", 0x12E8: "y", 0x12F0: "d", 0x12F8: "d", 0x1300: "j", 0x1308: "g", 0x1310: "g",
    0x1318: "ng", 0x1320: "t", 0x1328: "ch", 0x1330: "p", 0x1338: "s", 0x1340: "s", 0x1348: "f",
    0x1350: "p",
}  # fmt: skip
_VOWELS: Final = ("e", "u", "i", "a", "e", "", "o", "wa")
_GUTTURAL: Final = (0x1200, 0x12A0)


@lru_cache(maxsize=4096)
def latin(folded: str) -> str:
    """Write folded text in plain Latin letters as it is spoken: ሀዋሳ is hawasa. Latin stays itself."""
    out: list[str] = []
    for char in folded:
        code = ord(char)
        if not 0x1200 <= code <= 0x1357:
            out.append(char)
            continue
        base, order = code & ~7, code & 7
        vowel = "a" if order == 0 and base in _GUTTURAL else _VOWELS[order]
        if order == 5 and base == 0x12A0:
            vowel = "i"
        out.append(_CONSONANTS.get(base, "") + vowel)
    return _DOUBLED.sub(_single, "".join(out))


# Two letters for one sound, by a letter that is none of the text's own.
_DIGRAPHS: Final = (
    ("sh", "S"), ("ch", "C"), ("gn", "N"), ("ny", "N"), ("ts", "s"), ("tz", "s"), ("ph", "p"), ("kh", "k"),
    ("dh", "d"), ("zh", "j"), ("ck", "k"), ("q", "k"), ("ou", "u"), ("ie", "e"),
)  # fmt: skip


@lru_cache(maxsize=8192)
def spoken(folded: str) -> str:
    """Latin letters, one for each sound, for measuring how far two spellings are apart."""
    text = latin(folded)
    for written, sound in _DIGRAPHS:
        text = text.replace(written, sound)
    return text


_SOUNDS: Final = (
    ("sh", "S"), ("ch", "C"), ("ts", "s"), ("tz", "z"), ("ph", "f"), ("th", "t"), ("dh", "d"), ("gn", "n"),
    ("ny", "n"), ("gh", "g"), ("zh", "j"), ("qu", "k"), ("kh", "k"), ("ck", "k"), ("c", "k"), ("q", "k"),
    ("x", "t"), ("j", "j"), ("v", "b"), ("w", ""), ("y", ""), ("h", ""), ("p", "b"),
)  # fmt: skip


@lru_cache(maxsize=8192)
def skeleton(folded: str) -> str:
    """The consonants as they sound: what is left when vowels and writers' habits are taken away."""
    text = latin(folded)
    for written, sound in _SOUNDS:
        text = text.replace(written, sound)
    text = re.sub(r"[aeiou ]", "", text)
    return re.sub(r"(.)\1+", r"\1", text)
