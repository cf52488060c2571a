"""What leads to a person, taken out of a text: phone numbers however they are written, links, addresses.

A number is seven digits or more with nothing but blanks and signs between them: figures of any script, digits
spelt in any language of the word lists, Ethiopic numerals, letters that stand for digits. Dates, times and
prices have fewer, or a form of their own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from appliance.conversation.text import ethiopic_number, fold
from appliance.conversation.wordlists import WordLists

__all__ = ["MASK", "Masker"]

MASK: Final = "***"
ENOUGH_DIGITS: Final = 7
_LINK: Final = re.compile(
    r"(?:https?://|www\.)\S+"
    r"|\b[\w.+-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\s?(?:\.|\(dot\)|\[dot\])\s?[\w-]+)+"
    r"|\b(?:[a-z0-9-]+\s?(?:\.|\(dot\)|\[dot\]| dot )\s?)+"
    r"(?:com|net|org|et|io|me|ly|app|info|link|xyz)\b(?:/\S*)?"
    r"|(?<!\w)@\w{3,}"
    # An account's name behind the service's: only one that no word looks like.
    r"|\b(?:telegram|tg|instagram|insta|ig|facebook|fb|whats ?app|tik ?tok|snap(?:chat)?|imo)\b"
    r"\W{0,3}(?:is\s+|me\s+|at\s+|on\s+|id\s+|user(?:name)?\s+|account\s+)*\W{0,3}(?=\w*[\d_.]\w)[\w.]{3,}",
    re.IGNORECASE,
)
# Tried in this order: dates and times keep their figures together and stand between other digits.
_TOKEN: Final = re.compile(
    r"(?P<date>(?<![\d./-])(?:\d{1,2}([-/.])\d{1,2}\2\d{4}|\d{4}([-/.])\d{1,2}\3\d{1,2})(?![\d/-]|\.\d))"
    r"|(?P<time>(?<![\d:])\d{1,2}:\d{2}(?![\d:]))"
    r"|(?P<ethiopic>[፩-፼]+)"
    r"|(?P<word>(?:[^\W\d_፩-፼]|['’])+(?=\d)|(?:[^\W\d_፩-፼]|['’])+)"
    r"|(?P<digits>\d)"
)
_LETTERS_FOR_DIGITS: Final = {"o": "0", "O": "0", "l": "1", "I": "1", "i": "1"}
_GAP: Final = 4  # signs and blanks between two digits of one number
_MOST_OF_A_KIND: Final = 2  # dates, times: more of them in one text are a number in disguise


class _Piece(msgspec.Struct):
    start: int
    end: int
    digits: str  # "" for what ends a run
    times: int = 0
    letters: bool = False  # only a digit beside a real one


class Masker:
    """Hides numbers and links. lists: how digits are spelt."""

    def __init__(self, lists: WordLists) -> None:
        self._lists = lists

    def hide(self, text: str, *, number: str = MASK, link: str = MASK, enough: int = ENOUGH_DIGITS) -> str:
        """The text without what leads to a person. enough: digits that make a number."""
        # Marks that show as nothing would part the digits of a number.
        whole = unicodedata.normalize("NFC", text)
        text = "".join(char for char in whole if unicodedata.category(char) not in ("Cf", "Me", "Mn"))
        text = _LINK.sub(link, _plain_digits(text))
        for start, end, digits in reversed(self._runs(text)):
            if len(digits) >= enough:
                text = text[:start].removesuffix("+") + number + text[end:]
        return text

    def digits(self, text: str) -> str:
        """All digits that the text says outside dates and times, one after the other."""
        return "".join(digits for _, _, digits in self._runs(_plain_digits(text)))

    def _runs(self, text: str) -> list[tuple[int, int, str]]:
        """Where digits follow one another: (start, end, the digits)."""
        runs: list[tuple[int, int, str]] = []
        pieces: list[_Piece] = []

        def close() -> None:
            while pieces and (pieces[-1].letters or pieces[-1].times):
                pieces.pop()
            while pieces and pieces[0].letters:
                pieces.pop(0)
            if pieces:
                digits, times = "", 1
                for piece in pieces:
                    digits += piece.digits * times
                    times = piece.times or 1
                runs.append((pieces[0].start, pieces[-1].end, digits))
            pieces.clear()

        for piece in self._pieces(text):
            if pieces and piece.start - pieces[-1].end > _GAP:
                close()
            if piece.digits or piece.times:
                pieces.append(piece)
            else:
                close()
        close()
        return [run for run in runs if run[2]]

    def _pieces(self, text: str) -> list[_Piece]:
        pieces = []
        matches = list(_TOKEN.finditer(text))
        many = {kind: sum(bool(match[kind]) for match in matches) for kind in ("date", "time")}
        for match in matches:
            kind, said = match.lastgroup or "", match.group()
            if match["date"] or match["time"]:
                kind = "date" if match["date"] else "time"
                figures = "".join(char for char in said if char.isdigit())
                real = _is_date(said) if kind == "date" else _is_time(said)
                digits = "" if real and many[kind] <= _MOST_OF_A_KIND else figures
                pieces.append(_Piece(match.start(), match.end(), digits))
            elif match["digits"]:
                pieces.append(_Piece(match.start(), match.end(), said))
            elif match["ethiopic"]:
                value = str(ethiopic_number(said) or 0)
                # ፱፩፩ is written by some for 9 1 1, which adds up to 11: the longer reading counts.
                digits = value if len(value) >= len(said) else value.rjust(len(said), "0")
                pieces.append(_Piece(match.start(), match.end(), digits))
            else:
                pieces.append(self._word(match.start(), match.end(), said))
        return pieces

    def _word(self, start: int, end: int, said: str) -> _Piece:
        if all(char in _LETTERS_FOR_DIGITS for char in said) and len(said) <= 4:
            return _Piece(start, end, "".join(_LETTERS_FOR_DIGITS[char] for char in said), letters=True)
        word = fold(said)
        if word in self._lists.times:
            return _Piece(start, end, "", times=self._lists.times[word])
        return _Piece(start, end, self._lists.spelt.get(word, ""))


def _plain_digits(text: str) -> str:
    """Figures of every script and shape as 0 to 9; a circled or superscript one too."""
    if text.isascii():
        return text
    out = []
    for char in text:
        digit = unicodedata.digit(char, None) if not "፩" <= char <= "፼" else None
        out.append(char if digit is None else str(digit))
    return "".join(out)


def _is_date(text: str) -> bool:
    parts = [int(part) for part in re.split(r"\D", text)]
    day_month = [part for part in parts if part < 100]
    return len(day_month) == 2 and all(1 <= part <= 31 for part in day_month) and min(day_month) <= 13


def _is_time(text: str) -> bool:
    hour, minute = text.split(":")
    return int(hour) < 24 and int(minute) < 60
