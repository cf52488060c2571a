"""Who is next: a bounded window over the queues on disk, fair between lanes, clients and people.

Pure: it reads no clock and does no I/O. The pump asks `take`, and `wants` names the queues whose window
ran dry so that the pump can refill them from disk. What is held here is ids and recipients, at most
WINDOW a queue, so five million queued messages cost what five thousand do.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from appliance.message import Lane
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = ["LANES", "WINDOW", "LanePolicy", "Lanes"]


class LanePolicy(NamedTuple):
    """What a lane gets of a busy channel.

    weight: its share in the long run, relative to the lanes that wait with it; also its floor, since no
    other lane can take that from it. burst: messages it may send in a row, beyond its share, before a lane
    below it gets its turn. ceiling: how much of a route's allowance it may use up, so that a campaign in the
    morning leaves the evening's replies something to go by.
    """

    weight: int
    burst: int
    ceiling: float


# With all four waiting: 75 %, 19 %, 5 % and 1 %. The head starts (burst by weight) fall from lane to lane:
# that makes it a priority for as long as no lane takes more than its burst.
LANES: Final[dict[str, LanePolicy]] = {
    Lane.OTP: LanePolicy(weight=64, burst=128, ceiling=1.0),
    Lane.REPLY: LanePolicy(weight=16, burst=16, ceiling=1.0),
    Lane.NORMAL: LanePolicy(weight=4, burst=2, ceiling=0.9),
    Lane.BULK: LanePolicy(weight=1, burst=0, ceiling=0.8),
}
WINDOW: Final = 64
AVOIDED_KEPT: Final = 4_096
PEOPLE_KEPT: Final = 1_024  # whom we remember to have served: those of some minutes on a modem

_ORDER: Final = {lane: position for position, lane in enumerate(LANES)}


class _Queue:
    """The window of one (route, lane, client)."""

    __slots__ = ("due_ms", "key", "more", "rows", "since")

    def __init__(self, key: QueueKey) -> None:
        self.key = key
        self.rows: deque[QueuedRow] = deque()
        self.since: deque[int] = deque()  # of each row, the number of the take before it came
        self.more = False  # the disk has due rows that are not in the window
        self.due_ms: int | None = None  # when the disk's next row that is not yet due becomes so


class _LaneState:
    __slots__ = ("head_start", "passed", "rings", "served", "weight")

    def __init__(self, policy: LanePolicy) -> None:
        self.weight = policy.weight
        self.head_start = policy.burst / policy.weight
        self.passed = 0.0  # virtual time: grows by 1/weight for each message taken
        # By route, the clients that have rows, in turn. An empty ring is removed.
        self.rings: dict[str, OrderedDict[QueueKey, None]] = {}
        self.served: dict[str, int] = {}  # by route, when it was last taken from


class Lanes:
    """The scheduler. A row that was taken is remembered until `done`, so a refill cannot give it twice."""

    def __init__(self) -> None:
        self._queues: dict[QueueKey, _Queue] = {}
        self._lanes = {lane: _LaneState(policy) for lane, policy in LANES.items()}
        self._level = 0.0  # virtual time of the least served lane that had messages, as of the last take
        self._reached: OrderedDict[str, int] = OrderedDict()  # people, and when each had a message last
        self._taken: dict[int, str] = {}
        self._busy: dict[str, int] = {}
        self._avoid: OrderedDict[int, set[str]] = OrderedDict()
        self._dues: list[tuple[int, QueueKey]] = []
        self._dry: set[QueueKey] = set()
        self._turn = 0

    def offer(self, row: QueuedRow) -> None:
        """A message was queued just now."""
        queue = self._queue(row.key)
        if queue.more or len(queue.rows) >= WINDOW:
            queue.more = True
            if not queue.rows:
                self._dry.add(row.key)
        else:
            self._append(queue, row)

    def schedule(self, key: QueueKey, due_ms: int) -> None:
        """A message of this queue becomes due at `due_ms` (it was retried, or is not to leave before)."""
        queue = self._queue(key)
        if queue.due_ms is None or due_ms < queue.due_ms:
            queue.due_ms = due_ms
            heapq.heappush(self._dues, (due_ms, key))

    def next_due_ms(self) -> int | None:
        """When `tick` has something to do."""
        return self._dues[0][0] if self._dues else None

    def tick(self, now_ms: int) -> None:
        """Let the queues whose time has come want a refill."""
        while self._dues and self._dues[0][0] <= now_ms:
            due_ms, key = heapq.heappop(self._dues)
            queue = self._queues.get(key)
            if queue is not None and queue.due_ms == due_ms:
                queue.due_ms = None
                queue.more = True
                if not queue.rows:
                    self._dry.add(key)

    def wants(self) -> list[QueueKey]:
        """Queues whose window is empty while the disk has more."""
        return list(self._dry)

    def refill(self, key: QueueKey, rows: Iterable[QueuedRow], next_due_ms: int | None, now_ms: int) -> None:
        """What the disk answered for a queue that wanted: its due rows and when the next one is due."""
        queue = self._queue(key)
        self._dry.discard(key)
        queue.more = next_due_ms is not None and next_due_ms <= now_ms
        present = {row.id for row in queue.rows}
        for row in rows:
            if row.id not in self._taken and row.id not in present:
                self._append(queue, row)
        if next_due_ms is not None and next_due_ms > now_ms:
            self.schedule(key, next_due_ms)
        if not queue.rows and not queue.more and queue.due_ms is None:
            self._queues.pop(key, None)

    def take(
        self,
        routes: tuple[str, ...],
        channel: str,
        closed: frozenset[str] = frozenset(),
        may_write_to: Callable[[str], bool] | None = None,
        only: frozenset[str] | None = None,
    ) -> QueuedRow | None:
        """The next message that `channel`, which serves `routes`, may send; None if there is none.

        closed: lanes that rest at this hour. may_write_to: whether the channel's allowance has room for a
        recipient; None for everybody. only: the lanes to choose from; None for all.
        """
        for lane in self._by_turn():
            if lane in closed or (only is not None and lane not in only):
                continue
            state = self._lanes[lane]
            # In turn: a stream of messages for any modem must not starve those for one of them.
            for route in sorted(routes, key=lambda route: state.served.get(route, 0)):
                for key in state.rings.get(route, ()):
                    queue = self._queues[key]
                    row = self._pick(queue, channel, may_write_to)
                    if row is not None:
                        self._account(state, queue)
                        self._taken[row.id] = row.recipient
                        self._busy[row.recipient] = self._busy.get(row.recipient, 0) + 1
                        self._reached[row.recipient] = self._turn
                        self._reached.move_to_end(row.recipient)
                        if len(self._reached) > PEOPLE_KEPT:
                            self._reached.popitem(last=False)
                        return row
        return None

    def charge(self, lane: str, parts: int) -> None:
        """A message of this lane took the channel for so many parts more than the one it was taken for."""
        state = self._lanes[lane]
        state.passed += parts / state.weight

    def ahead_of(self, lane: str, routes: tuple[str, ...], *, level: bool = False) -> frozenset[str]:
        """The lanes with messages for `routes` that come before what is left of a message of `lane`.

        level: the lane itself is one of them, when others in it have waited for this message long enough.
        """
        mine = self._lanes[lane]
        found = set()
        for other, state in self._lanes.items():
            before = _ORDER[other] < _ORDER[lane] and (
                state.passed - state.head_start <= mine.passed - mine.head_start
            )
            if (before or (level and other == lane)) and any(route in state.rings for route in routes):
                found.add(other)
        return frozenset(found)

    def done(self, row: QueuedRow) -> None:
        """The row's fate is on disk: its recipient is free again, and so is its id."""
        if self._taken.pop(row.id, None) is None:
            return
        left = self._busy[row.recipient] - 1
        if left:
            self._busy[row.recipient] = left
        else:
            del self._busy[row.recipient]

    def avoid(self, outbound_id: int, channel: str) -> None:
        """Let this message try another channel first, where there is one."""
        self._avoid.setdefault(outbound_id, set()).add(channel)
        while len(self._avoid) > AVOIDED_KEPT:
            self._avoid.popitem(last=False)

    def stop_avoiding(self, outbound_id: int) -> None:
        self._avoid.pop(outbound_id, None)

    def let_go(self, ready: frozenset[str]) -> None:
        """Forget to avoid where nobody else is left: better the same channel again than never."""
        stuck = [number for number, avoided in self._avoid.items() if ready and ready <= avoided]
        for number in stuck:
            del self._avoid[number]

    def in_window(self) -> int:
        return sum(len(queue.rows) for queue in self._queues.values())

    def _queue(self, key: QueueKey) -> _Queue:
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(key)
        return queue

    def _append(self, queue: _Queue, row: QueuedRow) -> None:
        queue.rows.append(row)
        queue.since.append(self._turn)
        lane = self._lanes[queue.key.lane]
        if not lane.rings:
            # Level with the least served lane that is at work: idleness earns no credit, and what a lane
            # sent while nobody else waited is no debt.
            busy = [other.passed for other in self._lanes.values() if other.rings]
            lane.passed = max(lane.passed, min(busy, default=self._level))
        lane.rings.setdefault(queue.key.route, OrderedDict()).setdefault(queue.key)

    def _by_turn(self) -> list[str]:
        waiting = [lane for lane, state in self._lanes.items() if state.rings]
        return sorted(
            waiting, key=lambda lane: (self._lanes[lane].passed - self._lanes[lane].head_start, _ORDER[lane])
        )

    def _pick(
        self, queue: _Queue, channel: str, may_write_to: Callable[[str], bool] | None
    ) -> QueuedRow | None:
        """First in, first out; but a person who had a message since queues up again with the next one, so
        that one with sixty waiting takes turns with the others."""
        best, best_at = -1, self._turn + 1
        for position, (row, since) in enumerate(zip(queue.rows, queue.since, strict=True)):
            if since >= best_at:
                break  # and so are all behind it
            at = max(since, self._reached.get(row.recipient, 0))
            # One person's messages go out one after the other, whatever number of modems there is.
            if at >= best_at or row.recipient in self._busy or channel in self._avoid.get(row.id, ()):
                continue
            if may_write_to is not None and not may_write_to(row.recipient):
                continue
            best, best_at = position, at
        if best < 0:
            return None
        row = queue.rows[best]
        del queue.rows[best], queue.since[best]
        return row

    def _account(self, state: _LaneState, queue: _Queue) -> None:
        key = queue.key
        self._level = max(self._level, min(other.passed for other in self._lanes.values() if other.rings))
        state.passed += 1 / state.weight
        self._turn += 1
        state.served[key.route] = self._turn
        ring = state.rings[key.route]
        ring.move_to_end(key)
        if queue.rows:
            return
        del ring[key]
        if not ring:
            del state.rings[key.route]
        if queue.more:
            self._dry.add(key)
        elif queue.due_ms is None:
            self._queues.pop(key, None)
