"""The first guard: senders that are never answered (DOMAIN.md section 3).

Answering a service's short code or name costs money and can start two machines talking to each other.
"""

from __future__ import annotations

from collections.abc import Container

from appliance.message import Inbound, SenderKind, sender_kind

__all__ = ["unanswerable"]


def unanswerable(inbound: Inbound, own_numbers: Container[str] = ()) -> str | None:
    """Why this sender gets no turn, in words for the operator; None when it may have one."""
    if inbound.sender in own_numbers:
        return "sent by this box itself"
    kind = sender_kind(inbound.sender)
    if kind is SenderKind.SHORT_CODE:
        return "short code: a service, not a person"
    if kind is SenderKind.NAME:
        return "sender is a name and cannot be answered"
    return None
