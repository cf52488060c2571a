"""Mailboxes: order per sender, room for all, and a window that does not grow with the backlog."""

from __future__ import annotations

import random

from appliance.dispatcher.mailboxes import Mailbox, Mailboxes, Pending
from appliance.message import Inbound
from appliance.store.inbound import Waiting


def message(sender: str) -> Inbound:
    return Inbound(channel="http", sender=sender, recipient="", text="", received_at_ms=0)


def ids(taken: list[Pending]) -> list[int]:
    return [pending.id for pending in taken]


class Disk:
    """What the database would answer: the rows that are still owed a turn."""

    def __init__(self, senders: list[str]) -> None:
        self.rows = {number: sender for number, sender in enumerate(senders, 1)}
        self.done: list[tuple[str, int]] = []

    def after(self, after_id: int, limit: int) -> list[Waiting]:
        found = sorted(number for number in self.rows if number > after_id)[:limit]
        return [Waiting(number, message(self.rows[number]), 0) for number in found]

    def of(self, sender: str, after_id: int, limit: int) -> list[Waiting]:
        found = sorted(n for n, s in self.rows.items() if s == sender and n > after_id)[:limit]
        return [Waiting(number, message(sender), 0) for number in found]

    def finish(self, boxes: Mailboxes, pending: Pending) -> None:
        self.done.append((self.rows.pop(pending.id), pending.id))
        box = boxes.finish(pending)
        if box is not None:
            self.fill(boxes, box)
        self.scan(boxes)

    def fill(self, boxes: Mailboxes, box: Mailbox) -> None:
        after, limit = boxes.reading_more(box)
        boxes.fill_box(box, self.of(box.sender, after, limit), limit, 0.0)

    def scan(self, boxes: Mailboxes) -> None:
        while boxes.wants_scan:
            after, limit = boxes.scan_from()
            boxes.scanned(self.after(after, limit), limit, 0.0)


def test_mailboxes_one_sender_is_given_out_one_at_a_time() -> None:
    boxes = Mailboxes()
    for number, sender in enumerate("aabab", 1):
        boxes.take(number, message(sender), 0.0)
    first = boxes.next(64)
    assert ids(first) == [1, 3]
    assert boxes.next(64) == []
    boxes.finish(first[0])
    assert ids(boxes.next(64)) == [2]
    assert boxes.next(64) == []


def test_mailboxes_finished_sender_leaves_nothing_behind() -> None:
    boxes = Mailboxes()
    boxes.take(1, message("a"), 0.0)
    boxes.finish(boxes.next(1)[0])
    assert (len(boxes), boxes.held, boxes.ready) == (0, 0, 0)


def test_mailboxes_message_put_back_goes_first() -> None:
    boxes = Mailboxes()
    for number, sender in enumerate("abc", 1):
        boxes.take(number, message(sender), 0.0)
    taken = boxes.next(2)
    boxes.put_back(taken[0])
    assert ids(boxes.next(64)) == [1, 3]


def test_mailboxes_suspect_comes_alone() -> None:
    boxes = Mailboxes()
    for number, sender in enumerate("abcd", 1):
        boxes.take(number, message(sender), 0.0)
    taken = boxes.next(2)
    taken[1].solo = True
    boxes.put_back(taken[1])
    boxes.put_back(taken[0])
    assert [ids(boxes.next(64)) for _ in range(3)] == [[1], [2], [3, 4]]


def test_mailboxes_offer_twice_is_taken_once() -> None:
    boxes = Mailboxes()
    assert boxes.take(1, message("a"), 0.0)
    assert not boxes.take(1, message("a"), 0.0)
    boxes.finish(boxes.next(1)[0])
    assert not boxes.take(1, message("a"), 0.0)
    assert boxes.held == 0


def test_mailboxes_full_window_leaves_the_rest_on_disk() -> None:
    boxes = Mailboxes(window=4)
    taken = [boxes.take(number, message(f"s{number}"), 0.0) for number in range(1, 8)]
    assert taken == [True] * 4 + [False] * 3
    assert boxes.held == 4 and boxes.behind


def test_mailboxes_flood_from_one_sender_leaves_room_for_others() -> None:
    boxes = Mailboxes(window=100, per_sender=4)
    for number in range(1, 51):
        boxes.take(number, message("flood"), 0.0)
    assert boxes.held == 5
    assert boxes.take(51, message("quiet"), 0.0)


def drain(boxes: Mailboxes, disk: Disk, rng: random.Random, total: int) -> int:
    """Work everything off in random order of completion; returns the most that was ever in memory."""
    most = 0
    at_work: list[Pending] = []
    for _ in range(100 * total):
        most = max(most, boxes.held)
        assert len({pending.inbound.sender for pending in at_work}) == len(at_work)
        at_work += boxes.next(rng.randint(1, 8))
        if not at_work and not boxes.held:
            break
        if at_work:
            disk.finish(boxes, at_work.pop(rng.randrange(len(at_work))))
    return most


def test_mailboxes_backlog_is_worked_off_in_order_within_a_bounded_window() -> None:
    rng = random.Random(5)
    senders = ["flood" if rng.random() < 0.5 else f"s{rng.randrange(60)}" for _ in range(2000)]
    disk = Disk(senders)
    boxes = Mailboxes(window=64, per_sender=4)
    boxes.behind = True
    disk.scan(boxes)
    assert drain(boxes, disk, rng, 2000) <= 64 + 4
    assert disk.rows == {}
    assert len(disk.done) == 2000
    for sender in set(senders):
        order = [number for who, number in disk.done if who == sender]
        assert order == sorted(order)
    assert len(boxes) == 0


def test_mailboxes_arrivals_during_a_scan_keep_their_place() -> None:
    boxes = Mailboxes(window=8)
    boxes.behind = True
    disk = Disk(["a", "a", "b"])
    after, limit = boxes.scan_from()
    rows = disk.after(after, limit)
    assert not boxes.take(4, message("a"), 0.0)  # while the disk is being read
    boxes.scanned(rows, limit, 0.0)
    order = []
    while taken := boxes.next(1):
        order.append((taken[0].inbound.sender, taken[0].id))
        boxes.finish(taken[0])
    assert [number for sender, number in order if sender == "a"] == [1, 2, 4]
    assert not boxes.behind


def test_mailboxes_failed_scan_is_asked_for_again() -> None:
    boxes = Mailboxes()
    boxes.behind = True
    boxes.scan_from()
    boxes.take(9, message("a"), 0.0)
    boxes.scan_failed()
    assert boxes.wants_scan and boxes.held == 0
    _, limit = boxes.scan_from()
    boxes.scanned([Waiting(9, message("a"), 0)], limit, 0.0)
    assert ids(boxes.next(9)) == [9]


def test_mailboxes_arrivals_and_scans_interleaved_lose_nothing() -> None:
    """New messages keep coming while the window is full: all are given out once, in order per sender."""
    rng = random.Random(11)
    disk = Disk([])
    boxes = Mailboxes(window=16, per_sender=3)
    at_work: list[Pending] = []
    for number in range(1, 3001):
        sender = rng.choice(["flood", "flood", *"abcdefghij"])
        disk.rows[number] = sender
        boxes.take(number, message(sender), 0.0)
        at_work += boxes.next(rng.randint(0, 2))
        if at_work and rng.random() < 0.7:
            disk.finish(boxes, at_work.pop(rng.randrange(len(at_work))))
        assert boxes.held <= 16 + 3
    for pending in at_work:
        disk.finish(boxes, pending)
    drain(boxes, disk, rng, 3000)
    assert disk.rows == {}
    assert len(disk.done) == len(set(disk.done)) == 3000
    for sender in {who for who, _ in disk.done}:
        order = [number for who, number in disk.done if who == sender]
        assert order == sorted(order)


def test_mailboxes_lost_message_is_restored_once() -> None:
    boxes = Mailboxes()
    boxes.take(5, message("a"), 0.0)
    lost = Waiting(3, message("b"), 1)
    assert boxes.restore(lost, 0.0)
    assert not boxes.restore(lost, 0.0)
    assert ids(boxes.next(1)) == [5]
    restored = boxes.next(1)
    assert ids(restored) == [3] and restored[0].strikes == 1 and restored[0].solo
