"""The OpenAPI document: whole, true to the routes, and shown as a page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.web.v1 import OPERATIONS
from appliance.web.v1.openapi import document, schema_words


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*map(refs, node.values()))
    if isinstance(node, list):
        return set().union(*map(refs, node))
    return set()


def test_document_refers_to_nothing_that_is_not_in_it() -> None:
    made = document()
    assert made["openapi"] == "3.1.0"
    for ref in refs(made):
        name = ref.removeprefix("#/components/schemas/")
        assert name in made["components"]["schemas"], ref


def test_document_has_each_operation_of_the_table_once() -> None:
    paths = document()["paths"]
    there = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert sorted(there) == sorted(operation.name for operation in OPERATIONS)


async def test_document_and_routes_of_the_application_are_the_same(office: Any) -> None:
    routes = set()
    for route in office.app.router.routes():
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.resource.canonical)
        if path.startswith("/v1/") and route.method != "HEAD":
            routes.add((route.method.lower(), path))
    status, made = await office.call("GET", "/openapi.json")
    assert status == 200
    assert routes == {(method, path) for path, methods in made["paths"].items() for method in methods}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_operation_names_its_problems_and_what_its_key_needs(operation: Any) -> None:
    made = document()["paths"][operation.path][operation.method.lower()]
    assert {"400", "401", "403", "429", "503"} <= set(made["responses"])
    assert f"`{operation.scope}`" in made["description"]
    headers = [each["name"] for each in made.get("parameters", ()) if each["in"] == "header"]
    assert headers == (["Idempotency-Key"] if operation.idempotent else [])


async def test_docs_page_shows_every_operation_and_shape_without_an_outside_asset(office: Any) -> None:
    async with office.http.get("/docs") as answer:
        html = await answer.text()
        assert answer.status == 200
    for operation in OPERATIONS:
        assert f'id="{operation.name}"' in html
    for name in document()["components"]["schemas"]:
        assert f'id="{name}"' in html
    assert not re.search(r"<script|\sstyle=|(?:src|href)=\"(?:https?:)?//", html)


async def test_wrong_method_names_the_methods_of_that_address_only(office: Any) -> None:
    async with office.http.options("/v1/messages/batch") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Step"}, "Step"),
        (
            {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
            "string, at most 9 characters or null",
        ),
        ({"type": "integer", "minimum": 1, "maximum": 5}, "integer, 1 to 5"),
        ({"enum": ["a", "b"]}, "one of a, b"),
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
    ],
)
def test_schema_is_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert schema_words(schema) == words
