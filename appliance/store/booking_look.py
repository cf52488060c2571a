"""What the booking conversation may see of towns, departures, tickets and payments."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Final, NamedTuple

from appliance.conversation.travel import Nearby, PinCheck, Route, Ticket, Town, Trip, Waiter
from appliance.store import agents, receipts, refunds
from appliance.store.booking import ALIVE, LATE_MS, TICKET, departs_at_ms, find_ticket, ticket_of
from appliance.store.plan import great_circle_km

__all__ = ["PRESSED_MS", "REMEMBER_MS", "BookingLook"]


def _same_number(number: str, shown: str) -> bool:
    """Whether a number fits the digits a wallet shows of it (2519....1234): the first and the last four."""
    if not shown:
        return True
    digits = number.lstrip("+")
    return digits[:4] == shown[:4] and digits[-4:] == shown[-4:]


REMEMBER_MS: Final = 5 * 60_000  # a search is good for so long while nothing changes its seats
PRESSED_MS: Final = 30 * 60_000  # the same under pressure
MOST_FOUND: Final = 512  # searches remembered by one worker
NEARBY_KM: Final = 60  # as the crow flies: what somebody would take another bus or a minibus for


class _Found(NamedTuple):
    """A search: its seats' stamp, from and to when it is good, its departures and when they leave."""

    stamp: int
    made_ms: int
    until_ms: int
    trips: list[tuple[Trip, int]]


class BookingLook:
    """What the booking conversation may see. It reads; a connection opened read-only is enough.

    Towns and routes are kept in memory until another timetable is imported, and the departures of a way on a
    day until something changes their seats or the time is over: 5 minutes, or 30 under pressure.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._version = -1
        self._pressed = False
        self._towns: tuple[Town, ...] = ()
        self._ids: dict[str, int] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._sample = False
        self._found: dict[tuple[str, str, str], _Found] = {}
        self.searches = self.remembered = 0  # how often departures were asked for, and known already

    @property
    def version(self) -> int:
        """Changes with each import; what is derived from towns and routes is good for one version."""
        version, pressed = self._db.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM timetable), pressed FROM pressure"
        ).fetchone()
        self._pressed = bool(pressed)
        if version != self._version:
            self._load()
            self._found.clear()
            self._version = version
        return self._version

    def _load(self) -> None:
        self._ids = dict(self._db.execute("SELECT name_en, id FROM town"))
        latest = self._db.execute("SELECT sample FROM timetable ORDER BY id DESC LIMIT 1").fetchone()
        self._sample = bool(latest and latest[0])
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

    def nearby(self, origin: str, destination: str) -> list[Nearby]:
        """Towns near one end of a way that has no bus, from or to which there is one, the nearest first.

        Only one end is another: first towns near the destination, else towns near the origin.
        """
        assert self._version >= 0 or self.version >= 0
        towns = {town.key: town for town in self._towns}
        for slot, asked in (("destination", destination), ("origin", origin)):
            found = []
            for town in self._towns:
                way = (origin, town.key) if slot == "destination" else (town.key, destination)
                if way in self._routes and town.key != asked:
                    km = great_circle_km(towns[asked], town)
                    if km <= NEARBY_KM:
                        found.append(Nearby(slot, town.key, max(1, round(km))))
            if found:
                return sorted(found, key=lambda near: near.km)
        return []

    def is_sample(self) -> bool:
        """The timetable is the illustrative one: its fares are nobody's."""
        assert self._version >= 0 or self.version >= 0
        return self._sample

    def trips(self, origin: str, destination: str, date: str, now_ms: int) -> list[Trip]:
        """The day's departures that have not left, with the seats that can still be had, earliest first.

        Of the timetable as of the last look at `version`, with the seats of this moment.
        """
        assert self._version >= 0 or self.version >= 0
        self.searches += 1
        key = (origin, destination, date)
        row = self._db.execute(
            "SELECT n FROM seat_stamp WHERE origin_id = ? AND destination_id = ? AND date = ?",
            (self._ids.get(origin), self._ids.get(destination), date),
        ).fetchone()
        stamp = 0 if row is None else int(row[0])
        found = self._found.get(key)
        if found is None or found.stamp != stamp or not found.made_ms <= now_ms < found.until_ms:
            found = self._search(key, stamp, now_ms)
            if len(self._found) >= MOST_FOUND:
                self._found.pop(next(iter(self._found)))
            self._found[key] = found
        else:
            self.remembered += 1
        return [trip for trip, departs in found.trips if departs > now_ms]

    def _search(self, key: tuple[str, str, str], stamp: int, now_ms: int) -> _Found:
        origin, destination, date = key
        weekday = dt.date.fromisoformat(date).weekday()
        rows = self._db.execute(
            "SELECT s.id, coalesce(d.minute, s.minute), coalesce(d.seats, s.seats),"
            " coalesce(d.fare_santim, r.fare_santim), t.timezone_minutes,"
            " (SELECT count(*) FROM seat x JOIN booking b ON b.id = x.booking_id"
            f" WHERE x.departure_id = d.id AND {ALIVE}),"
            " (SELECT min(b.expires_at_ms) FROM booking b WHERE b.departure_id = d.id AND b.state = 'held'"
            " AND b.expires_at_ms > :now)"
            " FROM service s JOIN route r ON r.id = s.route_id JOIN timetable t ON t.id = s.timetable_id"
            " LEFT JOIN departure d ON d.service_id = s.id AND d.date = :date"
            " WHERE r.origin_id = :origin AND r.destination_id = :destination AND s.retired = 0"
            " AND r.retired = 0 AND (s.days >> :weekday) & 1 AND :date BETWEEN s.valid_from AND s.valid_until"
            " AND coalesce(d.state, 'planned') = 'planned' ORDER BY 2",
            {
                "date": date,
                "origin": self._ids.get(origin),
                "destination": self._ids.get(destination),
                "weekday": weekday,
                "now": now_ms,
            },
        ).fetchall()
        # A hold that runs out changes no row, but its seats are free from then on.
        ends = [now_ms + (PRESSED_MS if self._pressed else REMEMBER_MS), *(row[6] for row in rows if row[6])]
        trips = [
            (Trip(row[0], date, row[1], row[2] - row[5], row[3]), departs_at_ms(date, row[1], row[4]))
            for row in rows
        ]
        return _Found(stamp, now_ms, min(ends), trips)

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
            f"{TICKET} WHERE b.price_santim = :amount AND (b.state = 'held' OR b.state = 'expired')"
            " AND b.expires_at_ms > :since ORDER BY b.id LIMIT 200",
            {"amount": amount_santim, "now": now_ms, "since": now_ms - LATE_MS},
        )
        shown = "".join(char if char.isdigit() else "." for char in payer.lstrip("+"))
        fitting = [ticket for ticket in map(ticket_of, rows) if _same_number(ticket.holder, shown)]
        held = [ticket for ticket in fitting if ticket.state == "held"]
        return held or fitting

    def tickets_of(self, holder: str, now_ms: int) -> list[Ticket]:
        """A person's bookings that still count, the newest first: held, or paid and not yet left."""
        rows = self._db.execute(
            f"{TICKET} WHERE b.holder = :holder AND {ALIVE} AND d.departs_at_ms > :now"
            " ORDER BY b.id DESC LIMIT 9",
            {"holder": holder, "now": now_ms},
        )
        return [ticket_of(row) for row in rows]
