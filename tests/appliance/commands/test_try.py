from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from appliance.commands import main
from appliance.commands.try_ import answer_lines
from appliance.trial import Trial, read_time


@pytest.fixture
def trial() -> Trial:
    return Trial({"conversation": {"apps": ["booking"]}}, now_ms=read_time("2026-11-22 09:00"))


def answers(trial: Trial, *lines: object) -> list[dict[str, object]]:
    text = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    return [json.loads(line) for line in answer_lines(text, trial)]


def test_json_line_is_answered_with_replies_state_and_understanding(trial: Trial) -> None:
    at = "2026-11-22T09:00:00+03:00"
    line = {"id": "a", "from": "+251911223344", "text": "BOOK ADDIS HAWASSA TOMORROW 2", "at": at}
    (answer,) = answers(trial, line)
    assert answer["id"] == "a"
    assert answer["state"] == "CONFIRM_BOOKING"
    assert answer["understood"] == {
        "intent": "book",
        "origin": "Addis Ababa",
        "destination": "Hawassa",
        "date": "2026-11-23",
        "passengers": 2,
    }
    (reply,) = answer["replies"]  # type: ignore[misc]
    assert reply["segments"] == 1


def test_json_clock_is_the_callers_and_may_go_back(trial: Trial) -> None:
    first, second = answers(
        trial,
        {"id": 1, "from": "a", "text": "adama tomorrow", "at": "2027-01-05T08:00:00Z"},
        {"id": 2, "from": "b", "text": "adama tomorrow", "at": "2026-12-01T08:00:00+03:00"},
    )
    assert first["understood"]["date"] == "2027-01-06"  # type: ignore[index]
    assert second["understood"]["date"] == "2026-12-02"  # type: ignore[index]


def test_json_names_are_people_of_their_own(trial: Trial) -> None:
    lines = [{"id": n, "from": name, "text": "BOOK"} for n, name in enumerate(["p1", "p2", "p1"])]
    assert [answer["state"] for answer in answers(trial, *lines)] == ["SEARCH"] * 3
    assert len(trial.sessions) == 2


def test_json_bad_lines_do_not_stop_the_next(trial: Trial) -> None:
    found = answers(trial, "nonsense", "[1]", {"id": 3, "text": 5}, {"id": 4, "text": "hi", "at": "x"},
                    "", {"id": 5, "text": "hi"})  # fmt: skip
    assert [("error" in answer, answer["id"]) for answer in found] == [
        (True, None), (True, None), (True, 3), (True, 4), (False, 5)
    ]  # fmt: skip


def test_terminal_talks_and_saves_a_transcript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "talk.txt"
    typed = f"/at 2026-11-22 09:00\nBOOK ADDIS HAWASSA TOMORROW 2\n/wait 5m\nYES\n/save {saved}\n/quit\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["try", "booking"]) == 0
    assert "[1 SMS]" in capsys.readouterr().out
    saved.write_text(saved.read_text() + "abebe > HELP\n")
    assert main(["try", "booking", "--play", str(saved)]) == 0
    played = capsys.readouterr().out
    assert "YES to hold" in played and "seats held until" in played
    assert "abebe < To book text: BOOK" in played


def test_unknown_conversation_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "nothing"]) == 2
    assert "there are: " in capsys.readouterr().err
