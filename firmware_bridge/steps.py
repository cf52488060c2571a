"""The steps of the ladder that are said to the modem."""

from __future__ import annotations

import asyncio
from typing import Final

from firmware_bridge.at.command import basic
from firmware_bridge.line import Line, Urgency

__all__ = ["radio_off_and_on", "reset"]

RADIO_OFF_S: Final = 2.0


async def radio_off_and_on(line: Line) -> bool:
    """CFUN=0, CFUN=1: the network is left and joined again. False if the modem refuses the first."""
    async with line.turn(Urgency.HEALTH):
        went_off = await line.try_execute(basic("AT+CFUN=0", timeout_s=20.0)) is not None
        await asyncio.sleep(RADIO_OFF_S)
        await line.try_execute(basic("AT+CFUN=1", timeout_s=20.0))
    return went_off


async def reset(line: Line) -> None:
    """CFUN=1,1, or what some have for it; the port may go away by it."""
    async with line.turn(Urgency.HEALTH):
        if await line.try_execute(basic("AT+CFUN=1,1", timeout_s=10.0)) is None:
            await line.try_execute(basic("AT+CFUN=16", timeout_s=10.0))
