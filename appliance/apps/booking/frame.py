"""The frame of one turn: its session, its clock, its replies and effects, and the words for things."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.apps.booking.dialogue import Dialogue
from appliance.apps.booking.look import BookingView, Towns, towns_of
from appliance.apps.booking.states import State, Step, move
from appliance.apps.booking.understand import Request
from appliance.conversation.dates import clock, day_short
from appliance.conversation.money import money
from appliance.conversation.phrases import Language
from appliance.conversation.travel import Ticket
from appliance.conversation.turn import Effect, Event, Reply, Session, Turn

if TYPE_CHECKING:
    from appliance.apps.booking.app import BookingApp

__all__ = ["Frame"]


class Frame:
    """One event being answered. What the parts of the dialogue share, and nothing of what they decide."""

    def __init__(self, app: BookingApp, session: Session, event: Event, look: BookingView) -> None:
        self.app, self.kit, self.event, self.look = app, app.kit, event, look
        self.session = session
        self.language: Language = app.kit.phrases.of(session.language)
        self.state = State(session.state) if session.state in State.__members__ else State.IDLE
        self.data = msgspec.convert(session.data, Dialogue) if session.data else Dialogue()
        self.towns: Towns = towns_of(look, app.kit.lexicon)
        self.replies: list[Reply] = []
        self.effects: list[Effect] = []
        self.today = self._local_day(event.now_ms)
        self.request: Request | None = None
        self.forward = False  # the text moved an open dialogue on
        self.lost = False  # the text said nothing that we understood
        self.heard: str | None = None  # what is kept of the text, where not all of it may be

    def _finish(self) -> Turn:
        holds = self.data.holds
        if self.state is State.WAIT_PAYMENT and not holds:
            self._step(Step.ENDED)
        keep = self.state is not State.IDLE or holds or self.data.menu
        session = msgspec.structs.replace(
            self.session,
            state=str(self.state),
            data=msgspec.to_builtins(self.data) if keep else {},
            wake_at_ms=min((until for _, until in holds), default=None),
        )
        return Turn(
            session=session,
            replies=self.replies,
            effects=self.effects,
            understood=self._understood(),
            heard=self.heard,
            lost=self.lost,
        )

    def _understood(self) -> dict[str, Any]:
        request = self.request
        if request is None:
            return {}
        moment, intent = request.moment, request.intent
        if self.forward and intent in ("clarify", "other"):
            intent = "book"  # an answer to our question says more than the text alone
        return {
            "intent": intent,
            "origin": request.origin[0] if len(request.origin) == 1 else None,
            "destination": request.destination[0] if len(request.destination) == 1 else None,
            "date": moment.days[0].isoformat() if moment.days and not moment.unclear else None,
            "passengers": request.passengers,
        }

    def _step(self, step: Step) -> None:
        self.state = move(self.state, step)

    def _say(self, key: str, **values: object) -> None:
        self._reply(self.kit.say(self.language.language, key, **values))

    def _reply(self, text: str) -> None:
        self.data.last, self.data.last_language = text, self.language.language
        self.replies.append(Reply(text=text))

    @property
    def _budget(self) -> int:
        return 2 if self.language.script == "ethiopic" else 1

    def _local_day(self, at_ms: int) -> dt.date:
        moment = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
        return (moment + dt.timedelta(minutes=self.kit.timezone_minutes)).date()

    def _clock_at(self, at_ms: int, language: Language | None = None) -> str:
        minute = (at_ms // 60_000 + self.kit.timezone_minutes) % 1440
        return clock(minute, language or self.language)

    def _town(self, key: str) -> str:
        return self.towns.printed(key, self.language.towns)

    def _trip_words(self, ticket: Ticket, language: Language | None = None) -> dict[str, object]:
        """What a text about a ticket may name, in the person's language or another's."""
        language = language or self.language
        return {
            "code": ticket.code,
            "origin": self.towns.printed(ticket.origin, language.towns),
            "destination": self.towns.printed(ticket.destination, language.towns),
            "date": day_short(dt.date.fromisoformat(ticket.date), language),
            "time": clock(ticket.minute, language),
            "n": ticket.seats,
            "price": money(ticket.price_santim, language),
            "until": self._clock_at(ticket.expires_at_ms, language),
            "seats": ",".join(map(str, ticket.numbers)),
        }
