"""Seats, bookings and their payment: the effects that change them and the look-ups that show them.

The schema's keys and triggers refuse to sell a seat twice; the code here gives the reasons in words.
Holds run out by the clock: one past its time counts as free everywhere, and its row is closed when the
departure is next touched or its own timer fires.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from appliance.conversation.travel import Ticket
from appliance.store import refunds
from appliance.store.effects import EffectContext, EffectRefused, effect

__all__ = [
    "ALIVE",
    "TICKET",
    "close_expired",
    "departs_at_ms",
    "find_ticket",
    "free_seats",
    "hold",
    "names_of",
    "release",
    "take_seats",
    "ticket_of",
    "town_names",
]

MAX_OPEN_HOLDS: Final = 3  # unpaid bookings of one person: nobody empties a bus without paying
_DAY_MS: Final = 86_400_000
LATE_MS: Final = 6 * 3_600_000  # money so long after the hold ran out may still be meant for it
ALIVE: Final = "(b.state IN ('paid', 'used') OR (b.state = 'held' AND b.expires_at_ms > :now))"


@lru_cache(maxsize=512)
def _midnight_ms(date: str) -> int:
    return int(dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()) * 1000


def departs_at_ms(date: str, minute: int, timezone_minutes: int) -> int:
    return _midnight_ms(date) + (minute - timezone_minutes) * 60_000


def close_expired(db: sqlite3.Connection, now_ms: int, departure_id: int | None = None) -> int:
    """Close the holds whose time is over, of one departure or of all. Returns how many."""
    where, values = (
        ("", [now_ms]) if departure_id is None else (" AND departure_id = ?", [now_ms, departure_id])
    )
    return db.execute(
        "UPDATE booking SET state = 'expired', ended_at_ms = expires_at_ms, reason = 'time'"
        f" WHERE state = 'held' AND expires_at_ms <= ?{where}",
        values,
    ).rowcount


def _departure(db: sqlite3.Connection, service: int, date: str, now_ms: int) -> tuple[int, int, int]:
    """Id, seats and fare of the departure, made when it is the first time somebody asks for a seat."""
    row = db.execute(
        "SELECT id, seats, fare_santim, departs_at_ms, state FROM departure"
        " WHERE service_id = ? AND date = ?",
        (service, date),
    ).fetchone()
    if row is None:
        found = db.execute(
            "SELECT r.origin_id, r.destination_id, s.minute, s.seats, r.fare_santim, t.timezone_minutes,"
            " s.days FROM service s JOIN route r ON r.id = s.route_id"
            " JOIN timetable t ON t.id = s.timetable_id"
            " WHERE s.id = ? AND s.retired = 0 AND ? BETWEEN s.valid_from AND s.valid_until",
            (service, date),
        ).fetchone()
        if found is None or not found[6] >> dt.date.fromisoformat(date).weekday() & 1:
            raise EffectRefused("gone")
        departs = departs_at_ms(date, found[2], found[5])
        cursor = db.execute(
            "INSERT INTO departure (service_id, date, origin_id, destination_id, minute, departs_at_ms,"
            " seats, fare_santim) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (service, date, found[0], found[1], found[2], departs, found[3], found[4]),
        )
        row = (cursor.lastrowid, found[3], found[4], departs, "planned")
    if row[4] != "planned" or row[3] <= now_ms:
        raise EffectRefused("gone")
    return row[0], row[1], row[2]


def free_seats(db: sqlite3.Connection, departure_id: int, seats: int) -> list[int]:
    taken = {n for (n,) in db.execute("SELECT number FROM seat WHERE departure_id = ?", (departure_id,))}
    return [number for number in range(1, seats + 1) if number not in taken]


def take_seats(db: sqlite3.Connection, departure_id: int, booking_id: int, numbers: list[int]) -> None:
    db.executemany(
        "INSERT INTO seat (departure_id, number, booking_id) VALUES (?, ?, ?)",
        [(departure_id, number, booking_id) for number in numbers],
    )


@effect("booking.hold")
def hold(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Hold seats for the sender until a time.

    args: service, date, seats, code, language, until_ms, fare_santim as the person was told it, and names of
    the passengers where the operator asks for them.
    Refused: gone (left, cancelled or no longer in the timetable), sold_out (left), code_taken, fare_changed
    (fare_santim), too_many_holds.
    """
    seats = int(args["seats"])
    if db.execute("SELECT 1 FROM booking WHERE code = ?", (args["code"],)).fetchone():
        raise EffectRefused("code_taken")
    departure_id, on_bus, fare = _departure(db, int(args["service"]), args["date"], ctx.now_ms)
    if fare != args["fare_santim"]:
        raise EffectRefused("fare_changed", fare_santim=fare)
    close_expired(db, ctx.now_ms, departure_id)
    (holds,) = db.execute(
        "SELECT count(*) FROM booking WHERE holder = ? AND state = 'held' AND expires_at_ms > ?",
        (ctx.sender, ctx.now_ms),
    ).fetchone()
    if holds >= MAX_OPEN_HOLDS:
        raise EffectRefused("too_many_holds")
    free = free_seats(db, departure_id, on_bus)
    if len(free) < seats:
        raise EffectRefused("sold_out", left=len(free))
    numbers = free[:seats]
    booking_id = db.execute(
        "INSERT INTO booking (code, departure_id, holder, language, seats, numbers, price_santim, state,"
        " held_at_ms, expires_at_ms, names) VALUES (?, ?, ?, ?, ?, ?, ?, 'held', ?, ?, ?)",
        (
            args["code"], departure_id, ctx.sender, args["language"], seats, ",".join(map(str, numbers)),
            seats * fare, ctx.now_ms, args["until_ms"], "; ".join(args.get("names", ())),
        ),
    ).lastrowid  # fmt: skip
    assert booking_id is not None
    take_seats(db, departure_id, booking_id, numbers)
    return {"numbers": numbers}


@effect("booking.release")
def release(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Give the sender's unpaid seats back: of one `code`, or all. Doing it twice changes nothing.

    A hold that has run out is closed as expired, whoever asks.
    """
    close_expired_of = "UPDATE booking SET state = 'expired', ended_at_ms = expires_at_ms, reason = 'time'"
    code = args.get("code")
    where = "holder = ? AND state = 'held'" + (" AND code = ?" if code else "")
    values = [ctx.sender, code] if code else [ctx.sender]
    db.execute(f"{close_expired_of} WHERE {where} AND expires_at_ms <= ?", [*values, ctx.now_ms])
    released = db.execute(
        f"UPDATE booking SET state = 'released', ended_at_ms = ?, reason = ? WHERE {where}",
        [ctx.now_ms, args.get("reason", ""), *values],
    ).rowcount
    return {"released": released}


@effect("booking.use")
def use(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """A conductor saw the ticket: it is good once. args: code. Refused: not_paid."""
    done = db.execute(
        "UPDATE booking SET state = 'used', used_at_ms = ? WHERE code = ? AND state = 'paid'",
        (ctx.now_ms, args["code"]),
    ).rowcount
    if not done:
        raise EffectRefused("not_paid")
    return {}


@effect("booking.cancel")
def cancel(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """The sender gives a paid ticket back; what is owed to them is written down. Refused: not_paid.

    args: code, refund_santim.
    """
    row = db.execute(
        "UPDATE booking SET state = 'cancelled', ended_at_ms = ?, reason = 'passenger'"
        " WHERE code = ? AND holder = ? AND state = 'paid' RETURNING id, price_santim",
        (ctx.now_ms, args["code"], ctx.sender),
    ).fetchone()
    if row is None or not 0 <= args["refund_santim"] <= row[1]:
        raise EffectRefused("not_paid")
    refunds.owe(db, row[0], args["refund_santim"], ctx.now_ms)
    return {}


@effect("booking.wait")
def wait(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """The sender wants seats of a full departure. args: service, date, seats, language."""
    db.execute(
        "INSERT INTO waiting (service_id, date, number, language, seats, at_ms) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (service_id, date, number) DO UPDATE SET seats = excluded.seats, told_ms = NULL",
        (args["service"], args["date"], ctx.sender, args["language"], args["seats"], ctx.now_ms),
    )
    return {}


@effect("booking.told")
def told(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> dict[str, Any]:
    """Somebody on the waiting list was told that seats came free. args: waiting, the row."""
    db.execute("UPDATE waiting SET told_ms = ? WHERE id = ?", (ctx.now_ms, args["waiting"]))
    return {}


TICKET: Final = (
    "SELECT b.code, b.holder, b.language,"
    " CASE WHEN b.state = 'held' AND b.expires_at_ms <= :now THEN 'expired' ELSE b.state END,"
    " o.name_en, t.name_en, d.date, d.minute, b.seats, b.numbers, b.price_santim, b.expires_at_ms,"
    " d.departs_at_ms, b.names, d.moved_ms IS NOT NULL AND d.moved_ms >= b.held_at_ms"
    " FROM booking b JOIN departure d ON d.id = b.departure_id"
    " JOIN town o ON o.id = d.origin_id JOIN town t ON t.id = d.destination_id"
)


def ticket_of(row: Sequence[Any]) -> Ticket:
    fields = dict(zip(Ticket.__struct_fields__, row, strict=True))
    fields["numbers"] = [int(number) for number in fields["numbers"].split(",")]
    fields["names"] = [name for name in fields["names"].split("; ") if name]
    fields["moved"] = bool(fields["moved"])
    return msgspec.convert(fields, Ticket)


def names_of(db: sqlite3.Connection, number: str) -> tuple[str, ...]:
    """All passengers' names on a person's bookings, for whoever has to mask them."""
    rows = db.execute("SELECT DISTINCT names FROM booking WHERE holder = ? AND names <> ''", (number,))
    return tuple(dict.fromkeys(name for (names,) in rows for name in names.split("; ")))


def find_ticket(db: sqlite3.Connection, code: str, now_ms: int) -> Ticket | None:
    """The booking with that code, whatever became of it."""
    row = db.execute(TICKET + " WHERE b.code = :code", {"code": code, "now": now_ms}).fetchone()
    return None if row is None else ticket_of(row)


def town_names(db: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Printed names of the towns, by their English name and the column a language prints."""
    return {
        row[0]: {"en": row[0], "am": row[1] or row[0], "om": row[2] or row[0]}
        for row in db.execute("SELECT name_en, name_am, name_om FROM town")
    }
