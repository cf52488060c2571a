"""The generic provider: values escaped for their place, and every rule of a description."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.channels.channel import Doubt, Refused, Sent
from appliance.channels.http import HttpChannel
from appliance.channels.provider import HttpAnswer, HttpRequest, OptOut, PresetError, load_preset
from appliance.channels.template import Template, json_path
from appliance.channels.template_description import Description, InboundFields, ReportFields, Success
from appliance.message import OutboundState
from appliance.outbound.policy import Action
from tests.appliance.channels.conftest import claim
from tests.emulators.negarit import NegaritEmulator

NASTY = "a\"b'c\\d&e=f+g%h<i>j{k}l\nm ሰ {{id}} ]]>"
URL = "https://sms.example/send"
OK = Success(path="ok", value="true")


def template(variables: dict[str, str] | None = None, **described: Any) -> Template:
    return Template(Description(**({"url": URL} | described)), variables=variables or {}, sender="8400")


def request_of(provider: Template, text: str = NASTY) -> HttpRequest:
    request = provider.request(claim(text))
    assert isinstance(request, HttpRequest)
    return request


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable() or "\n" in text))
def test_text_arrives_as_it_was_in_url_form_and_json(text: str) -> None:
    by_url = request_of(template(url=URL + "?t={{text}}&x=1", method="GET"), text)
    assert parse_qs(urlsplit(by_url.url).query, keep_blank_values=True) == {"t": [text], "x": ["1"]}
    by_form = request_of(template(body="to={{to}}&t={{text}}"), text)
    assert parse_qs(by_form.body.decode(), keep_blank_values=True)["t"] == [text]
    by_json = request_of(template(content_type="json", body='{"a": [{"t": "{{text}}"}], "n": 1}'), text)
    assert msgspec.json.decode(by_json.body) == {"a": [{"t": text}], "n": 1}


@given(st.text(max_size=60))
def test_text_stays_text_in_xml_whatever_it_is(text: str) -> None:
    body = "<sms to='{{to}}'><t>{{text}}</t></sms>"
    tree = ET.fromstring(request_of(template(content_type="xml", body=body), text).body.decode())
    assert len(tree) == 1
    assert tree.attrib == {"to": "+251911234567"}


def test_value_that_looks_like_a_variable_is_not_filled_again() -> None:
    request = request_of(template(content_type="json", body='{"t": "{{text}}"}'), "{{to}} {{id}}")
    assert msgspec.json.decode(request.body) == {"t": "{{to}} {{id}}"}


def test_every_variable_has_its_form() -> None:
    body = '["{{to}}", "{{to_no_plus}}", "{{to_national}}", "{{from}}", "{{id}}", "{{ key }}"]'
    request = request_of(template({"key": "k"}, content_type="json", body=body))
    assert msgspec.json.decode(request.body) == [
        "+251911234567",
        "251911234567",
        "0911234567",
        "8400",
        "7",
        "k",
    ]


def test_smart_encoding_saves_gsm7_and_leaves_amharic_alone() -> None:
    provider = template(encoding="smart", body="{{text}}", content_type="xml")
    assert request_of(provider, "don’t – wait…").body == b"don&apos;t - wait..."
    assert request_of(provider, "“ሰላም”").body.decode() == "“ሰላም”"
    assert provider.count_parts("x" * 150 + "…") == 1


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"url": URL + "?k={{nowhere}}"}, "nowhere"),
        ({"url": "ftp://sms.example/"}, "http"),
        ({"url": "https://{{to}}.example/"}, "host"),
        ({"headers": {"X-Text": "{{text}}"}}, "header"),
        ({"headers": {"X-Key": "a\r\nX-Other: b"}}, "line break"),
        ({"content_type": "json", "body": "{not json}"}, "not JSON"),
        ({"errors": {"1": "perhaps"}}, "perhaps"),
    ],
)
def test_description_that_cannot_work_is_refused_at_once(described: dict[str, Any], said: str) -> None:
    with pytest.raises(PresetError, match=said):
        template(**described)


@pytest.mark.parametrize(
    ("described", "status", "body", "expected"),
    [
        ({}, 200, "ok", Sent()),
        ({}, 404, "", Action.ROUTE_DOWN),
        ({}, 400, "", Action.OTHER_ROUTE),
        ({}, 500, "", Action.RETRY_LATER),
        ({}, 429, "", Action.RETRY_LATER),
        ({"errors": {"400": "stop"}}, 400, "", Action.PERMANENT),
        ({"success": Success(contains="queued")}, 200, "Message queued", Sent()),
        ({"success": Success(contains="queued")}, 200, "no money", Action.OTHER_ROUTE),
        (
            {"success": Success(path="ok", value="true"), "id_path": "d[0].id"},
            200,
            '{"ok":true,"d":[{"id":5}]}',
            "5",
        ),
        ({"success": OK}, 200, '{"ok":false}', Action.OTHER_ROUTE),
        ({"success": OK}, 200, "<html>", None),
        (
            {"success": Success(path="ok", value="true"), "error_path": "e", "errors": {"11": "retry"}},
            200,
            '{"ok":false,"e":11}',
            Action.RETRY_LATER,
        ),
    ],
)
def test_answer_is_read_by_the_description(described, status: int, body: str, expected: object) -> None:
    outcome = template(**described).outcome(claim(), HttpAnswer(status, {}, body.encode()))
    match outcome:
        case Sent(provider_ref=reference):
            assert expected in (outcome, reference)
        case Refused(action=action):
            assert action is expected
        case Doubt():
            assert expected is None


def test_json_path_outside_the_tree_is_none() -> None:
    assert json_path({"a": [1]}, "a[3].b") is None
    assert json_path([{"b": 2}], "[0].b") == 2


@pytest.mark.parametrize("kind", ["sent", "delivered", "failed"])
def test_report_of_each_status_path(callback, kind: str) -> None:
    provider = template(report=ReportFields(id="ref", message="ours"))
    said = provider.report(callback({"ref": "r1", "ours": "7"}, kind=kind))
    assert said is not None
    assert not isinstance(said, OptOut)
    assert (said.provider_ref, said.outbound_id, said.state) == ("r1", 7, OutboundState(kind))


def test_stopped_is_an_opt_out(callback) -> None:
    assert template().report(callback({"from": "0911 23 45 67"}, kind="stopped")) == OptOut(
        "+251911234567", "told the provider to stop"
    )


def test_inbound_by_the_described_names(callback) -> None:
    provider = template(inbound=InboundFields(sender="msisdn", text="msg", id="uid", reply="OK"))
    inbound = provider.inbound(callback({"msisdn": "251911234567", "msg": "BOOK", "uid": "u1"}), 5)
    assert inbound is not None
    assert (inbound.sender, inbound.text, inbound.natural_key) == ("+251911234567", "BOOK", "http:u1")
    assert provider.reply == ("text/plain", "OK")


async def test_negarit_preset_sends_against_its_emulator(session, send) -> None:
    async with NegaritEmulator("key-of-a-test") as vendor:
        described = msgspec.structs.replace(load_preset("negarit", Description), url=vendor.url)
        variables = {"api_key": "key-of-a-test", "campaign_id": "31"}
        channel = HttpChannel("negarit", Template(described, variables=variables, sender=""), session)
        assert await send(channel, claim("“ok”")) == Sent(provider_ref="1")
        assert vendor.accepted[0]["sent_to"] == "251911234567"
        assert vendor.accepted[0]["message"] == '"ok"'
        vendor.api_key = "another"
        outcome = await send(channel, claim())
        assert isinstance(outcome, Refused)
        assert outcome.action is Action.ROUTE_DOWN


def test_negarit_preset_without_its_variables_says_which() -> None:
    with pytest.raises(PresetError, match="api_key"):
        Template("negarit", variables={}, sender="")
