"""What the HTTP providers have in common: how one is described, and the nouns of asking and answering.

A provider is pure: it builds a request from a message and reads an answer or a callback; `http.py` does
the talking. Whatever a vendor may change (hosts, codes, words) is data in config/providers/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from appliance.channels.channel import Outcome, Refused
from appliance.message import Inbound
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim
from appliance.store.provider import ProviderReport
from firmware_bridge.errors import UsageError
from firmware_bridge.pdu import segment

__all__ = [
    "PRESETS",
    "Callback",
    "CallbackRefused",
    "ErrorClass",
    "HttpAnswer",
    "HttpRequest",
    "OptOut",
    "PresetError",
    "Provider",
    "count_segments",
    "error_class",
    "load_preset",
    "refusal_by_status",
    "retry_after_s",
]

PRESETS: Final = Path(__file__).resolve().parents[2] / "config" / "providers"
_DEFAULT_RETRY_AFTER_S: Final = 5.0  # of a 429 that names no time
_REASON_LONGEST: Final = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What to ask. Its repr shows no credentials: they can stand in any part of it."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Callback:
    """A request that a provider made to us.

    kind: the last part of its path: "inbound", "report", or one of the status words of a template.
    url: as the provider called it, query included. form: the POST fields in order, repeated ones too.
    fields: query, form and JSON top level as text, the first of each name.
    """

    kind: str
    method: str
    url: str
    headers: Mapping[str, str]
    form: tuple[tuple[str, str], ...]
    fields: Mapping[str, str]
    json: Any = None


class CallbackRefused(Exception):
    """The callback is not to be believed or cannot be read. status: what it is answered with."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class OptOut:
    """A person told the provider to stop; number in E.164."""

    number: str
    word: str


class Provider(Protocol):
    """One vendor's API, spoken for one account.

    reply: what a callback is answered, (content type, body). longest: characters of a text, 0 for any.
    """

    @property
    def reply(self) -> tuple[str, str]: ...
    @property
    def longest(self) -> int: ...

    def count_parts(self, text: str) -> int:
        """Segments the vendor bills for a text."""
        ...

    def request(self, claim: Claim) -> HttpRequest | Refused:
        """The one request that sends it, or why this provider cannot."""
        ...

    def outcome(self, claim: Claim, answer: HttpAnswer) -> Outcome: ...

    def report(self, call: Callback) -> ProviderReport | OptOut | None:
        """What a delivery callback says; None: nothing of interest. Raises CallbackRefused."""
        ...

    def inbound(self, call: Callback, now_ms: int) -> Inbound | None:
        """The message a callback brings; its `channel` is filled in by the caller. Raises CallbackRefused."""
        ...


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """What a vendor's code asks for. retries, opted_out: as in Refused."""

    action: Action
    retries: int | None = None
    opted_out: bool = False

    def refused(self, reason: str, after_s: float | None = None) -> Refused:
        return Refused(self.action, reason[:_REASON_LONGEST], self.retries, after_s, self.opted_out)


# The words that config/providers/*.toml and templates use.
_CLASSES: Final[Mapping[str, ErrorClass]] = {
    "retry": ErrorClass(Action.RETRY_LATER),
    "retry once": ErrorClass(Action.RETRY_LATER, retries=1),
    "failover": ErrorClass(Action.OTHER_ROUTE),
    "rest": ErrorClass(Action.ROUTE_DOWN),
    "stop": ErrorClass(Action.PERMANENT),
    "stop, opted out": ErrorClass(Action.PERMANENT, opted_out=True),
}


def error_class(word: str) -> ErrorClass:
    """The class a word of a preset names. Raises PresetError."""
    try:
        return _CLASSES[word]
    except KeyError:
        raise PresetError(f"{word!r}; want one of {', '.join(map(repr, _CLASSES))}") from None


class PresetError(Exception):
    """A provider's description cannot be used; one line that says where and why."""


def load_preset(name: str, kind: type[T]) -> T:
    """Read a provider's description: a bare name from config/providers/, anything else as a path."""
    path = PRESETS / f"{name}.toml" if re.fullmatch(r"[a-z0-9_]+", name) else Path(name)
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise PresetError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise PresetError(f"{path.name}: {error}") from error


def count_segments(text: str) -> int:
    """SMS segments of a text; one for what no SMS could carry, which the provider will refuse itself."""
    try:
        return len(segment(text).parts)
    except UsageError:
        return 1


def retry_after_s(answer: HttpAnswer) -> float | None:
    """Retry-After in seconds (RFC 9110 10.2.3); the form with a date needs a clock that is trusted: None."""
    value = answer.headers.get("retry-after", "").strip()
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value) else None


def refusal_by_status(answer: HttpAnswer, what: str) -> Refused | None:
    """What an HTTP status alone says, for every vendor alike; None for 2xx.

    what: a short text with the vendor's own code or words, "" without.
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status}" + (f", {what}" if what else "")
    if status == 429:
        asked_s = retry_after_s(answer)
        rest_s = _DEFAULT_RETRY_AFTER_S if asked_s is None else asked_s
        return ErrorClass(Action.RETRY_LATER).refused(reason, rest_s)
    if status >= 500 or status == 408:
        return ErrorClass(Action.RETRY_LATER).refused(reason, retry_after_s(answer))
    if status in (401, 403) or 300 <= status < 400 or status in (404, 405):
        # Credentials, address or method: every message would be refused alike.
        return ErrorClass(Action.ROUTE_DOWN).refused(reason)
    return ErrorClass(Action.OTHER_ROUTE).refused(reason)
