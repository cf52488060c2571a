"""What a model said, before a person reads it: cleaned, and refused where the facts do not carry it.

A model may invent, repeat its rules, answer in another language or be talked into nonsense by a text. Not all
of that can be seen from outside; what can is: figures and links that no fact has, sentences of the rules, a
script or language that was not asked for, words that come from nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.apps.assistant.prompt import INSTRUCTIONS, UNKNOWN
from appliance.conversation.asking import Fact
from appliance.conversation.budget import tidy
from appliance.conversation.matching import keys, share_known
from appliance.conversation.text import fold, is_ethiopic, words

__all__ = ["NotUsable", "checked"]

MOST_CHARS: Final = 900  # six SMS in Latin letters, told two at a time; the rest is dropped
GROUNDED: Final = 0.6  # share of the answer's words that the facts or the question have ...
CARRIED: Final = 0.5  # ... and the facts alone: an echo of the question is no answer
LEAST_KEYS: Final = 2  # "Yes." cannot be held against anything
RULE_WORDS: Final = 6  # words of the rules in a row that make a repetition
_THINKING: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)  # some models think aloud
_MARKDOWN: Final = re.compile(r"(\*\*|__|`+|^#{1,6}\s+|^\s*[-*]\s+)", re.MULTILINE)
_LINK: Final = re.compile(
    r"https?://\S+|www\.\S+|\b[\w-]+\.(?:com|net|org|et|io|me|info)\b\S*|\S+@\S+|@\w+", re.I
)
_SENTENCE: Final = re.compile(r"(?<=[.!?።፧])\s+")
_FIGURES: Final = re.compile(r"\d+")
_BIG_WORDS: Final = frozenset(
    fold(word)
    for word in "hundred thousand million cent mille dhibba kuma elfu laki mia መቶ ሺህ ሺ ሚሊዮን ሚእቲ".split()
)
# Words that one language only has, and has in nearly every sentence.
_TELLTALE: Final = {
    "en": frozenset("the is and you your to of for with it can are".split()),
    "fr": frozenset("le la les vous est et des une pour avec votre dans".split()),
    "sw": frozenset("ya wa na kwa ni za katika yako hii kama lako".split()),
    "om": frozenset("kan fi akka irati keesan ni hin yoo waliin isaa kanaf".split()),
}


class NotUsable(Exception):
    """The answer is not told. The text says why, for the page."""


def checked(text: str, facts: Sequence[Fact], question: str, language: str, script: str) -> str:
    """The answer as it may be told. script: 'ethiopic' or 'latin'. Raises NotUsable."""
    text = _MARKDOWN.sub("", _THINKING.sub("", text))
    text = tidy(" ".join("".join(char if char.isprintable() else " " for char in text).split()))
    if not text or UNKNOWN in text.upper().split(".")[0].split():
        raise NotUsable("it did not know")
    text = _shortened(text)
    _refuse_rules(text)
    _refuse_language(text, language, script)
    known = " ".join(f"{fact.question} {fact.answer}" for fact in facts)
    _refuse_invented(text, known)
    said = keys(words(text))
    if len(said) < LEAST_KEYS:
        raise NotUsable("it says too little to be checked")
    carried = share_known(said, keys(words(known)))
    share = share_known(said, keys(words(f"{known} {question}")))
    if carried < CARRIED or share < GROUNDED:
        share = min(share, carried)
        raise NotUsable(f"only {share:.0%} of its words come from the knowledge")
    return text


def _shortened(text: str) -> str:
    """Whole sentences up to the limit; a sentence that a token limit cut off is dropped too."""
    if len(text) <= MOST_CHARS:
        return text
    kept = ""
    for sentence in _SENTENCE.split(text[:MOST_CHARS])[:-1]:
        kept = f"{kept} {sentence}".strip()
    if not kept:
        raise NotUsable("it is far too long")
    return kept


def _refuse_rules(text: str) -> None:
    rules, said = words(INSTRUCTIONS), words(text)
    runs = {tuple(rules[at : at + RULE_WORDS]) for at in range(len(rules) - RULE_WORDS + 1)}
    if any(tuple(said[at : at + RULE_WORDS]) in runs for at in range(len(said))) or "facts>" in text:
        raise NotUsable("it repeats its rules")


def _refuse_language(text: str, language: str, script: str) -> None:
    letters = [char for char in text if char.isalpha()]
    ethiopic = sum(map(is_ethiopic, letters))
    latin = sum(char < "\u0250" for char in letters)
    wanted = ethiopic if script == "ethiopic" else latin
    if not letters or wanted < 0.6 * len(letters):
        raise NotUsable("it is in another script")
    if script == "latin":
        heard = words(text)
        hits = {code: sum(word in marks for word in heard) for code, marks in _TELLTALE.items()}
        best = max(hits, key=lambda code: (hits[code], code == language))
        if language in hits and hits[best] >= 3 and hits[best] > 2 * hits[language]:
            raise NotUsable(f"it is in another language ({best})")


def _refuse_invented(text: str, known: str) -> None:
    figures = set(_FIGURES.findall(_plain(known)))
    for figure in _FIGURES.findall(_plain(text)):
        if figure not in figures:
            raise NotUsable("it has a number that no fact has")
    for word in set(words(text)) & _BIG_WORDS:
        if word not in words(known):
            raise NotUsable("it has a number that no fact has")
    for link in _LINK.findall(text):
        if link.rstrip(".,;:!?)").lower() not in known.lower():
            raise NotUsable("it has a link or address that no fact has")


def _plain(text: str) -> str:
    """Figures as they are compared: thousands together, 20 for ፳ and 20.00."""
    text = re.sub(r"(?<=\d)[,  ](?=\d{3}\b)", "", text)
    return re.sub(r"(?<=\d)\.00\b", "", fold(text))
