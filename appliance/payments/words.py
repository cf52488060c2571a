"""What people are told about their money outside a conversation, in the language of their booking."""

from __future__ import annotations

import datetime as dt
import sqlite3

from appliance.conversation.dates import clock, day_short
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.conversation.travel import Ticket
from appliance.store.booking import town_names

__all__ = ["PhraseWords"]


class PhraseWords:
    """`store.payments.Words` by the phrase files."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def ticket(self, db: sqlite3.Connection, ticket: Ticket) -> str:
        """The ticket itself, as the conversation gives it."""
        towns, language = town_names(db), self._kit.phrases.of(ticket.language)
        return self._kit.say(
            language.language,
            "booking.ticket",
            code=ticket.code,
            origin=towns[ticket.origin].get(language.towns, ticket.origin),
            destination=towns[ticket.destination].get(language.towns, ticket.destination),
            date=day_short(dt.date.fromisoformat(ticket.date), language),
            time=clock(ticket.minute, language),
            n=ticket.seats,
            seats=",".join(map(str, ticket.numbers)),
        )

    def too_late(self, db: sqlite3.Connection, ticket: Ticket, santim: int, way: str) -> str:
        """Their money came when the seats were gone, and goes back by that way."""
        return self._say(ticket, "money.too_late" if way == "telebirr" else "money.too_late_cash", santim)

    def paid_back(self, db: sqlite3.Connection, ticket: Ticket, santim: int) -> str:
        """telebirr has paid it back."""
        return self._say(ticket, "money.paid_back", santim)

    def back_in_cash(self, db: sqlite3.Connection, ticket: Ticket, santim: int) -> str:
        """telebirr would not: an agent does."""
        return self._say(ticket, "money.back_in_cash", santim)

    def pay_link(self, code: str, language: str, santim: int, url: str) -> str:
        """Where to pay."""
        told = self._kit.phrases.of(language)
        return self._kit.say(told.language, "money.pay_link", code=code, price=money(santim, told), url=url)

    def _say(self, ticket: Ticket, key: str, santim: int) -> str:
        language = self._kit.phrases.of(ticket.language)
        return self._kit.say(language.language, key, code=ticket.code, price=money(santim, language))
