"""Africa's Talking: the messaging API, legacy or bulk, and its callbacks (DOMAIN: HTTP SMS providers).

HTTP 201 does not mean accepted; the recipient's own statusCode does. Callbacks are unsigned: the secret in
their path and the list of addresses are all there is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import orjson

from appliance.channels.channel import Doubt, Outcome, Refused, Sent
from appliance.channels.provider import (
    Callback,
    CallbackRefused,
    HttpAnswer,
    HttpRequest,
    count_segments,
    error_class,
    load_preset,
    refusal_by_status,
)
from appliance.message import Inbound, OutboundState, normalise_number
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim
from appliance.store.provider import ProviderReport

__all__ = ["AfricasTalking"]

EAST_AFRICA: Final = timezone(timedelta(hours=3))  # its dates name no zone; the sandbox's are in EAT


class _Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    sandbox_url: str
    sandbox_username: str
    accepted: frozenset[int]
    errors: dict[str, str]
    messages: dict[str, int]
    reports: dict[str, OutboundState]
    failures: dict[str, str]


class AfricasTalking:
    """One account. sender: registered short code or name, "" for the account's default."""

    reply = ("text/plain", "")
    longest = 0

    def __init__(
        self,
        *,
        username: str,
        api_key: str,
        sender: str = "",
        url: str = "",
        region: str = "ET",
        preset: str = "africas_talking",
    ) -> None:
        self._preset = known = load_preset(preset, _Preset)
        self._errors = {int(code): error_class(word) for code, word in known.errors.items()}
        sandbox = username == known.sandbox_username
        self._url = url or (known.sandbox_url if sandbox else known.url)
        self._bulk = self._url.endswith("/bulk")  # the newer call: JSON; its answer is the same
        self._username = username
        self._sender = sender
        self._region = region
        self._headers = {
            "apiKey": api_key,
            "Accept": "application/json",  # it answers XML otherwise
            "Content-Type": "application/json" if self._bulk else "application/x-www-form-urlencoded",
        }

    def count_parts(self, text: str) -> int:
        return count_segments(text)

    def request(self, claim: Claim) -> HttpRequest | Refused:
        if self._bulk:
            # One number a request: what became of it must be known of each message by itself.
            asked: dict[str, Any] = {
                "username": self._username,
                "phoneNumbers": [claim.recipient],
                "message": claim.text,
            }
            if self._sender:
                asked["senderId"] = self._sender
            return HttpRequest("POST", self._url, self._headers, orjson.dumps(asked))
        # enqueue=1: it answers when it has the message, not when its network has.
        form = {"username": self._username, "to": claim.recipient, "message": claim.text, "enqueue": "1"}
        if self._sender:
            form["from"] = self._sender
        return HttpRequest("POST", self._url, self._headers, urlencode(form).encode())

    def outcome(self, claim: Claim, answer: HttpAnswer) -> Outcome:
        refused = refusal_by_status(answer, "")
        if refused is not None:
            return refused
        tree = answer.json()
        data = tree.get("SMSMessageData") if isinstance(tree, dict) else None
        recipients = data.get("Recipients") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(recipients, list):
            return Doubt(f"HTTP {answer.status} without SMSMessageData.Recipients")
        ours = self._ours(recipients, claim.recipient)
        if ours is None:
            if recipients:
                return Doubt(f"HTTP {answer.status} names other recipients than the one it was given")
            return self._nobody(str(data.get("Message", "")))
        return self._one(ours)

    def _ours(self, recipients: list[Any], number: str) -> Mapping[str, Any] | None:
        """The entry of the number we sent to; it may come back in another form."""
        entries = [entry for entry in recipients if isinstance(entry, dict)]
        for entry in entries:
            named = str(entry.get("number", ""))
            if named == number or normalise_number(named, self._region) == number:
                return entry
        return entries[0] if len(entries) == 1 and not entries[0].get("number") else None

    def _one(self, entry: Mapping[str, Any]) -> Outcome:
        code, status = entry.get("statusCode"), entry.get("status", "")
        if isinstance(code, str) and re.fullmatch(r"[0-9]{1,4}", code):
            code = int(code)
        if not isinstance(code, int):
            return Doubt("its recipient has no statusCode")
        if code in self._preset.accepted:
            reference = str(entry.get("messageId") or "")
            return Sent(provider_ref=reference if reference not in ("", "None") else None)
        if 100 <= code < 200:  # a new kind of yes, by the look of it
            return Doubt(f"status {code} ({status}) is unknown")
        return self._refusal(code, str(status))

    def _nobody(self, message: str) -> Outcome:
        """An empty list: the request as a whole was refused, and only a text says why."""
        for word, code in self._preset.messages.items():
            if word.lower() in message.replace(" ", "").lower():
                return self._refusal(code, message)
        return Refused(Action.OTHER_ROUTE, f"no recipient accepted: {message[:80]}")

    def _refusal(self, code: int, text: str) -> Refused:
        known = self._errors.get(code)
        reason = f"status {code} ({text})" if text else f"status {code}"
        return known.refused(reason) if known else Refused(Action.OTHER_ROUTE, reason[:200])

    def report(self, call: Callback) -> ProviderReport | None:
        reference, status = call.fields.get("id", ""), call.fields.get("status", "")
        state = self._preset.reports.get(status)
        number = normalise_number(call.fields.get("phoneNumber", ""), self._region) or ""
        if not reference and not number:
            raise CallbackRefused(400, "a report names neither id nor phoneNumber")
        why = call.fields.get("failureReason", "")
        if state is None:
            return None
        return ProviderReport(
            provider_ref=reference,
            state=state,
            reason=" ".join(filter(None, (status, why)))[:200],
            recipient=number,
            opted_out="told the provider to stop" if self._preset.failures.get(why) == "opted out" else "",
        )

    def inbound(self, call: Callback, now_ms: int) -> Inbound | None:
        fields = call.fields
        sender, text = fields.get("from", ""), fields.get("text", "")
        if not sender:
            raise CallbackRefused(400, "an inbound message names no sender")
        key = (
            fields.get("id")
            or hashlib.blake2b(
                f"{sender}\n{text}\n{fields.get('date', '')}".encode(), digest_size=16
            ).hexdigest()
        )
        return Inbound(
            channel="",
            sender=normalise_number(sender, self._region) or sender,
            recipient=fields.get("to", ""),
            text=text,
            natural_key=f"at:{key}",
            sent_at_ms=_date_ms(fields.get("date", "")),
            received_at_ms=now_ms,
        )


def _date_ms(text: str) -> int | None:
    """UTC milliseconds of "2026-11-22 13:05:07" or of ISO 8601; None for anything else."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=EAST_AFRICA)
    return round(at.timestamp() * 1000)
