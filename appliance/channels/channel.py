"""What every way out has in common: it is given one part at a time and says what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from appliance.outbound.policy import Action
from appliance.store.outbound import Claim

__all__ = ["Channel", "Doubt", "Gate", "NotSent", "Outcome", "Refused", "Sent"]

Gate = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sent:
    """Accepted. tp_mr: of a modem (0 to 255). provider_ref: of an HTTP provider."""

    tp_mr: int | None = None
    provider_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Certainly not sent; `reason` names who said so and with which code.

    retries: how many repetitions make sense for this code; None leaves it to the action. after_s: not
    before so many seconds, where the other side says. opted_out: the recipient told the provider to stop,
    which the local list has to learn.
    """

    action: Action
    reason: str
    retries: int | None = None
    after_s: float | None = None
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class NotSent:
    """The channel went away before anything was handed over; the attempt does not count."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """Handed over, answer lost."""

    reason: str


Outcome = Sent | Refused | NotSent | Doubt


class Channel(Protocol):
    """A way out.

    name: as stored and shown, "modem:<name>" for a modem. routes: the values of `Outbound.route` it
    serves. identity: what delivery reports are matched on; for a modem IMEI and ICCID.
    """

    @property
    def name(self) -> str: ...
    @property
    def routes(self) -> tuple[str, ...]: ...
    @property
    def identity(self) -> str: ...
    @property
    def ready(self) -> bool: ...
    @property
    def trouble(self) -> str:
        """Why it is not ready, "" when it is."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """What the page may show of it besides, as plain data."""
        ...

    async def wait_ready(self) -> None: ...

    def count_parts(self, text: str) -> int: ...

    async def send(self, claim: Claim, sequence: int, gate: Gate) -> Outcome:
        """Send one part (from 1). `gate` is awaited last before the point of no return; if it raises,
        nothing was sent and the exception passes through."""
        ...
