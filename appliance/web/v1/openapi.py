"""The OpenAPI 3.1 document, made of the table, and its page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from appliance.web.v1 import shapes
from appliance.web.v1.operation import Operation
from appliance.web.v1.table import OPERATIONS

__all__ = ["document", "document_bytes", "schema_words"]

_VERSION: Final = "1"
_REF: Final = "#/components/schemas/{name}"
_PROBLEMS: Final = {
    400: "The request is not as described.",
    401: "The key is missing, unknown, expired or revoked.",
    403: "The key has not the scope, or may not be used from here, or the client is suspended.",
    429: "Too fast; Retry-After says when to come back.",
    503: "Nothing can be stored now; Retry-After says when to come back.",
}
# Of two fields exactly one: what msgspec's types cannot say. A text has no places to fill.
_TEXT: Final[dict[str, Any]] = {
    "required": ["text"],
    "properties": {"text": {"type": "string"}, "template": {"type": "null"}},
}
_TEMPLATE: Final[dict[str, Any]] = {
    "required": ["template"],
    "properties": {"template": {"type": "string"}, "text": {"type": "null"}},
}
_NO_PLACES: Final = {"variables": {"maxProperties": 0}, "language": {"maxLength": 0}}
_EITHER: Final = {
    "SendRequest": [{**_TEXT, "properties": {**_TEXT["properties"], **_NO_PLACES}}, _TEMPLATE],
    "CampaignCreate": [_TEXT, _TEMPLATE],
}
_PATH_SCHEMAS: Final = {
    "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"},
    "id": {"type": "string", "pattern": "^[a-z0-9_]{1,32}$"},
}


def document(operations: Sequence[Operation] = OPERATIONS) -> dict[str, Any]:
    """The document as plain data."""
    types = [shapes.ProblemDocument]
    for operation in operations:
        types += [shape for shape in (operation.body, *operation.answers.values()) if shape is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for name, either in _EITHER.items():
        components[name]["oneOf"] = either
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Outpost",
            "version": _VERSION,
            "description": "Send SMS through this box, and know what became of them. Every error is a problem"
            " document (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "op_<id>_<secret>"}
            },
        },
        "security": [{"key": []}],
    }


@lru_cache(maxsize=1)
def document_bytes() -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2)


def _operation(operation: Operation, by_type: dict[Any, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
        for name in re.findall(r"\{(\w+)", operation.path)
    ]
    parameters += [
        {
            "name": parameter.name,
            "in": "query",
            "required": False,
            "schema": dict(parameter.schema),
            "description": parameter.about,
        }
        for parameter in operation.query
    ]
    if operation.idempotent:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!#-~]+$"},
                "description": "New for each new request. The same key with the same body within 48 hours"
                " gives the same answer, and nothing is sent twice.",
            }
        )
    problems = dict(_PROBLEMS)
    if "{" in operation.path:
        problems[404] = "There is no such thing of yours."
    if operation.body is not None:
        problems |= {413: "The body is too large.", 415: "The body is not application/json."}
        problems[421] = "The Host is a name that nobody gave this box."
    if operation.idempotent:
        problems |= {
            402: "The credit does not reach.",
            409: "The first request with this Idempotency-Key still runs.",
            422: "The Idempotency-Key was used for another request.",
        }
    elif operation.method != "GET":
        problems[409] = "It is too late for that, or there are too many already."
    problems |= operation.problems
    responses: dict[str, Any] = {
        str(status): {
            "description": _answer_words(status),
            **({} if shape is None else {"content": {operation.answer_type: {"schema": by_type[shape]}}}),
        }
        for status, shape in operation.answers.items()
    }
    problem = {"application/problem+json": {"schema": by_type[shapes.ProblemDocument]}}
    for status, words in sorted(problems.items()):
        responses[str(status)] = {"description": words, "content": problem}
    made: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.about,
        "description": f"The key needs the scope `{operation.scope}`.",
        "responses": responses,
    }
    if parameters:
        made["parameters"] = parameters
    if operation.body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": by_type[operation.body]}},
        }
    return made


def _answer_words(status: int) -> str:
    words = {200: "Done.", 201: "Made.", 202: "On disk and queued.", 204: "Done; nothing to say."}
    return words[status]


def schema_words(schema: dict[str, Any]) -> str:
    """A schema in a few words for the page: "string, 1 to 128 characters"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(schema_words(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(str(each) for each in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {schema_words(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {schema_words(schema['additionalProperties'])}"
    low, high = schema.get("minLength", schema.get("minimum")), schema.get("maxLength", schema.get("maximum"))
    unit = " characters" if kind == "string" else ""
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}{unit}"
    if high is not None:
        return f"{kind}, at most {high}{unit}"
    return kind
