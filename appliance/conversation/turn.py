"""A turn: a session and a message go in, a session, replies and effects come out.

An app is a pure function. It reads no clock (the message carries the time), writes nothing (an effect
is a wish, granted or refused by the writer inside the commit) and sees stored data only through `look`.
Everything here crosses a socket as JSON, so fields are plain data.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

__all__ = ["App", "Effect", "Event", "Leaving", "Reply", "Session", "Turn"]


class Session(msgspec.Struct, kw_only=True):
    """What is remembered of one person between two texts; one row, keyed by the sender.

    app: the app that has the word. state: that app's state name. data: its own fields, plain JSON.
    aside: what other apps left to be resumed, by app name: state, data, expires_at_ms, wake_at_ms.
    language: ISO 639 code, "" until known.
    history: last texts, oldest first, as [direction "<" or ">", at_ms, text]; the kit keeps at most 10.
    language_set: they chose it with LANG, so the language of a text changes nothing.
    opted_out: they said STOP; what they send is still answered.
    lost: answers in a row that did not understand, since lost_ms.
    expires_at_ms: after it the state is gone, the language and history are not.
    wakes: the alarm of the app that has the word, by its name (the shell's). wake_at_ms: when the app wants
    an Event of kind "timer", None: never; in the stored row the first alarm of any app.
    """

    sender: str
    app: str = ""
    state: str = "IDLE"
    data: dict[str, Any] = {}
    aside: dict[str, dict[str, Any]] = {}
    language: str = ""
    language_set: bool = False
    opted_out: bool = False
    lost: int = 0
    lost_ms: int = 0
    wakes: dict[str, int] = {}
    history: list[tuple[str, int, str]] = []
    expires_at_ms: int = 0
    wake_at_ms: int | None = None


class Event(msgspec.Struct, kw_only=True):
    """What an app is called with.

    kind: "text" (a person's message), "open" (the menu or a keyword chose this app: say where we are),
    "timer" (wake_at_ms came), "event" (what the app asked the box for has come; the text says what),
    "effect" (one of the turn's effects was refused: the app is called again in the same turn with the
    session as it was before, and what it returns replaces the first answer; the text and everything else of
    the message are still there).
    now_ms: the time of the turn. at_ms: when the person sent it. effect/reason/detail: the refused
    effect's name, the reason in a word, and data that helps to answer (seats left, for one).
    attempt: 0 for the first call of the turn, then 1, 2 ... for each refused effect.
    entropy: 64 random bits, the only chance an app may use (ticket codes), so that a test can fix it.
    """

    kind: str
    sender: str
    text: str = ""
    now_ms: int
    at_ms: int = 0
    message_id: int = 0
    channel: str = ""
    effect: str = ""
    reason: str = ""
    detail: dict[str, Any] = {}
    attempt: int = 0
    entropy: int = 0


class Reply(msgspec.Struct, kw_only=True):
    """One message to send. to: None for the sender of the turn's message, else another E.164 number."""

    text: str
    to: str | None = None
    lane: str = "reply"


class Effect(msgspec.Struct, kw_only=True):
    """A change to stored data, by the name it is registered under in `appliance.store.effects`.

    name: "<app>.<verb>", e.g. "booking.hold". args: plain JSON.
    """

    name: str
    args: dict[str, Any] = {}


class Turn(msgspec.Struct, kw_only=True):
    """What a call of an app gives back; committed as a whole or not at all.

    heard: what the history keeps of the text when not all of it may be kept (a PIN); None: all. lost: the
    reply only says that the text was not understood, or asks the same again.
    """

    session: Session
    replies: list[Reply] = []
    effects: list[Effect] = []
    understood: dict[str, Any] = {}
    heard: str | None = None
    lost: bool = False


class Leaving(msgspec.Struct, kw_only=True):
    """What an app does when STOP cuts it short: what it gives back, and whom it tells (never the sender)."""

    effects: list[Effect] = []
    replies: list[Reply] = []


class App(Protocol):
    """A conversation. `look` is the app's own read-only view of stored data, a Protocol it declares.

    name: of its folder, its effects and its look-up. opens: concepts of the phrase files ("chat", "ask") that
    choose it when a text begins with one. lifetime_ms: how long after the last text its state is kept; None:
    as configured. title: its line in the menu. holds_word: in this state every text is the app's, so that no
    keyword of another app may take it away (people talk to each other).
    """

    name: str
    opens: frozenset[str]
    lifetime_ms: int | None

    def title(self, language: str) -> str: ...

    def holds_word(self, session: Session) -> bool: ...

    def turn(self, session: Session, event: Event, look: Any) -> Turn: ...

    def leave(self, session: Session, event: Event, look: Any) -> Leaving: ...
