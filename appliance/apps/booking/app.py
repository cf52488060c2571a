"""The booking conversation: one text in, what to say and what to change out.

`_Talk` is one turn. It reads the text, answers what can be answered anywhere (tickets.py), and otherwise
fills the wish and goes as far as it allows (searching.py); what is proposed is held here.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from appliance.apps.booking.codes import find_code, make_code
from appliance.apps.booking.dialogue import Dialogue, Wish
from appliance.apps.booking.look import BookingView
from appliance.apps.booking.money import Receipts
from appliance.apps.booking.names import names_in
from appliance.apps.booking.searching import MOST_SEATS
from appliance.apps.booking.states import State, Step
from appliance.apps.booking.understand import Request, understand
from appliance.conversation.budget import segments
from appliance.conversation.dates import clock
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.conversation.receipts import load_wallets
from appliance.conversation.travel import Trip
from appliance.conversation.turn import Effect, Event, Leaving, Reply, Session, Turn

__all__ = ["BookingApp"]


class BookingApp:
    """Bus tickets. Holds no state between turns but the phrases and the words."""

    name = "booking"
    opens = frozenset({"book", "ticket"})
    lifetime_ms = None

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        booking = kit.section("booking")
        self.hold_ms = int(booking.get("hold_minutes", 30)) * 60_000
        self.refund_hours = int(booking.get("refund_hours", 24))
        self.refund_percent = int(booking.get("refund_percent", 80))
        self.ask_names = bool(booking.get("ask_names", False))
        self.wallets = load_wallets(kit.section("payments").get("wallets") or ())
        payments = kit.section("payments")
        self.agents = frozenset(payments.get("agents") or ())
        self.commission_percent = int(payments.get("commission_percent") or 0)
        self.pay_to = str(payments.get("pay_to") or "")
        telebirr = payments.get("telebirr") or {}
        self.pay_link = str(telebirr.get("public_url") or "").rstrip("/")
        self.watch_hours = int(telebirr.get("watch_hours") or 0)  # 0: telebirr's API is not in use

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


class _Talk(Receipts):
    """The dialogue itself: which part answers a text, and what YES, NO and numbers mean."""

    def run(self) -> Turn:
        if not self.event.sender.startswith("+"):
            # A service, not a person. Only what came over the air is proof: anybody can write a sender into
            # an HTTP call.
            if self.app.wallets.is_wallet(self.event.sender) and self.event.channel.startswith("modem"):
                self._receipt()
            return self._finish()
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
        self._hide_pin()
        self.forward = before is not State.IDLE and self.state not in (before, State.IDLE)
        return self._finish()

    def _text(self) -> None:
        event = self.event
        self.request = request = understand(
            self._without_pin(), self.kit.lexicon, self.towns.names, self.today, self.language.calendar
        )
        if request.intent in ("status", "other", "clarify") and self._claim():
            pass
        elif "pay" in request.concepts and (request.code or event.sender in self.app.agents):
            self._pay(request)
        elif request.code and event.sender in self.app.agents and "refund" in request.concepts:
            self._refund(request)
        elif request.code and event.sender in self.app.agents and "check" in request.concepts:
            self._check(request)
        elif self._named(request):
            pass
        elif "wait" in request.concepts and self._wait():
            pass
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
        holds = self.state is State.WAIT_PAYMENT and self.data.holds
        leaves = "no" in request.concepts and self.state is not State.IDLE
        self.lost = not (holds or leaves) and request.intent not in ("greet", "ask_price")
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
            if self.app.ask_names:
                self._say("booking.names_count", n=self.data.wish.seats or 1)
            else:
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
            if self.app.ask_names:
                self._say("booking.names_count", n=data.wish.seats or 1)
            else:
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

    def _named(self, request: Request) -> bool:
        """Hold what is proposed for the passengers whose names the text gives, where names are asked for."""
        data = self.data
        if not self.app.ask_names or self.state is not State.CONFIRM_BOOKING or data.trip is None:
            return False
        names = names_in(self.event.text, request, self.kit.lexicon, data.wish.seats or 1)
        if names is None:
            return False
        self._hold(data.trip, names)
        return True

    def _hold(self, trip: Trip, names: tuple[str, ...] = ()) -> None:
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
                    "names": names,
                },
            )
        )  # fmt: skip
        self._step(Step.HELD)
        self.data = Dialogue(holds=[*data.holds, (code, until)])
        if self.app.watch_hours:
            order = {"code": code, "watch_hours": self.app.watch_hours}
            self.effects.append(Effect(name="payment.order", args=order))
        price = money(trip.fare_santim * seats, self.language)
        key, how = "booking.held", {}
        if self.app.pay_link:
            key, how = "booking.held_link", {"url": f"{self.app.pay_link}/pay/{code}"}
        elif self.app.pay_to:
            key, how = "booking.held_account", {"account": self.app.pay_to}
        self._say(key, code=code, n=seats, until=self._clock_at(until), price=price, **how)

    def _refused(self) -> bool:
        """An effect of this turn was refused. Returns False when saying the same again is the answer."""
        event, data = self.event, self.data
        if event.effect == "booking.pay":
            keys = {"unknown": "booking.pay_unknown", "paid_already": "booking.pay_again"}
            if event.reason == "seats_moved":
                return False
            if event.reason == "locked":
                self._say("booking.pin_locked", until=self._clock_at(int(event.detail["locked_until_ms"])))
                return True
            self._say(keys.get(event.reason, "booking.pay_late"), code=find_code(event.text))
            return True
        if event.effect == "booking.refunded":
            self._say("booking.refund_none", code=find_code(event.text))
            return True
        if event.effect == "booking.use":
            self._say("booking.check_used", code=find_code(event.text))
            return True
        if event.effect == "booking.cancel":
            self._say("booking.status_unknown", code=find_code(event.text))
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
