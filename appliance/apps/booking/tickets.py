"""What can be asked at any point: tickets, fares, giving seats back, and those who take money and check."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from appliance.apps.booking.codes import find_code
from appliance.apps.booking.dialogue import Dialogue
from appliance.apps.booking.searching import Searching
from appliance.apps.booking.states import State, Step
from appliance.apps.booking.understand import Request
from appliance.conversation.money import money
from appliance.conversation.phrases import Language
from appliance.conversation.travel import Ticket
from appliance.conversation.turn import Effect, Reply

__all__ = ["Tickets"]

HOUR_MS = 3_600_000
_PIN: Final = re.compile(r"(?<![A-Za-z0-9])\d{4,8}(?![A-Za-z0-9])")


class Tickets(Searching):
    """Answers about bookings that exist."""

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
                self._tell_waiting(ticket)
        if len(still) < len(self.data.holds):
            self.data.holds = still
            if self.state is State.WAIT_PAYMENT and not still:
                self._step(Step.ENDED)
                self.data = Dialogue()

    def _tell_waiting(self, ticket: Ticket) -> None:
        """Seats came free: tell the first of those who wait for that departure."""
        waiter = self.look.next_waiting(ticket.code)
        if waiter is None or waiter.number == self.event.sender:
            return
        language = self._language_of(waiter.language)
        line = self.kit.say(language.language, "booking.free_again", **self._trip_words(ticket, language))
        self.replies.append(Reply(text=line, to=waiter.number))
        self.effects.append(Effect(name="booking.told", args={"waiting": waiter.id}))

    def _language_of(self, code: str) -> Language:
        return self.kit.phrases.of(code)

    # -- giving back

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
            args = {"code": ticket.code, "reason": "cancel"}
            self.effects.append(Effect(name="booking.release", args=args))
            self.data.holds = [hold for hold in self.data.holds if hold[0] != ticket.code]
            self._say("booking.cancelled", **self._trip_words(ticket))
            self._tell_waiting(ticket)
            if self.state is State.WAIT_PAYMENT and not self.data.holds:
                self._step(Step.ENDED)
        elif tickets and tickets[0].state == "used":
            self._say("booking.check_used", code=tickets[0].code)
        elif tickets:
            self._cancel_paid(tickets[0], sure=bool(request.code))
        elif request.code:
            self._say("booking.status_unknown", code=request.code)
        else:
            self._say("booking.cancel_none")

    def _cancel_paid(self, ticket: Ticket, *, sure: bool) -> None:
        """A paid ticket goes back only with its code in the text, for what the rules give back."""
        in_time = ticket.departs_at_ms - self.event.now_ms >= self.app.refund_hours * HOUR_MS
        back = ticket.price_santim * self.app.refund_percent // 100 if in_time else 0
        if ticket.moved:  # it is we who changed what was agreed
            back = ticket.price_santim
        amount = money(back, self.language)
        wallet = "_wallet" if back and self.look.paid_by(ticket.code) == "telebirr" else ""
        if not sure:
            self._say(f"booking.cancel_paid{wallet}", code=ticket.code, price=amount)
            return
        args = {"code": ticket.code, "refund_santim": back}
        self.effects.append(Effect(name="booking.cancel", args=args))
        self._say(f"booking.cancel_done{wallet}", code=ticket.code, price=amount)
        self._tell_waiting(ticket)

    def _leave_dialogue(self) -> None:
        self._step(Step.LEFT)
        self.data = Dialogue(holds=self.data.holds)
        self._say("booking.left")

    # -- asking

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
            text = self.kit.say(self.language.language, key, **self._trip_words(ticket))
            self.replies.append(Reply(text=text))

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

    def _wait(self) -> bool:
        """Put the person on the list of the departure they were just told is full."""
        full = self.data.full
        if full is None:
            return False
        args = {
            "service": full.service,
            "date": full.date,
            "seats": self.data.wish.seats or 1,
            "language": self.language.language,
        }
        self.effects.append(Effect(name="booking.wait", args=args))
        self.data.full = None
        self._say("booking.waiting")
        return True

    # -- the agent at the counter and the conductor at the door

    def _pay(self, request: Request) -> None:
        if self.event.sender not in self.app.agents:
            self._say("booking.pay_agent_only")
            return
        if not request.code:
            self._say("booking.pay_how")
            return
        if not self._pin_is_right():
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
            "commission_percent": self.app.commission_percent,
        }
        self.effects.append(Effect(name="booking.pay", args=args))
        self._say("booking.pay_done", **self._trip_words(ticket))
        language = self._language_of(ticket.language)
        paid = msgspec.structs.replace(ticket, numbers=numbers)
        text = self.kit.say(language.language, "booking.ticket", **self._trip_words(paid, language))
        self.replies.append(Reply(text=text, to=ticket.holder))

    def _refund(self, request: Request) -> None:
        """An agent hands the money of a cancelled ticket back."""
        if not self._pin_is_right():
            return
        owed = self.look.refund_owed(request.code)
        if owed is None:
            self._say("booking.refund_none", code=request.code)
            return
        args = {"code": request.code, "amount_santim": owed}
        self.effects.append(Effect(name="booking.refunded", args=args))
        self._say("booking.refund_done", code=request.code, price=money(owed, self.language))

    def _pin_is_right(self) -> bool:
        """Whether the agent's PIN stands in the text; says what is wrong with it if not."""
        found = _PIN.search(self.event.text)
        if found is None:
            self._say("booking.pay_how")
            return False
        check = self.look.pin(self.event.sender, found[0], self.event.now_ms)
        if check.state == "right":
            self.effects.append(Effect(name="agent.right_pin"))
            return True
        if check.state == "wrong":
            self.effects.append(Effect(name="agent.wrong_pin"))
        until = self._clock_at(check.until_ms)
        if check.state == "none":
            self._say("booking.pin_none")
        elif check.state == "wrong" and check.left:
            self._say("booking.pin_wrong", left=check.left)
        else:
            self._say("booking.pin_locked", until=until)
        return False

    def _without_pin(self, instead: str = "") -> str:
        """The text, an agent's without the PIN: beside a code, or in a text about paying."""
        text = self.event.text
        about_pay = self.request is not None and self.request.concepts & {"pay", "refund"}
        if self.event.sender in self.app.agents and (find_code(text) or about_pay):
            return _PIN.sub(instead, text)
        return text

    def _hide_pin(self) -> None:
        """An agent's text is kept without its PIN, whatever became of it."""
        hidden = self._without_pin("****")
        if hidden != self.event.text:
            self.heard = hidden
            self.effects.append(Effect(name="agent.hide_pin", args={"text": hidden}))

    def _check(self, request: Request) -> None:
        """A conductor asks whether a ticket is good; the answer uses it up."""
        ticket = self.look.ticket(request.code, self.event.now_ms)
        if ticket is not None and ticket.state == "used":
            self._say("booking.check_used", code=ticket.code)
        elif ticket is None or ticket.state != "paid":
            self._say("booking.check_bad", code=request.code)
        else:
            self.effects.append(Effect(name="booking.use", args={"code": ticket.code}))
            good = self.kit.say(self.language.language, "booking.check_ok", **self._trip_words(ticket))
            self._reply("\n".join([good, ", ".join(ticket.names)]) if ticket.names else good)
