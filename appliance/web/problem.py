"""Errors as problem documents (RFC 9457): what is wrong, where, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from appliance.web.exchange import Answer

__all__ = ["PROBLEM_JSON", "UNREADABLE", "Problem", "field_error", "from_decode_error", "from_http_exception"]

PROBLEM_JSON: Final = "application/problem+json"

# msgspec says: Expected `str`, got `int` - at `$.from`
_AT: Final = re.compile(r" - at `(\$[^`]*)`\Z")
_EXPECTED: Final = re.compile(r"Expected (.+?), got (.+)\Z")
_CHOICE: Final = re.compile(r"Invalid enum value '(.*)'\Z", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.+)`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`\Z")


# A UTF-16 surrogate escape without its other half.
_HALF_PAIR: Final = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


# What msgspec raises for a body that is no JSON of the wanted shape; the second for octets that are no UTF-8,
# the third for thousands of brackets in each other.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Problem(Exception):
    """An answer that is an error. Raised anywhere in a handler; the middleware sends it.

    code: stable word for programs, the tail of `type`. detail: one sentence for people. errors: one entry
    per fault found, {"where": "$.path", "found"?, "expected"?}. extra: further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """The RFC 9457 members, `errors` when there are any, and the extra ones."""
        body: dict[str, Any] = {
            "type": f"urn:outpost:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | self.extra

    def answer(self) -> Answer:
        return Answer(self.status, orjson.dumps(self.document()), PROBLEM_JSON, self.headers)

    def response(self) -> web.Response:
        return self.answer().response()


def field_error(where: str, expected: str, found: str = "") -> Problem:
    """400 for one field that has the right type and a value that will not do."""
    name = where.removeprefix("$.")
    error = {"where": where, "expected": expected}
    if found:
        error["found"] = found
    return Problem(400, "bad-field", f"{name}: expected {expected}.", errors=[error])


def _why_unreadable(error: Exception, raw: bytes | None) -> str:
    match error:
        case RecursionError():
            return "it is nested too deep"
        case UnicodeDecodeError():
            return f"octet {error.object[error.start]:#04x} is not UTF-8"
    if raw is None:
        return str(error)
    if not raw.strip():
        return "it is empty"
    if _HALF_PAIR.search(raw):
        # msgspec looks for the other half behind it, and may call the body truncated.
        return "an escape from \\ud800 to \\udfff stands alone: half of a character, such as an emoji"
    return str(error)


def from_decode_error(
    error: msgspec.DecodeError | UnicodeDecodeError | RecursionError,
    raw: bytes | msgspec.Raw | None = None,
    wanted: Any = None,
) -> Problem:
    """400 for a body that msgspec refused (UNREADABLE); the path it names is kept. raw: the body, wanted: the
    type it should have had, to say more of it."""
    if not isinstance(error, msgspec.ValidationError):
        return Problem(
            400,
            "bad-json",
            f"The body is not JSON: {_why_unreadable(error, None if raw is None else bytes(raw))}.",
            errors=[{"where": "$", "expected": "one JSON object, or an array of them, in UTF-8"}],
        )
    text = str(error)
    where = "$"
    if at := _AT.search(text):
        where, text = at[1], text[: at.start()]
    if missing := _MISSING.match(text):
        where = f"{where}.{missing[1]}"
        entry = {"where": where, "expected": "this field", "found": "nothing"}
        return Problem(400, "missing-field", f"{where} is missing.", errors=[entry])
    if unknown := _UNKNOWN.match(text):
        where = f"{where}.{unknown[1]}"
        entry = {"where": where, "expected": "no such field"}
        return Problem(400, "unknown-field", f"{where} is not a field of this request.", errors=[entry])
    entry = {"where": where}
    if expected := _EXPECTED.match(text):
        entry |= {
            "expected": expected[1].replace("`", ""),
            "found": expected[2].replace("`", ""),
        }
    elif (choice := _CHOICE.match(text)) and (known := _choices(wanted, where)):
        entry |= {"expected": f"one of {', '.join(known)}", "found": choice[1]}
        text = f"Expected {entry['expected']}, got {choice[1]!r}"
    else:
        entry["expected"] = text.removeprefix("Expected ").replace("`", "")
    return Problem(
        400, "bad-field", f"{where}: {text[0].lower()}{text[1:].replace('`', '')}.", errors=[entry]
    )


def _choices(wanted: Any, where: str) -> list[str]:
    """The words that a field of `wanted` may have, by the path that msgspec names; [] where any will do."""
    kind = msgspec.inspect.type_info(wanted) if wanted is not None else None
    for step in re.findall(r"\w+|\[[^\]]*\]", where.removeprefix("$")):
        match kind:
            case msgspec.inspect.StructType():
                kind = next((each.type for each in kind.fields if each.encode_name == step), None)
            case msgspec.inspect.ListType():
                kind = kind.item_type
            case msgspec.inspect.DictType():
                kind = kind.value_type
    return [str(value) for value in kind.values] if isinstance(kind, msgspec.inspect.LiteralType) else []


_CODES: Final = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-media-type"}


def from_http_exception(error: web.HTTPException, path: str) -> Problem:
    """What aiohttp itself refuses (unknown path, wrong method, body too large), as a problem."""
    code = _CODES.get(error.status, "http-error")
    headers = {}
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            headers["Allow"] = allowed
            detail = f"{error.method} is not possible here; use {allowed}."
        case web.HTTPRequestEntityTooLarge():
            detail = "The body is larger than this address takes."
        case web.HTTPNotFound():
            detail = f"There is nothing at {path}."
        case _:
            detail = f"{error.reason}."
    return Problem(error.status, code, detail, headers=headers)
