"""An HTTP provider as a channel: asks, times, and says honestly what is known afterwards.

The one question is whether anything of the request was written. If not, the message was certainly not
sent. If so and no whole answer came, the provider may have accepted it: that is a doubt, and a doubt is
never handed to another route.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from appliance import faults
from appliance.channels.channel import Doubt, Gate, NotSent, Outcome, Refused, Sent
from appliance.channels.forms import read_form
from appliance.channels.provider import HttpAnswer, HttpRequest, Provider
from appliance.outbound.breaker import Breaker
from appliance.outbound.policy import Action
from appliance.store.outbound import Claim

__all__ = ["MAX_ANSWER_OCTETS", "HttpChannel", "make_session"]

log = logging.getLogger(__name__)

MAX_ANSWER_OCTETS: Final = 64 * 1024  # the longest answer of a vendor for one message is under 2 kB
TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 10.0
# Shorter than any vendor's own: a connection the other side is about to close would make a doubt.
KEEP_ALIVE_S: Final = 10.0
CONNECTIONS: Final = 64
_ANSWER_PIECE: Final = 16 * 1024


@dataclass(slots=True)
class _Written:
    """Whether any octet of one request may have left us."""

    yes: bool = False


async def _headers_sent(session: Any, context: Any, params: Any) -> None:
    # Called before the first write, so False is certain and True is not.
    context.trace_request_ctx.yes = True


class _AnswerLost(Exception):
    """The connection broke after the request may have been written."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a GET by itself when a connection breaks: it would be a second SMS."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _AnswerLost(type(error).__name__) from error


def make_session() -> aiohttp.ClientSession:
    """The one session that all HTTP channels share: no cookies, no proxies of the environment."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_headers_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        middlewares=(_once,),
        headers={"User-Agent": "Outpost"},
        trust_env=False,
    )


class HttpChannel:
    """One account at one provider. The name is its route's."""

    identity = ""  # no TP-MR to match: reports come by the provider's own id

    def __init__(
        self,
        name: str,
        provider: Provider,
        session: aiohttp.ClientSession,
        *,
        breaker: Breaker | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.routes = (name,)
        self.provider = provider
        self.breaker = breaker or Breaker()
        self._session = session
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s), sock_connect=CONNECT_TIMEOUT_S
        )
        self._clock = clock
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self.breaker.allows(self._clock())

    @property
    def trouble(self) -> str:
        breaker = self.breaker
        return "" if self.ready else f"breaker {breaker.state.value}: {breaker.reason}"

    def snapshot(self) -> dict[str, Any]:
        """Its breaker, for the page."""
        return {"breaker": self.breaker.snapshot(self._clock())}

    async def wait_ready(self) -> None:
        """Until the breaker lets a message through."""
        while not self.ready:
            self._changed.clear()
            retry_at = self.breaker.retry_at
            left_s = None if retry_at is None else max(0.0, retry_at - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    def count_parts(self, text: str) -> int:
        """Segments the provider bills for; the text itself is handed over whole."""
        return self.provider.count_parts(text)

    async def send(self, claim: Claim, sequence: int, gate: Gate) -> Outcome:
        if read_form(claim.form).data is not None:
            return Refused(Action.OTHER_ROUTE, f"{self.name}: a provider carries no data, only text")
        request = self.provider.request(claim)
        if isinstance(request, Refused):
            return self._named(request)
        if not self.breaker.acquire(self._clock()):
            return NotSent(f"{self.name}: {self.breaker.state.value}: {self.breaker.reason}")
        try:
            await gate()
        except BaseException:
            self.breaker.abandoned(self._clock())
            self._changed.set()
            raise
        outcome = self._named(await self._ask(claim, request))
        self._learn(outcome)
        return outcome

    async def _ask(self, claim: Claim, request: HttpRequest) -> Outcome:
        written = _Written()
        if faults.armed:
            faults.hit("provider.before_request")
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                timeout=self._timeout,
                allow_redirects=False,
                trace_request_ctx=written,
            ) as response:
                body = await _read(response)
                if faults.armed:
                    faults.hit("provider.answered")
                if body is None:
                    return _oversized(response.status)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return self._understood(claim, HttpAnswer(response.status, headers, body))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(_short(error))
        except TimeoutError:
            return self._broken(written, f"no answer in {self._timeout.total:g} s")
        except _AnswerLost as error:
            return self._broken(written, f"the connection broke: {error}")
        except aiohttp.InvalidURL:
            return Refused(Action.ROUTE_DOWN, "its configured address is not a URL")
        except (aiohttp.ClientError, OSError) as error:
            return self._broken(written, f"the connection broke: {type(error).__name__}")

    def _understood(self, claim: Claim, answer: HttpAnswer) -> Outcome:
        try:
            return self.provider.outcome(claim, answer)
        except Exception:  # a fault of ours in reading must not leave the message without any outcome
            log.exception("route %s: an answer of HTTP %d could not be read", self.name, answer.status)
            return Doubt(f"HTTP {answer.status} that could not be read")

    @staticmethod
    def _broken(written: _Written, reason: str) -> Outcome:
        return Doubt(reason) if written.yes else NotSent(reason)

    def _named(self, outcome: Outcome) -> Outcome:
        """Put the route's name before the reason, as a modem does."""
        match outcome:
            case Refused(action, reason, retries, after_s, opted_out):
                return Refused(action, f"{self.name}: {reason}", retries, after_s, opted_out)
            case NotSent(reason):
                return NotSent(f"{self.name}: {reason}")
            case Doubt(reason):
                return Doubt(f"{self.name}: {reason}")
        return outcome

    def _learn(self, outcome: Outcome) -> None:
        now, before = self._clock(), self.breaker.state
        match outcome:
            case Sent():
                self.breaker.succeeded(now)
            case Refused(action=Action.ROUTE_DOWN, reason=reason):
                self.breaker.failed(now, reason, at_once=True)
            case Refused(action=Action.RETRY_LATER | Action.RETRY_NOW, reason=reason, after_s=None):
                self.breaker.failed(now, reason)
            case Refused(action=Action.RETRY_LATER | Action.RETRY_NOW, reason=reason, after_s=float(rest_s)):
                self.breaker.asked_for_quiet(now, rest_s, reason)
            case Refused():
                self.breaker.succeeded(now)  # it works: it is this message that it will not take
            case NotSent(reason=reason) | Doubt(reason=reason):
                self.breaker.failed(now, reason)
        if self.breaker.state is not before:
            log.warning(
                "route %s: %s, was %s: %s",
                self.name,
                self.breaker.state.value,
                before.value,
                self.breaker.reason,
            )
        self._changed.set()


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, None when it is longer than any answer to one message."""
    pieces: list[bytes] = []
    room = MAX_ANSWER_OCTETS
    async for piece in response.content.iter_chunked(_ANSWER_PIECE):
        room -= len(piece)
        if room < 0:
            response.close()
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _oversized(status: int) -> Outcome:
    reason = f"HTTP {status} with more than {MAX_ANSWER_OCTETS} octets"
    return Doubt(reason) if 200 <= status < 300 else Refused(Action.ROUTE_DOWN, reason)


def _short(error: Exception) -> str:
    """What went wrong before anything was written; the URL, which may hold a token, is left out."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    cause = getattr(error, "os_error", None)
    return f"no connection: {cause or type(error).__name__}"[:200]
