from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from appliance.conversation.shell import HISTORY, Shell
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

MINUTE = 60_000
ABEBE = "+251911111111"


class Echo:
    """Says what it hears; `hold` makes it hold something, `wake` asks for a timer."""

    def __init__(self, name: str, *opens: str) -> None:
        self.name = name
        self.opens = frozenset(opens)
        self.lifetime_ms = None

    def title(self, language: str) -> str:
        return f"title of {self.name}"

    def holds_word(self, session: Session) -> bool:
        return session.state == "HOLDING"

    def turn(self, session: Session, event: Event, look: Any) -> Turn:
        changes: dict[str, Any] = {}
        if event.text == "hold":
            changes = {"state": "HOLDING", "data": {"held": 1}}
        if event.text == "wake":
            changes = {"state": "WAITING", "wake_at_ms": event.now_ms + 60 * MINUTE}
        said = f"{self.name} {event.kind} {event.text} {session.state}"
        return Turn(session=msgspec.structs.replace(session, **changes), replies=[Reply(text=said)])

    def leave(self, session: Session, event: Event, look: Any) -> Leaving:
        return Leaving(effects=[Effect(name=f"{self.name}.release")] if session.data else [])


@pytest.fixture
def shell() -> Shell:
    settings: Mapping[str, Any] = {"conversation": {"default_app": "one"}}
    return Shell(settings, {"one": Echo("one")})


def text(said: str, at: int = 0, **changes: Any) -> Event:
    return Event(kind="text", sender=ABEBE, text=said, now_ms=at * MINUTE, at_ms=at * MINUTE, **changes)


def test_turn_stranger_gets_the_default_app_and_language(shell: Shell) -> None:
    turn = shell.turn(Session(sender=ABEBE), text("blah"), {})
    assert (turn.session.app, turn.session.language) == ("one", "en")
    assert turn.replies[0].text == "one text blah IDLE"
    assert turn.session.expires_at_ms == 15 * MINUTE


def test_turn_language_follows_the_text_until_lang_is_sent(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("ትኬት ነገ"), {}).session
    assert session.language == "am"
    session = shell.turn(session, text("book a ticket tomorrow"), {}).session
    assert session.language == "en"
    turn = shell.turn(session, text("LANG AM"), {})
    assert turn.effects == [Effect(name="person.language", args={"language": "am"})]
    session = shell.turn(turn.session, text("book a ticket tomorrow"), {}).session
    assert session.language == "am"


@pytest.mark.parametrize("said", ["lang amharic", "ቋንቋ አማርኛ", "LANG am", "language AM"])
def test_turn_lang_takes_code_or_name(said: str, shell: Shell) -> None:
    assert shell.turn(Session(sender=ABEBE), text(said), {}).session.language == "am"


def test_turn_state_ends_fifteen_minutes_after_the_last_text(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("hold", 0), {}).session
    assert shell.turn(session, text("x", 14), {}).replies[0].text.endswith("HOLDING")
    assert shell.turn(session, text("x", 15), {}).replies[0].text.endswith("IDLE")


def test_turn_waiting_timer_keeps_the_session(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("wake", 0), {}).session
    assert session.expires_at_ms == 60 * MINUTE
    assert shell.turn(session, text("x", 59), {}).replies[0].text.endswith("WAITING")


def test_turn_timer_is_cleared_and_keeps_no_history(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("wake", 0), {}).session
    event = Event(kind="timer", sender=ABEBE, now_ms=60 * MINUTE)
    turn = shell.turn(session, event, {})
    assert turn.session.wake_at_ms is None
    assert [way for way, _, _ in turn.session.history] == ["<", ">", ">"]


@pytest.mark.parametrize(
    "said",
    ["STOP", "stop!", " Stop. ", "StopAll", "UNSUBSCRIBE", "opt-out", "Remove", "አቁም", "please stop", "ተው"],
)
def test_turn_stop_cuts_through_gives_back_and_confirms_once(said: str, shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("hold"), {}).session
    turn = shell.turn(session, text(said), {})
    assert [effect.name for effect in turn.effects] == ["one.release", "person.opt_out"]
    assert turn.effects[1].args == {"word": said.strip()}
    assert (turn.session.state, turn.session.data, len(turn.replies)) == ("IDLE", {}, 1)
    again = shell.turn(turn.session, text(said), {})
    assert again.replies == []


@pytest.mark.parametrize("said", ["does the bus stop in adama", "stop over", "END", "CANCEL", "NO"])
def test_turn_other_words_in_a_dialogue_go_to_the_app(said: str, shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("hold"), {}).session
    assert shell.turn(session, text(said), {}).replies[0].text.startswith("one text")


def test_turn_end_outside_a_dialogue_is_an_opt_out(shell: Shell) -> None:
    assert shell.turn(Session(sender=ABEBE), text("END"), {}).session.opted_out


def test_turn_start_opts_in(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("STOP"), {}).session
    turn = shell.turn(session, text("START"), {})
    assert not turn.session.opted_out
    assert turn.effects == [Effect(name="person.opt_in")]


def test_turn_history_keeps_the_last_ten(shell: Shell) -> None:
    session = Session(sender=ABEBE)
    for number in range(20):
        session = shell.turn(session, text(f"text {number}", number), {}).session
    assert len(session.history) == HISTORY
    assert session.history[-2] == ("<", 19 * MINUTE, "text 19")


def test_turn_session_of_an_app_that_is_gone_begins_anew(shell: Shell) -> None:
    session = Session(sender=ABEBE, app="removed", state="X", data={"a": 1}, expires_at_ms=99 * MINUTE)
    assert shell.turn(session, text("x"), {}).replies[0].text == "one text x IDLE"


def test_turn_session_survives_the_way_to_a_worker_and_back(shell: Shell) -> None:
    session = shell.turn(Session(sender=ABEBE), text("hold"), {}).session
    assert msgspec.json.decode(msgspec.json.encode(session), type=Session) == session


@pytest.fixture
def several() -> Shell:
    """Two conversations on one number."""
    return Shell(
        {"conversation": {"default_app": "one"}},
        {"one": Echo("one", "book"), "two": Echo("two", "chat")},
    )


def test_menu_lists_the_conversations_and_a_number_chooses(several: Shell) -> None:
    turn = several.turn(Session(sender=ABEBE), text("menu"), {})
    assert turn.replies[0].text.split("\n")[1:3] == ["1) title of one", "2) title of two"]
    turn = several.turn(turn.session, text("2"), {})
    assert (turn.session.app, turn.replies[0].text) == ("two", "two open 2 IDLE")


def test_menu_number_that_is_not_there_shows_the_menu_again(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("menu"), {}).session
    assert several.turn(session, text("7"), {}).replies[0].text.startswith("Choose:")


def test_keyword_sets_aside_and_resumes(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("wake"), {}).session
    turn = several.turn(session, text("chat"), {})
    assert (turn.session.app, turn.session.state) == ("two", "IDLE")
    assert turn.session.wake_at_ms == session.wake_at_ms
    turn = several.turn(turn.session, text("book something"), {})
    assert turn.replies[0].text == "one text book something WAITING"


def test_keyword_is_just_a_word_while_the_app_holds_it(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("hold"), {}).session
    assert several.turn(session, text("chat with me"), {}).session.app == "one"


def test_timer_of_an_app_that_stands_aside_reaches_it(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("wake"), {}).session
    session = several.turn(session, text("chat"), {}).session
    turn = several.turn(session, Event(kind="timer", sender=ABEBE, now_ms=60 * MINUTE), {})
    assert [reply.text for reply in turn.replies] == ["one timer  WAITING"]
    assert (turn.session.app, turn.session.wake_at_ms) == ("two", None)


def test_stop_leaves_the_apps_that_stand_aside_too(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("hold"), {}).session
    session = several.turn(session, text("menu"), {}).session
    turn = several.turn(session, text("STOP"), {})
    assert [effect.name for effect in turn.effects] == ["one.release", "person.opt_out"]


def test_aside_state_ends_with_its_lifetime(several: Shell) -> None:
    session = several.turn(Session(sender=ABEBE), text("hold"), {}).session
    session = several.turn(session, text("menu"), {}).session
    turn = several.turn(session, text("book now please", 16), {})
    assert turn.replies[0].text == "one text book now please IDLE"
