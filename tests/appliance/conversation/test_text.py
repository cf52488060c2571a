from __future__ import annotations

import pytest

from appliance.conversation.text import ethiopic_number, fold, latin, skeleton, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ሐዋሳ", "ሀዋሳ"), ("ሃዋሳ", "ሀዋሳ"), ("ኀይሌ", "ሀይሌ"), ("ጸሐይ", "ፀሀይ"), ("ዓርብ", "አርብ"), ("ሠላም", "ሰላም"),
        ("ጐንደር", "ጎንደር"), ("ኅዳር", "ህዳር"), ("ታኅሣሥ", "ታህሳስ"), ("እሑድ", "እሁድ"), ("መቐለ", "መቀለ"),
        ("ኣክሱም", "አክሱም"), ("Hawassa", "HAWASA"), ("Shashamannee", "shashamane"), ("har’a", "har'a"),
        ("Café", "cafe"), ("አዲስ፡አበባ።", "አዲስ አበባ"), ("  a \t b ", "a b"),
    ],
)  # fmt: skip
def test_fold_two_spellings_become_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("AA", "A"), ("ሰላም", "ሠላሚ"), ("በደሌ", "በደል")])
def test_fold_different_words_stay_apart(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("፩", 1),
        ("፲፪", 12),
        ("፳፭", 25),
        ("፻", 100),
        ("፻፳", 120),
        ("፳፻፲፱", 2019),
        ("፲፱፻፺፱", 1999),
        ("፼", 10_000),
    ],
)
def test_ethiopic_number_adds_up(text: str, value: int) -> None:
    assert ethiopic_number(text) == value
    assert fold(text) == str(value)


def test_ethiopic_number_of_a_letter_is_none() -> None:
    assert ethiopic_number("ሀ") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BOOK Addis-Hawassa, 2!", ["bok", "adis", "hawasa", "2"]),
        ("6:30 25/11 12-05-2026", ["6:30", "25/11", "12-05-2026"]),
        ("ለ3ሰዎች", ["ለ", "3", "ሰዎች"]),
        ("1,250 birr", ["1250", "bir"]),
        ("ነገ፣ጠዋት፤፪", ["ነገ", "ጠዋት", "2"]),
        ("", []),
        ("?!.. 👍", []),
    ],
)
def test_words_split_where_meaning_does(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_latin_writes_ethiopic_as_spoken() -> None:
    assert latin(fold("ሀዋሳ")) == "hawasa"
    assert latin(fold("ድሬዳዋ")) == "dredawa"
    assert skeleton(fold("መቐለ")) == skeleton(fold("Mekelle"))
