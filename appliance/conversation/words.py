"""What is heard: words and names found in a text, in every language at once, however they are spelt.

The longest run of words that means something wins. Exact spellings come first, then spellings under a
prefix or suffix that says from, to or for (Amharic ከ, Tigrinya ን, Oromo -tti), then likely misspellings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from appliance.conversation.phrases import Language
from appliance.conversation.text import fold, latin, skeleton, spoken, words

__all__ = ["Lexicon", "Names", "Tag", "has_word", "tag"]

NOISE: Final = "noise"  # words listed so that nobody takes them for a misspelling
LONGEST: Final = 5  # words in a name or phrase; the longest in the files has five


class Tag(msgspec.Struct, frozen=True):
    """A run of words that means something.

    kind: "word" (values: concepts), "name" (values: keys of names, more than one when unclear), "number"
    (values: its digits), "numeric" (12-05, 6:30) or "unknown". role: "from", "to" or "for" when a prefix or
    suffix said so. languages: those the spelling belongs to. sure: spelt as known.
    """

    kind: str
    text: str
    values: tuple[str, ...]
    role: str = ""
    languages: tuple[str, ...] = ()
    sure: bool = True


_PREFIXES: Final = (
    ("ወደ", "to", ""), ("እስከ", "to", ""), ("ካብ", "from", ""), ("ናብ", "to", ""), ("ስለ", "", ""), ("የ", "", ""),
    ("ከ", "from", ""), ("ካ", "from", "አ"), ("ለ", "for", ""), ("በ", "", ""), ("ን", "for", ""), ("ብ", "", ""),
    ("ና", "", ""), ("ዝ", "", ""),
    ("wede", "to", ""), ("wode", "to", ""), ("kab", "from", ""), ("nab", "to", ""), ("ke", "from", ""),
    ("le", "for", ""), ("be", "", ""), ("ye", "", ""), ("k", "from", ""), ("n", "for", ""),
)  # fmt: skip
_SUFFIXES: Final = (
    ("irati", "from"), ("irani", "from"), ("irai", "from"), ("rati", "from"), ("ira", "from"), ("ra", "from"),
    ("ati", "to"), ("iti", "to"), ("ti", "to"), ("tin", "to"), ("dhaf", "for"), ("af", "for"), ("f", "for"),
    ("dha", "from"), ("ta", ""), ("n", ""), ("ni", ""),
    ("ን", ""), ("ም", ""), ("ዎች", ""), ("ኦች", ""), ("ዬ", ""), ("ው", ""), ("ስ", ""), ("ና", ""),
)  # fmt: skip


class Lexicon:
    """The concepts of all languages by their folded spelling, blanks taken out."""

    def __init__(self, languages: Iterable[Language]) -> None:
        self.exact: dict[str, dict[str, set[str]]] = {}  # spelling -> concept -> languages
        self._roots: list[tuple[str, str, str]] = []  # consonants, concept, language
        self._runs: dict[tuple[int, str], list[str]] = {}  # of so many words, by their sounds
        several: set[str] = set()
        for language in languages:
            for concept, roots in language.roots.items():
                self._roots += [(root, concept, language.language) for root in roots]
            for concept, spellings in language.hear.items():
                for spelling in spellings:
                    found = words(spelling)
                    key = "".join(found)
                    if len(found) > 1 and len(latin(key)) >= 6 and key not in self.exact:
                        several.add(key)
                        for sounds in _sounds(key):
                            self._runs.setdefault((len(found), sounds), []).append(key)
                    self.exact.setdefault(key, {}).setdefault(concept, set()).add(language.language)
        # A word too short to be told from its neighbours is never taken as a misspelling.
        self._fuzzy: dict[str, list[str]] = {}
        for key in self.exact:
            # A phrase run together has to be long to be meant by one word: stupid is not "stop it".
            if len(latin(key)) >= (10 if key in several else 5):
                for sounds in _sounds(key):
                    self._fuzzy.setdefault(sounds, []).append(key)

    def tag(self, key: str, text: str, role: str = "", *, sure: bool = True) -> Tag:
        concepts = self.exact[key]
        if set(concepts) == {NOISE}:
            return Tag("unknown", text, (key,))
        languages = sorted({language for spoken in concepts.values() for language in spoken})
        return Tag("word", text, tuple(concepts), role, tuple(languages), sure)

    def rooted(self, word: str) -> Tag | None:
        """A verb in a form that no list has (የምከፍለው), by the consonants that all its forms share."""
        if word.isascii():
            return None
        sounds = skeleton(word)
        found = [(concept, language) for root, concept, language in self._roots if root in sounds]
        if not found:
            return None
        concepts, languages = zip(*found, strict=True)
        return Tag("word", word, tuple(dict.fromkeys(concepts)), "", tuple(sorted(set(languages))), False)

    def _is_known(self, word: str) -> bool:
        return word in self.exact or any(stem in self.exact for stem, _, _ in _stems(word))

    def nearest_run(self, run: Sequence[str]) -> str | None:
        """The phrase of as many words that a run with a misspelt word stands for: how mach, gud evnin."""
        if any(word[0].isdigit() for word in run) or all(map(self._is_known, run)):
            return None
        key = "".join(run)
        near = _nearest(key, (k for s in _sounds(key) for k in self._runs.get((len(run), s), ())))
        return None if near is None else near[1]

    def nearest(self, key: str) -> tuple[float, str] | None:
        """The known spelling closest to a misspelt one: (distance from 0 to 1, spelling)."""
        return _nearest(key, (k for s in _sounds(key) for k in self._fuzzy.get(s, ())))


class Names:
    """Names of things (towns) by every spelling; several names may share the beginning of one.

    entries: key to its spellings. A run of the first words of a longer name stands for all that begin so.
    """

    def __init__(self, entries: Mapping[str, Sequence[str]], common: Iterable[str] = ()) -> None:
        self.exact: dict[str, tuple[str, ...]] = {}
        parts: dict[str, set[str]] = {}
        short: dict[str, set[str]] = {}
        for key, spellings in entries.items():
            for spelling in spellings:
                found = words(spelling)
                self.exact["".join(found)] = (key,)
                for cut in range(1, len(found)):
                    parts.setdefault("".join(found[:cut]), set()).add(key)
                    if len("".join(found[cut:])) >= 4:
                        parts.setdefault("".join(found[cut:]), set()).add(key)
                if len(found) == 2:  # B/Dar, D.Markos, ድ/ዳዋ; and of the name itself DD, ባዳ
                    short.setdefault(found[0][0] + found[1], set()).add(key)
                    if spelling in spellings[:2]:
                        short.setdefault(found[0][0] + found[1][0], set()).add(key)
        taken = set(common)
        self.partial = {
            part: tuple(sorted(keys))
            for part, keys in parts.items()
            if part not in self.exact and part not in taken and len(latin(part)) >= 3
        }
        self._fuzzy: dict[str, list[str]] = {}
        for spelling in self.exact:
            if len(latin(spelling)) >= 4:
                # Found by its first letter or, if that is the one misspelt, by its first consonant.
                for mark in _marks(spelling):
                    self._fuzzy.setdefault(mark, []).append(spelling)
        for abbreviation, keys in short.items():
            if len(keys) == 1 and abbreviation not in taken:
                self.exact.setdefault(abbreviation, tuple(keys))

    def find(self, key: str) -> tuple[str, ...]:
        return self.exact.get(key) or self.partial.get(key) or ()

    def nearest(self, key: str) -> tuple[float, tuple[str, ...]] | None:
        """Names spelt nearly so: (distance, one clear winner or at most four). None: nothing is near."""
        pool = {spelling for mark in _marks(key) for spelling in self._fuzzy.get(mark, ())}
        scored: dict[str, float] = {}
        for spelling in pool:
            distance = _distance(key, spelling)
            if distance <= _limit(latin(key)):
                name = self.exact[spelling][0]
                scored[name] = min(distance, scored.get(name, 9.0))
        if not scored:
            return None
        ranked = sorted(scored, key=lambda name: (scored[name], name))
        best = scored[ranked[0]]
        close = tuple(name for name in ranked if scored[name] <= best + 0.07)[:4]
        return best, close


@lru_cache(maxsize=8192)
def _sounds(key: str) -> tuple[str, ...]:
    """The consonants of a spelling, and the same with one left out: two that share one of these differ by
    a consonant at most, whatever their vowels. So the near ones are found without measuring all."""
    sounds = skeleton(key)
    if len(sounds) < 3:  # with one left out, everything would be near
        return (sounds,)
    return (sounds, *dict.fromkeys(sounds[:at] + sounds[at + 1 :] for at in range(len(sounds))))


def _marks(spelling: str) -> set[str]:
    return {latin(spelling)[:1], "^" + skeleton(spelling)[:1]}


def _limit(spoken: str) -> float:
    """How far a misspelling may be from what it stands for, as a share of its length."""
    return 0.2 if len(spoken) <= 4 else 0.26 if len(spoken) <= 6 else 0.3


def _nearest(key: str, pool: Iterable[str]) -> tuple[float, str] | None:
    best: tuple[float, str] | None = None
    short = len(latin(key)) < 5
    for spelling in dict.fromkeys(pool):
        if short and spelling.isascii() != key.isascii():
            continue  # four letters of one script fit too much of the other
        distance = _distance(key, spelling)
        if distance <= 0.17 and (best is None or distance < best[0]):
            best = (distance, spelling)
    return best


_VOWELS: Final = frozenset("aeiouwyh")
_KIN: Final = {
    frozenset(pair)
    for pair in (
        "kq",
        "kc",
        "ck",
        "bv",
        "bp",
        "sz",
        "tx",
        "td",
        "jg",
        "gj",
        "sx",
        "fp",
        "mn",
        "lr",
        "cx",
        "jy",
        "nN",
    )
}


@lru_cache(maxsize=65_536)
def _distance(left: str, right: str) -> float:
    """Edits between two spellings as they sound, as a share of the longer one; 1.0 when clearly apart.

    A changed vowel or a kindred consonant counts half; two letters swapped count one.
    """
    a, b = spoken(left), spoken(right)
    if abs(len(a) - len(b)) > 3:
        return 1.0
    # Between the scripts: Ethiopic does not write the short i that Latin letters need.
    short_i = 0.25 if left.isascii() != right.isascii() else 0.6
    before: list[float] = []
    row = [j * 1.0 for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        previous2, before, row = before, row, [i * 1.0]
        for j, y in enumerate(b, 1):
            if x == y:
                cost = 0.0
            elif (x in _VOWELS and y in _VOWELS) or frozenset((x, y)) in _KIN:
                cost = 0.5
            else:
                cost = 1.0
            best = min(
                before[j] + (short_i if x == "i" else 0.6 if x in _VOWELS else 1.0),
                row[j - 1] + (short_i if y == "i" else 0.6 if y in _VOWELS else 1.0),
                before[j - 1] + cost,
            )
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, previous2[j - 2] + 0.8)
            row.append(best)
    return row[-1] / max(len(a), len(b), 1)


_BARE: Final = 5  # the sixth order: the consonant alone


@lru_cache(maxsize=8192)
def _stems(word: str) -> tuple[tuple[str, str, str], ...]:
    """A word without a prefix, or without a suffix: (stem, role, "prefix" or "suffix"), the longest first."""
    ethiopic = not word.isascii()
    found = []
    for prefix, role, instead in _PREFIXES:
        if word.startswith(prefix):
            stem = instead + word[len(prefix) :]
            # k'addis: before a vowel ke loses its own.
            elided = prefix == "k" and stem[:1] in _VOWELS
            if len(stem) >= (1 if ethiopic else 4 if len(prefix) > 1 or elided else 5):
                found.append((stem, role, "prefix"))
    for suffix, role in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 2:
            found.append((word[: -len(suffix)], role, "suffix"))
    # A role says more than none: of two affixes of one length the one that has it comes first.
    found.sort(key=lambda stem: (-len(stem[0]), not stem[1]))
    if ethiopic and len(word) > 2 and 0x1200 <= ord(word[-1]) < 0x1358 and ord(word[-1]) & 7 != _BARE:
        # ክስርዞ, ሰርዘው: an object's ending changes the last letter's vowel.
        found.append((word[:-1] + chr(ord(word[-1]) & ~7 | _BARE), "", "suffix"))
    return tuple(found)


def has_word(tags: Sequence[Tag], at: int, *concepts: str) -> bool:
    """Whether there is a tag at that position and it means one of the concepts."""
    return 0 <= at < len(tags) and tags[at].kind == "word" and any(c in tags[at].values for c in concepts)


def tag(text: str, lexicon: Lexicon, names: Names) -> list[Tag]:
    """Read a text from left to right; every word is in exactly one tag."""
    found = words(text)
    tags: list[Tag] = []
    at = 0
    while at < len(found):
        best = _match(found, at, lexicon, names)
        tags.append(best[1])
        at += best[0]
    return tags


def _match(found: list[str], at: int, lexicon: Lexicon, names: Names) -> tuple[int, Tag]:
    word = found[at]
    longest = min(LONGEST, len(found) - at)
    for length in range(min(3, longest), 1, -1):
        run = found[at : at + length]
        if not any(w in names.exact for w in run) and (phrase := lexicon.nearest_run(run)) is not None:
            if "".join(run) not in names.exact:
                return length, lexicon.tag(phrase, " ".join(run), sure=False)
    # Exact, the longest run first; a name beats a word of the same length only if it is whole.
    for length in range(longest, 0, -1):
        run = found[at : at + length]
        key = "".join(run)
        if key in names.exact:
            return length, Tag("name", " ".join(run), names.exact[key])
        if key in lexicon.exact and not (length > 1 and key.isdigit()):
            return length, lexicon.tag(key, " ".join(run))
        if key in names.partial:
            return _completed(found, at, length, lexicon, names) or (
                length,
                Tag("name", " ".join(run), names.partial[key]),
            )
    if word.isdigit():
        return 1, Tag("number", word, (word,))
    if word[0].isdigit():
        return 1, Tag("numeric", word, (word,))
    stemmed = _match_stem(found, at, longest, lexicon, names)
    if stemmed is not None:
        return stemmed
    verb = lexicon.rooted(word)
    return (1, verb) if verb is not None else _match_near(found, at, longest, lexicon, names)


def _completed(
    found: list[str], at: int, length: int, lexicon: Lexicon, names: Names
) -> tuple[int, Tag] | None:
    """The beginning of several names (Debre), made clear by a misspelt word behind it (Debre Brhan)."""
    run = found[at : at + length + 1]
    if len(run) == length or run[-1][0].isdigit() or run[-1] in lexicon.exact or run[-1] in names.exact:
        return None
    near = names.nearest("".join(run))
    begun = names.partial["".join(run[:-1])]
    if near is None or not set(near[1]) <= set(begun):
        return None
    return length + 1, Tag("name", " ".join(run), near[1], "", (), False)


def _match_stem(
    found: list[str], at: int, longest: int, lexicon: Lexicon, names: Names
) -> tuple[int, Tag] | None:
    for length in range(longest, 0, -1):
        run = found[at : at + length]
        shortest = 3 if run[0].isascii() else 2
        for stem, role, where in _stems(run[0]):
            if where == "suffix" and length > 1:
                continue
            key = stem + "".join(run[1:])
            if len(key) < shortest:
                continue
            tagged = _known(key, " ".join(run), role, lexicon, names, words_too=length == 1)
            if tagged is None and length == 1:  # both a prefix and a suffix
                for inner, inner_role, inner_where in _stems(stem):
                    if inner_where != where:
                        tagged = _known(inner, run[0], role or inner_role, lexicon, names, words_too=True)
                        if tagged is not None:
                            break
            if tagged is not None:
                return length, tagged
        if length > 1:
            for stem, role, where in _stems(run[-1]):
                if where == "suffix":
                    key = "".join(run[:-1]) + stem
                    tagged = _known(key, " ".join(run), role, lexicon, names, words_too=len(key) > 6)
                    if tagged is not None:
                        return length, tagged
    return None


def _known(key: str, text: str, role: str, lexicon: Lexicon, names: Names, *, words_too: bool) -> Tag | None:
    if key in names.exact:
        return Tag("name", text, names.exact[key], role)
    if words_too and key in lexicon.exact:
        return lexicon.tag(key, text, role)
    if key in names.partial and len(latin(key)) >= 4:
        return Tag("name", text, names.partial[key], role)
    return None


def _match_near(found: list[str], at: int, longest: int, lexicon: Lexicon, names: Names) -> tuple[int, Tag]:
    word = found[at]
    choices: list[tuple[float, int, Tag]] = []
    if len(latin(word)) >= 4:
        spelt = [(word, "", 0.0)]
        spelt += [
            (stem, role, 0.04) for stem, role, where in _stems(word) if where == "prefix" and len(stem) > 4
        ]
        for form, role, penalty in spelt:
            near_word = lexicon.nearest(form)
            if near_word is not None:
                tagged = lexicon.tag(near_word[1], word, role, sure=False)
                choices.append((near_word[0] + penalty, 1, tagged))
    for length in range(min(3, longest), 0, -1):
        run = found[at : at + length]
        if any(w[0].isdigit() or (i and _is_word(w, lexicon)) for i, w in enumerate(run)):
            continue
        forms = [("".join(run), "")]
        forms += [
            (stem + "".join(run[1:]), role) for stem, role, where in _stems(run[0]) if where == "prefix"
        ]
        if length == 1:
            forms += [(stem, role) for stem, role, where in _stems(run[0]) if where == "suffix"]
        for key, role in forms:
            if len(latin(key)) < 4:
                continue
            near = names.nearest(key)
            if near is not None:
                penalty = 0.04 if role or key != "".join(run) else 0.0
                tagged = Tag("name", " ".join(run), near[1], role, (), False)
                choices.append((near[0] + penalty - 0.02 * (length - 1), length, tagged))
    if choices:
        _, length, tagged = min(choices, key=lambda choice: choice[:2])
        return length, tagged
    return 1, Tag("unknown", word, (fold(word),))


def _is_word(word: str, lexicon: Lexicon) -> bool:
    return word in lexicon.exact
