"""The chat: who waits is matched, who is matched talks under an alias, who leaves is free at once.

The database is the truth of who is with whom; a session only remembers that its person is in the chat, since
a partner's turn can begin or end a pair.
"""

from __future__ import annotations

import enum
from typing import Any, Final, Protocol

import msgspec

from appliance.apps.chat.masking import mask
from appliance.conversation.kit import Kit
from appliance.conversation.meeting import Candidate, Partner, Standing
from appliance.conversation.text import fold, words
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["ChatApp", "ChatView", "State"]

MINUTE_MS: Final = 60_000
TOLD_MS: Final = 3_000  # somebody whom the store paired after "I look for somebody" learns it after this
AGAIN_MS: Final = 300_000  # and looks again, should the first alarm have found nobody
_BIRDS: Final = (
    "Ibis", "Crane", "Eagle", "Dove", "Hawk", "Heron", "Kite", "Lark", "Owl", "Robin", "Swift", "Wren",
    "Stork", "Finch", "Falcon", "Swan",
)  # fmt: skip


class State(enum.StrEnum):
    IDLE = "IDLE"  # not in the chat
    WAITING = "WAITING"  # we owe a partner
    TALKING = "TALKING"  # every text goes to the partner


class ChatView(Protocol):
    """Read-only; `store.chat.ChatLook` is the real one."""

    def standing(self, number: str, now_ms: int) -> Standing: ...

    def candidate(self, number: str, language: str, topic: str, now_ms: int) -> Candidate | None: ...


class ChatApp:
    """Anonymous chat with a matched partner."""

    name = "chat"
    opens = frozenset({"chat"})
    lifetime_ms = 24 * 60 * MINUTE_MS

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        chat = kit.section("chat")
        self.idle_ms = int(chat.get("idle_minutes", 30)) * MINUTE_MS
        self.most_chats = int(chat.get("chats_per_day", 30))

    def title(self, language: str) -> str:
        """Its line in the menu."""
        return self.kit.say(language, "chat.title")

    def holds_word(self, session: Session) -> bool:
        """While they wait or talk, "book" is a word like any other; MENU and STOP are not."""
        return session.state != State.IDLE

    def turn(self, session: Session, event: Event, look: ChatView) -> Turn:
        """Answer one event."""
        return _Talk(self, session, event, look).run()

    def leave(self, session: Session, event: Event, look: ChatView) -> Leaving:
        """STOP: out of the queue or the pair, and the partner is told."""
        standing = look.standing(session.sender, event.now_ms)
        if standing.partner is None and not standing.waiting:
            return Leaving()
        told = []
        if standing.partner is not None:
            partner = standing.partner
            text = self.kit.say(partner.language, "chat.partner_left")
            told = [Reply(to=partner.number, text=text)]
        return Leaving(effects=[Effect(name="chat.leave")], replies=told)


class _Talk:
    def __init__(self, app: ChatApp, session: Session, event: Event, look: ChatView) -> None:
        self.app, self.session, self.event, self.look = app, session, event, look
        self.standing = look.standing(session.sender, event.now_ms)
        self.replies: list[Reply] = []
        self.effects: list[Effect] = []
        self.state = State.IDLE
        if self.standing.partner is not None:
            self.state = State.TALKING
        elif self.standing.waiting:
            self.state = State.WAITING
        self.wake_at_ms: int | None = None

    def run(self) -> Turn:
        event = self.event
        self._tell_pair()
        heard = words(event.text)
        lexicon = self.app.kit.lexicon.exact
        whole = set(lexicon.get("".join(heard), {}))
        first = set(lexicon.get(heard[0], {})) if heard else set()
        text_is_mine = event.kind in ("text", "effect") and bool(heard)
        if event.kind == "effect" and event.reason == "over":
            self._partner_gone()
        elif not text_is_mine:
            self._woken()
        elif "chat_next" in whole:
            self._end_pair("chat.partner_left")
            self._join(self.standing.topic)
        elif whole & {"chat_leave", "stop_idle", "cancel"} and self.state is not State.IDLE:
            self._end_pair("chat.partner_left")
            self._out("chat.left")
        elif first & {"chat_report", "chat_block"} and self.standing.partner is not None:
            self._against(self.standing.partner, report="chat_report" in first)
        elif "chat_share" in whole and self.standing.partner is not None:
            self._share(self.standing.partner)
        elif self.standing.partner is not None:
            self._relay(self.standing.partner)
        elif "help" in whole:
            self._say("chat.help")
        elif self.state is State.WAITING:
            self._say("chat.still_waiting")
        elif "chat" in first:
            self._join(" ".join(heard[1:3]))
        else:
            self._say("chat.help")
        return self._finish()

    def _finish(self) -> Turn:
        now = self.event.now_ms
        if self.state is State.WAITING:
            self.wake_at_ms = now + TOLD_MS if self.wake_at_ms is None else self.wake_at_ms
        elif self.state is State.TALKING and self.wake_at_ms is None:
            self.wake_at_ms = now + self.app.idle_ms
        session = msgspec.structs.replace(
            self.session, state=str(self.state), data={}, wake_at_ms=self.wake_at_ms
        )
        heard: dict[str, Any] = {"intent": "other"}
        return Turn(session=session, replies=self.replies, effects=self.effects, understood=heard)

    def _say(self, key: str, **values: object) -> None:
        self.replies.append(Reply(text=self.app.kit.say(self.session.language, key, **values)))

    def _tell(self, partner: Partner | Candidate, key: str, **values: object) -> None:
        text = self.app.kit.say(partner.language, key, **values)
        self.replies.append(Reply(text=text, to=partner.number))

    def _tell_pair(self) -> None:
        """The store paired them while they waited: say so before anything else."""
        partner = self.standing.partner
        if partner is not None and not partner.told:
            self.effects.append(Effect(name="chat.told"))
            self._say("chat.matched", alias=partner.alias)

    # -- coming and going

    def _woken(self) -> None:
        """The menu opened the chat, or an alarm rang."""
        partner = self.standing.partner
        if self.event.kind == "open":
            if partner is not None:
                if partner.told:
                    self._say("chat.matched", alias=partner.alias)
            elif self.state is State.WAITING:
                self._say("chat.still_waiting")
            else:
                self._join("")
        elif self.state is State.WAITING:
            self._match(self.standing.topic, quietly=True)
        elif partner is not None:
            if self.event.now_ms - partner.last_ms >= self.app.idle_ms:
                self._end_pair("chat.idle")
                self._out("chat.idle")
            else:
                self.wake_at_ms = partner.last_ms + self.app.idle_ms

    def _join(self, topic: str) -> None:
        if self.standing.banned_ms > self.event.now_ms:
            self._out("chat.banned")
        elif self.standing.chats_today >= self.app.most_chats:
            self._out("chat.enough")
        else:
            self._match(fold(topic), quietly=False)

    def _match(self, topic: str, *, quietly: bool) -> None:
        """Pair with who has waited longest and fits; else wait."""
        mine = {
            "alias": self.standing.alias or _alias(self.event.entropy),
            "language": self.session.language,
            "topic": topic,
        }
        other = self.look.candidate(self.session.sender, self.session.language, topic, self.event.now_ms)
        # Somebody else was quicker: ask the store to pair us with whoever waits when our turn is written.
        if other is not None and self.event.attempt == 0:
            self.effects.append(Effect(name="chat.pair", args={**mine, "other": other.number}))
            self._say("chat.matched", alias=other.alias)
            self._tell(other, "chat.matched", alias=mine["alias"])
            self.state, self.wake_at_ms = State.TALKING, None
        elif not quietly or self.event.kind == "effect":
            self.effects.append(Effect(name="chat.wait", args=mine))
            self._say("chat.waiting")
            self.state = State.WAITING
        else:
            self.wake_at_ms = self.event.now_ms + AGAIN_MS

    def _end_pair(self, told: str) -> None:
        if self.state is not State.IDLE:
            self.effects.append(Effect(name="chat.leave"))
        if self.standing.partner is not None:
            self._tell(self.standing.partner, told)
            self.standing = msgspec.structs.replace(self.standing, partner=None)

    def _out(self, key: str) -> None:
        self.state, self.wake_at_ms = State.IDLE, None
        self._say(key)

    def _partner_gone(self) -> None:
        """The pair ended between our look and the commit."""
        self._out("chat.partner_left")

    # -- talking

    def _relay(self, partner: Partner) -> None:
        open_hearted = partner.shares and partner.i_share
        text = self.event.text if open_hearted else mask(self.event.text)
        self.effects.append(Effect(name="chat.say", args={"pair": partner.pair}))
        self.replies.append(Reply(text=f"{self.standing.alias}: {text}", to=partner.number))

    def _share(self, partner: Partner) -> None:
        self.effects.append(Effect(name="chat.share", args={"pair": partner.pair}))
        if partner.shares:
            self._say("chat.shared")
            self._tell(partner, "chat.shared")
        else:
            self._say("chat.share_asked")
            self._tell(partner, "chat.share_wanted", alias=self.standing.alias)

    def _against(self, partner: Partner, *, report: bool) -> None:
        """End it and never meet again; a report goes to the operator too."""
        words_said = self.event.text[:160]
        if report:
            args = {"pair": partner.pair, "words": words_said}
            self.effects.append(Effect(name="chat.report", args=args))
        self.effects.append(Effect(name="chat.block", args={"other": partner.number}))
        self._end_pair("chat.partner_left")
        self._out("chat.reported" if report else "chat.blocked")


def _alias(entropy: int) -> str:
    return f"{_BIRDS[entropy % len(_BIRDS)]}{10 + (entropy >> 8) % 90}"
