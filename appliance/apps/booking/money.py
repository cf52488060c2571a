"""Money that a wallet reports: matched to the booking it pays, or left for a person to look at."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from appliance.apps.booking.tickets import Tickets
from appliance.conversation.money import money
from appliance.conversation.receipts import Receipt
from appliance.conversation.travel import Ticket
from appliance.conversation.turn import Effect, Reply

__all__ = ["Receipts"]

_REFERENCE: Final = re.compile(r"(?<![A-Z0-9])(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{10,12}(?![A-Z0-9])")


class Receipts(Tickets):
    """What the modem brings from a wallet's sender, and what a person claims with a transaction's number."""

    def _receipt(self) -> None:
        """A wallet's own text. Nothing is ever said to the wallet; the ticket goes to the passenger.

        Money that fits one booking alone which can no longer be had is owed back to its holder.
        """
        receipt = self.app.wallets.read(self.event.sender, self.event.text, self.today)
        if receipt is None or self.look.receipt_state(receipt.reference) is not None:
            return
        matches = self.look.awaiting(receipt.amount_santim, receipt.payer, self.event.now_ms)
        refused = self.event.reason if self.event.kind == "effect" else ""
        sure = len(matches) == 1 and receipt.dated and bool(receipt.payer)
        if sure and refused == "late":
            self._write(receipt, "returned", matches[0].code)
            ticket = matches[0]
            language = self._language_of(ticket.language)
            price = money(receipt.amount_santim, language)
            text = self.kit.say(language.language, "money.too_late_cash", code=ticket.code, price=price)
            self.replies.append(Reply(text=text, to=ticket.holder))
        elif sure and refused in ("", "seats_moved"):
            self._write(receipt, "matched", matches[0].code)
            self._paid_by(receipt.reference, matches[0])
        else:
            self._write(receipt, "unclear" if matches else "open", None)

    def _claim(self) -> bool:
        """Look for the number of "I paid, DI41FHSD4J" among our own receipts; a claim is no proof."""
        found = _REFERENCE.search(self.event.text.upper())
        if found is None or self.event.kind == "effect":
            return False
        amount = self.look.open_receipt(found[0])
        tickets = self.look.tickets_of(self.event.sender, self.event.now_ms)
        mine = [ticket for ticket in tickets if ticket.state == "held" and ticket.price_santim == amount]
        if amount is None or len(mine) != 1:
            return False
        args = {"reference": found[0], "code": mine[0].code}
        self.effects.append(Effect(name="booking.match", args=args))
        self._paid_by(found[0], mine[0])
        return True

    def _write(self, receipt: Receipt, state: str, code: str | None) -> None:
        args = {**msgspec.to_builtins(receipt), "state": state, "code": code}
        self.effects.append(Effect(name="booking.receipt", args=args))

    def _paid_by(self, reference: str, ticket: Ticket) -> None:
        if self.event.kind == "effect" and self.event.reason == "seats_moved":
            ticket = msgspec.structs.replace(ticket, numbers=tuple(self.event.detail["numbers"]))
        args = {
            "code": ticket.code,
            "method": "receipt",
            "reference": reference,
            "amount_santim": ticket.price_santim,
            "numbers": list(ticket.numbers),
        }
        self.effects.append(Effect(name="booking.pay", args=args))
        language = self._language_of(ticket.language)
        text = self.kit.say(language.language, "booking.ticket", **self._trip_words(ticket, language))
        self.replies.append(Reply(text=text, to=ticket.holder))
