"""Twilio Programmable Messaging and its signed callbacks (DOMAIN: HTTP SMS providers).

Two-way SMS is not supported to Ethiopia: what goes out here cannot be replied to, so routes by Twilio
are for notices. Signature: https://www.twilio.com/docs/usage/security#validating-requests
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

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
    retry_after_s,
)
from appliance.message import Inbound, OutboundState, normalise_number
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim
from appliance.store.provider import ProviderReport

__all__ = ["Twilio", "signature"]

_PORTS: Final = {"https": 443, "http": 80}
# Its 201 for a message it will not send: refused after all, with error_code.
_REFUSED_STATUSES: Final = frozenset({"failed", "undelivered", "canceled"})


class _Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    longest: int
    errors: dict[str, str]
    reports: dict[str, OutboundState]


class Twilio:
    """One account.

    sender: a number, a short code or a registered name; messaging_service: the sid of a service that
    chooses one, instead. report_url: where its status callbacks reach us, "" for none.
    """

    reply = ("text/xml", '<?xml version="1.0" encoding="UTF-8"?><Response></Response>')

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str = "",
        messaging_service: str = "",
        report_url: str = "",
        url: str = "",
        region: str = "ET",
        preset: str = "twilio",
    ) -> None:
        self._preset = known = load_preset(preset, _Preset)
        self._errors = {int(code): error_class(word) for code, word in known.errors.items()}
        self.longest = known.longest
        self._url = (url or known.url).replace("{sid}", account_sid)
        self._sender = {"MessagingServiceSid": messaging_service} if messaging_service else {"From": sender}
        self._report_url = report_url
        self._token = auth_token
        self._region = region
        basic = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {basic}",
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def count_parts(self, text: str) -> int:
        return count_segments(text)

    def request(self, claim: Claim) -> HttpRequest | Refused:
        if len(claim.text) > self._preset.longest:
            reason = f"a text of {len(claim.text)} characters; it takes {self._preset.longest}"
            return Refused(Action.OTHER_ROUTE, reason)
        form = {"To": claim.recipient, **self._sender, "Body": claim.text}
        if self._report_url and claim.want_report:
            # Our own id comes back with the report, so that it finds its message when the answer is lost.
            form["StatusCallback"] = f"{self._report_url}?message={claim.outbound_id}"
        return HttpRequest("POST", self._url, self._headers, urlencode(form).encode())

    def outcome(self, claim: Claim, answer: HttpAnswer) -> Outcome:
        tree = answer.json()
        found = tree if isinstance(tree, dict) else {}
        if 200 <= answer.status < 300:
            sid, code = found.get("sid"), found.get("error_code")
            if str(found.get("status")) in _REFUSED_STATUSES:
                return self._refusal(code, str(found.get("error_message") or found["status"]), answer)
            if not isinstance(sid, str) or not sid:
                return Doubt(f"HTTP {answer.status} without a sid")
            return Sent(provider_ref=sid)
        code = found.get("code")
        if isinstance(code, int) and code in self._errors:
            return self._refusal(code, str(found.get("message", "")), answer)
        refused = refusal_by_status(answer, f"error {code}" if code is not None else "")
        assert refused is not None
        return refused

    def _refusal(self, code: object, text: str, answer: HttpAnswer) -> Refused:
        reason = f"HTTP {answer.status}, error {code} ({text[:120]})"
        known = self._errors.get(code) if isinstance(code, int) else None
        if known is None:
            return Refused(Action.OTHER_ROUTE, reason)
        return known.refused(reason, retry_after_s(answer))

    def report(self, call: Callback) -> ProviderReport | None:
        self._check(call)
        fields = call.fields
        sid = fields.get("MessageSid") or fields.get("SmsSid", "")
        status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
        state = self._preset.reports.get(status)
        if not sid:
            raise CallbackRefused(400, "a report names no MessageSid")
        if state is None:
            return None
        code, ours = fields.get("ErrorCode", ""), fields.get("message", "")
        known = self._errors.get(int(code)) if re.fullmatch(r"[0-9]{1,6}", code) else None
        number = normalise_number(fields.get("To", ""), self._region) or ""
        return ProviderReport(
            provider_ref=sid,
            state=state,
            reason=f"{status}, error {code}" if code and code != "0" else status,
            outbound_id=int(ours) if re.fullmatch(r"[0-9]{1,18}", ours) else None,
            recipient=number,
            opted_out="told the provider to stop" if known is not None and known.opted_out else "",
        )

    def inbound(self, call: Callback, now_ms: int) -> Inbound | None:
        self._check(call)
        fields = call.fields
        sender, sid = fields.get("From", ""), fields.get("MessageSid", "")
        if not sender or not sid:
            raise CallbackRefused(400, "an inbound message names no sender or no MessageSid")
        return Inbound(
            channel="",
            sender=normalise_number(sender, self._region) or sender,
            recipient=fields.get("To", ""),
            text=fields.get("Body", ""),
            natural_key=f"twilio:{sid}",
            received_at_ms=now_ms,
        )

    def _check(self, call: Callback) -> None:
        given = call.headers.get("x-twilio-signature", "")
        urls = _with_and_without_port(call.url)
        right = [signature(self._token, url, call.form) for url in urls]
        # All are compared, each in constant time, so that nothing is learned from how long it takes.
        if not any([hmac.compare_digest(given.encode(), one.encode()) for one in right]):
            raise CallbackRefused(403, "the signature does not match; is the route's public_url right?")


def signature(auth_token: str, url: str, form: Sequence[tuple[str, str]]) -> str:
    """X-Twilio-Signature: HMAC-SHA1 over the URL and the POST fields, keys sorted, no separators."""
    signed = url + "".join(key + value for key, value in sorted(set(form)))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _with_and_without_port(url: str) -> tuple[str, ...]:
    """Twilio signs some callbacks with the scheme's own port in the URL and some without."""
    parts = urlsplit(url)
    standard = _PORTS.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if parts.port is None:
        return url, urlunsplit(parts._replace(netloc=f"{host}:{standard}"))
    if parts.port == standard:
        return url, urlunsplit(parts._replace(netloc=host))
    return (url,)
