"""Who has workers of their own: a client of high volume delays nobody, and nobody delays it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from appliance.config import OwnWorkers
from appliance.message import Inbound

__all__ = ["group_by", "workers_of"]


def workers_of(groups: Iterable[OwnWorkers]) -> dict[str, int]:
    """How many workers each group has for itself."""
    return {group.name: group.workers for group in groups}


def group_by(groups: Iterable[OwnWorkers]) -> Callable[[Inbound], str] | None:
    """Tells the group of a message by the number texted, else by the channel it came by; "" for everybody's.

    None when nobody has workers of their own, so that nobody need ask.
    """
    numbers: Mapping[str, str] = {number: group.name for group in groups for number in group.numbers}
    channels: Mapping[str, str] = {channel: group.name for group in groups for channel in group.channels}
    if not numbers and not channels:
        return None

    def group_of(message: Inbound) -> str:
        return numbers.get(message.recipient) or channels.get(message.channel, "")

    return group_of
