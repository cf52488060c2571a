"""The chat's word lists: how digits are spelt, what is masked and what is not passed on; one file a language.

An operator edits them (config/chat/*.toml); all are checked before the first text is answered. All languages
count at once, since people mix them to get a number past the box.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from appliance.conversation.text import fold, words

__all__ = ["WordListErrors", "WordLists", "load_words"]

DEFAULT_FOLDER: Final = Path(__file__).resolve().parents[2] / "config" / "chat"
MOST_WORDS: Final = 6  # of one entry
_TOKEN: Final = re.compile(r"[^\W_]+")
_LEET: Final = str.maketrans("013457@$", "oieastas")


class WordListErrors(Exception):
    """The word lists cannot be used. `lines`: one per mistake, with file and key."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """digits: for 0 to 9 how they are spelt. times: words that repeat the digit behind them.

    women, men, me, other, small: what people write behind CHAT, see config/chat/en.toml.
    """

    language: str
    confidence: str
    digits: tuple[tuple[str, ...], ...] = ()
    times: dict[str, int] = {}
    masked: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    women: tuple[str, ...] = ()
    men: tuple[str, ...] = ()
    me: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    small: tuple[str, ...] = ()


class WordLists:
    """All languages' lists, folded. spelt: word to its digit. times: word to how often it repeats."""

    def __init__(self, files: list[_File]) -> None:
        self.spelt: dict[str, str] = {}
        self.times: dict[str, int] = {}
        self._masked: set[tuple[str, ...]] = set()
        self._refused: set[tuple[str, ...]] = set()
        self._genders: dict[str, str] = {}
        self.me: set[str] = set()
        self.other: set[str] = set()
        self.small: set[str] = set()
        for file in files:
            for digit, spellings in enumerate(file.digits):
                self.spelt.update({fold(spelling): str(digit) for spelling in spellings})
            self.times.update({fold(word): count for word, count in file.times.items()})
            self._masked |= {tuple(words(entry)) for entry in file.masked}
            self._refused |= {tuple(words(entry)) for entry in file.refused}
            self._genders.update({fold(word): "f" for word in file.women})
            self._genders.update({fold(word): "m" for word in file.men})
            self.me |= {fold(word) for word in file.me}
            self.other |= {fold(word) for word in file.other}
            self.small |= {fold(word) for word in file.small}

    def gender(self, word: str) -> str:
        """ "f" or "m" for a folded word that says so, else ""."""
        return self._genders.get(word, "")

    def refused(self, text: str) -> str:
        """The entry for which the text is not passed on; "" if there is none."""
        found = self._found(text, self._refused)
        return text[found[0][0] : found[0][1]] if found else ""

    def masked(self, text: str, mask: str) -> str:
        """The text with the words of the list hidden."""
        for start, end in reversed(self._found(text, self._masked)):
            text = text[:start] + mask + text[end:]
        return text

    @staticmethod
    def _found(text: str, entries: set[tuple[str, ...]]) -> list[tuple[int, int]]:
        """Where entries stand in a text, the longest of each place."""
        tokens = [(match.start(), match.end(), _folded(match.group())) for match in _TOKEN.finditer(text)]
        found, at = [], 0
        while at < len(tokens):
            for length in range(min(MOST_WORDS, len(tokens) - at), 0, -1):
                if tuple(word for _, _, word in tokens[at : at + length]) in entries:
                    found.append((tokens[at][0], tokens[at + length - 1][1]))
                    at += length
                    break
            else:
                at += 1
        return found


@lru_cache(maxsize=4096)
def _folded(token: str) -> str:
    plain = unicodedata.normalize("NFKC", token)
    if any(char.isdigit() for char in plain) and any(char.isalpha() for char in plain):
        plain = plain.translate(_LEET)
    return fold(plain)


@lru_cache(maxsize=4)
def load_words(folder: Path | str | None = None) -> WordLists:
    """Read and check every file of a folder. Raises WordListErrors with all mistakes."""
    errors: list[str] = []
    files: list[_File] = []
    for path in sorted((Path(folder) if folder else DEFAULT_FOLDER).glob("*.toml")):
        try:
            file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            errors.append(f"{path.name}: {error}")
            continue
        if file.language != path.stem:
            errors.append(f"{path.name}: language: {file.language!r}; want {path.stem!r}")
        if len(file.digits) not in (0, 10):
            errors.append(f"{path.name}: digits: {len(file.digits)} lists; want ten, for 0 to 9")
        for key in ("masked", "refused"):
            for entry in getattr(file, key):
                if not 1 <= len(words(entry)) <= MOST_WORDS:
                    errors.append(f"{path.name}: {key}: {entry!r}; want 1 to {MOST_WORDS} words")
        files.append(file)
    if errors:
        raise WordListErrors(errors)
    return WordLists(files)
