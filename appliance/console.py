"""What a technician asks of the running appliance: send, trace, check, and a word with a modem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from appliance.control import ControlError, Handler
from appliance.dialler import Dialler
from appliance.gateway.service import Denied
from appliance.message import Lane, Outbound, normalise_number
from appliance.outbound.routing import NoRoute
from appliance.store import views
from appliance.store.moderation import life_without_chats
from firmware_bridge.errors import BridgeError
from firmware_bridge.modem import Modem

if TYPE_CHECKING:
    from appliance.outbound.service import OutboundService
    from appliance.store.store import Store

__all__ = ["Console"]

MAX_TEXT: Final = (
    1530  # characters of a `send`, as in the business API: 23 segments of UCS-2 hold the line for minutes
)
TRACED: Final = 20  # messages of one person that `trace` tells


class Console:
    """The ops of `outpost send`, `trace`, `check`, `modems`, `ussd` and `at`."""

    def __init__(
        self,
        *,
        store: Store,
        outbound: OutboundService,
        modems: Sequence[Modem],
        dialler: Dialler,
        region: str,
        timezone_minutes: int,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """state: what `check` is told beside the modems, as plain data."""
        self._store = store
        self._outbound = outbound
        self._modems = modems
        self._dialler = dialler
        self._region = region
        self._timezone_minutes = timezone_minutes
        self._state = state

    def handlers(self) -> dict[str, Handler]:
        return {
            "send": self._send,
            "trace": self._trace,
            "check": self._check,
            "modems": self._all_modems,
            "ussd": self._ussd,
            "balance": self._balance,
            "at": self._at,
        }

    async def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        to, text, lane = request.get("to"), request.get("text"), request.get("lane", "normal")
        if not isinstance(to, str) or not isinstance(text, str) or not text:
            raise ControlError('send wants "to" and "text"')
        if len(text) > MAX_TEXT:
            raise ControlError(f"the text has {len(text)} characters; want at most {MAX_TEXT}")
        number = normalise_number(to, self._region)
        if number is None:
            raise ControlError(f"{to!r} is no mobile number; want one such as +251911234567")
        if lane not in list(Lane):
            raise ControlError(f"lane {lane!r} is unknown; known: {', '.join(Lane)}")
        try:
            return {"id": await self._outbound.send(Outbound(recipient=number, text=text, lane=Lane(lane)))}
        except NoRoute as error:
            raise ControlError(str(error)) from error

    async def _trace(self, request: dict[str, Any]) -> dict[str, Any]:
        what = str(request.get("what", "")).strip()
        kind, _, rest = what.replace("_", ":").rpartition(":")  # the business API writes out_7
        if rest.isdigit() and kind in ("", "in", "out") and len(rest) <= 12 and not what.startswith("+"):
            kinds = (kind,) if kind else ("out", "in")
            lives = [await self._store.reader.run(life_without_chats, each, int(rest)) for each in kinds]
            found = [life for life in lives if life is not None]
        else:
            number = normalise_number(what, self._region)
            if number is None:
                raise ControlError(f"{what!r} is neither a message's id nor a number")
            rows = await self._store.reader.run(views.messages_with, number, TRACED)
            each_life = [await self._store.reader.run(life_without_chats, row.kind, row.id) for row in rows]
            found = [life for life in each_life if life is not None]
        messages = [msgspec.to_builtins(life) for life in found]
        for message in (one for life in messages for one in life["outbound"]):
            if message["row"]["state"] == "queued":
                message["held"] = self._outbound.held(message["row"]["lane"])
        return {"messages": messages, "timezone_minutes": self._timezone_minutes}

    async def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"modems": [_plain(modem.health) for modem in self._modems], **self._state()}

    async def _all_modems(self, request: dict[str, Any]) -> dict[str, Any]:
        routes = {route["name"]: route for route in self._outbound.routing.snapshot()}
        return {
            "modems": [
                {
                    **_plain(modem.health),
                    "history": [_plain(entry) for entry in modem.history],
                    "route": routes.get(f"modem:{modem.name}", {}),
                }
                for modem in self._modems
            ]
        }

    async def _ussd(self, request: dict[str, Any]) -> dict[str, Any]:
        code, replies = request.get("code"), request.get("replies", [])
        if not isinstance(code, str) or not isinstance(replies, list):
            raise ControlError('ussd wants "code" and, for a menu, "replies"')
        name = request.get("modem")
        try:
            dialled = await self._dialler.dial(
                None if name is None else str(name),
                code,
                [str(reply) for reply in replies],
                any_code=request.get("any") is True,
            )
        except Denied as error:
            raise ControlError(str(error)) from error
        return {"answers": [_plain(answer) for answer in dialled.answers]}

    async def _balance(self, request: dict[str, Any]) -> dict[str, Any]:
        modem = self._named_modem(request.get("modem"))
        problem = await self._outbound.ask_balance(f"modem:{modem.name}")
        if problem:
            raise ControlError(f"{modem.name}: {problem}")
        return {}

    async def _at(self, request: dict[str, Any]) -> dict[str, Any]:
        modem = self._named_modem(request.get("modem"))
        try:
            lines = await modem.command(str(request.get("command", "")))
        except BridgeError as error:
            raise ControlError(f"{modem.name}: {error}") from error
        return {"lines": list(lines)}

    def _named_modem(self, name: object) -> Modem:
        """The modem of that name; without a name, the only one there is."""
        try:
            return self._dialler.modem(None if name is None else str(name))
        except Denied as error:
            raise ControlError(str(error)) from error


def _plain(value: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(value, enc_hook=str)
    return dict(plain)
