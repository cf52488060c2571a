"""What is said: one TOML file per language, checked as a whole before the first text is answered.

`{name}` is filled in, `{n|seat|seats}` takes the first word when `n` is 1. English is the reference: every
file has exactly its keys, and each text exactly its placeholders.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.conversation.budget import segments, tidy

__all__ = ["Language", "PhraseErrors", "Phrases", "load"]

REFERENCE: Final = "en"
DEFAULT_FOLDER: Final = Path(__file__).resolve().parents[2] / "config" / "phrases"
_SLOT: Final = re.compile(r"\{([a-z_]+)(?:\|([^|{}]*)\|([^|{}]*))?\}")


class PhraseErrors(Exception):
    """The phrase files cannot be used. `lines`: one per mistake, with file and key."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    weekdays: tuple[str, ...]  # Monday first
    gregorian: tuple[str, ...]
    ethiopian: tuple[str, ...]
    parts: tuple[str, ...]  # of the day, from 00:00, 06:00, 12:00 and 18:00


class Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One phrase file. hear: concept to the words that mean it; roots: concept to the consonants, as
    `text.skeleton` gives them, that its verbs have in every form; the other fields: see en.toml."""

    language: str
    name: str
    confidence: str
    script: str
    towns: str
    calendar: str
    money: str
    santim: bool
    clock: str
    names: Names
    say: dict[str, str]
    hear: dict[str, tuple[str, ...]]
    hour: str = "{n}"  # a full hour of the clock that counts from six
    budget: dict[str, int] = {}
    unsure: tuple[str, ...] = ()
    roots: dict[str, tuple[str, ...]] = {}

    def allowed(self, key: str) -> int:
        """SMS that the text may take."""
        return self.budget.get(key, 2 if self.script == "ethiopic" else 1)


class Phrases:
    """All languages that have a file. `spoken`: those that replies may use, the first for strangers."""

    def __init__(self, languages: Mapping[str, Language], spoken: Iterable[str]) -> None:
        self.languages = dict(languages)
        self.spoken = tuple(spoken)
        missing = [code for code in self.spoken if code not in self.languages]
        if missing:
            raise PhraseErrors(
                [f"{code}: no phrase file; there are {', '.join(languages)}" for code in missing]
            )

    def of(self, code: str) -> Language:
        """The language that answers somebody who speaks `code`."""
        return self.languages[code if code in self.spoken else self.spoken[0]]

    def say(self, code: str, key: str, /, **values: object) -> str:
        """The text `key` in a language, filled in. Raises KeyError for an unknown key or a missing value."""
        return tidy(_fill(self.of(code).say[key], values))

    def over_budget(self, code: str, samples: Mapping[str, object]) -> list[str]:
        """Texts that outgrow their SMS when filled with the longest values there are, one line each."""
        language = self.languages[code]
        lines = []
        for key, template in language.say.items():
            cost = segments(tidy(_fill(template, samples)))
            if cost > language.allowed(key):
                lines.append(
                    f"{code}.toml: say.{key}: {cost} SMS at its longest; want {language.allowed(key)}"
                )
        return lines


def slots(template: str) -> set[str]:
    """Names of the placeholders in a text."""
    return {match.group(1) for match in _SLOT.finditer(template)}


def _fill(template: str, values: Mapping[str, object]) -> str:
    def value(match: re.Match[str]) -> str:
        found = values[match.group(1)]
        if match.group(2) is None:
            return str(found)
        return match.group(2) if found == 1 else match.group(3)

    return _SLOT.sub(value, template)


@lru_cache(maxsize=4)
def _read(folder: Path) -> dict[str, Language]:
    errors: list[str] = []
    languages: dict[str, Language] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
            language = msgspec.convert(tree, Language)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            errors.append(f"{path.name}: {error}")
            continue
        if language.language != path.stem:
            errors.append(f"{path.name}: language: {language.language!r}; want {path.stem!r}")
        languages[path.stem] = language
    if not errors and REFERENCE not in languages:
        errors.append(f"{folder}: no {REFERENCE}.toml, the reference of all others")
    if not errors:
        for language in languages.values():
            errors.extend(_check(language, languages[REFERENCE]))
    if errors:
        raise PhraseErrors(errors)
    return languages


def _check(language: Language, reference: Language) -> list[str]:
    file = f"{language.language}.toml"
    errors = [f"{file}: say.{key}: missing" for key in reference.say if key not in language.say]
    for key, template in language.say.items():
        if key not in reference.say:
            errors.append(f"{file}: say.{key}: unknown; {REFERENCE}.toml has no such text")
            continue
        wanted, found = slots(reference.say[key]), slots(template)
        # A language without plural forms may leave out what only chooses between them.
        free = {"n"} if "{n}" not in reference.say[key] else set()
        if (wanted ^ found) - free:
            errors.append(f"{file}: say.{key}: placeholders {sorted(found)}; want {sorted(wanted)}")
        if "{" in _SLOT.sub("", template) or "}" in _SLOT.sub("", template):
            errors.append(f"{file}: say.{key}: a brace that is no placeholder")
    for field, count in (("weekdays", 7), ("gregorian", 12), ("ethiopian", 13), ("parts", 4)):
        if len(getattr(language.names, field)) != count:
            errors.append(f"{file}: names.{field}: want {count} names")
    if language.calendar not in ("gregorian", "ethiopian"):
        errors.append(f"{file}: calendar: {language.calendar!r}; want 'gregorian' or 'ethiopian'")
    if language.script not in ("latin", "ethiopic"):
        errors.append(f"{file}: script: {language.script!r}; want 'latin' or 'ethiopic'")
    errors += [f"{file}: unsure: {key}: no such text" for key in language.unsure if key not in language.say]
    errors += [f"{file}: budget.{key}: no such text" for key in language.budget if key not in language.say]
    for table in ("hear", "roots"):
        for concept in getattr(language, table):
            if concept not in reference.hear:
                errors.append(f"{file}: {table}.{concept}: unknown; {REFERENCE}.toml has no such concept")
    return errors


def load(folder: Path | str | None = None, spoken: Iterable[str] = ("en", "am")) -> Phrases:
    """Read and check every file of a folder. Raises PhraseErrors with all mistakes."""
    return Phrases(_read(Path(folder) if folder else DEFAULT_FOLDER), spoken)
