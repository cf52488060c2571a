"""The booking conversation: one text in, what to say and what to change out.

`_Talk` is one turn. It reads the text, answers what can be answered anywhere (status, fares, cancel, pay),
and otherwise fills the wish (from, to, day, hour, seats) and goes as far as the wish allows: ask, list,
propose, hold.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from appliance.apps.booking.codes import find_code, make_code
from appliance.apps.booking.look import BookingView, Towns, towns_of
from appliance.apps.booking.states import State, Step, move
from appliance.apps.booking.understand import Request, understand
from appliance.conversation.budget import fit_lines, segments
from appliance.conversation.dates import clock, day_short
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.conversation.phrases import Language
from appliance.conversation.text import fold
from appliance.conversation.travel import Ticket, Trip
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["BookingApp"]

MOST_SEATS: Final = 5  # of one booking
DAYS_AHEAD: Final = 60  # how early can be booked
NEXT_DAYS: Final = 7  # how far to look for seats when the day asked for has none


class Wish(msgspec.Struct):
    """What is known so far of the way somebody wants to go."""

    origin: list[str] = []
    destination: list[str] = []
    days: list[str] = []  # ISO; several while unclear
    minutes: list[int] = []
    window: list[int] = []
    seats: int | None = None


class Dialogue(msgspec.Struct):
    """The session's data. ask: the open question ("origin", "destination", "date", "town:origin" ...).

    choices: what the numbers stand for. trips: the list being chosen from, shown: how much of it was.
    trip: the proposal. holds: [code, until_ms] of unpaid seats. menu: the open menu's name.
    """

    wish: Wish = msgspec.field(default_factory=Wish)
    ask: str = ""
    choices: list[str] = []
    trips: list[Trip] = []
    shown: int = 0
    trip: Trip | None = None
    holds: list[tuple[str, int]] = []
    menu: str = ""
    last: str = ""  # the open question as it was said, and in which language
    last_language: str = ""


class BookingApp:
    """Bus tickets. Holds no state between turns but the phrases and the words."""

    name = "booking"
    opens = frozenset({"book", "ticket"})
    lifetime_ms = None

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        booking = kit.section("booking")
        self.hold_ms = int(booking.get("hold_minutes", 30)) * 60_000
        self.agents = frozenset(kit.section("payments").get("agents") or ())

    def turn(self, session: Session, event: Event, look: BookingView) -> Turn:
        """Answer one event. Raises nothing for any text."""
        return _Talk(self, session, event, look).run()

    def title(self, language: str) -> str:
        """Its line in the menu."""
        return self.kit.say(language, "booking.title")

    def holds_word(self, session: Session) -> bool:
        """Never: a keyword of another conversation sets the booking aside."""
        return False

    def leave(self, session: Session, event: Event, look: BookingView) -> Leaving:
        """Give back what the session holds unpaid."""
        data = msgspec.convert(session.data, Dialogue) if session.data else Dialogue()
        held = [Effect(name="booking.release", args={"reason": "left"})] if data.holds else []
        return Leaving(effects=held)


class _Talk:
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

    # -- the frame of a turn

    def run(self) -> Turn:
        self._close_holds()
        before = self.state
        if self.event.kind == "open":
            self._open()
        elif self.event.kind == "timer":
            pass  # the holds that ran out are all a timer is for
        elif self.event.kind == "effect" and self._refused():
            pass
        else:
            self._text()
        self.forward = before is not State.IDLE and self.state not in (before, State.IDLE)
        return self._finish()

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
            session=session, replies=self.replies, effects=self.effects, understood=self._understood()
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
            "date": moment.days[0].isoformat() if moment.days else None,
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

    def _close_holds(self) -> None:
        """Forget the holds that were paid, tell of those that ran out."""
        still: list[tuple[str, int]] = []
        for code, until in self.data.holds:
            ticket = self.look.ticket(code, self.event.now_ms)
            if ticket is not None and ticket.state == "held":
                still.append((code, until))
            elif ticket is not None and ticket.state == "expired":
                self.effects.append(Effect(name="booking.release", args={"code": code}))
                self._say("booking.expired", **self._trip_words(ticket))
        if len(still) < len(self.data.holds):
            self.data.holds = still
            if self.state is State.WAIT_PAYMENT and not still:
                self._step(Step.ENDED)
                self.data = Dialogue()

    # -- words for things

    def _local_day(self, at_ms: int) -> dt.date:
        moment = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
        return (moment + dt.timedelta(minutes=self.kit.timezone_minutes)).date()

    def _clock_at(self, at_ms: int) -> str:
        minute = (at_ms // 60_000 + self.kit.timezone_minutes) % 1440
        return clock(minute, self.language)

    def _town(self, key: str) -> str:
        return self.towns.printed(key, self.language.towns)

    def _trip_words(self, ticket: Ticket) -> dict[str, object]:
        return {
            "code": ticket.code,
            "origin": self._town(ticket.origin),
            "destination": self._town(ticket.destination),
            "date": day_short(dt.date.fromisoformat(ticket.date), self.language),
            "time": clock(ticket.minute, self.language),
            "n": ticket.seats,
            "price": money(ticket.price_santim, self.language),
            "until": self._clock_at(ticket.expires_at_ms),
            "seats": ",".join(map(str, ticket.numbers)),
        }

    # -- one text

    def _text(self) -> None:
        event = self.event
        self.request = request = understand(
            event.text, self.kit.lexicon, self.towns.names, self.today, self.language.calendar
        )
        if "pay" in request.concepts and (request.code or event.sender in self.app.agents):
            self._pay(request)
        elif self._answer_menu(request):
            pass
        elif request.intent == "cancel":
            self._cancel(request)
        elif request.intent == "status":
            self._status(request)
        elif request.concepts & {"menu"}:
            self._menu()
        elif request.intent == "help":
            self._help()
        elif request.intent == "ask_price" and request.destination:
            self._price(request)
        elif self.state is State.CONFIRM_BOOKING and self._confirm(request):
            pass
        elif self.state is State.SELECT_TRIP and self._select(request):
            pass
        elif self.state is State.ASK_PASSENGER_COUNT and self._count(request):
            pass
        elif self._take_slots(request):
            self._advance()
        else:
            self._lost(request)

    def _lost(self, request: Request) -> None:
        """Nothing new was said: say the open question again, or how to begin."""
        if self.state is State.WAIT_PAYMENT and self.data.holds:
            ticket = self.look.ticket(self.data.holds[-1][0], self.event.now_ms)
            if ticket is not None:
                self._say("booking.remind_pay", **self._trip_words(ticket))
        elif "no" in request.concepts and self.state is not State.IDLE:
            self._leave_dialogue()
        elif request.unknown and self.state in (State.IDLE, State.SEARCH):
            self._unknown_town(request.unknown)
        elif self.state is State.SEARCH and not self.data.choices and not request.concepts:
            self._unknown_town(self.event.text)
        elif self.state is State.CONFIRM_BOOKING:
            self._say("booking.say_yes_no")
        elif self.state is not State.IDLE and self.data.last:
            if self.data.last_language != self.language.language:
                self._advance()
            else:
                self._reply(self.data.last)
        elif request.intent == "greet":
            self._help(hello=True)
        elif request.intent == "ask_price":
            self.data.menu = "price"
            self._say("booking.ask_destination")
        else:
            self._say("booking.not_understood")

    def _unknown_town(self, name: str) -> None:
        """Say which word was no town, cut so that the whole stays in its SMS."""
        # As they wrote it: what was read is folded.
        name = next((w for w in self.event.text.split() if fold(w) == name), " ".join(name.split()))
        for length in (24, 12, 0):
            text = self.kit.say(self.language.language, "booking.unknown_town", name=f'"{name[:length]}"')
            if segments(text) <= self._budget:
                break
        self._reply(text)

    def _help(self, *, hello: bool = False) -> None:
        say = self.kit.phrases.say
        code = self.language.language
        if self.state is not State.IDLE and self.data.last:
            more = f"{self.data.last}\n{say(code, 'booking.help_here')}"
            self._reply(self.data.last if segments(more) > self._budget else more)
            return
        parts = [say(code, "booking.help")]
        if hello:
            parts.insert(0, say(code, "booking.hello"))
        if self.look.is_sample():
            parts.append(say(code, "booking.sample"))
        text = " ".join(parts)
        while segments(text) > self._budget and len(parts) > 1:
            parts.pop(0 if hello and len(parts) == 3 else -1)
            text = " ".join(parts)
        self.replies.append(Reply(text=text))

    # -- menu

    def _open(self) -> None:
        """Come back from the menu: the open question again, or what can be chosen."""
        if self.state is State.IDLE or not self.data.last:
            self._menu()
        else:
            self._reply(self.data.last)

    def _menu(self) -> None:
        self._step(Step.LEFT)
        self.data = Dialogue(holds=self.data.holds, menu="main")
        self._say("booking.menu")
        if self.data.holds:
            self.state = State.WAIT_PAYMENT

    def _answer_menu(self, request: Request) -> bool:
        menu, self.data.menu = self.data.menu, ""
        if (
            menu == "price"
            and request.destination
            and request.intent in ("search", "book", "ask_price", "clarify")
        ):
            self._price(request)
            return True
        if menu != "main" or request.bare is None or not 1 <= request.bare <= 5:
            return False
        if request.bare == 1:
            self.data.wish, self.data.ask = Wish(), "origin"
            self._step(Step.ASKED)
            self._say("booking.ask_origin")
        elif request.bare == 2:
            self._status(request)
        elif request.bare == 3:
            self.data.menu = "price"
            self._say("booking.ask_destination")
        elif request.bare == 4:
            self._help()
        else:
            self._say("shell.languages", choices=self.kit.language_choices())
        return True

    # -- what can be asked at any point

    def _cancel(self, request: Request) -> None:
        if self.state not in (State.IDLE, State.WAIT_PAYMENT) and not request.code:
            self._leave_dialogue()
            return
        tickets = self.look.tickets_of(self.event.sender, self.event.now_ms)
        if request.code:
            tickets = [ticket for ticket in tickets if ticket.code == request.code]
        held = [ticket for ticket in tickets if ticket.state == "held"]
        if held:
            ticket = held[0]
            self.effects.append(
                Effect(name="booking.release", args={"code": ticket.code, "reason": "cancel"})
            )
            self.data.holds = [hold for hold in self.data.holds if hold[0] != ticket.code]
            self._say("booking.cancelled", **self._trip_words(ticket))
            if self.state is State.WAIT_PAYMENT and not self.data.holds:
                self._step(Step.ENDED)
        elif tickets:
            self._say("booking.cancel_paid", code=tickets[0].code)
        elif request.code:
            self._say("booking.status_unknown", code=request.code)
        else:
            self._say("booking.cancel_none")

    def _leave_dialogue(self) -> None:
        self._step(Step.LEFT)
        self.data = Dialogue(holds=self.data.holds)
        self._say("booking.left")

    def _status(self, request: Request) -> None:
        tickets = self.look.tickets_of(self.event.sender, self.event.now_ms)
        if request.code:
            tickets = [ticket for ticket in tickets if ticket.code == request.code]
            if not tickets:
                self._say("booking.status_unknown", code=request.code)
                return
        if not tickets:
            self._say("booking.status_none")
        for ticket in tickets[:2]:
            key = "booking.status_held" if ticket.state == "held" else "booking.ticket"
            self.replies.append(
                Reply(text=self.kit.say(self.language.language, key, **self._trip_words(ticket)))
            )

    def _price(self, request: Request) -> None:
        """The fare of a way; asks for what is missing of it."""
        self._take_slots(request)
        wish = self.data.wish
        if len(wish.origin) != 1 or len(wish.destination) != 1:
            self._advance()
            if self.state is State.SEARCH:
                self.data.menu = "price"
            return
        route = self.look.route(wish.origin[0], wish.destination[0])
        if route is None:
            self._no_route(wish.origin[0], wish.destination[0])
            return
        hours = f"{route.duration_min / 60:.1f}".rstrip("0").rstrip(".")
        self._say(
            "booking.price",
            origin=self._town(route.origin),
            destination=self._town(route.destination),
            price=money(route.fare_santim, self.language),
            km=route.km,
            hours=hours,
        )
        if self.state is not State.WAIT_PAYMENT:
            self._step(Step.LEFT)

    def _pay(self, request: Request) -> None:
        if self.event.sender not in self.app.agents:
            self._say("booking.pay_agent_only")
            return
        if not request.code:
            self._say("booking.pay_how")
            return
        ticket = self.look.ticket(request.code, self.event.now_ms)
        if ticket is None:
            self._say("booking.pay_unknown", code=request.code)
            return
        if ticket.state in ("paid", "used"):
            self._say("booking.pay_again", code=ticket.code)
            return
        numbers = ticket.numbers
        if self.event.kind == "effect" and self.event.reason == "seats_moved":
            numbers = tuple(self.event.detail["numbers"])
        args = {
            "code": ticket.code,
            "method": "cash",
            "amount_santim": ticket.price_santim,
            "numbers": list(numbers),
        }
        self.effects.append(Effect(name="booking.pay", args=args))
        self._say("booking.pay_done", **self._trip_words(ticket))
        passenger = _Talk(
            self.app, Session(sender=ticket.holder, language=ticket.language), self.event, self.look
        )
        paid = msgspec.structs.replace(ticket, numbers=numbers)
        text = self.kit.say(passenger.language.language, "booking.ticket", **passenger._trip_words(paid))
        self.replies.append(Reply(text=text, to=ticket.holder))

    # -- filling the wish

    def _take_slots(self, request: Request) -> bool:
        """Put what the text says into the wish. Returns whether it said anything that helps."""
        data, wish, moment = self.data, self.data.wish, request.moment
        fresh = request.intent in ("book", "search", "clarify", "ask_price") and (
            bool(request.origin and request.destination) or (self.state in (State.IDLE, State.WAIT_PAYMENT))
        )
        if request.intent in ("stop", "greet"):
            return False
        if data.choices and request.bare is not None:
            return self._take_choice(request.bare)
        if fresh:
            if not (request.intent in ("book", "search", "ask_price") or request.destination):
                return False
            wish = self.data.wish = Wish()
            data.ask = ""
        said = fresh
        said |= self._take_places(request, wish)
        if moment.days:
            wish.days = [d.isoformat() for d in (moment.days if moment.unclear else moment.days[:1])]
            said = True
        if moment.minutes or moment.window:
            wish.minutes, wish.window = list(moment.minutes), list(moment.window or ())
            said = True
        if request.passengers is not None:
            wish.seats, said = request.passengers, True
        elif self.state is State.ASK_PASSENGER_COUNT and request.bare:
            wish.seats, said = request.bare, True
        if said:
            data.choices = []
        return said

    def _take_places(self, request: Request, wish: Wish) -> bool:
        if request.place:
            slot = self.data.ask if self.data.ask in ("origin", "destination") else "destination"
            if slot == "destination" and wish.destination and not wish.origin:
                slot = "origin"
            setattr(wish, slot, list(request.place))
            return True
        if request.origin:
            wish.origin = list(request.origin)
        if request.destination:
            wish.destination = list(request.destination)
        return bool(request.origin or request.destination)

    def _take_choice(self, number: int) -> bool:
        data = self.data
        if not 1 <= number <= len(data.choices):
            return False
        chosen = data.choices[number - 1]
        if data.ask == "town:origin":
            data.wish.origin = [chosen]
        elif data.ask == "town:destination":
            data.wish.destination = [chosen]
        else:
            data.wish.days = [chosen]
        data.choices, data.ask = [], ""
        return True

    # -- going on as far as the wish allows

    def _advance(self) -> None:
        wish = self.data.wish
        for slot, towns in (("origin", wish.origin), ("destination", wish.destination)):
            if len(towns) > 1:
                self._choose(
                    f"town:{slot}", "booking.ask_town", towns[:4], [self._town(t) for t in towns[:4]]
                )
                return
        if not wish.destination:
            self._ask("destination", "booking.ask_destination")
            return
        if not wish.origin:
            if self.request is not None and self.request.unknown:
                self._ask("origin", "")
                self._unknown_town(self.request.unknown)
                return
            self._ask("origin", "booking.ask_origin")
            return
        origin, destination = wish.origin[0], wish.destination[0]
        if origin == destination:
            wish.destination = []
            self._ask("destination", "booking.same_town", origin=self._town(origin))
            return
        if self.look.route(origin, destination) is None:
            self._no_route(origin, destination)
            return
        if self._day_is_settled(origin, destination):
            self._offer(origin, destination, dt.date.fromisoformat(wish.days[0]))

    def _ask(self, slot: str, key: str, **values: object) -> None:
        self._step(Step.ASKED)
        self.data.ask, self.data.choices = slot, []
        if key:
            self._say(key, **values)

    def _choose(self, ask: str, key: str, choices: Sequence[str], printed: Sequence[str]) -> None:
        self._step(Step.ASKED)
        self.data.ask, self.data.choices = ask, list(choices)
        lines = [f"{number}) {text}" for number, text in enumerate(printed, 1)]
        head = self.kit.say(self.language.language, key)
        foot = self.kit.say(self.language.language, "booking.choose")
        self._reply(fit_lines(head, lines, foot, budget=self._budget)[0])

    def _no_route(self, origin: str, destination: str) -> None:
        ways = self.look.changes(origin, destination)
        words: dict[str, object] = {"origin": self._town(origin), "destination": self._town(destination)}
        self.data.wish.destination = []
        if ways:
            self._ask("destination", "booking.change", via=self._town(ways[0]), **words)
        else:
            self._ask("destination", "booking.no_route", **words)

    def _day_is_settled(self, origin: str, destination: str) -> bool:
        wish = self.data.wish
        words: dict[str, object] = {"origin": self._town(origin), "destination": self._town(destination)}
        if not wish.days:
            self._ask("date", "booking.ask_date", **words)
            return False
        days = [dt.date.fromisoformat(d) for d in wish.days]
        if len(days) > 1:
            latest = self.today + dt.timedelta(days=DAYS_AHEAD)
            days = [d for d in days if self.today <= d <= latest] or days[:1]
            if len(days) > 1:
                days = sorted(days)[:4]
                printed = [day_short(d, self.language) for d in days]
                self._choose("day", "booking.ask_day", [d.isoformat() for d in days], printed)
                return False
            wish.days = [days[0].isoformat()]
        if days[0] < self.today:
            wish.days = []
            self._ask("date", "booking.past", date=day_short(days[0], self.language))
            return False
        last = self.today + dt.timedelta(days=DAYS_AHEAD)
        if days[0] > last:
            wish.days = []
            self._ask("date", "booking.too_far", days=DAYS_AHEAD, date=day_short(last, self.language))
            return False
        return True

    def _offer(self, origin: str, destination: str, day: dt.date) -> None:
        """Propose the departure that fits, or list those that do, of this day or the next with seats."""
        wish = self.data.wish
        if wish.seats is not None and wish.seats > MOST_SEATS:
            wish.seats = None
            self._step(Step.COUNTING)
            self._say("booking.too_many", most=MOST_SEATS)
            return
        for ahead in range(NEXT_DAYS + 1):
            date = day + dt.timedelta(days=ahead)
            trips = self._trips(origin, destination, date)
            if trips:
                break
        else:
            wish.days = []
            self._ask("date", "booking.no_trips", date=day_short(day, self.language),
                      origin=self._town(origin), destination=self._town(destination))  # fmt: skip
            return
        wish.days = [date.isoformat()]
        fitting = self._fitting(trips)
        if ahead == 0 and (len(fitting) == 1 or (fitting and wish.seats is not None and not wish.window)):
            self._propose(fitting[0])
        elif ahead == 0 and fitting and wish.seats is not None:
            self._propose(fitting[0])
        else:
            self._list(fitting or trips, asked=day if ahead else None)

    def _trips(self, origin: str, destination: str, date: dt.date) -> list[Trip]:
        trips = self.look.trips(origin, destination, date.isoformat(), self.event.now_ms)
        return [trip for trip in trips if trip.left >= (self.data.wish.seats or 1)]

    def _fitting(self, trips: list[Trip]) -> list[Trip]:
        """The departures at the hour asked for: by the first reading of it that any bus leaves at."""
        wish = self.data.wish
        if wish.minutes:
            for minute in wish.minutes:
                exact = [trip for trip in trips if trip.minute == minute]
                if exact:
                    return exact
            near = [t for t in trips if any(abs(t.minute - m) <= 60 for m in wish.minutes[:1])]
            return [] if len(near) == len(trips) else near if len(near) > 1 else []
        if len(wish.window) == 2:
            return [trip for trip in trips if wish.window[0] <= trip.minute <= wish.window[1]]
        return trips

    def _list(self, trips: list[Trip], *, asked: dt.date | None = None) -> None:
        data = self.data
        data.trips, data.shown, data.trip = trips, 0, None
        self._step(Step.LISTED)
        self._page(asked)

    def _page(self, asked: dt.date | None = None) -> None:
        """Show as many further departures as fit, numbered through."""
        data, wish = self.data, self.data.wish
        if data.shown >= len(data.trips):
            data.shown = 0
        rest = data.trips[data.shown :]
        lines = [
            f"{number}) {clock(trip.minute, self.language)}"
            for number, trip in enumerate(rest, data.shown + 1)
        ]
        code = self.language.language
        head = self.kit.say(
            code,
            "booking.next_trips" if asked else "booking.trips",
            origin=self._town(wish.origin[0]),
            destination=self._town(wish.destination[0]),
            date=day_short(dt.date.fromisoformat(rest[0].date), self.language),
            price=money(rest[0].fare_santim, self.language),
            **({"asked": day_short(asked, self.language)} if asked else {}),
        )
        whole, count = fit_lines(head, lines, self.kit.say(code, "booking.choose"), budget=self._budget)
        if count < len(data.trips):
            whole, count = fit_lines(
                head, lines, self.kit.say(code, "booking.choose_more"), budget=self._budget
            )
        data.shown += count
        self._reply(whole)

    def _propose(self, trip: Trip) -> None:
        data, wish = self.data, self.data.wish
        data.trip = trip
        words: dict[str, object] = {
            "origin": self._town(wish.origin[0]),
            "destination": self._town(wish.destination[0]),
            "date": day_short(dt.date.fromisoformat(trip.date), self.language),
            "time": clock(trip.minute, self.language),
        }
        if wish.seats is None:
            self._step(Step.COUNTING)
            price = money(trip.fare_santim, self.language)
            self._say("booking.ask_count", price=price, most=min(MOST_SEATS, trip.left), **words)
            return
        self._step(Step.PROPOSED)
        price = money(trip.fare_santim * wish.seats, self.language)
        self._say("booking.confirm", n=wish.seats, price=price, **words)

    # -- answers to what was proposed

    def _select(self, request: Request) -> bool:
        data = self.data
        if "more" in request.concepts and not request.destination:
            self._page()
            return True
        if request.bare is not None and 1 <= request.bare <= len(data.trips):
            self._propose(data.trips[request.bare - 1])
            return True
        if request.bare is not None:
            self._reply(data.last)
            return True
        if request.moment.minutes and not request.moment.days and not request.destination:
            data.wish.minutes, data.wish.window = list(request.moment.minutes), []
            fitting = self._fitting(data.trips)
            if len(fitting) == 1:
                self._propose(fitting[0])
                return True
        return False

    def _count(self, request: Request) -> bool:
        """How many seats of the departure that was chosen: nothing else changes."""
        data = self.data
        seats = request.bare if request.bare is not None else request.passengers
        if seats is None or data.trip is None or request.destination or request.moment.days:
            return False
        if not 1 <= seats <= MOST_SEATS:
            self._say("booking.too_many", most=MOST_SEATS)
        else:
            data.wish.seats = seats
            self._propose(data.trip)
        return True

    def _confirm(self, request: Request) -> bool:
        data = self.data
        new = bool(request.destination or request.moment.days)
        if "yes" in request.concepts and not new and data.trip is not None:
            self._hold(data.trip)
            return True
        if "more" in request.concepts and not new and data.trip is not None:
            origin, destination = data.wish.origin[0], data.wish.destination[0]
            data.wish.minutes, data.wish.window = [], []
            trips = self._trips(origin, destination, dt.date.fromisoformat(data.trip.date))
            if trips:
                self._list(trips)
                return True
        if "no" in request.concepts and not new and request.passengers is None:
            self._leave_dialogue()
            return True
        return False

    def _hold(self, trip: Trip) -> None:
        data, event = self.data, self.event
        seats = data.wish.seats or 1
        code = make_code(event.entropy, event.attempt)
        midnight = dt.datetime.fromisoformat(trip.date).replace(tzinfo=dt.UTC).timestamp() * 1000
        departs = int(midnight) + (trip.minute - self.kit.timezone_minutes) * 60_000
        until = min(event.now_ms + self.app.hold_ms, departs)
        self.effects.append(
            Effect(
                name="booking.hold",
                args={
                    "service": trip.service, "date": trip.date, "seats": seats, "code": code,
                    "language": self.language.language, "until_ms": until, "fare_santim": trip.fare_santim,
                },
            )
        )  # fmt: skip
        self._step(Step.HELD)
        self.data = Dialogue(holds=[*data.holds, (code, until)])
        price = money(trip.fare_santim * seats, self.language)
        self._say("booking.held", code=code, n=seats, until=self._clock_at(until), price=price)

    def _refused(self) -> bool:
        """An effect of this turn was refused. Returns False when saying the same again is the answer."""
        event, data = self.event, self.data
        if event.effect == "booking.pay":
            keys = {"unknown": "booking.pay_unknown", "paid_already": "booking.pay_again"}
            if event.reason == "seats_moved":
                return False
            self._say(keys.get(event.reason, "booking.pay_late"), code=find_code(event.text))
            return True
        if event.effect != "booking.hold" or data.trip is None or event.reason == "code_taken":
            return False
        wish = data.wish
        if event.reason == "too_many_holds":
            self._say("booking.too_many_holds")
        elif event.reason == "fare_changed":
            fare = int(event.detail["fare_santim"])
            self._propose(msgspec.structs.replace(data.trip, fare_santim=fare))
        elif event.reason == "sold_out" and int(event.detail.get("left", 0)) > 0:
            left = int(event.detail["left"])
            wish.seats = None
            self._step(Step.COUNTING)
            self._say("booking.sold_out", left=left, time=clock(data.trip.minute, self.language))
        else:
            self._say("booking.gone")
            origin, destination = wish.origin[0], wish.destination[0]
            gone = data.trip.service
            trips = self._trips(origin, destination, dt.date.fromisoformat(data.trip.date))
            trips = [trip for trip in trips if trip.service != gone]
            if trips:
                self._list(trips)
            else:
                self._leave_quietly()
        return True

    def _leave_quietly(self) -> None:
        self._step(Step.LEFT)
        self.data = Dialogue(holds=self.data.holds)
