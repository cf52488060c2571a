"""One operation of the API: what it takes and gives, as data, and the way every call goes.

The same entry makes the route, the check of key, scope and body, and the operation in the OpenAPI
document, so that the three cannot differ.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson
from aiohttp import hdrs, web

from appliance.gateway.service import Caller, Denied, Gateway, ItemError
from appliance.web.access import check_same_origin
from appliance.web.exchange import Answer, Asked, Hot, by_aiohttp
from appliance.web.problem import UNREADABLE, Problem, from_decode_error
from appliance.web.services import WebSettings

__all__ = ["Call", "Operation", "Parameter", "Result", "add_operations", "denied", "item_problem"]

_JSON_TYPE: Final = re.compile(r"application/json\s*(?:;|\Z)", re.IGNORECASE)
_IDEMPOTENCY_KEY: Final = re.compile(r'"?([\x21\x23-\x7e]{1,128})"?\Z')
# Else "batch" and "preview" would be ids too, and the answer to a wrong method would name a GET of them.
_MESSAGE_ID: Final = re.compile(r"^/v1/messages/\{id\}")
_BEARER: Final = re.compile(r"bearer +(\S+)\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter. schema: as in JSON Schema; integers and enums are checked by it."""

    name: str
    schema: Mapping[str, Any]
    about: str


@dataclass(slots=True)  # frozen would cost a request 2 us
class Result:
    """What a handler gives: body is msgspec-encodable, or bytes of its content type already."""

    status: int
    body: Any = None
    content_type: str = "application/json"


@dataclass(slots=True)
class Call:
    """What a handler is given. raw: the body as received; query: checked, missing ones absent."""

    gateway: Gateway
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    raw: bytes
    idempotency_key: str


Handle = Callable[[Call], Awaitable[Result]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """method and path as in OpenAPI. scope: of the key. body, answers: msgspec types; None: nothing.

    idempotent: an Idempotency-Key is required. raw_items: the body's list is decoded item by item by the
    handler, so that one bad item does not refuse the others. problems: what else can go wrong here than
    everywhere, by status.
    """

    name: str
    method: str
    path: str
    scope: str
    tag: str
    about: str
    handle: Handle
    body: Any = None
    decode_as: Any = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    query: tuple[Parameter, ...] = ()
    answer_type: str = "application/json"
    idempotent: bool = False
    problems: Mapping[int, str] = field(default_factory=dict)


def add_operations(
    app: web.Application, gateway: Gateway, settings: WebSettings, operations: Iterable[Operation]
) -> dict[str, Hot]:
    """Route every operation of the table. Returns the hot ones, which send messages, by their paths."""
    hot: dict[str, Hot] = {}
    for operation in operations:
        endpoint = _Endpoint(gateway, settings, operation)
        app.router.add_route(
            operation.method,
            _MESSAGE_ID.sub(r"/v1/messages/{id:out_\\d+}", operation.path),
            by_aiohttp(endpoint.answer),
            name=operation.name,
        )
        if operation.method == "POST" and operation.tag == "messages" and operation.idempotent:
            hot[operation.path] = endpoint.answer
    return hot


class _Endpoint:
    """The way of every call: key, scope, type, body, query; then the handler."""

    def __init__(self, gateway: Gateway, settings: WebSettings, operation: Operation) -> None:
        self._gateway = gateway
        self._settings = settings
        self._operation = operation
        self._wanted = wanted = operation.decode_as or operation.body
        self._decoder = None if wanted is None else msgspec.json.Decoder(wanted)

    async def answer(self, request: Asked) -> Answer:
        operation = self._operation
        try:
            caller = await self._gateway.authenticate(
                _token(request), request.remote or "127.0.0.1", operation.scope
            )
            raw, body = b"", None
            if self._decoder is not None:
                raw, body = await self._body(request)
            call = Call(
                self._gateway,
                caller,
                request.match_info,
                _query(operation, request),
                body,
                _identity(operation, raw),
                _idempotency_key(request) if operation.idempotent else "",
            )
            result = await operation.handle(call)
        except Denied as error:
            raise denied(error) from None
        except ItemError as error:
            raise item_problem(error) from None
        return _answer(result)

    async def _body(self, request: Asked) -> tuple[bytes, Any]:
        if not _JSON_TYPE.match(request.headers.get(hdrs.CONTENT_TYPE, "")):
            raise Problem(
                415,
                "unsupported-media-type",
                "Send the body as application/json.",
                headers={"Accept-Post": "application/json"},
            )
        # A page of another site cannot know a key; this is against one that was talked into using it.
        check_same_origin(request, self._settings)
        raw = await request.read()
        assert self._decoder is not None
        try:
            return raw, self._decoder.decode(raw)
        except UNREADABLE as error:
            raise from_decode_error(error, raw, self._wanted) from None


def _token(request: Asked) -> str:
    found = _BEARER.match(request.headers.get(hdrs.AUTHORIZATION, ""))
    return found[1] if found else ""


def _identity(operation: Operation, raw: bytes) -> bytes:
    """What makes two requests with one Idempotency-Key the same."""
    return hashlib.sha256(f"{operation.method} {operation.path}\n".encode() + raw).digest()


def _idempotency_key(request: Asked) -> str:
    text = request.headers.get("Idempotency-Key")
    if text is None:
        raise Problem(
            400,
            "idempotency-key-missing",
            "Idempotency-Key is required: any text of yours that is new for each new message.",
        )
    found = _IDEMPOTENCY_KEY.match(text.strip())
    if found is None:
        raise Problem(400, "idempotency-key", "Idempotency-Key is 1 to 128 visible ASCII characters.")
    return found[1]


def _query(operation: Operation, request: Asked) -> dict[str, Any]:
    if not request.query:
        return {}
    known = {parameter.name: parameter for parameter in operation.query}
    values: dict[str, Any] = {}
    for name, text in request.query.items():
        parameter = known.get(name)
        if parameter is None:
            raise _query_problem(name, f"one of {', '.join(known) or 'no parameters'}", text)
        if name in values:
            raise _query_problem(name, "one value", text)
        values[name] = _value(parameter, text)
    return values


def _value(parameter: Parameter, text: str) -> Any:
    schema = parameter.schema
    if schema.get("type") == "integer":
        low, high = schema.get("minimum", 0), schema["maximum"]
        if not re.fullmatch(r"\d{1,18}", text) or not low <= int(text) <= high:
            raise _query_problem(parameter.name, f"an integer from {low} to {high}", text)
        return int(text)
    if "enum" in schema and text not in schema["enum"]:
        raise _query_problem(parameter.name, f"one of {', '.join(schema['enum'])}", text)
    if "pattern" in schema and not re.search(schema["pattern"], text):
        raise _query_problem(parameter.name, str(parameter.about), text)
    return text


def _query_problem(name: str, expected: str, found: str) -> Problem:
    entry = {"where": f"?{name}", "expected": expected, "found": found[:40]}
    return Problem(400, "bad-parameter", f"{name}: expected {expected}.", errors=[entry])


def denied(error: Denied) -> Problem:
    """A refusal of the gateway as a problem document."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="outpost"'
    if error.retry_after_s:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return Problem(error.status, error.code, str(error), headers=headers)


def item_problem(error: ItemError) -> Problem:
    """A message that cannot be taken as it is, as a problem document."""
    entry = {"where": error.where, "expected": error.expected}
    if error.found:
        entry["found"] = error.found
    name = error.where.removeprefix("$.")
    return Problem(400, "bad-field", f"{name}: expected {error.expected}.", errors=[entry])


def _answer(result: Result) -> Answer:
    body = result.body
    if body is not None and not isinstance(body, bytes):
        body = _encoded(body)
    return Answer(result.status, body, result.content_type)


def _encoded(body: Any) -> bytes:
    return orjson.dumps(body) if isinstance(body, dict) else msgspec.json.encode(body)
