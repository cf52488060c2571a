"""What `outpost agent` and `outpost ledger` ask of the running appliance."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from appliance.message import normalise_number
from appliance.store import agents, ledger

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.store.store import Store

__all__ = ["agent_op", "ledger_op"]

BY: Final = "outpost agent"
NEW_PIN_DIGITS: Final = 6
MOST_ENTRIES: Final = 100_000


async def agent_op(
    store: Store, config: Config, clock_ms: Callable[[], int], request: dict[str, Any]
) -> dict[str, Any]:
    """{"do": "list" | "pin" | "unlock" | "hand_in", "number", "pin"?, "santim"?}.

    `pin` without one makes one and tells it this once. Raises ValueError with what is wrong.
    """
    numbers = config.payments.agents
    does = request.get("do")
    if does == "list":
        return {"agents": await store.reader.run(agents.all_agents, numbers)}
    number = normalise_number(str(request.get("number", "")), config.conversation.region)
    if number is None:
        raise ValueError(f"{request.get('number')!r} is no mobile number")
    if does == "pin":
        if number not in numbers:
            raise ValueError(f"{number} is not in payments.agents of the configuration")
        return {"number": number, "pin": await _set_pin(store, number, request.get("pin"), clock_ms())}
    if does == "unlock":
        if not await store.writer.run(agents.unlock, number, clock_ms(), BY):
            raise ValueError(f"{number} has no PIN")
        return {"number": number}
    if does == "hand_in":
        santim = request.get("santim")
        if not isinstance(santim, int) or santim == 0:
            raise ValueError(f"{santim!r}; want an amount")
        holds = await store.writer.run(agents.hand_in, number, santim, clock_ms(), BY)
        return {"number": number, "holds_santim": holds}
    raise ValueError(f"do: {does!r}; want list, pin, unlock or hand_in")


async def _set_pin(store: Store, number: str, wanted: object, now_ms: int) -> str:
    pin = str(wanted) if wanted else ""
    while not wanted and not agents.is_pin(pin):
        pin = f"{secrets.randbelow(10**NEW_PIN_DIGITS):0{NEW_PIN_DIGITS}}"
    if not agents.is_pin(pin):
        raise ValueError("that is no PIN; want 4 to 8 digits, not all the same and not in a row")
    salt = secrets.token_hex(16)
    hashed = await asyncio.to_thread(agents.pin_hash, pin, salt)
    await store.writer.run(agents.set_pin, number, salt, hashed, now_ms, BY)
    return pin


async def ledger_op(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """{"account"?, "after"?, "limit"?, "newest"?}: balances, entries, and what does not fit together."""
    limit = min(int(request.get("limit") or 100), MOST_ENTRIES)
    rows = await store.reader.run(
        lambda db: ledger.entries(
            db,
            str(request.get("account") or ""),
            after=int(request.get("after") or 0),
            limit=limit,
            newest=bool(request.get("newest")),
        )
    )
    return {
        "balances": [list(row) for row in await store.reader.run(ledger.balances)],
        "entries": [list(row) for row in rows],
        "wrong": await store.reader.run(ledger.check),
    }
