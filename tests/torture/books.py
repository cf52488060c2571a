"""Four books, kept by four parties, compared: what was promised, stored, carried and received.

Every sender of a round has a number of its own, so that counting by number tells lost and double apart.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Books", "Verdict", "compare", "unfinished"]


@dataclass(slots=True)
class Books:
    """What the parties outside the box wrote down.

    promised: messages that each number was promised (202, 200, or handed to the network).
    carried: texts that the network brought to each number. bodies: replies given in HTTP answers.
    queued: recipients of messages that the box promised to send (`outpost send`).
    """

    promised: Mapping[str, int]
    carried: Mapping[str, Sequence[str]]
    bodies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    queued: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Verdict:
    accepted: int = 0
    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    ledger: list[str] = field(default_factory=list)
    uncertain: int = 0
    set_aside: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.double or self.ledger)

    def add(self, other: Verdict) -> None:
        self.accepted += other.accepted
        self.uncertain += other.uncertain
        self.set_aside += other.set_aside
        self.lost += other.lost
        self.double += other.double
        self.ledger += other.ledger

    def lines(self) -> list[str]:
        return [
            *(f"lost: {line}" for line in self.lost),
            *(f"double: {line}" for line in self.double),
            *(f"ledger: {line}" for line in self.ledger),
        ]


def _open(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5))


def unfinished(path: Path) -> int:
    """Rows that the box still owes something. Raises sqlite3.Error while the file cannot be read."""
    with _open(path) as db:
        [waiting] = db.execute("SELECT count(*) FROM inbound WHERE state = 'accepted'").fetchone()
        [leaving] = db.execute(
            "SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')"
        ).fetchone()
        return int(waiting + leaving)


def compare(path: Path, books: Books) -> Verdict:
    """Hold the box's own book against the others. Call it when nothing moves any more."""
    verdict = Verdict()
    with _open(path) as db:
        _compare_inbound(db, books, verdict)
        _compare_outbound(db, books, verdict)
        _compare_seats(db, verdict)
        [health] = db.execute("PRAGMA integrity_check").fetchone()
        if health != "ok":
            verdict.ledger.append(f"integrity_check: {health}")
    return verdict


def _compare_inbound(db: sqlite3.Connection, books: Books, verdict: Verdict) -> None:
    stored: dict[str, list[tuple[int, str, str]]] = {}
    for sender, row_id, state, reason in db.execute(
        "SELECT sender, id, state, reason FROM inbound WHERE channel <> 'timer'"
    ):
        stored.setdefault(sender, []).append((row_id, state, reason))
    for number, count in books.promised.items():
        rows = stored.get(number, [])
        verdict.accepted += len(rows)
        if len(rows) < count:
            verdict.lost.append(f"{number}: promised {count} messages, {len(rows)} are stored")
        if len(rows) > count:
            verdict.double.append(f"{number}: sent {count} messages, {len(rows)} are stored")
        for row_id, state, reason in rows:
            if state == "set_aside":
                verdict.set_aside += 1
            elif state != "handled":
                verdict.lost.append(f"{number}: in:{row_id} is {state} ({reason})")
            [answers] = db.execute(
                "SELECT count(*) FROM outbound WHERE in_reply_to = ? AND recipient = ?", (row_id, number)
            ).fetchone()
            if state == "handled" and answers != 1:
                kind = verdict.lost if answers == 0 else verdict.double
                kind.append(f"{number}: in:{row_id} has {answers} replies")


def _compare_outbound(db: sqlite3.Connection, books: Books, verdict: Verdict) -> None:
    doubts: dict[str, int] = dict(
        db.execute(
            "SELECT recipient, count(*) FROM outbound_part WHERE state = 'uncertain' GROUP BY recipient"
        )
    )
    verdict.uncertain += sum(doubts.values())
    texts: dict[str, list[tuple[int, str, str, str | None]]] = {}
    for number, row_id, state, text, channel in db.execute(
        "SELECT recipient, id, state, text, channel FROM outbound"
    ):
        texts.setdefault(number, []).append((row_id, state, text, channel))
    for number in {*books.promised, *books.queued, *texts}:
        rows = [row for row in texts.get(number, []) if row[3] != "http"]
        carried = list(books.carried.get(number, ()))
        doubt = doubts.get(number, 0)
        gone = [row for row in rows if row[1] in ("sent", "delivered", "unknown")]
        for row_id, state, _, _ in rows:
            if state not in ("sent", "delivered", "unknown", "uncertain", "expired"):
                verdict.lost.append(f"{number}: out:{row_id} is {state}")
        if len(carried) < len(gone):
            verdict.lost.append(f"{number}: {len(gone)} are marked sent, the network carried {len(carried)}")
        if len(carried) > len(gone) + doubt:
            marked = f"{len(gone)} are marked sent and {doubt} uncertain"
            verdict.double.append(f"{number}: {marked}, the network carried {len(carried)}")
        unknown = [text for text in carried if text not in {row[2] for row in rows}]
        if unknown:
            verdict.ledger.append(f"{number}: got {unknown[0]!r}, which the box does not know of")
        if (queued := books.queued.get(number, 0)) > len(rows):
            verdict.lost.append(f"{number}: {queued} were promised to be sent, {len(rows)} are stored")
    for number, bodies in books.bodies.items():
        known = {row[2] for row in texts.get(number, [])}
        for body in bodies:
            if body not in known:
                verdict.ledger.append(f"{number}: was answered {body!r}, which the box does not know of")


def _compare_seats(db: sqlite3.Connection, verdict: Verdict) -> None:
    for departure, capacity, taken, booked in db.execute(
        "SELECT d.id, d.seats, (SELECT count(*) FROM seat s WHERE s.departure_id = d.id),"
        " (SELECT coalesce(sum(b.seats), 0) FROM booking b"
        "  WHERE b.departure_id = d.id AND b.state IN ('held', 'paid', 'used')) FROM departure d"
    ):
        if taken != booked or taken > capacity:
            verdict.ledger.append(
                f"departure {departure}: {taken} seats taken, {booked} booked, of {capacity}"
            )
    for holder, bookings, codes in db.execute(
        "SELECT b.holder, count(*), (SELECT count(*) FROM outbound o WHERE o.recipient = b.holder"
        " AND o.text LIKE 'Code %') FROM booking b GROUP BY b.holder"
    ):
        if bookings != codes:
            verdict.ledger.append(f"{holder}: {bookings} bookings, told of {codes}")
