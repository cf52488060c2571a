"""What the gateway knows of USSD: the dialogue as its callers see it, and who can hold one for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

__all__ = ["Dial", "Dialled", "UssdAnswer"]


class UssdAnswer(msgspec.Struct, kw_only=True, frozen=True):
    """state: done, reply_wanted, ended_by_network, answered_elsewhere, not_supported or timeout. text: null
    where the network gave none."""

    state: str
    text: str | None


class Dialled(msgspec.Struct, kw_only=True, frozen=True):
    """What the network said to a USSD code and to each reply, in order."""

    modem: str
    answers: tuple[UssdAnswer, ...]


class Dial(Protocol):
    """Dials USSD by a modem of this box; `appliance.dialler.Dialler.dial` fits. Raises Denied."""

    async def __call__(self, name: str | None, code: str, replies: Sequence[str] = ()) -> Dialled: ...
