from __future__ import annotations

import pytest

from appliance.conversation.language import detect
from appliance.conversation.text import words
from appliance.conversation.words import Lexicon, Names, tag


def test_names_of_the_sample_collide_with_nothing(
    spellings: dict[str, list[str]], names: Names, lexicon: Lexicon
) -> None:
    keys = {("".join(words(s)), town) for town, known in spellings.items() for s in known}
    assert len({key for key, _ in keys}) == len(keys)
    assert [key for key in names.exact if key in lexicon.exact] == []


def test_every_known_spelling_is_its_town(
    spellings: dict[str, list[str]], names: Names, lexicon: Lexicon
) -> None:
    for town, known in spellings.items():
        for spelling in known:
            (found,) = tag(spelling, lexicon, names)
            assert found.values == (town,), spelling


@pytest.mark.parametrize(
    ("text", "town"),
    [
        ("hawasssa", "Hawassa"), ("awassa", "Hawassa"), ("hawassaa", "Hawassa"), ("adiss abeba",
        "Addis Ababa"),
        ("addisababa", "Addis Ababa"), ("adama", "Adama"), ("nazreth", "Adama"), ("mekele", "Mekelle"),
        ("mekelle", "Mekelle"), ("gonderr", "Gondar"), ("diredewa", "Dire Dawa"), ("shashemenie",
        "Shashamane"),
        ("bahr dar", "Bahir Dar"), ("jimmaa", "Jimma"), ("lalibella", "Lalibela"), ("axsum", "Axum"),
        ("kombelcha", "Kombolcha"), ("ከሃዋሳ", "Hawassa"), ("ወደአዳማ", "Adama"), ("ባህር ዳር", "Bahir Dar"),
        ("ንመቐለ", "Mekelle"), ("አድስ አበባ", "Addis Ababa"), ("ጎንደርን", "Gondar"), ("welkite", "Welkite"),
    ],
)  # fmt: skip
def test_misspelt_town_is_found(text: str, town: str, lexicon: Lexicon, names: Names) -> None:
    found = [t for t in tag(text, lexicon, names) if t.kind == "name"]
    assert [t.values for t in found] == [(town,)]


def test_beginning_shared_by_towns_gives_the_choice(lexicon: Lexicon, names: Names) -> None:
    (found,) = tag("debre", lexicon, names)
    assert found.values == ("Bishoftu", "Debre Birhan", "Debre Markos", "Debre Tabor")


@pytest.mark.parametrize("text", ["pizza", "football", "president", "computer", "ምሳ", "qwertyui", "x", "ok"])
def test_other_words_are_no_towns(text: str, lexicon: Lexicon, names: Names) -> None:
    assert all(t.kind != "name" for t in tag(text, lexicon, names))


def test_role_is_read_from_prefixes(lexicon: Lexicon, names: Names) -> None:
    found = [t for t in tag("ከአዲስ አበባ ወደሀዋሳ", lexicon, names) if t.kind == "name"]
    assert [(t.values[0], t.role) for t in found] == [("Addis Ababa", "from"), ("Hawassa", "to")]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("BOOK ADDIS", "en"),
        ("ሰላም ትኬት", "am"),
        ("nege lihed", "am"),
        ("2", ""),
        ("YES", ""),
        ("HELP", ""),
        ("Hawassa", ""),
    ],
)
def test_detect_language_only_from_words_that_tell(text: str, language: str, lexicon: Lexicon) -> None:
    assert detect(text, lexicon) == language


def test_noise_is_no_word_that_means_something(lexicon: Lexicon) -> None:
    both = {key: sorted(found) for key, found in lexicon.exact.items() if "noise" in found and len(found) > 1}
    assert both == {}


def test_prepositions_mean_one_thing(lexicon: Lexicon) -> None:
    for word in ("to", "from", "for", "ከ", "ወደ", "ke", "wede", "ካብ", "ናብ", "gara", "ira"):
        assert len(lexicon.exact[word]) == 1, (word, lexicon.exact[word])
