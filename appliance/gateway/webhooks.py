"""Telling clients: signed POSTs by Standard Webhooks 1.0, in order, for as long as it takes.

Each endpoint has a task of its own while it has something due, so a slow one delays nobody else. What is
told is on disk (`store.webhooks`) before anything is tried, and ends there as done or dead.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import random
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from appliance import faults
from appliance.store import webhooks as ops
from appliance.store.errors import StoreClosed, StoreError
from appliance.store.webhooks import Attempt, Due

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["ForbiddenAddress", "PublicOnly", "WebhookService", "check_url", "sign"]

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 20.0  # the standard asks for 15 to 30
AT_ONCE: Final = 4  # requests to one endpoint, of different orderings
ENDPOINTS_AT_ONCE: Final = 64
LOOK_EVERY_S: Final = 1.0
LOOK_PAUSE_S: Final = 0.05  # wakes come with every change of a message; one look serves all of a moment
STALE_FIRST_S: Final = 60.0  # a start has better to do
STALE_EVERY_S: Final = 600.0
STALE_AT_ONCE: Final = 500
ANSWER_KEPT: Final = 200  # octets of a refusal, for the page
LONGEST_RETRY_AFTER_MS: Final = 24 * 3_600_000


class ForbiddenAddress(OSError):
    """The URL leads into a private network, and the operator has not allowed that."""


def sign(secret: str, event: str, timestamp_s: int, body: bytes) -> str:
    """One `v1` signature: HMAC-SHA256 over id, timestamp and body, by the secret's octets, in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")


def check_url(url: str, *, allow_private: bool) -> None:
    """Raise ValueError, with what is wrong, for a URL that cannot be an endpoint."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("want an https:// or http:// address with a host")
    if parts.username is not None or parts.fragment:
        raise ValueError("want no user name, password or #fragment in it")
    with contextlib.suppress(ValueError):
        if not allow_private and not ipaddress.ip_address(parts.hostname).is_global:
            raise ForbiddenAddress(f"{parts.hostname} is not a public address")


class PublicOnly(AbstractResolver):
    """Resolves names at the moment of connecting and refuses what is not public: a name that changed its
    address since it was checked cannot lead us into the box's own network."""

    def __init__(self) -> None:
        self._real = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._real.resolve(host, port, family)
        public = [each for each in found if ipaddress.ip_address(each["host"].partition("%")[0]).is_global]
        if not public:
            raise ForbiddenAddress(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._real.close()


class WebhookService:
    """Delivers until stopped. trusted: whether the clock can be believed: receivers check the timestamp, so
    without a time nothing is sent. allow_private: the operator's own network may be told too."""

    def __init__(
        self,
        store: Store,
        clock_ms: Callable[[], int],
        *,
        trusted: Callable[[], bool] = lambda: True,
        allow_private: bool = False,
        seed: int | None = None,
    ) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._trusted = trusted
        self._allow_private = allow_private
        self._chance = random.Random(seed)
        self._session: aiohttp.ClientSession | None = None
        self._looker: asyncio.Task[None] | None = None
        self._endpoints: dict[int, asyncio.Task[None]] = {}
        self._look = asyncio.Event()
        self._stale_at = 0.0  # when to look for what nobody will tell, on the loop's clock

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=ENDPOINTS_AT_ONCE
            * AT_ONCE,  # none per host: endpoints of one host must not wait for each other
            resolver=None if self._allow_private else PublicOnly(),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            headers={"User-Agent": "Outpost"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._stale_at = asyncio.get_running_loop().time() + STALE_FIRST_S
        self._looker = asyncio.create_task(self._look_for_ever(), name="webhooks")

    async def stop(self) -> None:
        """Stop at once: a delivery whose answer is not on disk is tried again after the next start."""
        tasks = [task for task in (self._looker, *self._endpoints.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def wake(self) -> None:
        """There may be something to tell."""
        self._look.set()

    async def _look_for_ever(self) -> None:
        while True:
            self._look.clear()
            try:
                if self._trusted():
                    await self._start_due()
                    await self._give_up_stale()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("webhooks wait for the disk: %s", error)
            await asyncio.sleep(LOOK_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()

    async def _start_due(self) -> None:
        for endpoint_id in await self._store.reader.run(ops.due_endpoints, self._clock_ms()):
            if endpoint_id not in self._endpoints and len(self._endpoints) < ENDPOINTS_AT_ONCE:
                task = asyncio.create_task(self._tell(endpoint_id), name=f"webhook endpoint {endpoint_id}")
                self._endpoints[endpoint_id] = task
                task.add_done_callback(lambda _, ended=endpoint_id: self._ended(ended))  # type: ignore[misc]

    async def _give_up_stale(self) -> None:
        """Now and then: what waits behind a receiver that is paused or gone does not wait for ever."""
        now = asyncio.get_running_loop().time()
        if now < self._stale_at:
            return
        self._stale_at = now + STALE_EVERY_S
        found = await self._store.reader.run(ops.stale, self._clock_ms(), STALE_AT_ONCE)
        if found:
            await self._store.writer.run(ops.give_up_stale, found, self._clock_ms())
            log.warning("%d webhook deliveries were given up: not told within 7 days", len(found))
            self._stale_at = now  # there may be more

    def _ended(self, endpoint_id: int) -> None:
        task = self._endpoints.pop(endpoint_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("telling endpoint %d failed and is tried again", endpoint_id, exc_info=error)
        self._look.set()

    async def _tell(self, endpoint_id: int) -> None:
        """Work off what is due for one endpoint, a few at a time."""
        while self._trusted():
            due = await self._store.reader.run(ops.due_deliveries, endpoint_id, self._clock_ms(), AT_ONCE)
            if not due:
                return
            await asyncio.gather(*(self._deliver(each) for each in due))

    async def _deliver(self, due: Due) -> None:
        if faults.armed:
            faults.hit("webhook.before_post")
        status, reason, retry_after_ms = await self._post(due)
        if faults.armed:
            faults.hit("webhook.posted")
        attempt = Attempt(due.delivery_id, status, reason, retry_after_ms, self._chance.random())
        state = await self._store.writer.run(ops.settle, attempt, self._clock_ms())
        if state == "dead":
            log.warning(
                "webhook event %d is given up after %d attempts: %s", due.event_id, due.attempts + 1, reason
            )

    async def _post(self, due: Due) -> tuple[int | None, str, int | None]:
        """(status, what to show of it, Retry-After in ms). Nothing that a receiver does raises."""
        assert self._session is not None
        body, event = due.body.encode(), f"evt_{due.event_id}"
        now_s = self._clock_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event,
            "webhook-timestamp": str(now_s),
            "webhook-signature": " ".join(sign(secret, event, now_s, body) for secret in due.signing),
        }
        try:
            check_url(due.url, allow_private=self._allow_private)
            async with self._session.post(
                due.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                start = (await answer.content.read(ANSWER_KEPT)).decode("utf-8", "replace")
                said = " ".join(start.split()) if answer.status >= 300 else ""
                return answer.status, f"HTTP {answer.status} {said}".strip(), _retry_after(answer.headers)
        except TimeoutError:
            return None, f"no answer in {TIMEOUT_S:g} s", None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = getattr(error, "os_error", None) or error  # aiohttp wraps what the system said
            return None, str(cause) or type(error).__name__, None


def _retry_after(headers: Any) -> int | None:
    value = headers.get("Retry-After", "")
    return min(int(value) * 1000, LONGEST_RETRY_AFTER_MS) if value.isdigit() else None
