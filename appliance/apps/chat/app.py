"""The chat: who waits is matched, who is matched talks under an alias, who leaves is free at once.

The database is the truth of who is with whom; a session only remembers that its person is in the chat, since
a partner's turn can begin or end a pair.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from appliance.apps.chat.states import State
from appliance.apps.chat.wishes import Wishes, read_wishes
from appliance.conversation.budget import segments
from appliance.conversation.kit import Kit
from appliance.conversation.masking import MASK
from appliance.conversation.meeting import Candidate, Partner, Standing
from appliance.conversation.text import words
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["ChatApp", "ChatView"]

MINUTE_MS: Final = 60_000
TOLD_MS: Final = 3_000  # somebody whom the store paired after "I look for somebody" learns it after this
AGAIN_MS: Final = 300_000  # and looks again, should the first alarm have found nobody
LOOKS: Final = 2  # at who waits, while others are quicker; then the store pairs us itself
RELAYED_SMS: Final = 3  # of one text: what one person writes, the operator pays for
REPORT_CHARS: Final = 160
# Digits in texts of little else, one after the other: so many are a number told in pieces.
PIECES_DIGITS: Final = 8
PIECES_LETTERS: Final = 8
_BIRDS: Final = (
    "Ibis", "Crane", "Eagle", "Dove", "Hawk", "Heron", "Kite", "Lark", "Owl", "Robin", "Swift", "Wren",
    "Stork", "Finch", "Falcon", "Swan",
)  # fmt: skip


class ChatView(Protocol):
    """Read-only; `store.chat.ChatLook` is the real one."""

    def standing(self, number: str, now_ms: int, timezone_minutes: int) -> Standing: ...

    def candidate(
        self, number: str, language: str, topic: str, gender: str, wants: str, now_ms: int
    ) -> Candidate | None: ...


class ChatApp:
    """Anonymous chat with a matched partner."""

    name = "chat"
    opens = frozenset({"chat"})
    lifetime_ms = 24 * 60 * MINUTE_MS

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        chat = kit.section("chat")
        self.idle_ms = int(chat.get("idle_minutes", 30)) * MINUTE_MS
        self.wait_ms = int(chat.get("wait_minutes", 60)) * MINUTE_MS
        self.most_chats = int(chat.get("chats_per_day", 30))
        self.most_texts = int(chat.get("texts_per_day", 300))

    def title(self, language: str) -> str:
        """Its line in the menu."""
        return self.kit.say(language, "chat.title")

    def holds_word(self, session: Session) -> bool:
        """While they wait or talk, "book" is a word like any other; MENU and STOP are not."""
        return session.state in (State.WAITING, State.TALKING)

    def turn(self, session: Session, event: Event, look: ChatView) -> Turn:
        """Answer one event."""
        return _Talk(self, session, event, look).run()

    def leave(self, session: Session, event: Event, look: ChatView) -> Leaving:
        """STOP: out of the queue or the pair, and the partner is told."""
        standing = look.standing(session.sender, event.now_ms, self.kit.timezone_minutes)
        partner = standing.partner
        if partner is None and not standing.waiting:
            return Leaving()
        told = []
        if partner is not None:
            text = self.kit.say(partner.language, "chat.partner_left")
            told = [Reply(to=partner.number, text=text)]
        args = {"pair": None if partner is None else partner.pair}
        return Leaving(effects=[Effect(name="chat.leave", args=args)], replies=told)


class _Talk:
    def __init__(self, app: ChatApp, session: Session, event: Event, look: ChatView) -> None:
        self.app, self.session, self.event, self.look = app, session, event, look
        self.standing = look.standing(session.sender, event.now_ms, app.kit.timezone_minutes)
        self.replies: list[Reply] = []
        self.effects: list[Effect] = []
        self.data: dict[str, Any] = {}
        self.state = State.IDLE if session.state == State.IDLE else State.OVER
        if self.standing.partner is not None:
            self.state = State.TALKING
        elif self.standing.waiting:
            self.state = State.WAITING
        self.wake_at_ms: int | None = None

    def run(self) -> Turn:
        event, partner = self.event, self.standing.partner
        self._tell_pair()
        heard = words(event.text)
        lexicon = self.app.kit.lexicon.exact
        whole = set(lexicon.get("".join(heard), {}))
        first = set(lexicon.get(heard[0], {})) if heard else set()
        if event.kind == "effect" and event.reason == "over":
            self._out("chat.partner_left")  # the pair ended between our look and the commit
        elif event.channel == "timer" or event.kind not in ("text", "effect") or not heard:
            self._woken()
        elif "chat_next" in whole:
            if partner is not None:  # who waits keeps their place
                self._end_pair("chat.partner_left")
            self._join(self._wishes())
        elif whole & {"chat_leave", "stop_idle", "cancel"} and self.state is not State.IDLE:
            again = self.state is State.OVER
            self._end_pair("chat.partner_left")
            self._out("chat.left")
            self.state = State.IDLE if again else State.OVER
        elif first & {"chat_report", "chat_block"} and partner is not None:
            self._against(partner, report="chat_report" in first)
        elif "chat_share" in whole and partner is not None:
            self._share(partner)
        elif partner is not None:
            self._relay(partner)
        elif "help" in whole:
            self._say("chat.help")
        elif "chat" in first and (len(heard) > 1 or self.state is not State.WAITING):
            self._join(read_wishes(heard[1:], self.app.kit.words))
        elif self.state is State.WAITING:
            self._say("chat.still_waiting")
        elif self.standing.banned_ms > event.now_ms:
            self._say("chat.banned")
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
            self.session, state=str(self.state), data=self.data, wake_at_ms=self.wake_at_ms
        )
        heard: dict[str, Any] = {"intent": "other"}
        return Turn(session=session, replies=self.replies, effects=self.effects, understood=heard)

    def _say(self, key: str, **values: object) -> None:
        self.replies.append(Reply(text=self.app.kit.say(self.session.language, key, **values)))

    def _tell(self, partner: Partner | Candidate, key: str, **values: object) -> None:
        text = self.app.kit.say(partner.language, key, **values)
        self.replies.append(Reply(text=text, to=partner.number))

    def _effect(self, name: str, **args: Any) -> None:
        self.effects.append(Effect(name=name, args=args))

    def _tell_pair(self) -> None:
        """The store paired them while they waited: say so before anything else."""
        partner = self.standing.partner
        if partner is not None and not partner.told:
            self._effect("chat.told")
            if self.event.reason != "changed":  # they are leaving, and the match came just before
                self._say("chat.matched", alias=partner.alias)

    # -- coming and going

    def _woken(self) -> None:
        """The menu opened the chat, an alarm rang, or the store paired them."""
        partner, now = self.standing.partner, self.event.now_ms
        if self.event.kind == "open":
            if partner is not None:
                if partner.told:
                    self._say("chat.matched", alias=partner.alias)
            elif self.state is State.WAITING:
                self._say("chat.still_waiting")
            else:
                self._join(Wishes())
        elif self.standing.waiting_ms is not None:
            ends = self.standing.waiting_ms + self.app.wait_ms
            if now >= ends:
                self._end_pair("")
                self._out("chat.nobody")
            else:
                self._match(self._wishes(), quietly=True)
                if self.state is State.WAITING:
                    self.wake_at_ms = min(ends, now + AGAIN_MS)
        elif partner is not None:
            if now - partner.last_ms >= self.app.idle_ms:
                self._end_pair("chat.idle")
                self._out("chat.idle")
            else:
                self.wake_at_ms = partner.last_ms + self.app.idle_ms

    def _wishes(self) -> Wishes:
        """As they said before."""
        return Wishes(self.standing.topic, self.standing.gender, self.standing.wants)

    def _join(self, wishes: Wishes) -> None:
        if self.standing.banned_ms > self.event.now_ms:
            self._out("chat.banned")
        elif self.standing.chats_today >= self.app.most_chats:
            self._out("chat.enough")
        else:
            # Who one is, one says once; whom one looks for, each time.
            gender = wishes.gender or self.standing.gender
            self._match(msgspec.structs.replace(wishes, gender=gender), quietly=False)

    def _match(self, wishes: Wishes, *, quietly: bool) -> None:
        """Pair with who has waited longest and fits; else wait."""
        mine = {
            "alias": self.standing.alias or _alias(self.event.entropy),
            "language": self.session.language,
            **msgspec.structs.asdict(wishes),
        }
        other = self.look.candidate(
            self.session.sender,
            self.session.language,
            wishes.topic,
            wishes.gender,
            wishes.wants,
            self.event.now_ms,
        )
        # Somebody else was quicker: after some looks the store pairs us itself, where none can be.
        if other is not None and self.event.attempt < LOOKS:
            self._effect("chat.pair", other=other.number, **mine)
            self._say("chat.matched", alias=other.alias)
            self._tell(other, "chat.matched", alias=mine["alias"])
            self.state, self.wake_at_ms = State.TALKING, None
        elif not quietly or self.event.kind == "effect":
            self._effect("chat.wait", **mine)
            if not quietly:
                self._say("chat.waiting")
            self.state = State.WAITING

    def _end_pair(self, told: str) -> None:
        """Leave queue or pair; the partner is told `told`."""
        partner = self.standing.partner
        if self.state in (State.WAITING, State.TALKING):
            self._effect("chat.leave", pair=None if partner is None else partner.pair)
        if partner is not None:
            self._tell(partner, told)
            self.standing = msgspec.structs.replace(self.standing, partner=None)

    def _out(self, key: str) -> None:
        self.state, self.wake_at_ms = State.OVER, None
        self._say(key)

    # -- talking

    def _relay(self, partner: Partner) -> None:
        app, said = self.app, self.event.text
        if self.standing.texts_today >= app.most_texts:
            self._say("chat.enough_texts")
            return
        if app.kit.words.refused(said):
            self._effect("chat.flag", pair=partner.pair, kind="refused", text=said[:REPORT_CHARS])
            self._say("chat.refused")
            return
        text = app.kit.words.masked(said, MASK)
        if text != said:
            self._effect("chat.flag", pair=partner.pair, kind="masked", text=said[:REPORT_CHARS])
        if not (partner.shares and partner.i_share):
            text = self._without_numbers(text)
        self._effect("chat.say", pair=partner.pair, timezone_minutes=app.kit.timezone_minutes)
        self.replies.append(Reply(text=_fitted(f"{self.standing.alias}: {text}"), to=partner.number))

    def _without_numbers(self, text: str) -> str:
        """Numbers and links hidden, also a number that comes in pieces over several texts."""
        masker = self.app.kit.masker
        digits = masker.digits(text)
        if sum(map(str.isalpha, text)) - len(digits) > PIECES_LETTERS or not digits:
            return masker.hide(text)
        told = (str(self.session.data.get("digits", "")) + digits)[-2 * PIECES_DIGITS :]
        self.data["digits"] = told
        return masker.hide(text, enough=1 if len(told) >= PIECES_DIGITS else 7)

    def _share(self, partner: Partner) -> None:
        self._effect("chat.share", pair=partner.pair)
        if partner.shares:
            self._say("chat.shared")
            self._tell(partner, "chat.shared")
        else:
            self._say("chat.share_asked")
            self._tell(partner, "chat.share_wanted", alias=self.standing.alias)

    def _against(self, partner: Partner, *, report: bool) -> None:
        """End it and never meet again; a report goes to the operator too."""
        if report:
            self._effect("chat.report", pair=partner.pair, words=self.event.text[:REPORT_CHARS])
        self._effect("chat.block", other=partner.number)
        self._end_pair("chat.partner_left")
        self._out("chat.reported" if report else "chat.blocked")


def _fitted(text: str) -> str:
    """The text, cut to what is passed on of one."""
    if segments(text) <= RELAYED_SMS:
        return text
    while segments(f"{text}...") > RELAYED_SMS:
        text = text[: max(len(text) - 20, len(text) * 9 // 10)]
    return f"{text}..."


def _alias(entropy: int) -> str:
    return f"{_BIRDS[entropy % len(_BIRDS)]}{10 + (entropy >> 8) % 90}"
