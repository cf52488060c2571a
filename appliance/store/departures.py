"""Departures as the operator and the driver see them: who travels, what is moved or cancelled, who is told.

Ops of the writer that send take their texts from the caller, by booking, since a text is in its holder's
language; they give back the rows to send.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from appliance.conversation.travel import Ticket
from appliance.message import Lane, Outbound
from appliance.store import outbound, refunds
from appliance.store.booking import ALIVE, TICKET, departs_at_ms, ticket_of
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = [
    "Manifest",
    "Passenger",
    "cancel_departure",
    "due_manifests",
    "due_reminders",
    "manifest",
    "manifests",
    "move_departure",
    "note_pressure",
    "pressure",
    "remind",
    "send_manifest",
    "set_driver",
    "sold_tickets",
    "upcoming",
]

MOST_AT_ONCE: Final = 100  # notices queued in one op


class Passenger(NamedTuple):
    """One booking in a manifest. numbers: seat numbers, "," between; names: "; " between, may be ""."""

    code: str
    holder: str
    seats: int
    numbers: str
    state: str
    names: str


class Manifest(NamedTuple):
    """A departure and who travels on it. driver: a number, or ""."""

    id: int
    date: str
    origin: str
    destination: str
    minute: int
    seats: int
    state: str
    driver: str
    manifest_ms: int | None
    passengers: tuple[Passenger, ...]


def _queue(db: sqlite3.Connection, number: str, text: str, lane: Lane, now_ms: int) -> QueuedRow:
    message = Outbound(recipient=number, text=text, lane=lane)
    row = outbound.insert(db, message, now_ms)
    return QueuedRow(row, number, QueueKey(message.route, str(message.lane), message.client_id))


def sold_tickets(
    db: sqlite3.Connection, date: str, origin: str, destination: str, minute: int, now_ms: int
) -> list[Ticket]:
    """The bookings of one departure that are paid or held now."""
    rows = db.execute(
        f"{TICKET} WHERE d.date = :date AND o.name_en = :origin AND t.name_en = :destination"
        f" AND d.minute = :minute AND {ALIVE} ORDER BY b.id",
        {"date": date, "origin": origin, "destination": destination, "minute": minute, "now": now_ms},
    )
    return [ticket_of(row) for row in rows]


def _departure_id(
    db: sqlite3.Connection, date: str, origin: str, destination: str, minute: int
) -> int | None:
    """The departure of that day and hour; its row is made if nobody asked for a seat of it yet."""
    names = (date, origin, destination, minute)
    row = db.execute(
        "SELECT d.id FROM departure d JOIN town o ON o.id = d.origin_id"
        " JOIN town z ON z.id = d.destination_id WHERE d.date = ? AND o.name_en = ? AND z.name_en = ?"
        " AND d.minute = ? ORDER BY d.id DESC LIMIT 1",
        names,
    ).fetchone()
    if row is not None:
        return int(row[0])
    service = db.execute(
        "SELECT s.id, r.origin_id, r.destination_id, s.seats, r.fare_santim, t.timezone_minutes"
        " FROM service s JOIN route r ON r.id = s.route_id JOIN town o ON o.id = r.origin_id"
        " JOIN town z ON z.id = r.destination_id JOIN timetable t ON t.id = s.timetable_id"
        " WHERE ? BETWEEN s.valid_from AND s.valid_until AND o.name_en = ? AND z.name_en = ?"
        " AND s.minute = ? AND s.retired = 0"
        " AND NOT EXISTS (SELECT 1 FROM departure d WHERE d.service_id = s.id AND d.date = ?)",
        (*names, date),
    ).fetchone()
    if service is None:
        return None
    number, origin_id, destination_id, seats, fare, zone = service
    cursor = db.execute(
        "INSERT INTO departure (service_id, date, origin_id, destination_id, minute, departs_at_ms, seats,"
        " fare_santim) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, date, origin_id, destination_id, minute, departs_at_ms(date, minute, zone), seats, fare),
    )
    return cursor.lastrowid


def cancel_departure(
    db: sqlite3.Connection,
    date: str,
    origin: str,
    destination: str,
    minute: int,
    notices: Mapping[str, str],
    now_ms: int,
) -> tuple[bool, list[QueuedRow]]:
    """A departure does not run: nothing more is sold, what was paid is owed back whole, and all are told.

    notices: the text for the holder of each booking, by its code; one without a text is left for the next
    call. Returns whether there is such a departure, and the rows to send. Doing it twice tells nobody again.
    """
    departure = _departure_id(db, date, origin, destination, minute)
    if departure is None:
        return False, []
    db.execute("UPDATE departure SET state = 'cancelled' WHERE id = ?", (departure,))
    queued = []
    for code, text in notices.items():
        row = db.execute(
            "SELECT id, holder, state, price_santim FROM booking"
            " WHERE code = ? AND departure_id = ? AND state IN ('held', 'paid')",
            (code, departure),
        ).fetchone()
        if row is None:
            continue
        ended = "cancelled" if row[2] == "paid" else "released"
        db.execute(
            "UPDATE booking SET state = ?, ended_at_ms = ?, reason = 'no bus' WHERE id = ?",
            (ended, now_ms, row[0]),
        )
        if row[2] == "paid":
            refunds.owe(db, row[0], row[3], now_ms)
        queued.append(_queue(db, row[1], text, Lane.REPLY, now_ms))
    return True, queued


def move_departure(
    db: sqlite3.Connection,
    date: str,
    origin: str,
    destination: str,
    minute: int,
    new_minute: int,
    notices: Mapping[str, str],
    now_ms: int,
) -> tuple[bool, list[QueuedRow]]:
    """A departure leaves at another hour of its day; all who have seats are told, and may give them back.

    notices: as for `cancel_departure`. Returns whether there is such a departure, and the rows to send.
    """
    departure = _departure_id(db, date, origin, destination, minute)
    if departure is None:
        return False, []
    db.execute(
        "UPDATE departure SET minute = ?, departs_at_ms = departs_at_ms + ?, moved_ms = ?, manifest_ms = NULL"
        " WHERE id = ?",
        (new_minute, (new_minute - minute) * 60_000, now_ms, departure),
    )
    db.execute("UPDATE booking SET reminded_ms = NULL WHERE departure_id = ?", (departure,))
    queued = []
    for code, text in notices.items():
        row = db.execute(
            "SELECT holder FROM booking WHERE code = ? AND departure_id = ? AND state IN ('held', 'paid')",
            (code, departure),
        ).fetchone()
        if row is not None:
            queued.append(_queue(db, row[0], text, Lane.REPLY, now_ms))
    return True, queued


# The driver of that day, else of every day. By the timetable's hour: a moved bus keeps its driver.
_DRIVER: Final = (
    "coalesce((SELECT v.number FROM driver v WHERE v.origin_id = d.origin_id"
    " AND v.destination_id = d.destination_id AND v.minute IN (d.minute, s.minute) AND v.date IN (d.date, '')"
    " ORDER BY v.date DESC LIMIT 1), '')"
)
_MANIFEST: Final = (
    f"SELECT d.id, d.date, o.name_en, z.name_en, d.minute, d.seats, d.state, {_DRIVER} AS driver,"
    " d.manifest_ms FROM departure d JOIN service s ON s.id = d.service_id JOIN town o ON o.id = d.origin_id"
    " JOIN town z ON z.id = d.destination_id"
)


def _with_passengers(db: sqlite3.Connection, row: tuple[Any, ...]) -> Manifest:
    passengers = db.execute(
        "SELECT code, holder, seats, numbers, state, names FROM booking"
        " WHERE departure_id = ? AND state IN ('paid', 'used')",
        (row[0],),
    )
    # By the first seat: so the driver goes through the bus.
    found = sorted(map(Passenger._make, passengers), key=lambda who: int(who.numbers.split(",")[0]))
    return Manifest._make((*row, tuple(found)))


def manifests(db: sqlite3.Connection, date: str, origin: str, destination: str) -> list[Manifest]:
    """Who travels on a day between two towns, per departure and in the order of the seats."""
    rows = db.execute(
        _MANIFEST + " WHERE d.date = ? AND o.name_en = ? AND z.name_en = ? ORDER BY d.minute",
        (date, origin, destination),
    ).fetchall()
    return [_with_passengers(db, row) for row in rows]


def manifest(db: sqlite3.Connection, departure: int) -> Manifest | None:
    """One departure and who travels on it."""
    row = db.execute(_MANIFEST + " WHERE d.id = ?", (departure,)).fetchone()
    return None if row is None else _with_passengers(db, row)


def upcoming(db: sqlite3.Connection, now_ms: int, most: int = 200) -> list[tuple[Any, ...]]:
    """Departures that have not left and have seats sold or held, the next first.

    (id, date, origin, destination, minute, seats, state, driver, seats paid, seats held).
    """
    counted = "(SELECT coalesce(sum(b.seats), 0) FROM booking b WHERE b.departure_id = d.id AND b.state"
    return db.execute(
        f"SELECT * FROM (SELECT d.id, d.date, o.name_en, z.name_en, d.minute, d.seats, d.state, {_DRIVER},"
        f" {counted} IN ('paid', 'used')) AS paid, {counted} = 'held' AND b.expires_at_ms > :now) AS held"
        " FROM departure d JOIN service s ON s.id = d.service_id JOIN town o ON o.id = d.origin_id"
        " JOIN town z ON z.id = d.destination_id WHERE d.departs_at_ms > :now ORDER BY d.departs_at_ms)"
        " WHERE paid + held > 0 LIMIT :most",
        {"now": now_ms, "most": most},
    ).fetchall()


def set_driver(
    db: sqlite3.Connection, origin: str, destination: str, minute: int, date: str, number: str
) -> None:
    """Say whose phone gets the manifest, of one day or, with date "", of every day; number "": nobody's."""
    ids = [
        db.execute("SELECT id FROM town WHERE name_en = ?", (name,)).fetchone()[0]
        for name in (origin, destination)
    ]
    db.execute(
        "DELETE FROM driver WHERE origin_id = ? AND destination_id = ? AND minute = ? AND date = ?",
        (*ids, minute, date),
    )
    if number:
        db.execute("INSERT INTO driver VALUES (?, ?, ?, ?, ?)", (*ids, minute, date, number))


# -- what is said before a departure leaves


def due_reminders(db: sqlite3.Connection, now_ms: int, before_ms: int) -> list[Ticket]:
    """Paid tickets that leave within `before_ms` and whose holders were not reminded and want to hear.

    Who paid within that time was told the hour a moment ago and needs no reminder.
    """
    rows = db.execute(
        f"{TICKET} WHERE d.departs_at_ms > :now AND d.departs_at_ms <= :until AND d.state = 'planned'"
        " AND b.state = 'paid' AND b.reminded_ms IS NULL AND b.paid_at_ms <= d.departs_at_ms - :before"
        " AND NOT EXISTS (SELECT 1 FROM person p WHERE p.number = b.holder AND p.opted_out_ms IS NOT NULL)"
        " ORDER BY d.departs_at_ms LIMIT :most",
        {"now": now_ms, "until": now_ms + before_ms, "before": before_ms, "most": MOST_AT_ONCE},
    )
    return [ticket_of(row) for row in rows]


def remind(db: sqlite3.Connection, texts: Mapping[str, str], now_ms: int) -> list[QueuedRow]:
    """Queue the reminder of each booking, by its code, once. Returns the rows to send."""
    queued = []
    for code, text in texts.items():
        row = db.execute(
            "UPDATE booking SET reminded_ms = ? WHERE code = ? AND state = 'paid' AND reminded_ms IS NULL"
            " RETURNING holder",
            (now_ms, code),
        ).fetchone()
        if row is not None:
            queued.append(_queue(db, row[0], text, Lane.NORMAL, now_ms))
    return queued


def due_manifests(db: sqlite3.Connection, now_ms: int, before_ms: int) -> list[Manifest]:
    """Departures that leave within `before_ms`, have a driver's number, and whose driver was not told yet."""
    rows = db.execute(
        f"SELECT * FROM ({_MANIFEST} WHERE d.departs_at_ms > ? AND d.departs_at_ms <= ?"
        " AND d.state = 'planned' AND d.manifest_ms IS NULL) WHERE driver <> ''",
        (now_ms, now_ms + before_ms),
    ).fetchall()
    return [_with_passengers(db, row) for row in rows]


def send_manifest(
    db: sqlite3.Connection, departure: int, number: str, text: str, now_ms: int
) -> list[QueuedRow]:
    """Queue the manifest for the driver, once. Returns the rows to send."""
    done = db.execute(
        "UPDATE departure SET manifest_ms = ? WHERE id = ? AND manifest_ms IS NULL", (now_ms, departure)
    ).rowcount
    return [_queue(db, number, text, Lane.NORMAL, now_ms)] if done else []


# -- pressure


def pressure(db: sqlite3.Connection) -> bool:
    """Whether the box was under pressure when somebody last looked."""
    return bool(db.execute("SELECT pressed FROM pressure").fetchone()[0])


def note_pressure(db: sqlite3.Connection, pressed: bool, now_ms: int) -> None:
    """Write down that pressure began or ended; the workers read it at their next search."""
    db.execute("UPDATE pressure SET pressed = ?, since_ms = ?", (int(pressed), now_ms))
