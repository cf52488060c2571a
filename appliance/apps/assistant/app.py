"""The assistant: a question comes in, the operator's own answer goes out, or a person is asked.

It says nothing that is not in the knowledge base. What it cannot answer goes to the operator's inbox, and
the answer comes as an SMS later.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

import msgspec

from appliance.conversation.budget import segments, tidy
from appliance.conversation.kit import Kit
from appliance.conversation.text import words
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["AssistantApp", "AssistantView", "cut"]

ANSWER_SMS: Final = 2  # of one answer; MORE brings the rest
_SENTENCE_END: Final = re.compile(r"(?<=[.!?።፧])\s+")


class AssistantView(Protocol):
    """Read-only; `store.assistant.AssistantLook` is the real one."""

    def answer(self, words: list[str], language: str) -> str | None: ...


class AssistantApp:
    """Questions and answers."""

    name = "assistant"
    opens = frozenset({"ask"})
    lifetime_ms = 24 * 3_600_000

    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def title(self, language: str) -> str:
        """Its line in the menu."""
        return self.kit.say(language, "assistant.title")

    def holds_word(self, session: Session) -> bool:
        """Never: a keyword of another conversation is meant for it."""
        return False

    def leave(self, session: Session, event: Event, look: AssistantView) -> Leaving:
        """Nothing is held."""
        return Leaving()

    def turn(self, session: Session, event: Event, look: AssistantView) -> Turn:
        """Answer one event."""
        heard = words(event.text)
        lexicon = self.kit.lexicon.exact
        whole = set(lexicon.get("".join(heard), {}))
        if heard and "ask" in lexicon.get(heard[0], {}):
            heard = heard[1:]
        rest = str(session.data.get("rest", ""))
        effects: list[Effect] = []
        if event.kind in ("open", "timer") or not heard or "greet" in whole or heard == ["help"]:
            said, rest = self._say(session, "assistant.open"), ""
        elif "more" in whole:
            said, rest = self._more(session, rest)
        elif whole & {"stop_idle", "chat_leave", "back", "no", "cancel"}:
            return self._turn(session, self._say(session, "assistant.left"), "", "IDLE")
        else:
            found = look.answer(heard, session.language)
            if found is not None:
                said, rest = cut(found, self._say(session, "assistant.more"))
            else:
                args: dict[str, Any] = {"words": event.text[:320], "language": session.language}
                effects.append(Effect(name="assistant.ask", args=args))
                said, rest = self._say(session, "assistant.later"), ""
        turn = self._turn(session, said, rest, "ASKING")
        turn.effects = effects
        return turn

    def _more(self, session: Session, rest: str) -> tuple[str, str]:
        if not rest:
            return self._say(session, "assistant.no_more"), ""
        return cut(rest, self._say(session, "assistant.more"))

    def _say(self, session: Session, key: str) -> str:
        return self.kit.say(session.language, key)

    def _turn(self, session: Session, said: str, rest: str, state: str) -> Turn:
        kept = msgspec.structs.replace(
            session, state=state, data={"rest": rest} if rest else {}, wake_at_ms=None
        )
        return Turn(session=kept, replies=[Reply(text=said)], understood={"intent": "other"})


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
