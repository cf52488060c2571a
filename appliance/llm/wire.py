"""Chat completions as OpenAI, Azure and their look-alikes (llama.cpp, Ollama) speak them. Pure.

DOMAIN notes, section 11: both Azure forms, where a 429 says when to come back, what a content filter
answers. Newer models refuse `max_tokens` and want `max_completion_tokens`; a 400 says so and the next request
follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from appliance.talk_settings import Assistant

__all__ = ["MAX_ANSWER_OCTETS", "Answer", "Failure", "Request", "Style", "read_answer", "request"]

MAX_ANSWER_OCTETS: Final = 256 * 1024
MOST_REST_S: Final = 600.0
TEXT_CHARS: Final = 8000  # of an answer, for checking; two SMS are told of it
_RESETS: Final = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")


class Style(msgspec.Struct):
    """What the endpoint was found to want. limit: the name of the token limit. temperature: it takes one."""

    limit: str = "max_tokens"
    temperature: bool = True


class Request(msgspec.Struct, frozen=True):
    url: str
    headers: dict[str, str]
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """What the model said, and the tokens as the endpoint counts them; None: it did not say."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    cut: bool = False  # the token limit ended it


class Failure(msgspec.Struct, frozen=True):
    """No answer. kind: "busy" (come back in retry_after_s, None: it did not say when), "down" (the endpoint's
    fault, may pass), "misconfigured" (key, model or address are refused: nothing passes until somebody
    looks), "refused" (this one question), "style" (ask again: `Style` was changed)."""

    kind: str
    reason: str
    retry_after_s: float | None = None


def request(settings: Assistant, key: str, prompt: Sequence[tuple[str, str]], style: Style) -> Request:
    """One request for an answer to a prompt of (role, text)."""
    base = (settings.endpoint or "").rstrip("/")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": role, "content": text} for role, text in prompt],
        style.limit: settings.answer_tokens,
        "stream": False,
    }
    if style.temperature:
        body["temperature"] = 0.2
    if settings.kind == "azure":
        base = base.removesuffix("/v1").removesuffix("/openai")
        headers["api-key"] = key
        if settings.api_version:
            path = f"/openai/deployments/{settings.model}/chat/completions?api-version={settings.api_version}"
            del body["model"]
        else:
            path = "/openai/v1/chat/completions"
        return Request(base + path, headers, orjson.dumps(body))
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return Request(f"{base}/chat/completions", headers, orjson.dumps(body))


def read_answer(status: int, headers: Mapping[str, str], body: bytes, style: Style) -> Answer | Failure:
    """What came back. headers: names in small letters. May change `style` (Failure of kind "style")."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        tree = None
    if status == 200:
        return _choice(tree)
    said = _error_of(tree)
    if status == 429:
        if said.get("code") == "insufficient_quota":  # no rest helps: the account is out of credit
            return Failure("misconfigured", "HTTP 429: the account's quota is used up")
        return Failure("busy", "HTTP 429: too many requests", _rest_s(headers))
    if status == 400 and _adapt(said, style):
        return Failure("style", f"it does not take {said.get('param')}")
    if status == 400 and "content_filter" in (said.get("code"), _inner(said)):
        return Failure("refused", "its content filter refused the question")
    if status in (400, 413, 422):
        return Failure("refused", f"HTTP {status}: it refused the request")
    if status in (401, 403, 404):
        what = {401: "the key", 403: "access", 404: "the address or model"}[status]
        return Failure("misconfigured", f"HTTP {status}: {what} is refused")
    if status == 503 and "retry-after" in headers:
        return Failure("busy", "HTTP 503", _rest_s(headers))
    return Failure("down", f"HTTP {status}")


def _choice(tree: Any) -> Answer | Failure:
    try:
        choice = tree["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (TypeError, KeyError, IndexError, AttributeError):
        return Failure("down", "HTTP 200, but no answer in it")
    if finish == "content_filter":
        return Failure("refused", "its content filter cut the answer")
    if not isinstance(text, str) or not text.strip():
        return Failure("down", "HTTP 200, but an empty answer")
    usage = tree.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Answer(
        text[:TEXT_CHARS],
        _count(counted.get("prompt_tokens")),
        _count(counted.get("completion_tokens")),
        finish == "length",
    )


def _count(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10_000_000
    return value if fits else None


def _error_of(tree: Any) -> dict[str, Any]:
    error = tree.get("error") if isinstance(tree, dict) else None
    return error if isinstance(error, dict) else {}


def _inner(said: Mapping[str, Any]) -> Any:
    inner = said.get("innererror")
    return "content_filter" if isinstance(inner, dict) and "content_filter_result" in inner else None


def _adapt(said: Mapping[str, Any], style: Style) -> bool:
    """Take up what a 400 says of a parameter; False when it says nothing new."""
    unsupported = said.get("code") in ("unsupported_parameter", "unsupported_value")
    message = str(said.get("message", ""))
    if (said.get("param") == "max_tokens" and unsupported) or "max_completion_tokens" in message:
        if style.limit == "max_tokens":
            style.limit = "max_completion_tokens"
            return True
    elif said.get("param") == "temperature" and unsupported and style.temperature:
        style.temperature = False
        return True
    return False


def _rest_s(headers: Mapping[str, str]) -> float | None:
    """When to come back: retry-after-ms, retry-after, then the resets, which may be absent or -1."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MOST_REST_S)
    for name in ("retry-after", *_RESETS):
        seconds = _number(headers.get(name, "").removesuffix("s"))
        if seconds is not None:
            return min(seconds, MOST_REST_S)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else -1.0
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
