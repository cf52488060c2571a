"""Finding the way: filling the wish from the text, and going on as far as the wish allows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from appliance.apps.booking.dialogue import Wish
from appliance.apps.booking.frame import Frame
from appliance.apps.booking.states import State, Step
from appliance.apps.booking.understand import Request
from appliance.conversation.budget import fit_lines, segments
from appliance.conversation.dates import clock, day_short
from appliance.conversation.money import money
from appliance.conversation.text import fold
from appliance.conversation.travel import Nearby, Trip

__all__ = ["MOST_SEATS", "Searching"]

MOST_SEATS: Final = 5  # of one booking
DAYS_AHEAD: Final = 60  # how early can be booked
NEARBY_TOLD: Final = 3  # towns near one that has no bus
NEXT_DAYS: Final = 7  # how far to look for seats when the day asked for has none


class Searching(Frame):
    """From what was said to a question, a list of departures or a proposal."""

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
        if len(data.choices) == 1 and "yes" in request.concepts:
            return self._take_choice(1)
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

    def _unknown_town(self, name: str) -> None:
        """Say which word was no town, cut so that the whole stays in its SMS."""
        # As they wrote it: what was read is folded.
        name = next((w for w in self.event.text.split() if fold(w) == name), " ".join(name.split()))
        for length in (24, 12, 0):
            text = self.kit.say(self.language.language, "booking.unknown_town", name=f'"{name[:length]}"')
            if segments(text) <= self._budget:
                break
        self._reply(text)

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
        near = self.look.nearby(origin, destination)[:NEARBY_TOLD]
        if near:
            self._offer_nearby(near, ways, words)
            return
        self.data.wish.destination = []
        if ways:
            self._ask("destination", "booking.change", via=self._town(ways[0]), **words)
        else:
            self._ask("destination", "booking.no_route", **words)

    def _offer_nearby(self, near: list[Nearby], ways: list[str], words: dict[str, object]) -> None:
        """Towns near one end of the way, to choose from, and where one could change instead."""
        slot = near[0].slot
        setattr(self.data.wish, slot, [])
        self._step(Step.ASKED)
        self.data.ask, self.data.choices = f"town:{slot}", [town.town for town in near]
        say, code = self.kit.say, self.language.language
        head = say(code, "booking.nearby", near=words[slot], **words)
        lines = [f"{number}) {self._town(town.town)}, {town.km} km" for number, town in enumerate(near, 1)]
        feet = [say(code, "booking.choose")]
        if ways:
            feet.insert(0, say(code, "booking.or_change", via=self._town(ways[0])) + " " + feet[0])
        for foot in feet:
            whole, count = fit_lines(head, lines, foot, budget=self._budget)
            if count == len(lines):
                break
        self._reply(whole)

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
            if ahead == 0:
                full = self.look.trips(origin, destination, date.isoformat(), self.event.now_ms)
                self.data.full = full[0] if full else None
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
        waits = asked is not None and data.full is not None
        feet = ("booking.choose_wait",) if waits else ("booking.choose", "booking.choose_more")
        for foot in feet:
            whole, count = fit_lines(head, lines, self.kit.say(code, foot), budget=self._budget)
            if count == len(data.trips):
                break
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
        key = "booking.confirm_names" if self.app.ask_names else "booking.confirm"
        self._say(key, n=wish.seats, price=price, **words)
