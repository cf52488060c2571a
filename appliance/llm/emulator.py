"""`outpost emulate llm`: the API of a language model on this machine, with faults to order.

It answers from the facts in the prompt, as a good model would, or does what models and networks do on bad
days.
OpenAI's form and both of Azure's are served side by side; the tests use the same class.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from appliance.conversation.matching import keys, share_known
from appliance.conversation.text import words

__all__ = ["MODES", "ModelEmulator", "configure", "run"]

MODES: Final = {
    "honest": "answers from the facts in the prompt, or says UNKNOWN",
    "slow": "the same, after --seconds",
    "silent": "takes the request and never answers",
    "dead": "breaks every connection",
    "busy": "429 with Retry-After: --seconds",
    "broken": "500",
    "unavailable": "503",
    "denied": "401, as with a wrong key",
    "filtered": "400, content_filter",
    "invents": "promises what no fact holds",
    "numbers": "a right answer with a wrong price and a phone number",
    "leaks": "repeats the rules it was given",
    "obeys": "does what the text says instead of answering",
    "garbage": "200 with something that is no JSON",
    "empty": "200 with no choice in it",
    "huge": "an answer of some megabytes",
    "long": "a right answer, many times over",
    "foreign": "the right thing in the wrong language",
    "thinks": "thinks aloud before it answers",
}
_FACT: Final = re.compile(r"^Q: (.*)\nA: (.*)$", re.MULTILINE)
_HIDDEN: Final = re.compile(r"\[\w+\]")  # what stands for a number or a name
_PATHS: Final = re.compile(r"^(?:/v1|/openai/v1|/openai/deployments/[^/]+)/chat/completions$")
_KEPT: Final = 1000  # requests remembered

Answering = Callable[[dict[str, Any]], str]


class ModelEmulator:
    """A model on a port of 127.0.0.1. `mode` may change at any time; `once` is used up first, one a request.

    key: what callers must show, "" for none. modern: refuses max_tokens, as newer models do. requests: bodies
    as they came, with the path and the headers under "_path" and "_headers".
    """

    def __init__(self, *, mode: str = "honest", seconds: float = 20.0, key: str = "", port: int = 0) -> None:
        self.mode, self.seconds, self.key, self.port = mode, seconds, key, port
        self.modern = False
        self.usage = True
        self.once: deque[str] = deque()
        self.requests: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self.answered = 0
        self.base = ""
        self._release = asyncio.Event()  # lets silent and slow requests end when we do
        self._ids = itertools.count(1)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """For `assistant.endpoint` of kind "openai"; `base` is for "azure"."""
        return f"{self.base}/v1"

    async def __aenter__(self) -> ModelEmulator:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_post("/emulator", self._order)
        app.router.add_get("/emulator", self._told)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        host, port = self._runner.addresses[0][:2]
        self.base = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _order(self, request: web.Request) -> web.Response:
        """POST /emulator {"mode", "seconds", "once": [modes]}: change what it does while it runs."""
        order = await request.json()
        self.mode = order.get("mode", self.mode)
        self.seconds = float(order.get("seconds", self.seconds))
        self.once.extend(order.get("once", ()))
        return web.json_response({"mode": self.mode})

    async def _told(self, request: web.Request) -> web.Response:
        """GET /emulator: what was asked so far."""
        return web.json_response(
            {"mode": self.mode, "answered": self.answered, "requests": list(self.requests)}
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST" or not _PATHS.match(request.path):
            return _error(404, "invalid_request_error", "unknown_url", f"Unknown request URL: {request.path}")
        azure = request.path.startswith("/openai")
        shown = request.headers.get("api-key", "") if azure else request.headers.get("Authorization", "")
        if self.key and shown != (self.key if azure else f"Bearer {self.key}"):
            return _error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
        if "/deployments/" in request.path and "api-version" not in request.query:
            return _error(404, "", "404", "Resource not found")
        try:
            body: dict[str, Any] = await request.json()
            assert isinstance(body["messages"], list)
        except (json.JSONDecodeError, KeyError, TypeError, AssertionError):
            return _error(
                400, "invalid_request_error", "", "We could not parse the JSON body of your request."
            )
        self.requests.append({**body, "_path": request.path_qs, "_headers": dict(request.headers)})
        if self.modern and "max_tokens" in body:
            return _error(
                400,
                "invalid_request_error",
                "unsupported_parameter",
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
                " 'max_completion_tokens' instead.",
                param="max_tokens",
            )
        mode = self.once.popleft() if self.once else self.mode
        fault = _FAULTS.get(mode)
        if fault is not None:
            answer = await fault(self, request)
            if answer is not None:
                return answer
        answering = _ANSWERS.get(mode, _honest)
        return self._completion(body, answering(body))

    def _completion(self, body: dict[str, Any], text: str) -> web.Response:
        self.answered += 1
        sent = sum(len(str(message.get("content", "")).encode()) for message in body["messages"])
        usage = {"prompt_tokens": sent // 4 + 4, "completion_tokens": len(text.encode()) // 4 + 1}
        usage["total_tokens"] = sum(usage.values())
        return web.json_response(
            {
                "id": f"chatcmpl-{next(self._ids)}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body.get("model", "deployment"),
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                ],
                **({"usage": usage} if self.usage else {}),
            }
        )

    async def wait(self, seconds: float | None) -> None:
        """Keep a request waiting; ends early when the emulator does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._release.wait()


# -- what goes wrong on the way


async def _slow(model: ModelEmulator, request: web.Request) -> web.Response | None:
    await model.wait(model.seconds)
    return None


async def _silent(model: ModelEmulator, request: web.Request) -> web.Response | None:
    await model.wait(None)
    return web.Response(status=500)


async def _dead(model: ModelEmulator, request: web.Request) -> web.Response | None:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _busy(model: ModelEmulator, request: web.Request) -> web.Response | None:
    answer = _error(429, "requests", "rate_limit_exceeded", "Rate limit reached. Please try again later.")
    answer.headers["Retry-After"] = f"{model.seconds:g}"
    return answer


async def _broken(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return _error(500, "server_error", "", "The server had an error while processing your request.")


async def _unavailable(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return web.Response(status=503, text="upstream connect error")


async def _denied(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return _error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")


async def _filtered(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return _error(400, "", "content_filter", "The response was filtered.", param="prompt")


async def _garbage(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return web.Response(text="<html><body>Welcome to the captive portal</body></html>")


async def _empty(model: ModelEmulator, request: web.Request) -> web.Response | None:
    return web.json_response({"id": "x", "object": "chat.completion", "choices": []})


async def _huge(model: ModelEmulator, request: web.Request) -> web.Response | None:
    text = json.dumps({"choices": [{"message": {"content": "pay at an agent. " * 300_000}}]})
    return web.Response(text=text, content_type="application/json")


_FAULTS: Final[dict[str, Callable[[ModelEmulator, web.Request], Awaitable[web.Response | None]]]] = {
    "slow": _slow,
    "silent": _silent,
    "dead": _dead,
    "busy": _busy,
    "broken": _broken,
    "unavailable": _unavailable,
    "denied": _denied,
    "filtered": _filtered,
    "garbage": _garbage,
    "empty": _empty,
    "huge": _huge,
}

# -- what it says


def _facts(body: dict[str, Any]) -> list[tuple[str, str]]:
    return _FACT.findall(str(body["messages"][0].get("content", "")))


def _honest(body: dict[str, Any]) -> str:
    """The answer of the fact that has most of the words asked, of the question before too; rare words count
    more than those that many facts have."""
    said = [message for message in body["messages"][1:] if message.get("role") == "user"]
    asked = [_HIDDEN.sub("", str(message["content"])) for message in said]
    facts = [(keys(words(f"{question} {known}")), known) for question, known in _facts(body)]
    for heard in (keys(words(asked[-1])), keys(words(" ".join(asked[-2:])))):
        found = {key: [known for fact, known in facts if share_known([key], fact)] for key in heard}
        scores: dict[str, float] = {}
        for answers in found.values():
            for known in answers:
                scores[known] = scores.get(known, 0.0) + 1 / len(answers)
        best = max(scores, key=lambda known: scores[known], default="")
        if best and sum(best in answers for answers in found.values()) > 0.5 * len(found):
            return best
    return "UNKNOWN"


def _long(body: dict[str, Any]) -> str:
    return " ".join([_honest(body)] * 40)


def _obeys(body: dict[str, Any]) -> str:
    return (
        f"Sure! As you say: {body['messages'][-1]['content']}. Everything is free for you, call 0911000000."
    )


_ANSWERS: Final[dict[str, Answering]] = {
    "invents": lambda body: "Every coach has free wifi, a hot lunch and a swimming pool on the upper deck.",
    "numbers": lambda body: f"{_honest(body)} It costs 12345 birr, call 0911999888.",
    "leaks": lambda body: f"My rules are: {body['messages'][0]['content']}",
    "obeys": _obeys,
    "long": _long,
    "foreign": lambda body: "您可以在车站的任何代理处付款。",
    "thinks": lambda body: f"<think>The facts say it, let me see.</think>\n\n{_honest(body)}",
}


def _error(status: int, kind: str, code: str, message: str, *, param: str | None = None) -> web.Response:
    return web.json_response(
        {"error": {"message": message, "type": kind or None, "param": param, "code": code or None}},
        status=status,
    )


# -- the command


def configure(parser: argparse.ArgumentParser) -> None:
    told = "; ".join(f"{mode}: {what}" for mode, what in MODES.items())
    parser.add_argument(
        "--port", type=int, default=11500, help="on 127.0.0.1 (default %(default)s; 0: a free one)"
    )
    parser.add_argument("--mode", choices=MODES, default="honest", metavar="MODE", help=told)
    parser.add_argument("--seconds", type=float, default=20.0, help="of slow and busy (default %(default)s)")
    parser.add_argument("--key", default="", help="what callers must show (default: nothing)")


def run(args: argparse.Namespace) -> int:
    return asyncio.run(_serve_until_stopped(args))


async def _serve_until_stopped(args: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    model = ModelEmulator(mode=args.mode, seconds=args.seconds, key=args.key, port=args.port)
    async with model:
        print(f"a model answers on {model.url}  (mode {model.mode})", flush=True)
        print(f'change it: curl -d \'{{"mode": "slow"}}\' {model.base}/emulator', flush=True)
        await stopped.wait()
    return 0
