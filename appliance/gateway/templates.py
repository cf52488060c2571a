"""Message templates: texts per language with typed variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

__all__ = ["Template", "TemplateError", "check", "render"]

_PLACE: Final = re.compile(r"\{([^{}]*)\}")

VariableType = Literal["text", "number", "code"]
Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}$")]
VariableName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
# What each type lets through, and its words for people. A type keeps one variable from growing a message
# to ten segments, or from carrying a link where a number was meant.
_TYPES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "text": (re.compile(r"[^\x00-\x1f]{1,160}\Z"), "1 to 160 characters on one line"),
    "number": (re.compile(r"-?\d{1,15}(\.\d{1,6})?\Z"), "a number"),
    "code": (re.compile(r"[A-Za-z0-9-]{1,32}\Z"), "1 to 32 letters, digits or hyphens"),
}


class TemplateError(ValueError):
    """A template or its use is wrong. where: a JSON path below the template or the request."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(text)
        self.where = where


class Template(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """variables: name to type (text, number, code). texts: by language, each using the same variables."""

    texts: Annotated[dict[Language, Text], msgspec.Meta(min_length=1, max_length=20)]
    variables: dict[VariableName, VariableType] = {}


def check(template: Template) -> None:
    """Raise TemplateError unless every text uses declared variables only, and each of them."""
    for language, text in template.texts.items():
        used = set(_PLACE.findall(text))
        if "{" in _PLACE.sub("", text) or "}" in _PLACE.sub("", text):
            raise TemplateError(f"texts.{language}", "a brace stands around a variable's name only")
        if used != set(template.variables):
            wrong = ", ".join(sorted(used ^ set(template.variables)))
            raise TemplateError(f"texts.{language}", f"declared and used variables differ: {wrong}")


def render(template: Template, language: str, values: Mapping[str, str | int | float]) -> str:
    """The text in a language (the first one of the template for ""). Raises TemplateError."""
    text = template.texts.get(language or next(iter(template.texts)))
    if text is None:
        raise TemplateError("language", f"the template speaks {', '.join(template.texts)}")
    if set(values) != set(template.variables):
        wrong = ", ".join(sorted(set(values) ^ set(template.variables)))
        raise TemplateError("variables", f"missing or unknown: {wrong}")
    filled = {}
    for name, value in values.items():
        pattern, words = _TYPES[template.variables[name]]
        filled[name] = str(value)
        if not pattern.match(filled[name]):
            raise TemplateError(f"variables.{name}", f"want {words}")
    return _PLACE.sub(lambda found: filled[found[1]], text)
