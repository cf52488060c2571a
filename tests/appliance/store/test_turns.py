"""The one-commit turn, its effects, and the sessions it writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.conversation.turn import Session
from appliance.message import Inbound
from appliance.store import effects, inbound, sessions, turns
from appliance.store.database import connect_writer, prepare
from appliance.store.effects import EFFECTS, EffectContext, EffectRefused, UnknownEffect
from appliance.store.turns import Committed, Stale, TurnRefused, TurnWork

ALEM = "+251911000001"
SARA = "+251911000002"
NOW = 1_700_000_000_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(prepare(tmp_path / "x.db").path)) as db:
        yield db


@pytest.fixture(autouse=True)
def two_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    def note(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
        db.execute(
            "INSERT INTO undecoded (channel, pdu_hex, error, received_at_ms) VALUES (?,?,?,?)",
            (ctx.sender, args["text"], str(ctx.inbound_id), ctx.now_ms),
        )
        return {"noted": True}

    def refuse(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
        raise EffectRefused("sold_out", left=args["left"])

    monkeypatch.setitem(EFFECTS, "test.note", note)
    monkeypatch.setitem(EFFECTS, "test.refuse", refuse)


def accepted(db: sqlite3.Connection, sender: str = ALEM) -> int:
    message = Inbound(channel="http", sender=sender, recipient="", text="hi", received_at_ms=NOW)
    return inbound.accept(db, message).id


def work(inbound_id: int, **fields: Any) -> TurnWork:
    session = sessions.row_of(Session(sender=ALEM, app="booking", state="SEARCH", wake_at_ms=NOW + 5))
    usual: dict[str, Any] = {"session": session, "replies": [("hello", "", "reply")], "effects": []}
    return TurnWork(inbound_id, ALEM, NOW, **usual | fields)


def everything(db: sqlite3.Connection) -> dict[str, list[Any]]:
    return {
        "inbound": db.execute("SELECT state FROM inbound ORDER BY id").fetchall(),
        "outbound": db.execute("SELECT recipient, text, state, channel FROM outbound ORDER BY id").fetchall(),
        "session": db.execute("SELECT sender, app, state FROM session").fetchall(),
        "noted": db.execute("SELECT pdu_hex, error FROM undecoded").fetchall(),
    }


def test_commit_turn_writes_session_effects_replies_and_handled(db: sqlite3.Connection) -> None:
    number = accepted(db)
    replies = [("hello", "", "reply"), ("news", SARA, "normal")]
    result = turns.commit_turn(db, work(number, replies=replies, effects=[("test.note", {"text": "n"})]))
    assert isinstance(result, Committed)
    assert [(row.recipient, row.key.lane) for row in result.queued] == [(ALEM, "reply"), (SARA, "normal")]
    assert everything(db) == {
        "inbound": [("handled",)],
        "outbound": [(ALEM, "hello", "queued", ""), (SARA, "news", "queued", "")],
        "session": [(ALEM, "booking", "SEARCH")],
        "noted": [("n", str(number))],
    }


def test_commit_turn_run_twice_counts_once(db: sqlite3.Connection) -> None:
    number = accepted(db)
    turns.commit_turn(db, work(number, effects=[("test.note", {"text": "n"})]))
    before = everything(db)
    assert turns.commit_turn(db, work(number, effects=[("test.note", {"text": "m"})])) == Stale(number)
    assert turns.commit_turn(db, work(number)) == Stale(number)
    assert everything(db) == before


def test_commit_turn_refused_effect_changes_nothing(db: sqlite3.Connection) -> None:
    number = accepted(db)
    before = everything(db)
    asked = [("test.note", {"text": "n"}), ("test.refuse", {"left": 2})]
    result = turns.commit_turn(db, work(number, effects=asked))
    assert result == TurnRefused("test.refuse", "sold_out", {"left": 2})
    assert everything(db) == before
    assert not db.in_transaction


def test_commit_turn_unknown_effect_is_the_apps_bug(db: sqlite3.Connection) -> None:
    number = accepted(db)
    with pytest.raises(UnknownEffect, match=r"test\.nobody"):
        turns.commit_turn(db, work(number, effects=[("test.nobody", {})]))


def test_commit_turn_answered_here_is_sent_over_http(db: sqlite3.Connection) -> None:
    number = accepted(db)
    replies = [("yes", "", "reply"), ("also", ALEM, "reply"), ("x", SARA, "reply")]
    result = turns.commit_turn(db, work(number, replies=replies, answer_here=True))
    assert isinstance(result, Committed)
    assert result.answers == ["yes", "also"]
    assert [row.recipient for row in result.queued] == [SARA]
    assert everything(db)["outbound"][0] == (ALEM, "yes", "sent", "http")
    assert turns.replies_given(db, number) == turns.Given(False, ["yes", "also"])


def test_replies_given_tells_waiting_from_gone_by_air(db: sqlite3.Connection) -> None:
    number = accepted(db)
    assert turns.replies_given(db, number) == turns.Given(True, None)
    turns.commit_turn(db, work(number))
    assert turns.replies_given(db, number) == turns.Given(False, None)
    silent = accepted(db)
    turns.commit_turn(db, work(silent, replies=[]))
    assert turns.replies_given(db, silent) == turns.Given(False, [])
    assert turns.replies_given(db, 999) == turns.Given(False, None)


def test_commit_failed_turn_apologises_in_the_sessions_language(db: sqlite3.Connection) -> None:
    sessions.save(db, ALEM, sessions.row_of(Session(sender=ALEM, language="am", state="KEPT")), NOW)
    number = accepted(db)
    result = turns.commit_failed_turn(
        db, work(number, session=None, replies=()), "hung", {"": "sorry", "am": "ይቅርታ"}
    )
    assert isinstance(result, Committed) and len(result.queued) == 1
    state = everything(db)
    assert state["inbound"] == [("set_aside",)]
    assert state["outbound"] == [(ALEM, "ይቅርታ", "queued", "")]
    assert state["session"] == [(ALEM, "", "KEPT")]
    assert isinstance(turns.commit_failed_turn(db, work(number), "hung", {"": "sorry"}), Stale)


def test_session_round_trip_and_unreadable_body(db: sqlite3.Connection) -> None:
    session = Session(sender=ALEM, app="booking", data={"to": "ሀዋሳ"}, history=[("<", 1, "hi")])
    sessions.save(db, ALEM, sessions.row_of(session), NOW)
    assert sessions.load(db, ALEM) == session
    assert sessions.load(db, SARA) is None
    db.execute("UPDATE session SET body = ?", (b'{"sender": 5}',))
    assert sessions.load(db, ALEM) is None
    assert sessions.forget(db, ALEM) and not sessions.forget(db, ALEM)


def test_wake_due_makes_one_message_per_wake_up(db: sqlite3.Connection) -> None:
    row = sessions.row_of(Session(sender=ALEM, wake_at_ms=NOW))
    sessions.save(db, ALEM, row, NOW - 9)
    assert sessions.wake_due(db, NOW - 1) == []
    woken = sessions.wake_due(db, NOW)
    assert [(each.channel, each.sender, each.natural_key) for _, each in woken] == [
        ("timer", ALEM, f"timer:{ALEM}:{NOW}")
    ]
    assert sessions.wake_due(db, NOW + 1) == []
    sessions.save(db, ALEM, row, NOW)  # a turn that ran meanwhile writes the old wake-up back
    assert sessions.wake_due(db, NOW + 2) == []
    assert db.execute("SELECT wake_at_ms FROM session").fetchone() == (None,)


def test_effect_name_registered_twice_is_refused() -> None:
    @effects.effect("test.twice")
    def first(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None: ...

    try:
        with pytest.raises(ValueError, match="registered twice"):

            @effects.effect("test.twice")
            def second(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None: ...
    finally:
        del EFFECTS["test.twice"]
