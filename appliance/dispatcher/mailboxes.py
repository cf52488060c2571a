"""Mailboxes: one per sender, first in first out, and a bounded window of the backlog in memory.

Pure bookkeeping: no clock, no database, no process. What does not fit is left on disk and asked for again
(`scan_from`, `wants_more`), so that a backlog of a million costs no memory:

- everything accepted up to the id `cursor` is in memory, handled, or in a mailbox that has `more` on disk;
- what comes while the window is full is not kept; the scan of the disk reaches it later, in order;
- one sender may hold only PER_SENDER places, so that a flood from one number leaves room for the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from appliance.message import Inbound
from appliance.store.inbound import Waiting

__all__ = ["Mailbox", "Mailboxes", "Pending"]

WINDOW: Final = 2048  # messages in memory: some 2 MB, and half a second of work for the reader to refill
PER_SENDER: Final = 16
LATE: Final = 4096  # arrivals kept while the disk is being scanned


class Pending:
    """A message in memory that is owed a turn, and what has happened to its turn so far."""

    __slots__ = (
        "again", "answering", "attempt", "caller", "detail", "effect", "entropy", "id", "inbound", "mailbox",
        "now_ms", "persisting", "reason", "since_s", "solo", "strikes", "then", "void",
    )  # fmt: skip

    def __init__(self, inbound_id: int, inbound: Inbound, strikes: int, since_s: float) -> None:
        self.id = inbound_id
        self.inbound = inbound
        self.strikes = strikes  # failed turns
        self.since_s = since_s  # when it came to memory, monotonic
        self.solo = strikes > 0  # run alone in its worker, so that a death has one suspect
        self.attempt = 0  # refused effects in this turn
        self.effect = ""
        self.reason = ""
        self.detail: dict[str, Any] = {}
        self.entropy = 0  # kept through the attempts of a turn, as is
        self.now_ms = 0  # the time of the turn
        self.again = False  # it was run again because the clock was set meanwhile
        self.answering = False  # its commit, under way, puts the replies into a waiting caller's response
        self.mailbox: Mailbox | None = None
        # Of a draft only, a message that is not on disk yet; its id is negative until it is.
        self.caller: Any = None  # the future that gets its outcome
        self.persisting = False  # it is being put on disk without its turn
        self.then: Callable[[], None] | None = None  # what to do when it is there
        self.void = False  # it was known already, or is not to be answered: its turn counts for nothing

    @property
    def is_draft(self) -> bool:
        return self.id < 0


class Mailbox:
    """One sender's messages: the head is at work or ready, the rest waits behind it."""

    __slots__ = ("head", "last_id", "more", "reading", "rest", "sender")

    def __init__(self, sender: str, head: Pending) -> None:
        self.sender = sender
        self.head = head
        self.rest: list[Pending] = []
        self.last_id = head.id
        self.more = False  # younger messages of this sender are on disk only
        self.reading = False


class Mailboxes:
    """All mailboxes, and the queue of those whose head is ready for a worker."""

    def __init__(
        self,
        window: int = WINDOW,
        per_sender: int = PER_SENDER,
        group_of: Callable[[Inbound], str] | None = None,
    ) -> None:
        self.window = window
        self.per_sender = per_sender
        self.cursor = 0
        self.behind = False  # younger messages than the cursor are on disk only
        self.by_id: dict[int, Pending] = {}
        self._boxes: dict[str, Mailbox] = {}
        self._ready: deque[Pending] = deque()
        self._group_of = group_of
        self._own: dict[str, deque[Pending]] = {}  # ready ones that have workers of their own, by group
        self._scanning = False
        self._late: list[tuple[int, Inbound, float]] = []
        self._drafts = 0

    def __len__(self) -> int:
        return len(self._boxes)

    @property
    def held(self) -> int:
        """Messages in memory, those at work included."""
        return len(self.by_id)

    @property
    def ready(self) -> int:
        """Mailboxes whose head waits for a worker, those with workers of their own apart."""
        return len(self._ready)

    def ready_of(self, group: str) -> int:
        """The same of one group; "" is everybody's."""
        return len(self._own.get(group, ())) if group else len(self._ready)

    def oldest_ready(self) -> Pending | None:
        """The head that has waited longest (those put back first apart) for everybody's workers."""
        return self._ready[0] if self._ready else None

    def _queue(self, pending: Pending) -> deque[Pending]:
        """Where a head waits for a worker."""
        group = self._group_of(pending.inbound) if self._group_of is not None else ""
        return self._own.setdefault(group, deque()) if group else self._ready

    def take(self, inbound_id: int, inbound: Inbound, now_s: float) -> bool:
        """A new message came in. False when it was left on disk, or is known already."""
        if inbound_id <= self.cursor:
            return False
        if self._scanning:
            if len(self._late) < LATE:
                self._late.append((inbound_id, inbound, now_s))
            else:
                self.behind = True
            return False
        if self.behind or len(self.by_id) >= self.window:
            self.behind = True
            return False
        self.cursor = inbound_id
        return self._place(Pending(inbound_id, inbound, 0, now_s))

    def _place(self, pending: Pending) -> bool:
        box = self._boxes.get(pending.inbound.sender)
        if box is None:
            box = Mailbox(pending.inbound.sender, pending)
            self._boxes[box.sender] = box
            self._queue(pending).append(pending)
        elif box.more or box.reading or len(box.rest) >= self.per_sender:
            box.more = True
            return False
        elif pending.id <= box.last_id:
            return False  # read a second time from a view of the disk that was older than its turn
        else:
            box.rest.append(pending)
            box.last_id = pending.id
        pending.mailbox = box
        self.by_id[pending.id] = pending
        return True

    def draft(self, inbound: Inbound, now_s: float) -> Pending | None:
        """Hold a message that is not on disk, whose turn's commit shall put it there.

        None when it may not be: older messages of its sender could be on disk only, or there is no room.
        """
        box = self._boxes.get(inbound.sender)
        if self.behind or self._scanning or len(self.by_id) >= self.window:
            return None
        if box is not None and (box.more or box.reading or len(box.rest) >= self.per_sender):
            return None
        self._drafts -= 1
        pending = Pending(self._drafts, inbound, 0, now_s)
        if box is None:
            box = self._boxes[inbound.sender] = Mailbox(inbound.sender, pending)
            self._queue(pending).append(pending)
        else:
            box.rest.append(pending)
        pending.mailbox = box
        self.by_id[pending.id] = pending
        return pending

    def stored(self, pending: Pending, inbound_id: int) -> None:
        """A draft was put on disk without its turn: from now on it is a message like any other."""
        self.by_id.pop(pending.id, None)
        pending.id = inbound_id
        self.by_id[inbound_id] = pending
        if pending.mailbox is not None:
            pending.mailbox.last_id = max(pending.mailbox.last_id, inbound_id)
        if not self.behind and not self._scanning:
            self.cursor = max(self.cursor, inbound_id)

    def drafts(self) -> list[Pending]:
        """All messages that are not on disk."""
        return [pending for number, pending in self.by_id.items() if number < 0]

    def neglected(self) -> list[Mailbox]:
        """Mailboxes that nobody fills though they should be; none, unless a read failed."""
        return [box for box in self._boxes.values() if self.wants_more(box) and box.head.mailbox is not box]

    def next(self, count: int, group: str = "") -> list[Pending]:
        """Take up to `count` ready messages, each of another sender. One that runs solo comes alone."""
        ready = self._own.get(group) if group else self._ready
        if not ready:
            return []
        if ready[0].solo:
            return [ready.popleft()]
        taken: list[Pending] = []
        while ready and len(taken) < count and not ready[0].solo:
            taken.append(ready.popleft())
        return taken

    def put_back(self, pending: Pending) -> None:
        """A message that was taken has to be run again: it goes first."""
        self._queue(pending).appendleft(pending)

    def finish(self, pending: Pending) -> Mailbox | None:
        """A message's turn is over. Returns its mailbox when that should be filled from the disk."""
        box = pending.mailbox
        if self.by_id.pop(pending.id, None) is None or box is None:
            return None
        pending.mailbox = None
        if box.rest:
            box.head = box.rest.pop(0)
            self._queue(box.head).append(box.head)
            return box if self.wants_more(box) else None
        if box.more or box.reading:
            return box if self.wants_more(box) else None
        del self._boxes[box.sender]
        return None

    # What is on disk only.

    def wants_more(self, box: Mailbox) -> bool:
        """Should this sender's younger messages be read now?"""
        return box.more and not box.reading and len(box.rest) <= self.per_sender // 4

    def reading_more(self, box: Mailbox) -> tuple[int, int]:
        """The reading of a sender's younger messages begins: (after this id, at most so many).

        With the window full it is one at a time, which is what keeps the window a bound.
        """
        box.reading = True
        box.more = False
        return box.last_id, min(self.per_sender, max(1, self.window - len(self.by_id)))

    def fill_box(self, box: Mailbox, rows: Iterable[Waiting], limit: int, now_s: float) -> None:
        """What was read for one sender, in order; fewer than `limit` rows mean there is no more."""
        box.reading = False
        working = box.head.mailbox is box
        count = 0
        for row in rows:
            count += 1
            if row.id <= box.last_id or row.id in self.by_id:
                continue
            pending = Pending(row.id, row.inbound, row.attempts, now_s)
            pending.mailbox = box
            box.last_id = row.id
            self.by_id[row.id] = pending
            if working:
                box.rest.append(pending)
            else:
                working = True
                box.head = pending
                self._queue(pending).append(pending)
        if count >= limit:
            box.more = True
        if not working and not box.more:
            self._boxes.pop(box.sender, None)

    @property
    def wants_scan(self) -> bool:
        """Is there room, and something on disk to fill it with?"""
        return self.behind and not self._scanning and len(self.by_id) <= self.window // 2

    def scan_from(self) -> tuple[int, int]:
        """A scan of the disk begins: (after this id, at most so many)."""
        self._scanning = True
        self.behind = False
        return self.cursor, max(1, self.window - len(self.by_id))

    def scanned(self, rows: list[Waiting], limit: int, now_s: float) -> None:
        """What the scan found, in order of ids."""
        self._scanning = False
        for row in rows:
            self.cursor = max(self.cursor, row.id)
            if row.id not in self.by_id:
                self._place(Pending(row.id, row.inbound, row.attempts, now_s))
        late, self._late = self._late, []
        if len(rows) >= limit:
            self.behind = True
        for inbound_id, inbound, came_s in late:
            self.take(inbound_id, inbound, came_s)

    def scan_failed(self) -> None:
        """The disk could not be read: everything after the cursor is still there."""
        self._scanning = False
        self._late.clear()
        self.behind = True

    def restore(self, row: Waiting, now_s: float) -> bool:
        """The sweeper found a message that memory has lost, at or below the cursor."""
        if row.id in self.by_id:
            return False
        box = self._boxes.get(row.inbound.sender)
        if box is not None:
            return False  # it is looked at again when this sender's turn is over
        return self._place(Pending(row.id, row.inbound, row.attempts, now_s))

    def known_sender(self, sender: str) -> bool:
        """Has this sender a mailbox now?"""
        return sender in self._boxes
