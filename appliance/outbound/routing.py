"""The router among the living: what is well, what is used up, and what moves on when a route is not.

`router.py` is pure and `service.py` owns the pumps; this stands between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from appliance.channels.channel import Channel
from appliance.channels.provider import count_segments
from appliance.message import Inbound, Lane, Outbound
from appliance.outbound.allowance import Pace
from appliance.outbound.pump import Elsewhere
from appliance.outbound.router import ANY_MODEM, Ask, Choice, Router, RouteRule
from appliance.store import provider as provider_ops
from appliance.store.outbound import Claim, QueuedRow, QueueKey

if TYPE_CHECKING:
    from appliance.store.store import Store

__all__ = ["NoRoute", "Routing"]

log = logging.getLogger(__name__)

# How long a route may be ill before what is queued on it goes another way. A modem comes back by itself
# within a minute as a rule, and what a provider sends instead cannot be answered; a provider's breaker has
# seen several failures already.
MODEM_PATIENCE_S: Final = 60.0
PROVIDER_PATIENCE_S: Final = 2.0
MOVED_AT_ONCE: Final = 1_000  # each sweep: 500 a second, some 20 ms of the writer
STICKS_MS: Final = 30 * 24 * 3_600_000  # a person who was written to in this time keeps the route
PEOPLE_KEPT: Final = 20_000  # whose last channel is remembered: some 4 MiB when full
_STICKY_LANES: Final = frozenset({Lane.REPLY, Lane.NORMAL})


class NoRoute(Exception):
    """No route serves this number, lane and client; its text says why of each."""


class Routing:
    """Knows the channels and their paces; answers the router's questions and the pumps'."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._channels: dict[str, tuple[Channel, Pace]] = {}
        self._serving: dict[str, list[tuple[Channel, Pace]]] = {}
        self._ill_since: dict[str, float] = {}
        self._alarmed: frozenset[str] = frozenset()
        self._last: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._round = 0  # where `move_stuck` goes on
        self.router = Router(health=self._trouble, allowance=self._used_up)
        # Without a table any modem may take over what was queued for one that does not come back.
        self._modems = Router([RouteRule(ANY_MODEM)], health=self._trouble, allowance=self._used_up)

    def add(self, channel: Channel, pace: Pace) -> None:
        """A channel that runs from now on."""
        self._channels[channel.name] = (channel, pace)
        for route in channel.routes:
            self._serving.setdefault(route, []).append((channel, pace))

    async def choose(self, message: Outbound) -> Choice | None:
        """The route a message would take, with the reasons; None: it names one, or there is no table."""
        if message.route or not self.router.rules:
            return None
        sticky = None
        if message.lane in _STICKY_LANES and len(self.router.rules) > 1:
            channel = await self._last_channel(message.recipient, message.client_id)
            sticky = self._rule_of(channel) if channel else None
        return self._ask(message.recipient, message.lane, message.client_id, message.text, sticky=sticky)

    async def _last_channel(self, recipient: str, client_id: int) -> str:
        """What carried the newest message to a person, "" for none; asked of the disk once."""
        known = self._last.get((recipient, client_id))
        if known is None:
            since_ms = self._clock_ms() - STICKS_MS
            found = await self._store.reader.run(provider_ops.last_channel, recipient, client_id, since_ms)
            known = self._last.get((recipient, client_id)) or found or ""
            self._remember(recipient, client_id, known)
        return known

    def _remember(self, recipient: str, client_id: int, channel: str) -> None:
        self._last[recipient, client_id] = channel
        self._last.move_to_end((recipient, client_id))
        if len(self._last) > PEOPLE_KEPT:
            self._last.popitem(last=False)

    def sent(self, claim: Claim, channel: str) -> None:
        """A channel took a message: its recipient knows it now."""
        if len(self.router.rules) > 1:
            self._remember(claim.recipient, claim.client_id, channel)

    def reply_route(self, inbound: Inbound) -> str:
        """The route of a reply: the number that was texted answers; "" where it came by no route of ours."""
        # What came for an app from outside names the channel of the text that it answers.
        came_by = inbound.recipient if inbound.channel == "timer" else inbound.channel
        return came_by if came_by in self._serving else ANY_MODEM

    def elsewhere(self, claim: Claim, channel: str) -> Elsewhere | None:
        """Where a message goes that `channel` certainly did not send; None: it stays."""
        refused_by = claim.refused_by | {channel}
        choice = self._ask(claim.recipient, claim.lane, claim.client_id, claim.text, refused_by=refused_by)
        if not choice.ready or choice.route is None or choice.route == claim.route:
            return None
        return Elsewhere(choice.route, choice.why)

    def others(self, route: str, channel: str, refused_by: frozenset[str]) -> bool:
        """Whether another channel of the same route could send what this one did not."""
        return any(
            other.ready and other.name != channel and other.name not in refused_by
            for other, _ in self._serving.get(route, ())
        )

    def ready(self) -> frozenset[str]:
        return frozenset(name for name, (channel, _) in self._channels.items() if channel.ready)

    async def move_stuck(self, keys: Sequence[QueueKey]) -> list[QueuedRow]:
        """Put what is due on stuck routes on others that can send now; returns what moved.

        Looks at MOVED_AT_ONCE messages of each call at most and goes round the queues, so that thousands
        of clients with queues on a dead route neither block the loop nor wait for each other for ever.
        """
        stuck = {route for route in sorted({key.route for key in keys}) if self._is_stuck(route)}
        waiting = [key for key in keys if key.route in stuck and self._another_is_well(key.route)]
        moved: list[QueuedRow] = []
        room = MOVED_AT_ONCE
        for _ in range(len(waiting)):
            if room <= 0:
                break
            self._round += 1
            looked_at, rows = await self._move_on(waiting[self._round % len(waiting)], room)
            room -= max(1, looked_at)
            moved += rows
        return moved

    def _another_is_well(self, route: str) -> bool:
        rules = self.router.rules or self._modems.rules
        now_ms = self._clock_ms()
        return any(
            rule.name != route
            and any(
                channel.ready and not pace.used_up(now_ms)
                for channel, pace in self._serving.get(rule.name, ())
            )
            for rule in rules
        )

    def _is_stuck(self, route: str) -> bool:
        """Whether a route has been unable to send for longer than one waits for it."""
        now, now_ms = asyncio.get_running_loop().time(), self._clock_ms()
        serving = self._serving.get(route, [])
        if not self._trouble(route, frozenset()):
            self._ill_since.pop(route, None)
            return all(pace.used_up(now_ms) for _, pace in serving)
        since = self._ill_since.setdefault(route, now)
        if not serving:
            return True
        is_modem = bool(serving[0][0].identity)
        return now - since >= (MODEM_PATIENCE_S if is_modem else PROVIDER_PATIENCE_S)

    async def _move_on(self, key: QueueKey, room: int) -> tuple[int, Sequence[QueuedRow]]:
        now_ms = self._clock_ms()
        waiting = await self._store.reader.run(provider_ops.queued_on, key, now_ms, room)
        moves = []
        for number, recipient, text, refused_by in waiting:
            choice = self._ask(recipient, key.lane, key.client_id, text, refused_by=refused_by)
            if choice.ready and choice.route is not None and choice.route != key.route:
                moves.append(provider_ops.Move(number, key.route, choice.route, choice.why))
        if not moves:
            return len(waiting), []
        return len(waiting), await self._store.writer.run(provider_ops.reroute, moves, now_ms)

    def watch_allowances(self) -> None:
        """Say once when an allowance has passed its alarm, and once more when it is used up."""
        now_ms = self._clock_ms()
        alarmed = set()
        for name, (_, pace) in self._channels.items():
            for text, kind in ((pace.used_up(now_ms), "used up"), ("; ".join(pace.alarms(now_ms)), "alarm")):
                if text:
                    alarmed.add(f"{name} {kind}")
                    if f"{name} {kind}" not in self._alarmed:
                        log.warning("%s: %s", name, text)
        self._alarmed = frozenset(alarmed)

    def snapshot(self) -> list[dict[str, Any]]:
        """Each channel for the page: whether it can send, why not, and what its allowance says."""
        now_ms = self._clock_ms()
        found = []
        for name, (channel, pace) in self._channels.items():
            used_up = pace.used_up(now_ms)
            state = "used up" if channel.ready and used_up else "ready" if channel.ready else "not ready"
            reason = channel.trouble or used_up
            shown = {"name": name, "state": state, "reason": reason, "alarms": pace.alarms(now_ms)}
            found.append(shown | channel.snapshot())
        return found

    def _ask(
        self,
        recipient: str,
        lane: str,
        client_id: int,
        text: str,
        *,
        sticky: str | None = None,
        refused_by: frozenset[str] = frozenset(),
    ) -> Choice:
        segments = count_segments(text)
        router = self.router if self.router.rules else self._modems
        return router.choose(Ask(recipient, lane, client_id, segments, len(text), sticky, refused_by))

    def _trouble(self, route: str, refused_by: frozenset[str]) -> str:
        """Why a route cannot send, "" if it can."""
        serving = self._serving.get(route)
        if not serving:
            return "is not running"
        able = [channel for channel, _ in serving if channel.name not in refused_by]
        if not able:
            return "refused it before"
        if any(channel.ready for channel in able):
            return ""
        return "; ".join(filter(None, (channel.trouble for channel in able))) or "is not ready"

    def _used_up(self, route: str, recipient: str, segments: int) -> str:
        now_ms = self._clock_ms()
        problems = [pace.problem(recipient, segments, now_ms) for _, pace in self._serving.get(route, ())]
        return "" if "" in problems or not problems else problems[0]

    def _rule_of(self, channel: str) -> str | None:
        """The rule that stands for a channel, if replies to what it sends reach the box."""
        names = (channel, ANY_MODEM) if channel.startswith("modem:") else (channel,)
        return next((rule.name for rule in self.router.rules if rule.replies and rule.name in names), None)
