"""The assistant: a question comes in, the operator's own answer goes out, or a person is asked.

It says nothing that is not in the knowledge base. With a model configured, a question that the knowledge does
not answer word for word is recorded, asked by the main process, and told in a turn of its own; what the model
gets wrong is answered from the knowledge, or by a person later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from appliance.apps.assistant.checking import NotUsable, checked
from appliance.apps.assistant.prompt import CONTEXT, TEXT_CHARS, estimate, prompt_for
from appliance.apps.assistant.states import State, Step, move
from appliance.conversation.asking import Asked, Fact, Known
from appliance.conversation.budget import segments, tidy
from appliance.conversation.kit import Kit
from appliance.conversation.text import words
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["AssistantApp", "AssistantView", "cut"]

ANSWER_SMS: Final = 2  # of one answer; MORE brings the rest
QUESTION_CHARS: Final = 320
SHORT_QUESTION: Final = 3  # words that count; a shorter one means something only after the one before it
_SENTENCE_END: Final = re.compile(r"(?<=[.!?።፧])\s+")
_CHARS: Final = {"latin": 280, "ethiopic": 125}  # asked of the model: two SMS with room for the hint


class AssistantView(Protocol):
    """Read-only; `store.assistant.AssistantLook` is the real one."""

    def best(self, heard: Sequence[str], language: str) -> tuple[str, bool] | None: ...

    def facts(self, heard: Sequence[str], language: str) -> list[Fact]: ...

    def asked(self, number: str, asking_id: int) -> Asked | None: ...

    def known(self, number: str) -> Known: ...


class AssistantApp:
    """Questions and answers."""

    name = "assistant"
    opens = frozenset({"ask"})
    lifetime_ms = 24 * 3_600_000

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.model: Mapping[str, Any] = kit.section("assistant")

    def title(self, language: str) -> str:
        """Its line in the menu."""
        return self.kit.say(language, "assistant.title")

    def holds_word(self, session: Session) -> bool:
        """Never: a keyword of another conversation is meant for it."""
        return False

    def leave(self, session: Session, event: Event, look: AssistantView) -> Leaving:
        """Nothing is held; an answer that is owed still comes, for it answers what they sent."""
        return Leaving()

    def turn(self, session: Session, event: Event, look: AssistantView) -> Turn:
        """Answer one event."""
        return _Talk(self, session, event, look).run()


class _Talk:
    def __init__(self, app: AssistantApp, session: Session, event: Event, look: AssistantView) -> None:
        self.app, self.kit, self.session, self.event, self.look = app, app.kit, session, event, look
        self.rest = str(session.data.get("rest", ""))
        # What was said here, and only here: chats with strangers and bookings are nobody's context.
        self.talk: list[tuple[str, str]] = [(who, said) for who, said in session.data.get("talk", ())]
        self.effects: list[Effect] = []

    def run(self) -> Turn:
        event = self.event
        if event.channel == "timer" or event.kind == "event":
            return self._news(int(event.text) if event.text.isdigit() else 0)
        heard = words(event.text)
        lexicon = self.kit.lexicon.exact
        whole = set(lexicon.get("".join(heard), {}))
        named = bool(heard) and "ask" in lexicon.get(heard[0], {})
        if named:
            heard = heard[1:]
        if event.kind == "open" or not heard or "greet" in whole or heard == ["help"]:
            return self._answer(self._say("assistant.open"))
        if "more" in whole:
            return self._more()
        if whole & {"stop_idle", "chat_leave", "back", "no", "cancel"}:
            self.rest = ""
            return self._done([self._say("assistant.left")], Step.LEFT)
        return self._question(heard)

    # -- a question

    def _question(self, heard: list[str]) -> Turn:
        language = self.session.language
        found = self.look.best(heard, language)
        if found is not None and found[1]:
            self._remember("<", self.event.text)
            return self._answer(found[0])
        # A refused effect says that the day's tokens are used up.
        if self.app.model.get("on") and self.event.kind != "effect" and self._think(heard):
            self._remember("<", self.event.text)
            return self._done([], Step.THOUGHT)
        return self._done([self._own(heard, self.event.text, language)], Step.ANSWERED)

    def _own(self, heard: Sequence[str], asked: str, language: str) -> str:
        """The knowledge's answer, or the promise of a person's."""
        found = self.look.best(heard, language)
        if found is not None:
            return self._cut(found[0])
        args: dict[str, Any] = {"words": asked[:QUESTION_CHARS], "language": language}
        self.effects.append(Effect(name="assistant.ask", args=args))
        self.rest = ""
        return self._say("assistant.later")

    def _think(self, heard: list[str]) -> bool:
        """Have the model asked. False when there is nothing it could answer from."""
        session, event, model = self.session, self.event, self.app.model
        asked = [text for direction, text in self.talk if direction == "<"]
        topic = [*words(asked[-1]), *heard] if asked and len(heard) <= SHORT_QUESTION else heard
        facts = self.look.facts(topic, session.language)
        if not facts:
            return False
        language = self.kit.phrases.of(session.language)
        prompt = prompt_for(
            event.text[:QUESTION_CHARS],
            self.talk,
            facts,
            self.look.known(session.sender),
            self.kit,
            language=session.language,
            chars=_CHARS[language.script],
        )
        tokens_in, tokens_out = estimate(prompt), int(model["answer_tokens"])
        cost = round(tokens_in * model["input_price"] + tokens_out * model["output_price"])
        args: dict[str, Any] = {
            "language": session.language,
            "words": event.text[:QUESTION_CHARS],
            "prompt": prompt,
            "facts": [(fact.question, fact.answer) for fact in facts],
            "deadline_ms": event.now_ms + round(model["timeout_s"] * 1000),
            "timezone_minutes": self.kit.timezone_minutes,
            "reserve": (tokens_in, tokens_out, cost),
            "caps": {
                "person": model["tokens_per_person"],
                "client": model["tokens_per_client"],
                "cost": round(model["cost_per_day"] * 1_000_000),
            },
        }
        self.effects.append(Effect(name="assistant.think", args=args))
        return True

    # -- what came of it

    def _news(self, asking_id: int) -> Turn:
        """The endpoint answered, or did not: the person gets their one answer."""
        asked = self.look.asked(self.session.sender, asking_id)
        if asked is None or asked.state not in ("answered", "failed") or self.event.kind == "effect":
            return Turn(session=self.session)
        by, reason, said = "model", "", ""
        if asked.state == "answered":
            script = self.kit.phrases.of(asked.language).script
            try:
                said = self._cut(
                    checked(asked.answer, asked.facts, asked.words, asked.language, script), asked.language
                )
            except NotUsable as error:
                reason = str(error)
        if not said:
            heard = words(asked.words)
            if heard and "ask" in self.kit.lexicon.exact.get(heard[0], {}):
                heard = heard[1:]
            said = self._own(heard, asked.words, asked.language)
            by = "person" if self.effects else "knowledge"
        args: dict[str, Any] = {"id": asking_id, "by": by, "reason": reason}
        self.effects.append(Effect(name="assistant.told", args=args))
        return self._done([said], Step.TOLD)

    # -- answers

    def _answer(self, text: str) -> Turn:
        return self._done([self._cut(text)], Step.ANSWERED)

    def _more(self) -> Turn:
        return self._answer(self.rest or self._say("assistant.no_more"))

    def _cut(self, text: str, language: str | None = None) -> str:
        hint = self.kit.say(self.session.language if language is None else language, "assistant.more")
        said, self.rest = cut(text, hint)
        return said

    def _say(self, key: str) -> str:
        return self.kit.say(self.session.language, key)

    def _remember(self, direction: str, text: str) -> None:
        self.talk = [*self.talk, (direction, text[:TEXT_CHARS])][-CONTEXT:]

    def _done(self, said: list[str], step: Step) -> Turn:
        state = move(self.session.state, step)
        for text in said:
            self._remember(">", text)
        data: dict[str, Any] = {} if state is State.IDLE else {"talk": self.talk}
        if self.rest and state is not State.IDLE:
            data["rest"] = self.rest
        kept = msgspec.structs.replace(self.session, state=str(state), data=data, wake_at_ms=None)
        replies = [Reply(text=text) for text in said]
        return Turn(session=kept, replies=replies, effects=self.effects, understood={"intent": "other"})


def cut(text: str, hint: str) -> tuple[str, str]:
    """What fits into an answer's SMS, with the hint for MORE if there is a rest. Returns (part, rest).

    Cut at a sentence if one fits, else at a word.
    """
    text = tidy(text.strip())
    if segments(text) <= ANSWER_SMS:
        return text, ""
    for pieces in (_SENTENCE_END.split(text), text.split(" ")):
        taken = 0
        while taken < len(pieces) and segments(f"{' '.join(pieces[: taken + 1])} {hint}") <= ANSWER_SMS:
            taken += 1
        if taken:
            return f"{' '.join(pieces[:taken])} {hint}", " ".join(pieces[taken:])
    room = 60
    return f"{text[:room]} {hint}", text[room:]
