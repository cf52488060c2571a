"""What the operator does to clients on the page: the same as `outpost client`, by forms.

One address takes every form of a client: its last word is what `client_op` is asked to do, its fields are
what that needs. Secrets are shown in the answer, once, and in no address.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from aiohttp import web

from appliance.gateway.control import client_op
from appliance.gateway.service import Gateway
from appliance.store import gateway as ops
from appliance.store.gateway import Client
from appliance.web.access import check_page, check_same_origin
from appliance.web.clients import ClientPages
from appliance.web.problem import Problem
from appliance.web.services import Services

__all__ = ["ClientForms"]

_Kind = Literal["text", "number", "ticked", "several"]


class _Form(NamedTuple):
    """do: the word for `client_op`. fields: name in the form to its kind. back: a place on the page."""

    do: str
    fields: dict[str, _Kind]
    back: str = ""


# By the last word of /clients/{id}/{word}.
_FORMS: Final = {
    "key": _Form("key", {"scopes": "several", "days": "number", "networks": "text", "note": "text"}),
    "revoke": _Form("revoke", {"id": "text"}, "h-keys"),
    "credit": _Form("credit", {"units": "number", "note": "text"}, "h-account"),
    "limits": _Form("limits", {"per_second": "number", "low_mark": "number"}, "h-account"),
    "suspend": _Form("suspend", {}, "h-account"),
    "resume": _Form("resume", {}, "h-account"),
    "rule": _Form(
        "rule", {"keyword": "text", "number": "text", "replies": "ticked", "besides": "ticked"}, "h-rules"
    ),
    "unrule": _Form("unrule", {"rule": "number"}, "h-rules"),
    "webhook": _Form("webhook", {"url": "text", "events": "text"}),
    "secret": _Form("secret", {"webhook": "number"}),
    "hook": _Form("hook", {"webhook": "number", "to": "text"}, "h-hooks"),
    "replay": _Form(
        "replay",
        {"webhook": "number", "event": "number", "from_time": "text", "until": "text", "all": "ticked"},
        "h-hooks",
    ),
    "campaign": _Form("campaign", {"campaign": "number", "to": "text"}, "h-campaigns"),
}


class ClientForms:
    """The handlers. pages: shows a client, with a fault where a form was wrong."""

    def __init__(self, services: Services, gateway: Gateway, pages: ClientPages) -> None:
        self._services = services
        self._gateway = gateway
        self._pages = pages

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Register a client, with credit if some was given; then show it."""
        fields = await self._fields(request, {"name": "text", "credit": "number"})
        actor, credit = self._actor(request), fields.pop("credit", 0)
        try:
            await client_op(self._gateway, {"do": "add", **fields}, actor)
            if credit:
                await client_op(self._gateway, {"do": "credit", "units": credit, **fields}, actor)
        except ValueError as error:
            return await self._pages.list_page(400, str(error))
        client = await self._services.store.reader.run(ops.client_by_name, fields["name"])
        return _seen(f"/clients/{client.id}" if client is not None else "/clients")

    async def price(self, request: web.Request) -> web.StreamResponse:
        """Set what a segment costs by prefix, from now or from a day on."""
        fields = await self._fields(request, {"prefix": "text", "units": "number", "from_day": "text"})
        try:
            await client_op(self._gateway, {"do": "price", **fields}, self._actor(request))
        except ValueError as error:
            return await self._pages.list_page(400, str(error))
        return _seen("/clients#h-prices")

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Any form of one client's page."""
        check_page(request, self._services.settings)
        form = _FORMS.get(request.match_info["do"])
        client = await self._client(request)
        if form is None or client is None:
            raise Problem(404, "not-found", f"There is nothing at {request.path}.")
        fields = await self._fields(request, form.fields)
        try:
            answer = await client_op(
                self._gateway, {**fields, "do": form.do, "name": client.name}, self._actor(request)
            )
        except ValueError as error:
            return await self._pages.client_page(client.id, 400, fault=str(error))
        if form.do == "key":
            return await self._pages.client_page(client.id, 200, shown=("key", answer["key"]))
        if form.do in ("webhook", "secret"):
            return await self._pages.client_page(client.id, 200, shown=("signing secret", answer["secret"]))
        if form.do == "replay":
            return _seen(f"/clients/{client.id}/webhooks/{fields['webhook']}")
        return _seen(f"/clients/{client.id}#{form.back}")

    async def _client(self, request: web.Request) -> Client | None:
        found: Client | None = await self._services.store.reader.run(
            ops.client_by_id, int(request.match_info["id"])
        )
        return found

    async def _fields(self, request: web.Request, wanted: dict[str, _Kind]) -> dict[str, Any]:
        """What was filled in, as the kinds say; raises Problem for a number that is none."""
        check_page(request, self._services.settings)
        check_same_origin(request, self._services.settings)
        posted = await request.post()
        found: dict[str, Any] = {}
        for name, kind in wanted.items():
            text = str(posted.get(name, "")).strip()
            if kind == "several":
                found[name] = [str(value) for value in posted.getall(name, [])]
            elif kind == "ticked":
                found[name] = bool(text)
            elif text:
                found[name] = _number(name, text) if kind == "number" else text
        return found

    def _actor(self, request: web.Request) -> str:
        return f"page {request.remote or 'here'}"


def _number(name: str, text: str) -> int:
    digits = text.replace(",", "").replace(" ", "")
    try:
        if len(digits) > 18:
            raise ValueError("too long")
        return int(digits)
    except ValueError:
        raise Problem(400, "bad-field", f"{name}: expected a whole number.") from None


def _seen(location: str) -> web.Response:
    return web.Response(status=303, headers={"Location": location})
