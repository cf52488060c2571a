"""Texts as people send them: how many are understood at the first try, per language.

The lists are written by hand, one text a line. The bar is 95 % of all fields right (intent, both towns, day
and passengers); the lists hold to more, so that a change that loses one is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
        "conversation": {"languages": ["en", "am", "om", "ti"]},
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
