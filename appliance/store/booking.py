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

from appliance.conversation.travel import PinCheck, Route, Ticket, Town, Trip, Waiter
from appliance.message import Lane, Outbound
from appliance.store import agents, outbound, receipts, refunds
from appliance.store.effects import EffectContext, EffectRefused, effect
from appliance.store.outbound import QueuedRow, QueueKey

__all__ = [
    "BookingLook",
    "cancel_departure",
    "close_expired",
    "find_ticket",
    "free_seats",
    "hold",
    "manifest",
    "release",
    "sold_tickets",
    "take_seats",
    "town_names",
]

MAX_OPEN_HOLDS: Final = 3  # unpaid bookings of one person: nobody empties a bus without paying
_DAY_MS: Final = 86_400_000
LATE_MS: Final = 6 * 3_600_000  # money so long after the hold ran out may still be meant for it
_ALIVE: Final = "(b.state IN ('paid', 'used') OR (b.state = 'held' AND b.expires_at_ms > :now))"


@lru_cache(maxsize=512)
def _midnight_ms(date: str) -> int:
    return int(dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()) * 1000


def _departs_at_ms(date: str, minute: int, timezone_minutes: int) -> int:
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
        departs = _departs_at_ms(date, found[2], found[5])
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

    args: service, date, seats, code, language, until_ms, and fare_santim as the person was told it.
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
        " held_at_ms, expires_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 'held', ?, ?)",
        (
            args["code"], departure_id, ctx.sender, args["language"], seats, ",".join(map(str, numbers)),
            seats * fare, ctx.now_ms, args["until_ms"],
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


_TICKET: Final = (
    "SELECT b.code, b.holder, b.language,"
    " CASE WHEN b.state = 'held' AND b.expires_at_ms <= :now THEN 'expired' ELSE b.state END,"
    " o.name_en, t.name_en, d.date, d.minute, b.seats, b.numbers, b.price_santim, b.expires_at_ms,"
    " d.departs_at_ms FROM booking b JOIN departure d ON d.id = b.departure_id"
    " JOIN town o ON o.id = d.origin_id JOIN town t ON t.id = d.destination_id"
)


def _ticket(row: Sequence[Any]) -> Ticket:
    fields = dict(zip(Ticket.__struct_fields__, row, strict=True))
    fields["numbers"] = [int(number) for number in fields["numbers"].split(",")]
    return msgspec.convert(fields, Ticket)


def find_ticket(db: sqlite3.Connection, code: str, now_ms: int) -> Ticket | None:
    """The booking with that code, whatever became of it."""
    row = db.execute(_TICKET + " WHERE b.code = :code", {"code": code, "now": now_ms}).fetchone()
    return None if row is None else _ticket(row)


def sold_tickets(
    db: sqlite3.Connection, date: str, origin: str, destination: str, minute: int, now_ms: int
) -> list[Ticket]:
    """The bookings of one departure that are paid or held now."""
    rows = db.execute(
        f"{_TICKET} WHERE d.date = :date AND o.name_en = :origin AND t.name_en = :destination"
        f" AND d.minute = :minute AND {_ALIVE} ORDER BY b.id",
        {"date": date, "origin": origin, "destination": destination, "minute": minute, "now": now_ms},
    )
    return [_ticket(row) for row in rows]


def town_names(db: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Printed names of the towns, by their English name and the column a language prints."""
    return {
        row[0]: {"en": row[0], "am": row[1] or row[0], "om": row[2] or row[0]}
        for row in db.execute("SELECT name_en, name_am, name_om FROM town")
    }


def cancel_departure(
    db: sqlite3.Connection,
    date: str,
    origin: str,
    destination: str,
    minute: int,
    notices: dict[str, str],
    now_ms: int,
) -> tuple[bool, list[QueuedRow]]:
    """A departure does not run: nothing more is sold, what was paid is owed back whole, and all are told.

    notices: the text for the holder of each booking, by its code. Returns whether there is such a departure,
    and the rows to send. An op of the writer; doing it twice tells nobody again.
    """
    service = db.execute(
        "SELECT s.id, t.timezone_minutes FROM service s JOIN route r ON r.id = s.route_id"
        " JOIN town o ON o.id = r.origin_id JOIN town z ON z.id = r.destination_id"
        " JOIN timetable t ON t.id = s.timetable_id"
        " WHERE o.name_en = ? AND z.name_en = ? AND s.minute = ? AND s.retired = 0"
        " AND ? BETWEEN s.valid_from AND s.valid_until",
        (origin, destination, minute, date),
    ).fetchone()
    if service is None:
        return False, []
    db.execute(
        "INSERT INTO departure (service_id, date, origin_id, destination_id, minute, departs_at_ms, seats,"
        " fare_santim, state) SELECT s.id, ?, r.origin_id, r.destination_id, s.minute, ?, s.seats,"
        " r.fare_santim, 'cancelled' FROM service s JOIN route r ON r.id = s.route_id WHERE s.id = ?"
        " ON CONFLICT (service_id, date) DO UPDATE SET state = 'cancelled'",
        (date, _departs_at_ms(date, minute, service[1]), service[0]),
    )
    queued = []
    for code, text in notices.items():
        row = db.execute(
            "SELECT id, holder, state, price_santim FROM booking"
            " WHERE code = ? AND state IN ('held', 'paid')",
            (code,),
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
        message = Outbound(recipient=row[1], text=text, lane=Lane.REPLY)
        number = outbound.insert(db, message, now_ms)
        queued.append(
            QueuedRow(number, row[1], QueueKey(message.route, str(message.lane), message.client_id))
        )
    return True, queued


def manifest(db: sqlite3.Connection, date: str, origin: str, destination: str) -> list[dict[str, Any]]:
    """Who travels on a day between two towns, per departure and in the order of the seats."""
    departures: dict[int, dict[str, Any]] = {}
    for row in db.execute(
        "SELECT d.id, d.minute, d.seats, d.state, b.code, b.holder, b.seats, b.numbers, b.state"
        " FROM departure d JOIN town o ON o.id = d.origin_id JOIN town t ON t.id = d.destination_id"
        " LEFT JOIN booking b ON b.departure_id = d.id AND b.state IN ('paid', 'used')"
        " WHERE d.date = ? AND o.name_en = ? AND t.name_en = ? ORDER BY d.minute, b.id",
        (date, origin, destination),
    ):
        found = departures.setdefault(
            row[0],
            {
                "time": f"{row[1] // 60:02}:{row[1] % 60:02}",
                "seats": row[2],
                "state": row[3],
                "passengers": [],
            },
        )
        if row[4] is not None:
            found["passengers"].append(
                {"code": row[4], "holder": row[5], "seats": row[6], "numbers": row[7], "state": row[8]}
            )
    return list(departures.values())


def _same_number(number: str, shown: str) -> bool:
    """Whether a number fits the digits a wallet shows of it (2519....1234): the first and the last four."""
    if not shown:
        return True
    digits = number.lstrip("+")
    return digits[:4] == shown[:4] and digits[-4:] == shown[-4:]


class BookingLook:
    """What the booking conversation may see. It reads; a connection opened read-only is enough.

    Towns and routes are kept in memory until another timetable is imported.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._version = -1
        self._towns: tuple[Town, ...] = ()
        self._routes: dict[tuple[str, str], Route] = {}

    @property
    def version(self) -> int:
        """Changes with each import; what is derived from towns and routes is good for one version."""
        (version,) = self._db.execute("SELECT coalesce(max(id), 0) FROM timetable").fetchone()
        if version != self._version:
            self._load()
            self._version = version
        return self._version

    def _load(self) -> None:
        self._towns = tuple(
            Town(
                row[0],
                {"en": row[0], "am": row[1] or row[0], "om": row[2] or row[0]},
                tuple(name for name in (row[0], row[1], row[2], *row[5].split(";")) if name),
                row[3],
                row[4],
            )
            for row in self._db.execute(
                "SELECT name_en, name_am, name_om, lat, lon, aliases FROM town ORDER BY id"
            )
        )
        self._routes = {
            (row[0], row[1]): Route(*row)
            for row in self._db.execute(
                "SELECT o.name_en, t.name_en, r.km, r.duration_min, r.fare_santim FROM route r"
                " JOIN town o ON o.id = r.origin_id JOIN town t ON t.id = r.destination_id"
                " WHERE r.retired = 0"
            )
        }

    def towns(self) -> tuple[Town, ...]:
        assert self.version >= 0
        return self._towns

    def route(self, origin: str, destination: str) -> Route | None:
        """The way, as of the last look at `version`: a turn looks once, at its beginning."""
        assert self._version >= 0 or self.version >= 0
        return self._routes.get((origin, destination))

    def changes(self, origin: str, destination: str) -> list[str]:
        """Towns where one change of bus makes the way, the shortest whole way first."""
        assert self._version >= 0 or self.version >= 0
        ways = [
            (route.km + onward.km, route.destination)
            for route in self._routes.values()
            if route.origin == origin and (onward := self._routes.get((route.destination, destination)))
        ]
        return [via for _, via in sorted(ways)]

    def is_sample(self) -> bool:
        """The timetable is the illustrative one: its fares are nobody's."""
        row = self._db.execute("SELECT sample FROM timetable ORDER BY id DESC LIMIT 1").fetchone()
        return bool(row and row[0])

    def trips(self, origin: str, destination: str, date: str, now_ms: int) -> list[Trip]:
        """The day's departures that have not left, with the seats that can still be had, earliest first."""
        weekday = dt.date.fromisoformat(date).weekday()
        rows = self._db.execute(
            "SELECT s.id, s.minute, coalesce(d.seats, s.seats), coalesce(d.fare_santim, r.fare_santim),"
            " t.timezone_minutes, d.id, (SELECT count(*) FROM seat x JOIN booking b ON b.id = x.booking_id"
            f" WHERE x.departure_id = d.id AND {_ALIVE})"
            " FROM service s JOIN route r ON r.id = s.route_id JOIN timetable t ON t.id = s.timetable_id"
            " JOIN town o ON o.id = r.origin_id JOIN town z ON z.id = r.destination_id"
            " LEFT JOIN departure d ON d.service_id = s.id AND d.date = :date"
            " WHERE o.name_en = :origin AND z.name_en = :destination AND s.retired = 0 AND r.retired = 0"
            " AND (s.days >> :weekday) & 1 AND :date BETWEEN s.valid_from AND s.valid_until"
            " AND coalesce(d.state, 'planned') = 'planned' ORDER BY s.minute",
            {"date": date, "origin": origin, "destination": destination, "weekday": weekday, "now": now_ms},
        )
        return [
            Trip(row[0], date, row[1], row[2] - row[6], row[3])
            for row in rows
            if _departs_at_ms(date, row[1], row[4]) > now_ms
        ]

    def ticket(self, code: str, now_ms: int) -> Ticket | None:
        return find_ticket(self._db, code, now_ms)

    def next_waiting(self, code: str) -> Waiter | None:
        """The first on the waiting list of that booking's departure for whom its seats are enough."""
        row = self._db.execute(
            "SELECT w.id, w.number, w.language, w.seats FROM booking b"
            " JOIN departure d ON d.id = b.departure_id"
            " JOIN waiting w ON w.service_id = d.service_id AND w.date = d.date"
            " WHERE b.code = ? AND w.told_ms IS NULL AND w.seats <= b.seats ORDER BY w.id LIMIT 1",
            (code,),
        ).fetchone()
        return None if row is None else Waiter(*row)

    def refund_owed(self, code: str) -> int | None:
        """Santim that an agent owes for a booking; None: nothing, or paid already."""
        return refunds.owed_in_cash(self._db, code)

    def receipt_state(self, reference: str) -> str | None:
        """What became of a wallet's transaction; None: it is new."""
        return receipts.state_of(self._db, reference)

    def open_receipt(self, reference: str) -> int | None:
        """Santim of a transaction that has paid for nothing yet."""
        return receipts.open_amount(self._db, reference)

    def paid_by(self, code: str) -> str | None:
        """How a booking was paid: cash, receipt or telebirr; None: it was not."""
        row = self._db.execute(
            "SELECT p.method FROM payment p JOIN booking b ON b.id = p.booking_id WHERE b.code = ?", (code,)
        ).fetchone()
        return None if row is None else str(row[0])

    def pin(self, number: str, pin: str, now_ms: int) -> PinCheck:
        """Whether a PIN is that of the agent with this number."""
        return agents.check_pin(self._db, number, pin, now_ms)

    def awaiting(self, amount_santim: int, payer: str, now_ms: int) -> list[Ticket]:
        """Bookings of exactly this price whose holder's number fits what the wallet shows of it: those that
        are held, or if there are none those that ran out a short while ago and were not paid."""
        rows = self._db.execute(
            f"{_TICKET} WHERE b.price_santim = :amount AND (b.state = 'held' OR b.state = 'expired')"
            " AND b.expires_at_ms > :since ORDER BY b.id LIMIT 200",
            {"amount": amount_santim, "now": now_ms, "since": now_ms - LATE_MS},
        )
        shown = "".join(char if char.isdigit() else "." for char in payer.lstrip("+"))
        fitting = [ticket for ticket in map(_ticket, rows) if _same_number(ticket.holder, shown)]
        held = [ticket for ticket in fitting if ticket.state == "held"]
        return held or fitting

    def tickets_of(self, holder: str, now_ms: int) -> list[Ticket]:
        """A person's bookings that still count, the newest first: held, or paid and not yet left."""
        rows = self._db.execute(
            f"{_TICKET} WHERE b.holder = :holder AND {_ALIVE} AND d.departs_at_ms > :now"
            " ORDER BY b.id DESC LIMIT 9",
            {"holder": holder, "now": now_ms},
        )
        return [_ticket(row) for row in rows]
