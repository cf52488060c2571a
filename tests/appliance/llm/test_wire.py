from __future__ import annotations

import json

import pytest

from appliance.llm.wire import TEXT_CHARS, Answer, Failure, Style, read_answer, request
from appliance.talk_settings import Assistant

PROMPT = [("system", "rules"), ("user", "where?")]


def asked(**settings: object) -> tuple[str, dict[str, str], dict[str, object]]:
    made = request(Assistant(model="m", **settings), "k-1", PROMPT, Style())  # type: ignore[arg-type]
    return made.url, made.headers, json.loads(made.body)


@pytest.mark.parametrize("endpoint", ["http://box:8080/v1", "http://box:8080/v1/"])
def test_request_openai_form_has_bearer_key_and_model(endpoint: str) -> None:
    url, headers, body = asked(endpoint=endpoint)
    assert url == "http://box:8080/v1/chat/completions"
    assert headers["Authorization"] == "Bearer k-1" and "api-key" not in headers
    assert body["model"] == "m" and body["max_tokens"] == 500
    assert body["messages"] == [{"role": "system", "content": "rules"}, {"role": "user", "content": "where?"}]


@pytest.mark.parametrize(
    ("version", "path", "has_model"),
    [
        ("", "/openai/v1/chat/completions", True),
        ("2024-10-21", "/openai/deployments/m/chat/completions?api-version=2024-10-21", False),
    ],
)
def test_request_azure_forms_have_their_address_and_key(version: str, path: str, has_model: bool) -> None:
    url, headers, body = asked(endpoint="https://x.example", kind="azure", api_version=version)
    assert url == "https://x.example" + path
    assert headers["api-key"] == "k-1" and "Authorization" not in headers
    assert ("model" in body) is has_model


def completion(text: object, **more: object) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, **more}], "usage": {}}).encode()


def test_read_answer_takes_text_and_usage() -> None:
    body = json.dumps(
        {"choices": [{"message": {"content": "At the station."}, "finish_reason": "length"}],
         "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    ).encode()  # fmt: skip
    assert read_answer(200, {}, body, Style()) == Answer("At the station.", 7, 3, True)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}', b'"x"', b"1",
     completion(None), completion("  "), completion(["x"]), b'{"choices": {"0": 1}}'],
)  # fmt: skip
def test_read_answer_without_text_is_the_endpoints_fault(body: bytes) -> None:
    found = read_answer(200, {}, body, Style())
    assert isinstance(found, Failure) and found.kind == "down"


def test_read_answer_odd_usage_is_not_counted_and_long_text_is_cut() -> None:
    body = json.dumps(
        {"choices": [{"message": {"content": "x" * 20_000}}],
         "usage": {"prompt_tokens": -3, "completion_tokens": True}}
    ).encode()  # fmt: skip
    assert read_answer(200, {}, body, Style()) == Answer("x" * TEXT_CHARS, None, None, False)


@pytest.mark.parametrize(
    ("headers", "rest_s"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9"}, 9.0),
        ({"retry-after": "soon", "x-ratelimit-reset-tokens": "4"}, 4.0),
        ({"x-ratelimit-reset-requests": "-1", "x-ratelimit-reset-tokens": "2s"}, 2.0),
        ({"retry-after": "86400"}, 600.0),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_read_answer_429_says_when_to_come_back(headers: dict[str, str], rest_s: float | None) -> None:
    found = read_answer(429, headers, b"{}", Style())
    assert isinstance(found, Failure) and (found.kind, found.retry_after_s) == ("busy", rest_s)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {}, "misconfigured"),
        (404, {"code": "DeploymentNotFound"}, "misconfigured"),
        (429, {"code": "insufficient_quota"}, "misconfigured"),
        (400, {"code": "content_filter"}, "refused"),
        (400, {"innererror": {"content_filter_result": {}}}, "refused"),
        (400, {"code": "context_length_exceeded"}, "refused"),
        (500, {}, "down"),
        (302, {}, "down"),
    ],
)
def test_read_answer_status_tells_whose_fault_it_is(status: int, error: dict[str, object], kind: str) -> None:
    found = read_answer(status, {}, json.dumps({"error": error}).encode(), Style())
    assert isinstance(found, Failure) and found.kind == kind


def test_read_answer_refused_parameter_changes_the_style_once() -> None:
    style = Style()
    error = {
        "code": "unsupported_parameter",
        "param": "max_tokens",
        "message": "Use 'max_completion_tokens'.",
    }
    body = json.dumps({"error": error}).encode()
    first, second = read_answer(400, {}, body, style), read_answer(400, {}, body, style)
    assert isinstance(first, Failure) and first.kind == "style" and style.limit == "max_completion_tokens"
    assert isinstance(second, Failure) and second.kind == "refused"
