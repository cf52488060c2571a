"""The generic HTTP provider: a description in data, for a vendor that has no file of its own.

A description is a TOML file (see docs/providers.md, and config/providers/negarit.toml for one). Every
value is escaped for the place it stands in: a URL, a form, JSON or XML.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import msgspec
import phonenumbers

from appliance.channels.channel import Doubt, Outcome, Refused, Sent
from appliance.channels.provider import (
    Callback,
    CallbackRefused,
    ErrorClass,
    HttpAnswer,
    HttpRequest,
    OptOut,
    count_segments,
    error_class,
    load_preset,
    refusal_by_status,
    retry_after_s,
)
from appliance.channels.template_description import VARIABLE, Description, check
from appliance.message import Inbound, OutboundState, normalise_number
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim
from appliance.store.provider import ProviderReport
from firmware_bridge.pdu import fold_to_gsm7

__all__ = ["Template", "json_path"]

_CONTENT_TYPES: Final = {
    "urlencoded": "application/x-www-form-urlencoded",
    "json": "application/json",
    "xml": "application/xml; charset=utf-8",
}
# XML 1.0 has no way at all to write these; they are of no use in an SMS either.
_NOT_XML: Final = re.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_PATH_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
# The status URLs, after RapidPro's External channel. `stopped` is an opt-out.
_STATUSES: Final = {
    "sent": OutboundState.SENT,
    "delivered": OutboundState.DELIVERED,
    "failed": OutboundState.FAILED,
}


class Template:
    """A provider as described. variables: the operator's own, such as a token. sender: {{from}}.

    url: instead of the description's own, "" for that.
    """

    def __init__(
        self,
        description: Description | str,
        *,
        variables: Mapping[str, str],
        sender: str,
        region: str = "ET",
        url: str = "",
    ) -> None:
        known = load_preset(description, Description) if isinstance(description, str) else description
        known = msgspec.structs.replace(known, url=url) if url else known
        self._is = known
        self.longest = known.longest
        self._own = {**variables, "from": sender}
        self._region = region
        self._errors = {code: error_class(word) for code, word in known.errors.items()}
        self._json_body = check(known, self._own)
        self.reply = (known.inbound.reply_content_type, known.inbound.reply)

    def count_parts(self, text: str) -> int:
        return count_segments(self._spelled(text))

    def _spelled(self, text: str) -> str:
        return fold_to_gsm7(text).text if self._is.encoding == "smart" else text

    def request(self, claim: Claim) -> HttpRequest | Refused:
        known, text = self._is, self._spelled(claim.text)
        if len(text) > known.longest:
            reason = f"a text of {len(text)} characters; it takes {known.longest}"
            return Refused(Action.OTHER_ROUTE, reason)
        values = self._own | {
            "text": text,
            "to": claim.recipient,
            "to_no_plus": claim.recipient.lstrip("+"),
            "to_national": _national(claim.recipient),
            "id": str(claim.outbound_id),
        }

        def fill(place: str, escaped: Callable[[str], str]) -> str:
            return VARIABLE.sub(lambda found: escaped(values[found[1]]), place)

        def as_is(value: str) -> str:
            return value

        headers = {name: fill(value, as_is) for name, value in known.headers.items()}
        if known.method != "GET":
            headers.setdefault("Content-Type", _CONTENT_TYPES[known.content_type])
        if known.content_type == "json":
            tree = _fill_tree(self._json_body, lambda leaf: fill(leaf, as_is))
            body = b"" if self._json_body is None else msgspec.json.encode(tree)
        else:
            body = fill(known.body, quote_plus if known.content_type == "urlencoded" else _xml).encode()
        url = fill(known.url, lambda value: quote(value, safe=""))
        return HttpRequest(known.method, url, headers, b"" if known.method == "GET" else body)

    def outcome(self, claim: Claim, answer: HttpAnswer) -> Outcome:
        known, tree = self._is, answer.json()
        code = json_path(tree, known.error_path) if known.error_path else None
        mapped = self._errors.get(_word(code)) or self._errors.get(str(answer.status))
        what = f"error {_word(code)[:60]}" if code is not None else ""
        ok = 200 <= answer.status < 300
        if ok and known.success.path and tree is None:
            return Doubt(f"HTTP {answer.status} without JSON in it")
        if ok and self._says_yes(answer, tree):
            reference = json_path(tree, known.id_path) if known.id_path else None
            return Sent(provider_ref=None if reference in (None, "") else _word(reference)[:200])
        if mapped is not None:
            return mapped.refused(f"HTTP {answer.status} {what}".strip(), retry_after_s(answer))
        refused = refusal_by_status(answer, what)
        if refused is not None:
            return refused
        return ErrorClass(Action.OTHER_ROUTE).refused(f"HTTP {answer.status} that says no success {what}")

    def _says_yes(self, answer: HttpAnswer, tree: Any) -> bool:
        success = self._is.success
        if success.contains and success.contains.encode() not in answer.body:
            return False
        return not success.path or _word(json_path(tree, success.path)) == success.value

    def report(self, call: Callback) -> ProviderReport | OptOut | None:
        names = self._is.report
        number = normalise_number(call.fields.get(names.recipient, ""), self._region) or ""
        if call.kind == "stopped":
            number = (
                number or normalise_number(call.fields.get(self._is.inbound.sender, ""), self._region) or ""
            )
            if not number:
                raise CallbackRefused(400, "an opt-out names no number")
            return OptOut(number, "told the provider to stop")
        state = _STATUSES.get(call.kind)
        if state is None:
            raise CallbackRefused(404, f"no such status; known: {', '.join(_STATUSES)}, stopped")
        reference = call.fields.get(names.id, "")
        ours = call.fields.get(names.message, "") if names.message else ""
        if not reference and not ours and not number:
            raise CallbackRefused(400, "a report names no message")
        return ProviderReport(
            provider_ref=reference,
            state=state,
            reason=call.kind,
            outbound_id=int(ours) if re.fullmatch(r"[0-9]{1,18}", ours) else None,
            recipient=number,
        )

    def inbound(self, call: Callback, now_ms: int) -> Inbound | None:
        names = self._is.inbound
        sender, text = call.fields.get(names.sender, ""), call.fields.get(names.text, "")
        if not sender:
            raise CallbackRefused(400, f"an inbound message has no field {names.sender}")
        number = normalise_number(sender, self._region) or sender
        key = (
            call.fields.get(names.id)
            or hashlib.blake2b(f"{number}\n{text}\n{now_ms // 60_000}".encode(), digest_size=16).hexdigest()
        )
        return Inbound(
            channel="",
            sender=number,
            recipient=call.fields.get(names.to, ""),
            text=text,
            natural_key=f"http:{key}",
            received_at_ms=now_ms,
        )


def json_path(tree: Any, path: str) -> Any:
    """The value at a path such as `data.items[0].id`; None when there is none."""
    for name, index in _PATH_STEP.findall(path.removeprefix("$")):
        if index:
            tree = tree[int(index)] if isinstance(tree, list) and int(index) < len(tree) else None
        else:
            tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _word(value: Any) -> str:
    """A JSON scalar as text, as a description writes it: `true`, `0`, `success`."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _fill_tree(tree: Any, fill: Callable[[str], str]) -> Any:
    """Fill the strings of a JSON body; keys and numbers stay as described."""
    if isinstance(tree, str):
        return fill(tree)
    if isinstance(tree, dict):
        return {key: _fill_tree(value, fill) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_fill_tree(value, fill) for value in tree]
    return tree


def _xml(value: str) -> str:
    return escape(_NOT_XML.sub("", value), {'"': "&quot;", "'": "&apos;"})


def _national(number: str) -> str:
    """As it is dialled at home, `0911234567`; short codes and unreadable numbers stay as they are."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number
    text = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return re.sub(r"\D", "", str(text))
