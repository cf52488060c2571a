"""USSD by hand, for the command line, the API and the page: which modem, may it be dialled, what came of it.

One dialogue at a time on each modem: a second one is told so instead of queueing, since each can hold the
line for a minute and messages wait behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from appliance.gateway.service import Denied
from appliance.gateway.ussd import Dialled, UssdAnswer
from firmware_bridge.errors import (
    BadUssd,
    BridgeError,
    NotReady,
    PortLost,
    UssdNotAllowed,
    UssdTimeout,
)
from firmware_bridge.modem import Modem

__all__ = ["Dialler"]

log = logging.getLogger(__name__)

NOT_READY_S: Final = 10.0  # when to ask again: a step of the ladder takes about so long
BUSY_S: Final = 30.0


class Dialler:
    """Dials by the modems of this box. modems: the list that the server fills."""

    def __init__(self, modems: Sequence[Modem]) -> None:
        self._modems = modems
        self._dialling: set[str] = set()

    def modem(self, name: str | None) -> Modem:
        """The modem of that name; without a name, the only one there is. Raises Denied."""
        fitting = [modem for modem in self._modems if name in (None, modem.name)]
        if len(fitting) == 1:
            return fitting[0]
        known = ", ".join(modem.name for modem in self._modems) or "none is configured"
        if name is None and fitting:
            raise Denied(409, "which-modem", f"which modem? known: {known}")
        raise Denied(404, "no-such-modem", f"no modem is called {name or 'anything'}; known: {known}")

    async def dial(
        self, name: str | None, code: str, replies: Sequence[str] = (), *, any_code: bool = False
    ) -> Dialled:
        """Dial and answer the menus. Raises Denied: 400, 403, 404 and 409 before anything was dialled, 502
        and 504 after it, 503 when the modem cannot."""
        modem = self.modem(name)
        if modem.name in self._dialling:
            raise Denied(
                409, "ussd-busy", f"{modem.name}: another USSD dialogue is under way", retry_after_s=BUSY_S
            )
        self._dialling.add(modem.name)
        try:
            answers = await modem.ussd(code, *replies, any_code=any_code)
        except BridgeError as error:
            raise _denied(modem.name, error) from error
        finally:
            self._dialling.discard(modem.name)
        log.info("%s: USSD dialled by hand, %d answers", modem.name, len(answers))  # a code may hold a PIN
        shown = tuple(UssdAnswer(state=answer.state.name.lower(), text=answer.text) for answer in answers)
        return Dialled(modem=modem.name, answers=shown)


def _denied(name: str, error: BridgeError) -> Denied:
    text = str(error) if str(error).startswith(name) else f"{name}: {error}"
    match error:
        case BadUssd():
            return Denied(400, "bad-ussd", text)
        case UssdNotAllowed():
            return Denied(403, "code-not-allowed", text)
        case NotReady():
            return Denied(503, "modem-not-ready", text, retry_after_s=NOT_READY_S)
        case PortLost():
            return Denied(502, "modem-lost", f"{text}; whether the network was asked is not known")
        case UssdTimeout():
            return Denied(504, "ussd-timeout", text)
        case _:
            return Denied(502, "ussd-refused", text)
