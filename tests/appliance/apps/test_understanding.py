"""Texts as people send them: how many are understood at the first try, per language.

The lists are written by hand, one text a line. The bar is 95 % of all fields right (intent, both towns, day
and passengers); the lists hold to more, so that a change that loses one is seen.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from appliance.apps.booking.codes import make_code
from appliance.apps.booking.look import towns_of
from appliance.apps.booking.understand import understand
from appliance.trial import AGENT, Trial, read_time

FOLDER = Path(__file__).parent / "texts"
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.tsv"))
FIELDS = ("intent", "origin", "destination", "date", "passengers")


def read(language: str) -> list[tuple[str, dict[str, Any]]]:
    cases = []
    for line in (FOLDER / f"{language}.tsv").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            text, *values = line.split("\t")
            wanted: dict[str, Any] = {
                field: None if value == "-" else value for field, value in zip(FIELDS, values, strict=True)
            }
            if wanted["passengers"] is not None:
                wanted["passengers"] = int(wanted["passengers"])
            cases.append((text, wanted))
    return cases


@pytest.fixture(scope="module")
def box() -> Trial:
    settings = {
        "conversation": {"languages": ["en", "am", "om", "ti", "fr", "sw"]},
        "payments": {"agents": [AGENT]},
    }
    return Trial(settings, now_ms=read_time("2026-11-22 09:00"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_understood_at_the_first_try(language: str, box: Trial) -> None:
    wrong = []
    cases = read(language)
    for number, (text, wanted) in enumerate(cases):
        box.text(f"+2519{LANGUAGES.index(language)}{number:07}", text)
        assert box.last is not None
        understood = box.last.understood
        if understood != wanted:
            differing = {f: (understood.get(f), wanted[f]) for f in FIELDS if understood.get(f) != wanted[f]}
            wrong.append(f"{text!r}: {differing}")
    share = 1 - len(wrong) / len(cases)
    assert share >= 0.98, f"{share:.1%} of {len(cases)}\n" + "\n".join(wrong)


# How whole sentences are built in each language: every sample route is put through every frame.
FRAMES = {
    "en": (
        "book {o} {d} {day} {n}",
        "i want to go from {o} to {d} {day}, {n} people",
        "{n} tickets to {d} from {o} {day}",
    ),
    "am": ("ትኬት ከ{o} ወደ {d} {day} {n} ሰው", "{day} {o} {d} ለ{n} ሰዎች", "ወደ {d} ከ{o} {day} {n} መቀመጫ እፈልጋለሁ"),
    "om": (
        "tikeetii {o} {d} {day} {n}",
        "{o} irraa gara {d} {day} nama {n}",
        "{day} {o} irraa {d} teessoo {n} barbaada",
    ),
    "ti": ("ትኬት {o} {d} {day} {n}", "ካብ {o} ናብ {d} {day} {n} ሰብ", "{day} ካብ {o} ናብ {d} ን{n} ሰብ ሓዙለይ"),
}
DAYS = {
    "en": ("tomorrow", "on friday", "25 nov"),
    "am": ("ነገ", "ዓርብ", "ኅዳር 16"),
    "om": ("boru", "jimaata", "25/11/2026"),
    "ti": ("ጽባሕ", "ዓርቢ", "ሕዳር 16"),
}


@pytest.mark.parametrize("language", sorted(FRAMES))
def test_every_route_is_understood_in_every_frame(language: str, box: Trial) -> None:
    look = box.looks["booking"]
    column = {"ti": "am"}.get(language, language)
    names = {town.key: town.names[column] for town in look.towns()}
    lexicon, towns = box.shell.kit.lexicon, towns_of(look, box.shell.kit.lexicon).names
    calendar = box.shell.kit.phrases.languages[language].calendar
    wrong, total = [], 0
    for number, (origin, destination) in enumerate(look._routes):
        for at, frame in enumerate(FRAMES[language]):
            day, wanted = DAYS[language][at], ("2026-11-23", "2026-11-27", "2026-11-25")[at]
            seats = 1 + number % 5
            text = frame.format(o=names[origin], d=names[destination], day=day, n=seats)
            found = understand(text, lexicon, towns, dt.date(2026, 11, 22), calendar)
            got = (
                found.intent,
                found.origin,
                found.destination,
                str(found.moment.days[:1]),
                found.passengers,
            )
            total += 1
            if got != ("book", (origin,), (destination,), str((dt.date.fromisoformat(wanted),)), seats):
                wrong.append(f"{text!r}: {got}")
    assert total >= 400
    assert len(wrong) <= 0.005 * total, "\n".join(wrong[:20])


@pytest.mark.parametrize(
    "words", ["PAY {} 2580", "CHECK {}", "REFUND {} 2580", "please cancel my ticket {} now"]
)
def test_every_code_is_read_whatever_its_letters_and_digits_look_like(words: str, box: Trial) -> None:
    """Seed 30000 of the torture bench: an agent's PAY 9D7X6U was answered as if it had no code."""
    lexicon = box.shell.kit.lexicon
    names = towns_of(box.looks["booking"], lexicon).names
    codes = {"9D7X6U", "C4W9F5", "5C3C6H", *(make_code(entropy, 0) for entropy in range(500))}
    read = {
        code: understand(words.format(code), lexicon, names, dt.date(2026, 11, 22), "gregorian").code
        for code in codes
    }
    assert {code: found for code, found in read.items() if found != code} == {}
