"""Who is next: a bounded window over the queues on disk, fair between lanes and between clients.

Pure: it reads no clock and does no I/O. The pump asks `take`, and `wants` names the queues whose window
ran dry so that the pump can refill them from disk. What is held here is ids and recipients, at most
WINDOW a queue, so five million queued messages cost what five thousand do.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final

from appliance.message import Lane
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = ["LANE_WEIGHTS", "WINDOW", "Lanes"]

# Share of a busy channel each lane is sure of, relative to the others. A lane that was idle starts level
# with the busiest, so an OTP that comes into a full box of bulk is the very next message.
LANE_WEIGHTS: Final[dict[str, int]] = {Lane.OTP: 64, Lane.REPLY: 16, Lane.NORMAL: 4, Lane.BULK: 1}
WINDOW: Final = 64
# How far behind a recipient who is being sent to we look for the next message of a queue.
LOOK_AHEAD: Final = 16
AVOIDED_KEPT: Final = 4_096

_ORDER: Final = {lane: position for position, lane in enumerate(LANE_WEIGHTS)}


class _Queue:
    """The window of one (route, lane, client)."""

    __slots__ = ("due_ms", "key", "more", "rows")

    def __init__(self, key: QueueKey) -> None:
        self.key = key
        self.rows: deque[QueuedRow] = deque()
        self.more = False  # the disk has due rows that are not in the window
        self.due_ms: int | None = None  # when the disk's next row that is not yet due becomes so


class _LaneState:
    __slots__ = ("passed", "rings", "served", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.passed = 0.0  # virtual time: grows by 1/weight for each message taken
        # By route, the clients that have rows, in turn. An empty ring is removed.
        self.rings: dict[str, OrderedDict[QueueKey, None]] = {}
        self.served: dict[str, int] = {}  # by route, when it was last taken from


class Lanes:
    """The scheduler. A row that was taken is remembered until `done`, so a refill cannot give it twice."""

    def __init__(self) -> None:
        self._queues: dict[QueueKey, _Queue] = {}
        self._lanes = {lane: _LaneState(weight) for lane, weight in LANE_WEIGHTS.items()}
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
    ) -> QueuedRow | None:
        """The next message that `channel`, which serves `routes`, may send; None if there is none.

        closed: lanes that rest at this hour. may_write_to: whether the channel's allowance has room for a
        recipient; None for everybody.
        """
        for lane in self._by_turn():
            if lane in closed:
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
                        return row
        return None

    def waits_above(self, lane: str, routes: tuple[str, ...]) -> bool:
        """Whether a lane more urgent than `lane` has a message that one of `routes` could take."""
        return any(
            route in self._lanes[other].rings
            for other, position in _ORDER.items()
            if position < _ORDER[lane]
            for route in routes
        )

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
        lane = self._lanes[queue.key.lane]
        if not lane.rings:
            # Level with the least served lane that is at work: idleness earns no credit.
            busy = [other.passed for other in self._lanes.values() if other.rings]
            lane.passed = max(lane.passed, min(busy, default=lane.passed))
        lane.rings.setdefault(queue.key.route, OrderedDict()).setdefault(queue.key)

    def _by_turn(self) -> list[str]:
        waiting = [lane for lane, state in self._lanes.items() if state.rings]
        return sorted(waiting, key=lambda lane: (self._lanes[lane].passed, _ORDER[lane]))

    def _pick(
        self, queue: _Queue, channel: str, may_write_to: Callable[[str], bool] | None
    ) -> QueuedRow | None:
        for position in range(min(LOOK_AHEAD, len(queue.rows))):
            row = queue.rows[position]
            # One person's messages go out one after the other, whatever number of modems there is.
            if row.recipient in self._busy or channel in self._avoid.get(row.id, ()):
                continue
            if may_write_to is not None and not may_write_to(row.recipient):
                continue
            del queue.rows[position]
            return row
        return None

    def _account(self, state: _LaneState, queue: _Queue) -> None:
        key = queue.key
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
