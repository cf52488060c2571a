"""The books of all parties, compared: what was promised, stored, carried and received, and the money.

Every sender of a round has a number of its own, so that counting by number tells lost and double apart.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.store import ledger

__all__ = ["Books", "Verdict", "compare", "unfinished"]


@dataclass(slots=True)
class Books:
    """What the parties outside the box wrote down.

    promised: messages that each number was promised (202, 200, or handed to the network).
    carried: texts that the network or a provider brought to each number. bodies: replies in HTTP answers.
    queued: recipients of messages that the box promised to send (`outpost send`).
    client: recipients of what a client was promised. heard: how often its webhook got each event; first: by
    recipient, ids of events in the order they came. credit: units the operator gave it; None: no client.
    paid: codes of seats that an agent said he has the cash for.
    """

    promised: Mapping[str, int]
    carried: Mapping[str, Sequence[str]]
    bodies: Mapping[str, Sequence[str]] = field(default_factory=dict)
    queued: Mapping[str, int] = field(default_factory=dict)
    client: Mapping[str, int] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, Sequence[int]] = field(default_factory=dict)
    credit: int | None = None
    paid: Collection[str] = ()


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
        [telling] = db.execute(
            "SELECT count(*) FROM webhook_delivery WHERE state IN ('waiting', 'pending')"
        ).fetchone()
        [campaigns] = db.execute(
            "SELECT count(*) FROM campaign WHERE state IN ('scheduled', 'running')"
        ).fetchone()
        return int(waiting + leaving + telling + campaigns)


def compare(path: Path, books: Books) -> Verdict:
    """Hold the box's own book against the others. Call it when nothing moves any more."""
    verdict = Verdict()
    with _open(path) as db:
        _compare_inbound(db, books, verdict)
        _compare_outbound(db, books, verdict)
        _compare_seats(db, verdict)
        _compare_money(db, books, verdict)
        if books.credit is not None:
            _compare_client(db, books, verdict)
            _compare_webhooks(db, books, verdict)
            _compare_credit(db, books.credit, verdict)
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
    # A provider gets a message whole, so there is no row for a part: the message itself says how often.
    for number, count in db.execute(
        "SELECT recipient, sum(doubted) FROM outbound o WHERE doubted AND NOT EXISTS"
        " (SELECT 1 FROM outbound_part p WHERE p.outbound_id = o.id) GROUP BY recipient"
    ):
        doubts[number] = doubts.get(number, 0) + count
    verdict.uncertain += sum(doubts.values())
    texts: dict[str, list[tuple[int, str, str, str | None]]] = {}
    for number, row_id, state, text, channel in db.execute(
        "SELECT recipient, id, state, text, channel FROM outbound"
    ):
        texts.setdefault(number, []).append((row_id, state, text, channel))
    for number in {*books.promised, *books.queued, *books.client, *texts}:
        rows = [row for row in texts.get(number, []) if row[3] != "http"]
        carried = list(books.carried.get(number, ()))
        doubt = doubts.get(number, 0)
        gone = [row for row in rows if row[1] in ("sent", "delivered", "unknown")]
        for row_id, state, _, _ in rows:
            if state not in ("sent", "delivered", "unknown", "uncertain"):
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


def _compare_money(db: sqlite3.Connection, books: Books, verdict: Verdict) -> None:
    """What was paid for is paid, once; and the double entries of the box agree with its rows."""
    # Who booked "tomorrow" while the clock was days behind has a seat on a bus that left: the agent was told.
    gone = {
        code
        for (code,) in db.execute(
            "SELECT b.code FROM booking b JOIN departure d ON d.id = b.departure_id JOIN inbound i"
            " ON i.text LIKE 'PAY ' || b.code || ' %'"
            " WHERE b.state = 'held' AND d.departs_at_ms <= i.handled_at_ms"
        )
    }
    for code in set(books.paid) - gone:
        row = db.execute("SELECT holder, state FROM booking WHERE code = ?", (code,)).fetchone()
        if row is None or row[1] not in ("paid", "used"):
            verdict.lost.append(f"{code} was paid for and is {row[1] if row else 'nobody knows what'}")
    for code, state, payments in db.execute(
        "SELECT b.code, b.state, (SELECT count(*) FROM payment p WHERE p.booking_id = b.id) FROM booking b"
    ):
        if (payments == 1) != (code in books.paid and code not in gone):
            verdict.ledger.append(
                f"{code} is {state} with {payments} payments, paid for: {code in books.paid}"
            )
    verdict.ledger.extend(ledger.check(db))


def _compare_client(db: sqlite3.Connection, books: Books, verdict: Verdict) -> None:
    """Each promise to a client is one row, whatever became of the answer to the request."""
    stored: dict[str, int] = dict(
        db.execute("SELECT recipient, count(*) FROM outbound WHERE client_id > 0 GROUP BY recipient")
    )
    for number in {*books.client, *stored}:
        count, rows = books.client.get(number, 0), stored.get(number, 0)
        verdict.accepted += rows
        if rows < count:
            verdict.lost.append(f"{number}: a client was promised {count} messages, {rows} are stored")
        if rows > count:
            verdict.double.append(f"{number}: a client asked for {count} messages, {rows} are stored")
    for campaign, contacts, done, messages in db.execute(
        "SELECT id, contacts, accepted + opted_out + refused,"
        " (SELECT count(*) FROM campaign_message m WHERE m.campaign_id = c.id) FROM campaign c"
    ):
        if contacts != done or contacts != messages:
            verdict.ledger.append(
                f"campaign {campaign}: {contacts} contacts, {done} done, {messages} messages"
            )


def _compare_webhooks(db: sqlite3.Connection, books: Books, verdict: Verdict) -> None:
    """Every event is heard, at least once and in order; nothing is heard that did not happen."""
    known = {}
    for event, ordering, state in db.execute(
        "SELECT v.id, v.ordering, d.state FROM webhook_event v JOIN webhook_delivery d ON d.event_id = v.id"
    ):
        known[f"evt_{event}"] = ordering
        if not books.heard.get(f"evt_{event}"):
            verdict.lost.append(f"{ordering}: event {event} is {state}, its receiver never heard of it")
    for event in books.heard:
        if event not in known:
            verdict.ledger.append(f"{event} was told, and the box does not know of it")
    for number, events in books.first.items():
        if list(events) != sorted(events):
            verdict.ledger.append(f"{number}: events came in the order {list(events)}")
    for number, state in db.execute(
        "SELECT recipient, state FROM outbound o WHERE client_id > 0 AND state <> 'queued' AND NOT EXISTS"
        " (SELECT 1 FROM webhook_event v WHERE v.type = 'message.' || o.state"
        "  AND v.body LIKE '%\"out_' || o.id || '\"%')"
    ):
        verdict.lost.append(f"{number}: nobody was told that its message is {state}")


def _compare_credit(db: sqlite3.Connection, given: int, verdict: Verdict) -> None:
    """A unit is in one place: the balance, a reserve, or a message that was sent."""
    balance, reserved, credit, held, settled = db.execute(
        "SELECT k.balance, k.reserved, (SELECT sum(units) FROM credit),"
        " (SELECT coalesce(sum(units), 0) FROM client_message WHERE charge = 'reserved'),"
        " (SELECT coalesce(sum(units), 0) FROM client_message WHERE charge = 'settled') FROM client k"
    ).fetchone()
    if credit != given:
        verdict.ledger.append(f"credit: {given} units were given, {credit} are booked")
    if reserved != held or balance + held + settled != credit:
        verdict.ledger.append(
            f"credit: {credit} given, {balance} left, {reserved} reserved for {held}, {settled} settled"
        )
    for row, state, charge in db.execute(
        "SELECT o.id, o.state, m.charge FROM outbound o JOIN client_message m ON m.outbound_id = o.id"
        " WHERE (o.state IN ('sent', 'delivered', 'unknown')) <> (m.charge = 'settled')"
        " AND NOT (o.state = 'failed' AND o.sent_at_ms IS NOT NULL)"
    ):
        verdict.ledger.append(f"out:{row} is {state} and its units are {charge}")
