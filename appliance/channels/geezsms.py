"""GeezSMS (DOMAIN: HTTP SMS providers): numbers without plus, and a token that never goes in a URL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

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
)
from appliance.message import Inbound, OutboundState, normalise_number
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim
from appliance.store.provider import ProviderReport

__all__ = ["GeezSms"]


class _Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    longest: int
    status_field: str
    status_accepted: str
    id_field: str
    refused: str
    report_fields: dict[str, list[str]]
    reports: dict[str, OutboundState]
    inbound_fields: dict[str, list[str]]


class GeezSms:
    """One account. shortcode_id: which of its short codes sends, "" for the default."""

    reply = ("application/json", "{}")

    def __init__(
        self,
        *,
        token: str,
        shortcode_id: str = "",
        url: str = "",
        region: str = "ET",
        preset: str = "geezsms",
    ) -> None:
        self._preset = known = load_preset(preset, _Preset)
        self._refused = error_class(known.refused)
        self.longest = known.longest
        self._url = url or known.url
        self._account = {"token": token} | ({"shortcode_id": shortcode_id} if shortcode_id else {})
        self._region = region
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def count_parts(self, text: str) -> int:
        return count_segments(text)

    def request(self, claim: Claim) -> HttpRequest | Refused:
        if len(claim.text) > self._preset.longest:
            reason = f"a text of {len(claim.text)} characters; it takes {self._preset.longest}"
            return Refused(Action.OTHER_ROUTE, reason)
        form = self._account | {"phone": claim.recipient.lstrip("+"), "msg": claim.text}
        return HttpRequest("POST", self._url, self._headers, urlencode(form).encode())

    def outcome(self, claim: Claim, answer: HttpAnswer) -> Outcome:
        tree = answer.json()
        known = self._preset
        said = _find(tree, known.status_field) or _find(tree, "message") or _find(tree, "msg") or ""
        refused = refusal_by_status(answer, str(said)[:80])
        if refused is not None:
            return refused
        if answer.status != 200 or not isinstance(tree, dict):
            return Doubt(f"HTTP {answer.status} without {known.status_field}")
        if _find(tree, known.status_field) != known.status_accepted:
            return self._refused.refused(f"{known.status_field}: {str(said)[:80] or 'missing'}")
        reference = _find(tree, known.id_field)
        return Sent(provider_ref=None if reference in (None, "") else str(reference))

    def report(self, call: Callback) -> ProviderReport | None:
        names = self._preset.report_fields
        status = _first(call.fields, names["status"])
        state = self._preset.reports.get(status.lower())
        reference = _first(call.fields, names["id"])
        number = normalise_number(_first(call.fields, names["recipient"]), self._region) or ""
        if not reference and not number:
            raise CallbackRefused(400, "a report names neither id nor phone")
        if state is None:
            return None
        return ProviderReport(provider_ref=reference, state=state, reason=status[:200], recipient=number)

    def inbound(self, call: Callback, now_ms: int) -> Inbound | None:
        names = self._preset.inbound_fields
        sender, text = _first(call.fields, names["from"]), _first(call.fields, names["text"])
        if not sender:
            raise CallbackRefused(400, "an inbound message names no sender")
        key = _first(call.fields, names["id"])
        if not key:
            # Without an id of theirs, one text a minute is one message: a callback repeated at once is
            # the same, what a person sends again later is not.
            minute = now_ms // 60_000
            key = hashlib.blake2b(f"{sender}\n{text}\n{minute}".encode(), digest_size=16).hexdigest()
        return Inbound(
            channel="",
            sender=normalise_number(sender, self._region) or sender,
            recipient=_first(call.fields, names["to"]),
            text=text,
            natural_key=f"geezsms:{key}",
            received_at_ms=now_ms,
        )


def _first(fields: Mapping[str, str], names: Sequence[str]) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _find(tree: Any, name: str) -> Any:
    """A field at the top level or one level below it, where some of its answers put it."""
    return next((level[name] for level in _levels(tree) if name in level), None)


def _levels(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        yield from (value for value in tree.values() if isinstance(value, dict))
