"""The nouns of the domain: what comes in, what goes out, and whose number it is.

Times are UTC integer milliseconds since 1970 (`..._ms`), money is integer santim, and numbers are
E.164 text with the plus (`+251911234567`) unless a field says otherwise.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

__all__ = [
    "OUTBOUND_MOVES",
    "Encoding",
    "Inbound",
    "InboundState",
    "Lane",
    "Outbound",
    "OutboundState",
    "SenderKind",
    "normalise_number",
    "sender_kind",
]


class Lane(enum.StrEnum):
    """Outbound priority classes, most urgent first."""

    OTP = "otp"
    REPLY = "reply"
    NORMAL = "normal"
    BULK = "bulk"


class InboundState(enum.StrEnum):
    ACCEPTED = "accepted"  # on disk; the dispatcher owes it a turn
    HANDLED = "handled"  # its turn is committed
    GUARDED = "guarded"  # kept and shown, deliberately not answered; the reason says why
    SET_ASIDE = "set_aside"  # its turn failed twice; a person must look


class OutboundState(enum.StrEnum):
    QUEUED = "queued"  # waits for its lane, its time or its route
    SENDING = "sending"  # a channel has it; the intent is on disk
    SENT = "sent"  # our SMSC or provider accepted every part; a report may follow
    DELIVERED = "delivered"  # the handset acknowledged every part
    FAILED = "failed"  # permanent; the reason says who said so
    EXPIRED = "expired"  # validity ended before it could be sent
    CANCELLED = "cancelled"  # taken back while queued
    UNCERTAIN = "uncertain"  # handed over, answer lost: it may or may not have gone out
    UNKNOWN = "unknown"  # no delivery report came in the time allowed, or the doubt was never resolved


# What may follow what. States only move forward; `delivered` may still overtake `failed` or `unknown`,
# because the handset's word outranks ours and the network's.
OUTBOUND_MOVES: Final[Mapping[OutboundState, frozenset[OutboundState]]] = {
    OutboundState.QUEUED: frozenset(
        {OutboundState.SENDING, OutboundState.EXPIRED, OutboundState.CANCELLED, OutboundState.FAILED}
    ),
    OutboundState.SENDING: frozenset(
        {OutboundState.SENT, OutboundState.QUEUED, OutboundState.FAILED, OutboundState.UNCERTAIN}
    ),
    OutboundState.SENT: frozenset({OutboundState.DELIVERED, OutboundState.FAILED, OutboundState.UNKNOWN}),
    OutboundState.UNCERTAIN: frozenset(
        {
            OutboundState.QUEUED,  # the lane's policy repeats it
            OutboundState.SENT,
            OutboundState.DELIVERED,
            OutboundState.FAILED,
            OutboundState.UNKNOWN,
        }
    ),
    OutboundState.FAILED: frozenset({OutboundState.DELIVERED}),
    OutboundState.UNKNOWN: frozenset({OutboundState.DELIVERED, OutboundState.QUEUED}),
    OutboundState.DELIVERED: frozenset(),
    OutboundState.EXPIRED: frozenset(),
    OutboundState.CANCELLED: frozenset(),
}


class SenderKind(enum.StrEnum):
    SUBSCRIBER = "subscriber"  # E.164, can be answered
    SHORT_CODE = "short_code"  # 3 to 6 digits: a service, never answered
    NAME = "name"  # alphanumeric originator, cannot be answered


class Encoding(enum.StrEnum):
    GSM7 = "gsm7"
    UCS2 = "ucs2"
    EIGHT_BIT = "8bit"


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """One whole message from outside, whatever it came by.

    channel: "modem:<name>", "http", "handset", "timer" (a session's own wake-up) ...
    sender: E.164, or the short code or name as received. recipient: the number texted, "" if unknown.
    natural_key: what makes a second delivery of it the same message; None: never the same.
    sent_at_ms: the network's or caller's time stamp; received_at_ms: ours.
    partial: parts of a concatenated message never came.
    """

    channel: str
    sender: str
    recipient: str
    text: str
    received_at_ms: int
    sent_at_ms: int | None = None
    natural_key: str | None = None
    partial: bool = False


class Outbound(msgspec.Struct, frozen=True, kw_only=True):
    """One message to send; segmenting and routing happen later.

    in_reply_to: id of the inbound message whose turn made it. client_id: 0 for the box itself.
    route: the one route it may take, or "" for any modem. expires_at_ms: never sent after it; None takes
    the lane's own validity. not_before_ms: not sent before it.
    """

    recipient: str
    text: str
    lane: Lane = Lane.REPLY
    in_reply_to: int | None = None
    route: str = ""
    client_id: int = 0
    not_before_ms: int = 0
    expires_at_ms: int | None = None
    want_report: bool = True


_SEPARATORS: Final = re.compile(r"[\s\u00a0\u2007\u202f().\-\u2010-\u2015/]+")
_E164: Final = re.compile(r"\+[1-9]\d{6,14}\Z")
_DIALLED: Final = re.compile(r"\+?\d{1,19}\Z")
# Mobile numbers where the library's table lags behind what the networks hand out: Safaricom Ethiopia opens
# one 7x range after the other. All of 9x and 7x, and 80, 81, are mobile there; 0 or 251 may come before.
_COUNTRY_CODES: Final[Mapping[str, str]] = {"ET": "251"}
_MOBILE_PLANS: Final[Mapping[str, re.Pattern[str]]] = {
    "ET": re.compile(r"(?:\+?251|0)?((?:9\d|7\d|8[01])\d{7})\Z"),
}
_SHORT_CODE: Final = re.compile(r"\d{3,6}\Z")


@lru_cache(maxsize=4096)
def normalise_number(text: str, region: str = "ET") -> str | None:
    """Write a subscriber's number as E.164, or return None if it is none.

    Accepts national, international and 00-prefixed forms with the usual separators; `region` is the
    ISO 3166 country whose trunk and length rules apply to national forms. Fixed lines, emergency and
    service numbers return None: they cannot receive SMS.
    """
    compact = _SEPARATORS.sub("", text)
    if not _DIALLED.match(compact) or _SHORT_CODE.match(compact):
        return None
    candidate = "+" + compact[2:] if compact.startswith("00") else compact
    return _known_mobile(candidate, region) or _looked_up(candidate, region)


def _known_mobile(candidate: str, region: str) -> str | None:
    """The number by our own plan of the region, without the 67 ms and 3 MiB of the library."""
    plan = _MOBILE_PLANS.get(region)
    if plan is None:
        return None
    found = plan.match(candidate)
    return None if found is None else f"+{_COUNTRY_CODES[region]}{found[1]}"


def _looked_up(candidate: str, region: str) -> str | None:
    # Imported here, not at the top: workers and the modem tools never come this far.
    import phonenumbers

    tries = [candidate] if candidate.startswith("+") else [candidate, "+" + candidate]
    for attempt in tries:
        try:
            number = phonenumbers.parse(attempt, region)
        except phonenumbers.NumberParseException:
            continue
        kind = phonenumbers.number_type(number)
        if kind in (
            phonenumbers.PhoneNumberType.MOBILE,
            phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
        ):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return None


def sender_kind(sender: str) -> SenderKind:
    """Tell a person's number from a service's short code and from an alphanumeric name."""
    if _E164.match(sender):
        return SenderKind.SUBSCRIBER
    if re.fullmatch(r"\d{1,6}", sender):
        return SenderKind.SHORT_CODE
    return SenderKind.NAME
