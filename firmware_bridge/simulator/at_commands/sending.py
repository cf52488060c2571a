"""Sending and writing: +CMGS, +CMGW, +CMSS, +CMMS, in PDU and in text mode (TS 27.005 3.5 and 4.3 to 4.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from firmware_bridge.pdu import Address, Deliver, PduDecodeError, Submit, UsageError
from firmware_bridge.simulator import text_mode
from firmware_bridge.simulator.answers import Cms
from firmware_bridge.simulator.at_commands.table import LATER, Answer, command, number, ranged
from firmware_bridge.simulator.line import Call, Kind
from firmware_bridge.simulator.memory import Status, Stored

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

# A SUBMIT is at least 7 and at most 164 octets long without the SMSC (TS 23.040 9.2.2.2)
_SHORTEST: Final = 7
_LONGEST: Final = 164
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


def _octets(typed: bytes, length: int) -> bytes:
    """The PDU that was typed, its announced TPDU length checked. Raises +CMS ERROR 304."""
    compact = typed.strip(b" \r\n\t")
    if not _HEX.fullmatch(compact):
        raise Cms(304)
    pdu = bytes.fromhex(compact.decode("ascii"))
    if len(pdu) - 1 - pdu[0] != length:
        raise Cms(304)
    return pdu


def _submit(pdu: bytes) -> Submit:
    try:
        submit = Submit.decode(pdu)
    except PduDecodeError:
        raise Cms(304) from None
    if not submit.recipient.digits.lstrip("+"):
        raise Cms(304)
    return submit


def _ask(modem: GsmModem, call: Call, use: Callable[[Submit], None]) -> Answer:
    """Prompt for a message in the mode that is set, and hand it over as a SUBMIT."""
    arguments = call.arguments
    if modem.settings.cmgf == 1:
        to = arguments[0] if arguments else None
        if not to:
            raise Cms(305)

        def typed_text(typed: bytes | None) -> None:
            if typed is None:
                modem.resume([])
            else:
                use(text_mode.compose(modem, to, typed))

        return modem.ask(typed_text, subject=to)
    length = number(arguments, 0, refusal=Cms(304))
    if not _SHORTEST <= length <= _LONGEST:
        raise Cms(304)

    def typed_pdu(typed: bytes | None) -> None:
        if typed is None:  # ESC: nothing is sent, and OK is said (TS 27.005 3.5.1)
            modem.resume([])
        else:
            use(_submit(_octets(typed, length)))

    return modem.ask(typed_pdu, subject=str(length))


@command("+CMGS", sms=True)
def send_message(modem: GsmModem, call: Call) -> Answer:
    if call.kind is Kind.TEST:
        return []
    if call.kind is not Kind.SET:
        raise Cms(302)
    return _ask(modem, call, lambda submit: modem.radio.send(submit, "+CMGS"))


@command("+CMGW", sms=True)
def write_message(modem: GsmModem, call: Call) -> Answer:
    """Store without sending; in PDU mode a DELIVER may be written too, with <stat> 0 or 1."""
    if call.kind is Kind.TEST:
        return []
    if call.kind is not Kind.SET:
        raise Cms(302)
    status = Status.UNSENT
    if modem.settings.cmgf == 0:
        given = number(call.arguments, 1, int(Status.UNSENT), refusal=Cms(304))
        if given > Status.SENT:
            raise Cms(304)
        status = Status(given)
        if status in (Status.UNREAD, Status.READ):
            return _write_received(modem, number(call.arguments, 0, refusal=Cms(304)), status)

    def store(submit: Submit) -> None:
        _store(modem, Stored(status, submit.encode(), submit.tpdu_length))

    return _ask(modem, call, store)


def _write_received(modem: GsmModem, length: int, status: Status) -> Answer:
    def typed_pdu(typed: bytes | None) -> None:
        if typed is None:
            modem.resume([])
            return
        pdu = _octets(typed, length)
        try:
            Deliver.decode(pdu)
        except PduDecodeError:
            raise Cms(304) from None
        _store(modem, Stored(status, pdu, length))

    return modem.ask(typed_pdu, subject=str(length))


def _store(modem: GsmModem, stored: Stored) -> None:
    index = modem.inbox.memory(1).add(stored)
    if index is None:
        raise Cms(322)
    modem.resume([f"+CMGW{modem.personality.colon}{index}"])


@command("+CMSS", sms=True)
def send_stored(modem: GsmModem, call: Call) -> Answer:
    """Send from storage, to another number if one is given."""
    if call.kind is Kind.TEST:
        return []
    arguments = call.arguments
    try:
        stored = modem.inbox.memory(1).get(number(arguments, 0, refusal=Cms(321)))
    except IndexError:
        stored = None
    if stored is None or stored.status not in (Status.UNSENT, Status.SENT):
        raise Cms(321)
    submit = _submit(stored.pdu)
    if len(arguments) > 1 and arguments[1]:
        try:
            submit = _readdressed(submit, Address.parse(arguments[1]))
        except UsageError:
            raise Cms(305) from None
    stored.status = Status.SENT
    modem.radio.send(submit, "+CMSS")
    return LATER


def _readdressed(submit: Submit, recipient: Address) -> Submit:
    return replace(submit, recipient=recipient)


@command("+CMMS")
def more_messages(modem: GsmModem, call: Call) -> Answer:
    """3.5.6: keep the radio link open between messages."""
    modem.settings.cmms, answer = ranged(call, modem.settings.cmms, (0, 1, 2))
    return answer
