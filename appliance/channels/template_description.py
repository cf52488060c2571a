"""How an operator describes a provider to the generic template: the data, and what is refused of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from appliance.channels.provider import PresetError, error_class

__all__ = ["OWN_VARIABLES", "VARIABLE", "Description", "InboundFields", "ReportFields", "Success", "check"]

VARIABLE: Final = re.compile(r"\{\{\s*([a-z_][a-z0-9_]*)\s*\}\}")
OWN_VARIABLES: Final = frozenset({"text", "to", "to_no_plus", "to_national", "from", "id"})


class Success(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beyond a status of 2xx: the body contains a text, or a JSON path has a value."""

    contains: str = ""
    path: str = ""
    value: str = ""


class InboundFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of the fields of an inbound callback, and what it is answered."""

    sender: str = msgspec.field(name="from", default="from")
    text: str = "text"
    id: str = "id"
    to: str = "to"
    reply: str = ""
    reply_content_type: str = "text/plain"


class ReportFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of the fields of the status callbacks. message: our own {{id}}, where they give it back."""

    id: str = "id"
    message: str = ""
    recipient: str = "to"


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vendor's API.

    url, body, headers: may hold {{variables}}. longest: characters of a text. encoding: "smart" replaces
    look-alikes where that keeps a text within GSM 7 bit. id_path, error_path: JSON paths of the answer's id
    and error code. errors: class by that code or by HTTP status.
    """

    url: str
    method: Literal["POST", "GET", "PUT"] = "POST"
    content_type: Literal["urlencoded", "json", "xml"] = "urlencoded"
    body: str = ""
    headers: dict[str, str] = {}
    longest: Annotated[int, msgspec.Meta(ge=1)] = 1600
    encoding: Literal["plain", "smart"] = "plain"
    success: Success = Success()
    id_path: str = ""
    error_path: str = ""
    errors: dict[str, str] = {}
    inbound: InboundFields = InboundFields()
    report: ReportFields = ReportFields()


def check(known: Description, own: Mapping[str, str]) -> Any:
    """Refuse at the start what would fail at the first message: raises PresetError.

    own: the operator's variables. Returns the tree of a JSON body, None where there is none.
    """
    for place in (known.url, known.body, *known.headers.values()):
        for name in VARIABLE.findall(place):
            if name not in OWN_VARIABLES and name not in own:
                raise PresetError(f"{{{{{name}}}}} is unknown; give it under the route's variables")
    if any("text" in VARIABLE.findall(value) for value in known.headers.values()):
        raise PresetError("{{text}} cannot stand in a header")
    if any(c in value for value in (*known.headers.values(), *own.values()) for c in "\r\n\0"):
        raise PresetError("a header or variable has a line break in it")
    for word in known.errors.values():
        error_class(word)
    parts = urlsplit(VARIABLE.sub("x", known.url))
    if parts.scheme not in ("http", "https") or not parts.hostname or "{{" in urlsplit(known.url).netloc:
        raise PresetError(f"url: {known.url!r}; want http(s)://HOST/..., its host without variables")
    if known.content_type != "json" or not known.body:
        return None
    try:
        return msgspec.json.decode(known.body.encode())
    except msgspec.DecodeError as error:
        raise PresetError(f"body: not JSON: {error}") from error
