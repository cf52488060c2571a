"""Asking telebirr over HTTPS, and saying honestly what is known afterwards.

A call ends as Answered (it said something that could be read), NotSent (certainly not received) or Unsure: no
answer, half an answer or a fault of the server's, after which nothing but a query may follow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import ssl
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from appliance.payments.telebirr import messages
from appliance.payments.telebirr.messages import Merchant, Reply
from appliance.payments.telebirr.signing import Signer

__all__ = ["Answered", "Called", "Client", "NotSent", "Unsure", "new_nonce", "trusting"]

log = logging.getLogger(__name__)

TOKEN_LIFE_S: Final = 50 * 60.0  # they last about an hour
TOKEN_MARGIN_S: Final = 60.0  # asked anew so long before the end that it names
MAX_ANSWER_OCTETS: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 10.0
AUTHORITIES: Final = Path(__file__).resolve().parents[3] / "config" / "telebirr-ca.pem"
_NONCE: Final = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Answered:
    reply: Reply


@dataclass(frozen=True, slots=True)
class NotSent:
    """telebirr has certainly not taken it: no connection, or no token."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsure:
    """telebirr may have taken it."""

    reason: str


Called = Answered | NotSent | Unsure


def new_nonce() -> str:
    """32 capitals and digits."""
    return "".join(secrets.choice(_NONCE) for _ in range(32))


def trusting(ca: str | None) -> ssl.SSLContext:
    """How telebirr's server is checked, which it always is: by the authorities in the file `ca`, else by the
    system's and those that come with Outpost, as the server does not send its whole chain.

    Raises OSError or ssl.SSLError for a file that cannot be used.
    """
    context = ssl.create_default_context(cafile=ca)
    if ca is None:
        context.load_verify_locations(AUTHORITIES)
    return context


class Client:
    """One merchant at telebirr. clock: monotonic seconds, for the token; now_s: Unix time, for signatures."""

    def __init__(
        self,
        *,
        url: str,
        app_id: str,
        secret: str,
        merchant: Merchant,
        signer: Signer,
        now_s: Callable[[], int],
        clock: Callable[[], float],
        timeout_s: float,
        ca: str | None = None,
    ) -> None:
        self.merchant = merchant
        self._url, self._app_id, self._secret = url.rstrip("/"), app_id, secret
        self._signer, self._now_s, self._clock = signer, now_s, clock
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._ssl = trusting(ca)
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._token_ends = 0.0
        self._token_lock = asyncio.Lock()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ready(self) -> str:
        """Have a token; "" or why there is none. Nothing of a payment is sent by this."""
        return "" if await self._have_token() else "telebirr gives no token"

    async def preorder(self, merch_order_id: str, title: str, santim: int, minutes: int) -> Called:
        content = messages.preorder(self.merchant, merch_order_id, title, santim, minutes)
        return await self._call("/payment/v1/merchant/preOrder", "payment.preorder", content)

    async def query(self, merch_order_id: str) -> Called:
        content = messages.query(self.merchant, merch_order_id)
        return await self._call("/payment/v1/merchant/queryOrder", "payment.queryorder", content)

    async def refund(self, merch_order_id: str, request_no: str, santim: int) -> Called:
        content = messages.refund(self.merchant, merch_order_id, request_no, santim)
        return await self._call("/payment/v1/merchant/refund", "payment.refund", content)

    async def _call(self, path: str, method: str, content: Mapping[str, str]) -> Called:
        """One signed call; once more with a new token when the old one was refused at the door (401)."""
        for attempt in range(2):
            token = await self._have_token()
            if not token:
                return NotSent("telebirr gives no token")
            body = messages.envelope(method, content, self._now_s(), new_nonce())
            called, status = await self._post(path, self._signer.signed(body), {"Authorization": token})
            if status != 401:
                return called
            self._forget(token)
            if attempt:
                return NotSent("telebirr refuses its own token")
        raise AssertionError("unreachable")

    def _forget(self, token: str) -> None:
        if token == self._token:
            self._token = ""

    async def _have_token(self) -> str:
        async with self._token_lock:
            if self._token and self._clock() < self._token_ends:
                return self._token
            called, _ = await self._post("/payment/v1/token", {"appSecret": self._secret}, {}, token=True)
            if not isinstance(called, Answered):
                return ""
            content = called.reply.content
            token = str(content.get("token", ""))
            if not token:
                log.warning("telebirr: no token: %s %s", called.reply.code, called.reply.message)
                return ""
            life = TOKEN_LIFE_S
            ends_s = messages.read_time_s(content.get("expirationDate", ""))
            if ends_s is not None and ends_s > self._now_s():
                life = min(life, max(1.0, ends_s - self._now_s() - TOKEN_MARGIN_S))
            self._token, self._token_ends = token, self._clock() + life
            return token

    async def _post(
        self, path: str, message: Mapping[str, Any], headers: Mapping[str, str], *, token: bool = False
    ) -> tuple[Called, int]:
        """What became of one request, and the HTTP status, 0 for none. Raises nothing."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=10, ssl=self._ssl),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "Outpost"},
                trust_env=False,
            )
        try:
            async with self._session.post(
                self._url + path,
                data=json.dumps(message).encode(),
                headers={"Content-Type": "application/json", "X-APP-Key": self._app_id, **headers},
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                body = await answer.content.read(MAX_ANSWER_OCTETS)
                return _read(answer.status, body, token=token), answer.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(f"no connection: {getattr(error, 'os_error', None) or type(error).__name__}"), 0
        except TimeoutError:
            return Unsure("no answer in time"), 0
        except (aiohttp.ClientError, OSError) as error:
            return Unsure(f"the connection broke: {type(error).__name__}"), 0


def _read(status: int, body: bytes, *, token: bool) -> Called:
    if status >= 500 or status in (408, 429):
        return Unsure(f"HTTP {status}")
    try:
        message = json.loads(body)
        if token and isinstance(message, dict) and "token" in message:
            return Answered(Reply(True, "0", "", message))
        reply = Reply.read(message)
    except ValueError:
        return Unsure(f"HTTP {status} with an answer that cannot be read")
    if status >= 300:
        reply = reply._replace(done=False)
    return Answered(reply)
