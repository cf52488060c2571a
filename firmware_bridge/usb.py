"""Unplugging a USB device by software, where the system allows it: the last step of the ladder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

__all__ = ["rebind"]

DRIVER: Final = Path("/sys/bus/usb/drivers/usb")
OFF_S: Final = 2.0


async def rebind(device: str | None, *, driver: Path = DRIVER) -> str:
    """Unbind and bind `device` ("1-1.3"). Returns "" when done, else why not."""
    if device is None:
        return "not a USB device"
    try:
        await asyncio.to_thread((driver / "unbind").write_text, device)
    except OSError as e:
        return f"the system does not allow it: {e.strerror}"
    await asyncio.sleep(OFF_S)
    try:
        await asyncio.to_thread((driver / "bind").write_text, device)
    except OSError as e:
        return f"unbound, but not bound again: {e.strerror}"
    return ""
