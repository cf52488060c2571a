"""What a handler of the hot routes is asked and what it answers, whoever read the request off the wire.

aiohttp's `web.Request` is an `Asked` as it is, and an `Answer` makes a `web.Response`; the lean front
(`front.py`) has its own of both. So the handlers are written once and know neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping

__all__ = ["HOT_ROUTES", "Answer", "Asked", "Hot", "by_aiohttp"]

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Asked(Protocol):
    """A request, as far as these handlers look at it."""

    @property
    def headers(self) -> CIMultiDict[str] | CIMultiDictProxy[str]: ...
    @property
    def remote(self) -> str | None: ...
    @property
    def query(self) -> MultiMapping[str]: ...
    @property
    def match_info(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes: ...


class Answer(NamedTuple):
    """A whole answer. body: None for none at all, and then the content type counts for nothing."""

    status: int
    body: bytes | None
    content_type: str = "application/json"
    headers: Mapping[str, str] = _NONE

    def response(self) -> web.Response:
        """The same for aiohttp."""
        if self.body is None:
            return web.Response(status=self.status, headers=self.headers)
        return web.Response(
            status=self.status, body=self.body, content_type=self.content_type, headers=self.headers
        )


Hot = Callable[[Any], Awaitable[Answer]]  # Any: an Asked; aiohttp's own properties are no Protocol members
HOT_ROUTES: Final[web.AppKey[Mapping[str, Hot]]] = web.AppKey("hot_routes", Mapping[str, Hot])
"""In the application: the handlers of POSTs that the lean front may serve, each by its path. They raise
nothing: what goes wrong is an Answer too."""


def by_aiohttp(handler: Hot) -> Handler:
    """The handler as aiohttp's router takes it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return (await handler(request)).response()

    return answer
