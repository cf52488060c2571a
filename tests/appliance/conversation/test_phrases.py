from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.conversation.phrases import DEFAULT_FOLDER, PhraseErrors, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The phrase files that come with Outpost, to be spoilt."""
    copy = tmp_path / "phrases"
    shutil.copytree(DEFAULT_FOLDER, copy)
    return copy


def spoil(folder: Path, old: str, new: str) -> list[str]:
    path = folder / "am.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PhraseErrors) as errors:
        load(folder)
    return errors.value.lines


def test_load_missing_text_names_file_and_key(folder: Path) -> None:
    lines = spoil(folder, '"booking.gone" = ', '"booking.gonne" = ')
    assert lines == [
        "am.toml: say.booking.gone: missing",
        "am.toml: say.booking.gonne: unknown; en.toml has no such text",
    ]


def test_load_wrong_placeholder_is_refused(folder: Path) -> None:
    (line,) = spoil(folder, "{date} አልፏል", "{dat} አልፏል")
    assert line == "am.toml: say.booking.past: placeholders ['dat']; want ['date']"


def test_load_broken_file_is_one_line(folder: Path) -> None:
    (line,) = spoil(folder, "[say]", "[say")
    assert line.startswith("am.toml: ")


def test_load_language_without_a_file_is_refused() -> None:
    with pytest.raises(PhraseErrors, match="xx: no phrase file"):
        load(spoken=["xx"])


def test_say_chooses_singular_and_plural() -> None:
    phrases = load()
    words = {"code": "AB3D5F", "until": "09:30", "price": "1.00 ETB"}
    assert "1 seat held" in phrases.say("en", "booking.held", n=1, **words)
    assert "2 seats held" in phrases.say("en", "booking.held", n=2, **words)


def test_over_budget_names_the_text_that_grew(folder: Path) -> None:
    phrases = load(folder)
    assert phrases.over_budget("en", {"name": "x" * 200, **dict.fromkeys(SLOTS, "x")}) == [
        "en.toml: say.booking.unknown_town: 2 SMS at its longest; want 1"
    ]


SLOTS = (
    "origin destination date asked time until price code n left most seats days km hours via choices alias"
    " url account near new_time"
).split()


def test_page_tells_the_confidence_of_every_language() -> None:
    page = (DEFAULT_FOLDER.parents[1] / "docs" / "booking.md").read_text(encoding="utf-8")
    for code, language in load(spoken=["en"]).languages.items():
        rows = [line for line in page.splitlines() if line.startswith(f"| {code} |")]
        assert [row.rstrip(" |").rsplit("| ", 1)[1] for row in rows] == [language.confidence], code
