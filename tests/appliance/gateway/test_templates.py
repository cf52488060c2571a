"""Templates: checked when they are made, filled when they are used."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.gateway.templates import Template, TemplateError, check, render

CODE = Template(
    texts={"en": "Your code is {code}, {name}", "am": "{name} ኮድዎ {code}"},
    variables={"code": "code", "name": "text"},
)


def test_template_is_filled_in_the_language_asked_for_or_its_first() -> None:
    check(CODE)
    values = {"code": "A-1", "name": "{code}"}
    assert render(CODE, "am", values) == "{code} ኮድዎ A-1"
    assert render(CODE, "", values) == "Your code is A-1, {code}"


@pytest.mark.parametrize(
    ("texts", "variables", "where"),
    [
        ({"en": "Hi {name}"}, {}, "texts.en"),
        ({"en": "Hi"}, {"name": "text"}, "texts.en"),
        ({"en": "Hi {name}", "am": "ሰላም"}, {"name": "text"}, "texts.am"),
        ({"en": "Hi {name"}, {"name": "text"}, "texts.en"),
        ({"en": "Hi {{name}}"}, {"name": "text"}, "texts.en"),
    ],
)
def test_template_whose_places_and_variables_differ_is_refused(
    texts: dict[str, str], variables: Any, where: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        check(Template(texts=texts, variables=variables))
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("language", "values", "where"),
    [
        ("fr", {"code": "1", "name": "x"}, "language"),
        ("en", {"code": "1"}, "variables"),
        ("en", {"code": "1", "name": "x", "more": "y"}, "variables"),
        ("en", {"code": "http://x", "name": "x"}, "variables.code"),
        ("en", {"code": "1", "name": "two\nlines"}, "variables.name"),
        ("en", {"code": "1", "name": "x" * 161}, "variables.name"),
    ],
)
def test_template_filled_wrongly_says_where(language: str, values: dict[str, Any], where: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(CODE, language, values)
    assert caught.value.where == where


async def test_message_by_template_is_sent_in_its_words(office: Any) -> None:
    _, key = await office.client("acme")
    body = {"texts": {"en": "Code {code}", "am": "ኮድ {code}"}, "variables": {"code": "code"}}
    assert (await office.call("PUT", "/v1/templates/code", key, json=body))[0] == 201
    assert (await office.call("PUT", "/v1/templates/code", key, json=body))[0] == 200
    send = {"to": "+251911234567", "template": "code", "language": "am", "variables": {"code": 4711}}
    status, receipt = await office.call("POST", "/v1/messages", key, json=send, idem="1")
    assert (status, receipt["encoding"]) == (202, "ucs2")
    _, message = await office.call("GET", f"/v1/messages/{receipt['id']}", key)
    assert message["text"] == "ኮድ 4711"
    status, problem = await office.call(
        "POST", "/v1/messages", key, json=send | {"template": "none"}, idem="2"
    )
    assert problem["errors"][0]["where"] == "$.template"
    _, other = await office.client("bolt")
    assert (await office.call("POST", "/v1/messages", other, json=send, idem="1"))[0] == 400


@pytest.mark.parametrize("name", ["Upper", ".dot", "x" * 65])
async def test_template_with_a_bad_name_is_refused(office: Any, name: str) -> None:
    _, key = await office.client("acme")
    status, _ = await office.call("PUT", f"/v1/templates/{name}", key, json={"texts": {"en": "x"}})
    assert status == 400
