"""The shell around the conversations: what every text passes first, and the session's bookkeeping.

STOP-class words cut through everything; START, LANG and MENU work everywhere; all else goes to the app
that has the word. The shell keeps the language, the last ten texts and the session's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from appliance.conversation.kit import Kit
from appliance.conversation.language import detect
from appliance.conversation.text import words
from appliance.conversation.turn import App, Effect, Event, Reply, Session, Turn

__all__ = ["HISTORY", "Shell"]

HISTORY: Final = 10  # texts kept with the session
_HISTORY_CHARS: Final = 320  # of each: a row of the database, not an archive


class Shell:
    """All conversations of one box. Holds no state between turns.

    settings: the configuration as plain data, see `Kit`. Raises PhraseErrors when the phrases are unusable.
    apps: only for tests; otherwise the conversations that come with Outpost.
    """

    def __init__(self, settings: Mapping[str, Any], apps: Mapping[str, App] | None = None) -> None:
        self.kit = Kit(settings)
        self.apps: dict[str, App] = dict(apps) if apps is not None else installed(self.kit)
        self.default_app = str(self.kit.section("conversation").get("default_app") or next(iter(self.apps)))

    def turn(self, session: Session, event: Event, looks: Mapping[str, Any]) -> Turn:
        """Answer one event. looks: each app's read-only view of stored data, by the app's name."""
        session = self._begin(session, event)
        special = self._special(session, event) if event.kind != "timer" else None
        if special is None:
            app = self.apps[session.app]
            special = app.turn(session, event, looks.get(session.app))
        return self._end(special, event)

    def _begin(self, session: Session, event: Event) -> Session:
        """The session as the app may see it: expired states gone, the language of the text known."""
        changes: dict[str, Any] = {}
        if session.app not in self.apps:
            changes.update(app=self.default_app, state="IDLE", data={}, wake_at_ms=None)
        elif event.kind != "timer" and session.expires_at_ms <= event.now_ms and session.wake_at_ms is None:
            changes.update(app=self.default_app, state="IDLE", data={}, aside={})
        if event.kind == "timer":
            changes["wake_at_ms"] = None
        elif not session.language_set:
            language = detect(event.text, self.kit.lexicon)
            if language in self.kit.phrases.spoken:
                changes["language"] = language
            elif not session.language:
                changes["language"] = self.kit.phrases.spoken[0]
        return msgspec.structs.replace(session, **changes) if changes else session

    def _special(self, session: Session, event: Event) -> Turn | None:
        """What the shell answers itself, whichever app has the word."""
        heard = words(event.text)
        if not heard:
            return None
        whole = self.kit.lexicon.exact.get("".join(heard), {})
        idle = session.state == "IDLE"
        if self._is_stop(heard) or (idle and "stop_idle" in whole):
            return self._stop(session, event)
        if "start" in whole:
            return self._start(session)
        first = self.kit.lexicon.exact.get(heard[0], {})
        if "lang" in first and len(heard) <= 2:
            return self._language(session, heard[1] if len(heard) == 2 else "")
        return None

    def _is_stop(self, heard: list[str]) -> bool:
        """The whole text is a STOP-class word, politeness aside."""
        lexicon = self.kit.lexicon.exact
        core = [word for word in heard if "filler" not in lexicon.get(word, {})]
        return (
            bool(core)
            and len(heard) <= 6
            and ("stop" in lexicon.get("".join(heard), {}) or "stop" in lexicon.get("".join(core), {}))
        )

    def _stop(self, session: Session, event: Event) -> Turn:
        effects = self.apps[session.app].leave(session, event)
        for name, kept in session.aside.items():
            if name in self.apps:
                aside = msgspec.structs.replace(session, app=name, state=kept["state"], data=kept["data"])
                effects += self.apps[name].leave(aside, event)
        effects.append(Effect(name="person.opt_out", args={"word": event.text.strip()[:40]}))
        replies = [] if session.opted_out else [self._reply(session, "shell.stopped")]
        ended = msgspec.structs.replace(
            session, app=self.default_app, state="IDLE", data={}, aside={}, opted_out=True, wake_at_ms=None
        )
        return Turn(session=ended, replies=replies, effects=effects, understood=_understood("stop"))

    def _start(self, session: Session) -> Turn:
        session = msgspec.structs.replace(session, opted_out=False)
        effects = [Effect(name="person.opt_in")]
        return Turn(
            session=session,
            replies=[self._reply(session, "shell.started")],
            effects=effects,
            understood=_understood("other"),
        )

    def _language(self, session: Session, wanted: str) -> Turn:
        code = self._language_named(wanted)
        if code is None:
            text = self.kit.say(session.language, "shell.languages", choices=self.kit.language_choices())
            reply = Reply(text=text)
            return Turn(session=session, replies=[reply], understood=_understood("other"))
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

    def _end(self, turn: Turn, event: Event) -> Turn:
        """Keep the history and set the session's end: so long after the last text, never before a wake-up."""
        session = turn.session
        history = list(session.history)
        if event.kind != "timer":
            history.append(("<", event.at_ms or event.now_ms, event.text[:_HISTORY_CHARS]))
        history += [
            (">", event.now_ms, reply.text[:_HISTORY_CHARS]) for reply in turn.replies if reply.to is None
        ]
        ends = session.expires_at_ms if event.kind == "timer" else event.now_ms + self.kit.session_ms
        turn.session = msgspec.structs.replace(
            session, history=history[-HISTORY:], expires_at_ms=max(ends, session.wake_at_ms or 0)
        )
        return turn


def _understood(intent: str) -> dict[str, Any]:
    return {"intent": intent, "origin": None, "destination": None, "date": None, "passengers": None}


def installed(kit: Kit) -> dict[str, App]:
    """The conversations that come with Outpost, by name."""
    # Imported here: the apps are built from this package, which must not need them to be imported.
    from appliance.apps.booking import BookingApp

    return {"booking": BookingApp(kit)}
