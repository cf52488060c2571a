"""USSD by a modem of the box."""

from __future__ import annotations

from appliance.gateway.service import Denied
from appliance.web.v1 import shapes
from appliance.web.v1.operation import Call, Result

__all__ = ["dial"]


async def dial(call: Call) -> Result:
    """Dial a code that the modem's list allows, answer its menus, and give what the network said."""
    body: shapes.UssdRequest = call.body
    if call.gateway.dial is None:
        raise Denied(404, "no-such-modem", "This box has no modem.")
    return Result(200, await call.gateway.dial(body.modem, body.code, body.replies))
