from __future__ import annotations

import csv
from pathlib import Path

import pytest

from appliance.conversation.kit import Kit
from appliance.conversation.words import Lexicon, Names

TOWNS = Path(__file__).parents[3] / "config" / "data" / "towns.csv"


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit({})


@pytest.fixture(scope="session")
def lexicon(kit: Kit) -> Lexicon:
    return kit.lexicon


@pytest.fixture(scope="session")
def spellings() -> dict[str, list[str]]:
    """The towns of the sample: every way their names are written."""
    with TOWNS.open(encoding="utf-8") as file:
        return {
            row["name_en"]: [
                n for n in (row["name_en"], row["name_am"], row["name_om"], *row["aliases"].split(";")) if n
            ]
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="session")
def names(spellings: dict[str, list[str]], lexicon: Lexicon) -> Names:
    return Names(spellings, lexicon.exact)
