"""TP-ST, the fate of a message (TS 23.040 9.2.3.15)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = ["StatusClass", "status_class", "status_text"]

StatusClass = Literal["delivered", "pending", "failed"]

STATUS_TEXT: Final[Mapping[int, str]] = {
    0x00: "received by the handset",
    0x01: "forwarded, the service centre cannot confirm delivery",
    0x02: "replaced by the service centre",
    0x20: "congestion, still trying",
    0x21: "handset busy, still trying",
    0x22: "no response from the handset, still trying",
    0x23: "service rejected, still trying",
    0x24: "quality of service not available, still trying",
    0x25: "error in the handset, still trying",
    0x40: "remote procedure error",
    0x41: "incompatible destination",
    0x42: "connection rejected by the handset",
    0x43: "not obtainable",
    0x44: "quality of service not available",
    0x45: "no interworking available",
    0x46: "validity period expired",
    0x47: "deleted by the sender",
    0x48: "deleted by the service centre's administration",
    0x49: "message does not exist",
    0x60: "congestion, given up",
    0x61: "handset busy, given up",
    0x62: "no response from the handset, given up",
    0x63: "service rejected, given up",
    0x64: "quality of service not available, given up",
    0x65: "error in the handset, given up",
}

_GROUP_TEXT: Final = ("delivered", "temporary error, still trying", "permanent error", "given up")


def status_class(status: int) -> StatusClass:
    """What a status means for the message: it arrived, more reports may come, or it never will.

    Unassigned values read as their group. Values from 0x80 are reserved and read as "service
    rejected", as 9.2.3.15 wants.
    """
    if status < 0x20:
        return "delivered"
    if status < 0x40:
        return "pending"
    return "failed"


def status_text(status: int) -> str:
    """The status in words; unassigned values get the words of their group."""
    if status >= 0x80:
        return "reserved status"
    return STATUS_TEXT.get(status, _GROUP_TEXT[status >> 5])
