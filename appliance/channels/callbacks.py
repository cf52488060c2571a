"""What providers tell us by HTTP: delivery reports and inbound messages, each under a secret path.

    /callbacks/<route>/<secret>/inbound     a message somebody sent
    /callbacks/<route>/<secret>/report      a delivery report
    /callbacks/<route>/<secret>/<status>    the same of a template: sent, delivered, failed, stopped

A wrong route and a wrong secret look alike. 2xx is answered only after the commit; when the disk refuses,
503 makes the provider come again.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import hdrs, web

from appliance import faults
from appliance.channels.provider import Callback, CallbackRefused, OptOut, Provider
from appliance.store import provider as ops
from appliance.store.errors import StoreError
from appliance.store.outbound import Change

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["MAX_CALLBACK_OCTETS", "Endpoint", "routes"]

log = logging.getLogger(__name__)

MAX_CALLBACK_OCTETS: Final = 64 * 1024  # vendors' own are under 2 kB
MAX_FIELDS: Final = 200
_RETRY_AFTER_S: Final = "5"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one route's provider reaches us.

    secret: the middle of its path. public_url: scheme and host as the provider sees them, "" for those of
    the request. networks: whence it may call; empty for anywhere.
    """

    route: str
    provider: Provider
    secret: str
    public_url: str = ""
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


class _Callbacks:
    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        store: Store,
        on_changes: Callable[[Sequence[Change]], None],
        clock_ms: Callable[[], int],
    ) -> None:
        self._endpoints = endpoints
        self._store = store
        self._on_changes = on_changes
        self._clock_ms = clock_ms

    async def handle(self, request: web.Request) -> web.Response:
        endpoint = self._endpoint(request)
        if endpoint is None:
            raise web.HTTPNotFound
        try:
            call = await _read(request, endpoint)
            await self._apply(endpoint, call)
        except CallbackRefused as refused:
            log.warning("callback of route %s refused: %s", endpoint.route, refused)
            return web.Response(status=refused.status, text=f"{refused}\n")
        except StoreError as error:
            log.warning("callback of route %s cannot be stored: %s", endpoint.route, error)
            return web.Response(status=503, headers={hdrs.RETRY_AFTER: _RETRY_AFTER_S}, text="try again\n")
        except Exception:  # a fault of ours, told without the path: the path has the secret in it
            log.exception("callback of route %s failed", endpoint.route)
            return web.Response(status=500, text="failed\n")
        content_type, text = endpoint.provider.reply
        return web.Response(text=text, content_type=content_type)

    def _endpoint(self, request: web.Request) -> Endpoint | None:
        endpoint = self._endpoints.get(request.match_info["route"])
        given = request.match_info["secret"].encode()
        # Compared even where there is no such route, so that the time does not tell which there are.
        right = hmac.compare_digest(given, (endpoint.secret if endpoint else "-").encode())
        if endpoint is None or not endpoint.secret or not right:
            return None
        if endpoint.networks and not _within(request.remote, endpoint.networks):
            log.warning("callback of route %s from %s: not on its list", endpoint.route, request.remote)
            return None
        return endpoint

    async def _apply(self, endpoint: Endpoint, call: Callback) -> None:
        now_ms = self._clock_ms()
        if call.kind == "inbound":
            inbound = endpoint.provider.inbound(call, now_ms)
            if inbound is not None:
                await self._store.accept(msgspec.structs.replace(inbound, channel=endpoint.route))
            return
        said = endpoint.provider.report(call)
        if isinstance(said, OptOut):
            await self._store.writer.run(ops.opt_out, said.number, said.word, now_ms)
        elif said is not None:
            changes = await self._store.writer.run(ops.provider_report, endpoint.route, said, now_ms)
            if faults.armed:
                faults.hit("provider.reported")
            self._on_changes(changes)


def routes(
    endpoints: Iterable[Endpoint],
    store: Store,
    *,
    on_changes: Callable[[Sequence[Change]], None],
    clock_ms: Callable[[], int],
) -> list[web.RouteDef]:
    """The callbacks' routes, to be added to the application that the outside reaches."""
    handler = _Callbacks({each.route: each for each in endpoints}, store, on_changes, clock_ms)
    path = "/callbacks/{route}/{secret}/{kind:[a-z]+}"
    return [web.post(path, handler.handle), web.get(path, handler.handle, allow_head=False)]


async def _read(request: web.Request, endpoint: Endpoint) -> Callback:
    body = await _body(request)
    form: tuple[tuple[str, str], ...] = ()
    tree: Any = None
    if request.content_type == "application/json":
        try:
            tree = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CallbackRefused(400, "the body is no JSON") from error
    elif body and request.content_type.startswith("multipart/"):
        raise CallbackRefused(415, "want a form as application/x-www-form-urlencoded, or JSON")
    elif body:
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError as error:  # not UTF-8, or more fields than anybody sends
            raise CallbackRefused(400, "the body is no form") from error
        form = tuple(pairs)
    fields: dict[str, str] = {}
    for name, value in (*request.query.items(), *form, *_scalars(tree)):
        fields.setdefault(name, value)
    base = endpoint.public_url.rstrip("/") or f"{request.scheme}://{request.host}"
    return Callback(
        kind=request.match_info["kind"],
        method=request.method,
        url=base + request.raw_path,
        headers={name.lower(): value for name, value in request.headers.items()},
        form=form,
        fields=fields,
        json=tree,
    )


async def _body(request: web.Request) -> bytes:
    pieces: list[bytes] = []
    room = MAX_CALLBACK_OCTETS
    async for piece in request.content.iter_chunked(16 * 1024):
        room -= len(piece)
        if room < 0:
            raise CallbackRefused(413, f"longer than {MAX_CALLBACK_OCTETS} octets")
        pieces.append(piece)
    return b"".join(pieces)


def _scalars(tree: Any) -> list[tuple[str, str]]:
    if not isinstance(tree, dict):
        return []
    return [
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in tree.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]


def _within(remote: str | None, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
