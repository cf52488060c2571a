"""The shell around the conversations: what every text passes first, and the session's bookkeeping.

STOP-class words cut through everything; START, LANG and MENU work everywhere; a keyword chooses another
conversation, and the one before stands aside until it is chosen again. All else goes to the app that has the
word. The shell keeps the language, the last ten texts and the end of each app's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from appliance.conversation.apps import installed
from appliance.conversation.dates import clock
from appliance.conversation.kit import Kit
from appliance.conversation.language import detect
from appliance.conversation.patience import be_patient
from appliance.conversation.text import words
from appliance.conversation.turn import App, Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["HISTORY", "MENU", "Shell"]

HISTORY: Final = 10  # texts kept with the session
MENU: Final = "MENU"  # the session's app while the list of conversations is open
_HISTORY_CHARS: Final = 320  # of each: a row of the database, not an archive


class Shell:
    """All conversations of one box. Holds no state between turns.

    settings: the configuration as plain data, see `Kit`. Raises PhraseErrors when the phrases are unusable.
    apps: only for tests; otherwise those of appliance/apps that the settings name, or all.
    """

    def __init__(self, settings: Mapping[str, Any], apps: Mapping[str, App] | None = None) -> None:
        self.kit = Kit(settings)
        conversation = self.kit.section("conversation")
        self.apps = dict(apps) if apps is not None else installed(self.kit, conversation.get("apps"))
        chosen = str(conversation.get("default_app") or "booking")
        self.default_app = chosen if chosen in self.apps else next(iter(self.apps))

    def turn(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        """Answer one event. looks: each app's read-only view of stored data, by the app's name."""
        if event.channel == "timer" and event.text:
            return self._news(session, event, looks)
        session = self._begin(session, event)
        if event.kind != "timer" and not event.sender.startswith("+"):
            # A service, not a person: no keyword, no reply. Wallets' receipts are the booking's business.
            app = self.apps.get("booking") or self.apps[self.default_app]
            turn = app.turn(session, event, looks.get(app.name))
            turn.replies = [reply for reply in turn.replies if reply.to not in (None, event.sender)]
            return self._end(turn, event)
        if event.kind == "timer":
            return self._timers(session, event, looks)
        turn = self._special(session, event, looks) or self._of_app(session, event, looks)
        if turn.understood.get("intent") == "stop" and not turn.session.opted_out:
            # "stop sending me this": not a STOP-class word alone, but nothing else can be meant.
            turn = self._stop(session, event, looks)
        turn = be_patient(session, turn, event, self.kit.say(session.language, "shell.handed_over"))
        return self._end(turn, event)

    def _of_app(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        return self.apps[session.app].turn(session, event, looks.get(session.app))

    # -- the session around the turn

    def _begin(self, session: Session, event: Event) -> Session:
        """The session as the app may see it: ended states gone, the language of the text known."""
        # The row's alarm is the first of several; the app sees its own.
        changes: dict[str, Any] = {"wake_at_ms": session.wakes.get(session.app)}
        aside = {
            name: kept
            for name, kept in session.aside.items()
            if name in self.apps and (event.kind == "timer" or kept["expires_at_ms"] > event.now_ms)
        }
        if len(aside) < len(session.aside):
            changes["aside"] = aside
        ended = event.kind != "timer" and session.expires_at_ms <= event.now_ms
        if ended or (session.app not in self.apps and session.app != MENU):
            changes.update(app=self.default_app, state="IDLE", data={}, wake_at_ms=None)
        if event.kind != "timer" and not session.language_set:
            language = detect(event.text, self.kit.lexicon)
            if language in self.kit.phrases.spoken:
                changes["language"] = language
            elif not session.language:
                changes["language"] = self.kit.phrases.spoken[0]
        return msgspec.structs.replace(session, **changes)

    def _end(self, turn: Turn, event: Event) -> Turn:
        """Keep the history, set the end of the app's state and the next wake-up of any app."""
        session = turn.session
        history = list(session.history)
        if event.kind != "timer":
            text = event.text if turn.heard is None else turn.heard
            history.append(("<", event.at_ms or event.now_ms, text[:_HISTORY_CHARS]))
        said = [reply.text[:_HISTORY_CHARS] for reply in turn.replies if reply.to is None]
        history += [(">", event.now_ms, text) for text in said]
        app = self.apps.get(session.app)
        lifetime = self.kit.session_ms if app is None or app.lifetime_ms is None else app.lifetime_ms
        ends = session.expires_at_ms if event.kind == "timer" else event.now_ms + lifetime
        turn.session = msgspec.structs.replace(
            session,
            history=history[-HISTORY:],
            expires_at_ms=max([ends, session.wake_at_ms or 0]),
            wakes={session.app: session.wake_at_ms} if session.wake_at_ms is not None else {},
        )
        return _wake_at_the_first(turn)

    def _set_aside(self, session: Session, event: Event, app: str) -> Session:
        """Give the word to `app`; what the present app is in the middle of waits for its return."""
        aside = dict(session.aside)
        if session.app in self.apps and (session.state != "IDLE" or session.data):
            lifetime = self.apps[session.app].lifetime_ms or self.kit.session_ms
            wake = session.wakes.get(session.app)
            aside[session.app] = {
                "state": session.state,
                "data": session.data,
                "wake_at_ms": wake,
                "expires_at_ms": max(event.now_ms + lifetime, wake or 0),
            }
        kept = aside.pop(app, None) or {"state": "IDLE", "data": {}, "wake_at_ms": None}
        return msgspec.structs.replace(
            session,
            app=app,
            state=kept["state"],
            data=kept["data"],
            wake_at_ms=kept["wake_at_ms"],
            aside=aside,
        )

    def _timers(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        """Wake every app whose time came, the one that has the word and those that stand aside."""
        turn = Turn(session=session)
        wakes = dict(session.wakes)
        due = wakes.get(session.app)
        session = msgspec.structs.replace(session, wake_at_ms=due)
        if session.app in self.apps and due is not None and due <= event.now_ms:
            turn = self._of_app(msgspec.structs.replace(session, wake_at_ms=None), event, looks)
            session = turn.session
        aside = dict(session.aside)
        for name, kept in list(aside.items()):
            if kept["wake_at_ms"] is None or kept["wake_at_ms"] > event.now_ms:
                continue
            seen = msgspec.structs.replace(
                session, app=name, state=kept["state"], data=kept["data"], wake_at_ms=None, aside={}
            )
            woken = self._of_app(seen, event, looks)
            turn.replies += woken.replies
            turn.effects += woken.effects
            after = woken.session
            aside[name] = {
                **kept, "state": after.state, "data": after.data, "wake_at_ms": after.wake_at_ms
            }  # fmt: skip
        turn.session = msgspec.structs.replace(session, aside=aside)
        return self._end(turn, event)

    def _news(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        """Something came for an app from outside (a model's answer): tell it, whoever has the word.

        The event's text is the app's name and what came, "assistant 17"; the app sees an Event of kind
        "event" with the rest as its text.
        """
        name, _, what = event.text.partition(" ")
        silent = msgspec.structs.replace(event, kind="timer")
        session = self._begin(session, silent)
        if name not in self.apps:
            return self._end(Turn(session=session), silent)
        kind = "effect" if event.kind == "effect" else "event"
        told = msgspec.structs.replace(event, kind=kind, text=what)
        if session.app == name:
            return self._end(self._of_app(session, told, looks), silent)
        aside = dict(session.aside)
        kept = aside.get(name) or {"state": "IDLE", "data": {}, "wake_at_ms": None}
        seen = msgspec.structs.replace(
            session, app=name, state=kept["state"], data=kept["data"], wake_at_ms=kept["wake_at_ms"], aside={}
        )
        turn = self._of_app(seen, told, looks)
        after = turn.session
        if name in aside:
            aside[name] = {
                **kept, "state": after.state, "data": after.data, "wake_at_ms": after.wake_at_ms
            }  # fmt: skip
        turn.session = msgspec.structs.replace(session, aside=aside)
        return self._end(turn, silent)

    # -- what the shell answers itself

    def _special(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn | None:
        heard = words(event.text)
        if not heard:
            return self._menu(session, event) if session.app == MENU else None
        whole = self.kit.lexicon.exact.get("".join(heard), {})
        held = session.app != MENU and self.apps[session.app].holds_word(session)
        if self._is_stop(heard) or (session.state == "IDLE" and "stop_idle" in whole):
            return self._stop(session, event, looks)
        if "start" in whole:
            return self._start(session)
        first = self.kit.lexicon.exact.get(heard[0], {})
        if "lang" in first and len(heard) <= 2:
            return self._language(session, heard[1] if len(heard) == 2 else "")
        if "menu" in whole and len(self.apps) > 1:
            return self._menu(session, event)
        if session.app == MENU:
            return self._chosen(session, event, heard, looks)
        chosen = None if held else self._named(first)
        if chosen is not None and chosen != session.app:
            session = self._set_aside(session, event, chosen)
            return self._of_app(session, self._opening(event, heard), looks)
        return None

    def _named(self, concepts: Mapping[str, Any]) -> str | None:
        return next((name for name, app in self.apps.items() if app.opens & set(concepts)), None)

    @staticmethod
    def _opening(event: Event, heard: list[str]) -> Event:
        """A keyword alone opens the app; with more behind it, the text is for the app to read."""
        if len(heard) > 1 or event.kind == "effect":
            return event
        return msgspec.structs.replace(event, kind="open")

    def _menu(self, session: Session, event: Event) -> Turn:
        session = self._set_aside(session, event, MENU)
        code = session.language
        lines = [f"{n}) {app.title(code)}" for n, app in enumerate(self.apps.values(), 1)]
        text = "\n".join([self.kit.say(code, "shell.menu"), *lines, self.kit.say(code, "shell.number")])
        return Turn(session=session, replies=[Reply(text=text)], understood=_understood("help"))

    def _chosen(
        self, session: Session, event: Event, heard: list[str], looks: Mapping[str, Any]
    ) -> Turn | None:
        """The answer to the menu: a number, a keyword, or something for the usual conversation."""
        names = list(self.apps)
        if len(heard) == 1 and heard[0].isdigit():
            if not 1 <= int(heard[0]) <= len(names):
                return self._menu(session, event)
            session = self._set_aside(session, event, names[int(heard[0]) - 1])
            opening = event if event.kind == "effect" else msgspec.structs.replace(event, kind="open")
            return self._of_app(session, opening, looks)
        first = self.kit.lexicon.exact.get(heard[0], {})
        session = self._set_aside(session, event, self._named(first) or self.default_app)
        return self._of_app(session, self._opening(event, heard) if self._named(first) else event, looks)

    def opts(self, text: str) -> bool:
        """Whether the text is a STOP- or START-class word: the box's own, whatever else lays claim to it."""
        heard = words(text)
        start = "start" in self.kit.lexicon.exact.get("".join(heard), {})
        return bool(heard) and (start or self._is_stop(heard))

    def stops(self, text: str) -> bool:
        """Whether the text is a STOP-class word, which is obeyed whatever the limits say."""
        return self._is_stop(words(text))

    def limit_text(self, language: str, until_ms: int) -> str:
        """What somebody is told once who texted more than is answered. until_ms: when we answer again."""
        minute = -(-until_ms // 60_000) + self.kit.timezone_minutes
        at = clock(minute, self.kit.phrases.of(language))
        return self.kit.say(language, "shell.limit", time=at)

    def apologies(self) -> dict[str, str]:
        """By language, "" for who has none yet: what is said for a message that could not be handled."""
        spoken = self.kit.phrases.spoken
        return {code: self.kit.say(code or spoken[0], "shell.apology") for code in ("", *spoken)}

    def _is_stop(self, heard: list[str]) -> bool:
        """The whole text is a STOP-class word, politeness aside."""
        lexicon = self.kit.lexicon.exact
        core = [word for word in heard if "filler" not in lexicon.get(word, {})]
        stops = ("".join(heard), "".join(core))
        return bool(core) and len(heard) <= 6 and any("stop" in lexicon.get(key, {}) for key in stops)

    def _stop(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        leaving = Leaving()
        states = {session.app: {"state": session.state, "data": session.data}, **session.aside}
        for name, kept in states.items():
            if name in self.apps:
                seen = msgspec.structs.replace(session, app=name, state=kept["state"], data=kept["data"])
                left = self.apps[name].leave(seen, event, looks.get(name))
                leaving.effects += left.effects
                leaving.replies += left.replies
        word = Effect(name="person.opt_out", args={"word": event.text.strip()[:40]})
        replies = [] if session.opted_out else [self._reply(session, "shell.stopped")]
        ended = msgspec.structs.replace(
            session, app=self.default_app, state="IDLE", data={}, aside={}, opted_out=True, wake_at_ms=None
        )
        return Turn(
            session=ended,
            replies=replies + leaving.replies,
            effects=[*leaving.effects, word],
            understood=_understood("stop"),
        )

    def _start(self, session: Session) -> Turn:
        session = msgspec.structs.replace(session, opted_out=False)
        return Turn(
            session=session,
            replies=[self._reply(session, "shell.started")],
            effects=[Effect(name="person.opt_in")],
            understood=_understood("other"),
        )

    def _language(self, session: Session, wanted: str) -> Turn:
        code = self._language_named(wanted)
        if code is None:
            text = self.kit.say(session.language, "shell.languages", choices=self.kit.language_choices())
            return Turn(session=session, replies=[Reply(text=text)], understood=_understood("other"))
        session = msgspec.structs.replace(session, language=code, language_set=True)
        return Turn(
            session=session,
            replies=[self._reply(session, "shell.language")],
            effects=[Effect(name="person.language", args={"language": code})],
            understood=_understood("other"),
        )

    def _language_named(self, wanted: str) -> str | None:
        for code in self.kit.phrases.spoken:
            language = self.kit.phrases.languages[code]
            names = {code, *words(language.name), *language.hear.get("language_name", ())}
            if wanted and any(wanted == "".join(words(name)) for name in names):
                return code
        return None

    def _reply(self, session: Session, key: str) -> Reply:
        return Reply(text=self.kit.say(session.language, key))


def _wake_at_the_first(turn: Turn) -> Turn:
    """The row has one alarm: the earliest of the app that has the word and of those aside."""
    session = turn.session
    alarms = [*session.wakes.values(), *(kept["wake_at_ms"] for kept in session.aside.values())]
    turn.session = msgspec.structs.replace(
        session, wake_at_ms=min((at for at in alarms if at is not None), default=None)
    )
    return turn


def _understood(intent: str) -> dict[str, Any]:
    return {"intent": intent, "origin": None, "destination": None, "date": None, "passengers": None}
