"""Five texts in a row that nobody understood: a person takes over, and the box is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from appliance.conversation.patience import LOST_MOST
from appliance.conversation.shell import Shell
from appliance.conversation.turn import Event, Reply, Session, Turn

NOW = 1_790_000_000_000
DAY_MS = 86_400_000


class Deaf:
    """Understands "yes" and nothing else."""

    name, opens, lifetime_ms = "deaf", frozenset[str](), None

    def title(self, language: str) -> str:
        return "Deaf"

    def holds_word(self, session: Session) -> bool:
        return False

    def turn(self, session: Session, event: Event, look: Any) -> Turn:
        lost = event.text != "yes"
        return Turn(session=session, replies=[Reply(text="what?" if lost else "good")], lost=lost)

    def leave(self, session: Session, event: Event, look: Any) -> Any:
        raise AssertionError


class Person:
    def __init__(self) -> None:
        self.shell = Shell({}, {"deaf": Deaf()})  # type: ignore[dict-item]
        self.session = Session(sender="+251911000001", language="en")
        self.now_ms = NOW
        self.effects: list[Mapping[str, Any]] = []

    def says(self, text: str) -> list[str]:
        self.now_ms += 1_000
        event = Event(kind="text", sender=self.session.sender, text=text, now_ms=self.now_ms)
        turn = self.shell.turn(self.session, event, {})
        self.session = msgspec.json.decode(msgspec.json.encode(turn.session), type=Session)
        self.effects += [{"name": effect.name, **effect.args} for effect in turn.effects]
        return [reply.text for reply in turn.replies]


@pytest.fixture
def person() -> Person:
    return Person()


def test_patience_fifth_text_in_a_row_goes_to_a_person_then_silence(person: Person) -> None:
    said = [person.says(f"mumble {n}") for n in range(8)]
    assert said[:4] == [["what?"]] * 4
    assert said[4] == ["I do not understand. A person will read your text and answer you."]
    assert said[5:] == [[], [], []]
    assert person.effects == [{"name": "assistant.ask", "words": "mumble 4", "language": "en"}]


def test_patience_text_that_is_understood_ends_the_row(person: Person) -> None:
    for _ in range(LOST_MOST - 1):
        person.says("mumble")
    assert person.says("yes") == ["good"]
    assert [person.says("mumble") for _ in range(LOST_MOST - 1)] == [["what?"]] * (LOST_MOST - 1)


def test_patience_silence_ends_with_a_text_that_is_understood(person: Person) -> None:
    for _ in range(LOST_MOST + 3):
        person.says("mumble")
    assert person.says("yes") == ["good"]
    assert person.says("mumble") == ["what?"]


@pytest.mark.parametrize("jump_ms", [DAY_MS, -365 * DAY_MS])
def test_patience_silence_ends_after_a_day_or_a_clock_set_back(person: Person, jump_ms: int) -> None:
    for _ in range(LOST_MOST + 3):
        person.says("mumble")
    person.now_ms += jump_ms
    assert person.says("mumble") == ["what?"]


def test_patience_menu_and_stop_work_in_the_silence(person: Person) -> None:
    for _ in range(LOST_MOST + 3):
        person.says("mumble")
    assert person.says("LANG")
