"""Putting a timetable in force: a new version in one transaction, and what is sold stays sold."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.store.gtfs import read_gtfs
from appliance.store.plan import Plan, PlannedService, TimetableErrors
from appliance.store.timetable_csv import read_folder

__all__ = [
    "SAMPLE_FOLDER",
    "Differences",
    "ImportResult",
    "TimetableErrors",
    "clear_stage",
    "differences",
    "import_folder",
    "import_sample",
    "known_towns",
    "put_in_force",
    "read_plan",
    "stage",
    "stage_towns",
    "switch",
]

SAMPLE_FOLDER: Final = Path(__file__).resolve().parents[2] / "config" / "data"


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did, or with a dry run would do. changed: False when the same files are in force.

    added, removed: departure times; fares: ways whose fare is another one now; sold: departures to come with
    sold seats that are among the removed, and stay sold; warnings: rows left out.
    """

    changed: bool
    towns: int = 0
    routes: int = 0
    services: int = 0
    added: int = 0
    removed: int = 0
    fares: int = 0
    sold: int = 0
    warnings: tuple[str, ...] = ()


def read_plan(path: Path, towns: dict[str, list[str]], today: dt.date) -> Plan:
    """Read a folder of CSV files or a GTFS zip. towns: spellings of the towns known already, by key.

    Takes its time and touches no database: run it in a thread. Raises TimetableErrors, OSError.
    """
    return read_folder(path) if path.is_dir() else read_gtfs(path, towns, today)


def known_towns(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Every spelling of every town, by its English name."""
    rows = db.execute("SELECT name_en, name_am, name_om, aliases FROM town")
    return {row[0]: [name for name in (*row[:3], *row[3].split(";")) if name] for row in rows}


def import_sample(
    db: sqlite3.Connection, *, now_ms: int, seats_per_bus: int = 45, timezone_minutes: int = 180
) -> ImportResult:
    """Load the sample towns and routes that come with the program; once is enough."""
    return import_folder(
        db,
        SAMPLE_FOLDER,
        now_ms=now_ms,
        seats_per_bus=seats_per_bus,
        timezone_minutes=timezone_minutes,
        sample=True,
    )


def import_folder(
    db: sqlite3.Connection,
    folder: Path,
    *,
    now_ms: int,
    seats_per_bus: int,
    timezone_minutes: int,
    sample: bool = False,
    once: bool = False,
) -> ImportResult:
    """Make the CSV files of a folder the timetable in force. Raises TimetableErrors; then nothing changed.

    once: not if the same files were in force before, since another timetable was brought after them by hand;
    nor the sample where there is a timetable already.
    """
    plan = read_folder(folder, sample=sample)
    if once:
        digest = _digest(plan, seats_per_bus, timezone_minutes)
        known = db.execute("SELECT count(*), max(digest = ?) FROM timetable", (digest,)).fetchone()
        own = db.execute("SELECT 1 FROM timetable WHERE sample = 0 AND digest <> ''").fetchone()
        if known[1] or (sample and own):
            return ImportResult(changed=False)
    return put_in_force(
        db, plan, now_ms=now_ms, seats_per_bus=seats_per_bus, timezone_minutes=timezone_minutes
    )


def put_in_force(
    db: sqlite3.Connection,
    plan: Plan,
    *,
    now_ms: int,
    seats_per_bus: int,
    timezone_minutes: int,
    dry_run: bool = False,
) -> ImportResult:
    """Make a plan the timetable in force, within the caller's transaction: an op of the writer.

    For a small plan; a big one goes by `differences`, `stage` and `switch`, so that nobody waits for it.
    """
    found = differences(db, plan, seats_per_bus, timezone_minutes, now_ms)
    if found is None:
        return ImportResult(changed=False)
    if not dry_run:
        db.execute("SAVEPOINT timetable")
        try:
            clear_stage(db)
            stage_towns(db, plan)
            stage(db, found.fresh, seats_per_bus)
            switch(db, found, plan, now_ms, seats_per_bus, timezone_minutes)
        except BaseException:
            db.execute("ROLLBACK TO timetable")
            raise
        finally:
            db.execute("RELEASE timetable")
    return found.result


STAGED: Final = 2  # service.retired: written for the next timetable, seen by nobody
_Key = tuple[str, str, int, int, str]  # origin, destination, minute, days, first day


class Differences(msgspec.Struct, frozen=True):
    """What a plan changes. gone: ids of services it no longer has; kept: (id, service) that it has too."""

    digest: str
    fresh: tuple[PlannedService, ...]
    kept: tuple[tuple[int, PlannedService], ...]
    gone: tuple[int, ...]
    result: ImportResult


def differences(
    db: sqlite3.Connection, plan: Plan, seats: int, timezone_minutes: int, now_ms: int
) -> Differences | None:
    """What the plan would change of the timetable in force; None: nothing. Only reads."""
    digest = _digest(plan, seats, timezone_minutes)
    latest = db.execute("SELECT digest FROM timetable ORDER BY id DESC LIMIT 1").fetchone()
    if latest is not None and latest[0] == digest:
        return None
    before: dict[_Key, tuple[int, int, str, str, int]] = {}
    fares: dict[tuple[str, str], int] = {}
    for row in db.execute(
        "SELECT o.name_en, z.name_en, s.minute, s.days, s.valid_from, s.id, s.seats, s.kind, s.valid_until,"
        " r.fare_santim, s.timetable_id FROM service s JOIN route r ON r.id = s.route_id"
        " JOIN town o ON o.id = r.origin_id JOIN town z ON z.id = r.destination_id WHERE s.retired = 0"
    ):
        before[row[0], row[1], row[2], row[3], row[4]] = (row[5], row[6], row[7], row[8], row[10])
        fares[row[0], row[1]] = row[9]
    zones = dict(db.execute("SELECT id, timezone_minutes FROM timetable"))
    fresh: list[PlannedService] = []
    kept: list[tuple[int, PlannedService]] = []
    new_fares: dict[tuple[str, str], int] = {}
    for service in plan.services:
        new_fares[service.origin, service.destination] = service.fare_santim
        key = (service.origin, service.destination, service.minute, service.days, service.valid_from)
        known = before.pop(key, None)
        if known is None:
            fresh.append(service)
            continue
        same = known[1:4] == (seats, service.kind, service.valid_until)
        if not same or service.without or zones.get(known[4]) != timezone_minutes:
            kept.append((known[0], service))
    gone = tuple(row[0] for row in before.values())
    # A bus of the same way and hour takes the sold seats of the one that goes, see `switch`.
    hours = {(one.origin, one.destination, one.minute) for one in plan.services}
    lost = {row[0] for key, row in before.items() if key[:3] not in hours}
    result = ImportResult(
        changed=True,
        towns=len(plan.towns),
        routes=len(new_fares),
        services=len(plan.services),
        added=len(fresh),
        removed=len(gone),
        fares=sum(fares.get(way, fare) != fare for way, fare in new_fares.items()),
        sold=_sold(db, lost, now_ms),
        warnings=plan.warnings,
    )
    return Differences(digest, tuple(fresh), tuple(kept), gone, result)


def _digest(plan: Plan, seats: int, timezone_minutes: int) -> str:
    return f"{plan.digest} {seats} {timezone_minutes}"


def _sold(db: sqlite3.Connection, gone: set[int], now_ms: int) -> int:
    """Departures to come with sold seats whose service the new timetable does not have."""
    rows = db.execute(
        "SELECT DISTINCT d.id, d.service_id FROM departure d JOIN booking b ON b.departure_id = d.id"
        " WHERE d.departs_at_ms > ? AND d.state = 'planned' AND b.state IN ('held', 'paid')",
        (now_ms,),
    )
    return sum(service in gone for _, service in rows)


def clear_stage(db: sqlite3.Connection, most: int = -1) -> int:
    """Remove what an import left that did not come to its end. Returns how many rows went."""
    return db.execute(
        "DELETE FROM service WHERE id IN (SELECT id FROM service WHERE retired = ? LIMIT ?)", (STAGED, most)
    ).rowcount


def stage_towns(db: sqlite3.Connection, plan: Plan) -> None:
    """Write the plan's towns, and its ways that are new as ways without a bus."""
    db.execute(  # what is staged needs a timetable to belong to; before the first there is an empty one
        "INSERT INTO timetable (source, digest, timezone_minutes, imported_at_ms)"
        " SELECT '', '', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM timetable)"
    )
    for town in plan.towns:
        db.execute(
            "INSERT INTO town (name_en, name_am, name_om, lat, lon, aliases) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name_en) DO UPDATE SET name_am = excluded.name_am, name_om = excluded.name_om,"
            " lat = excluded.lat, lon = excluded.lon, aliases = excluded.aliases",
            (town.name_en, town.name_am, town.name_om, town.lat, town.lon, town.aliases),
        )
    ids = dict(db.execute("SELECT name_en, id FROM town"))
    for (origin, destination), service in _ways(plan).items():
        db.execute(
            "INSERT INTO route (origin_id, destination_id, km, duration_min, fare_santim, retired)"
            " VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (origin_id, destination_id) DO NOTHING",
            (ids[origin], ids[destination], service.km, service.duration_min, service.fare_santim),
        )


def _ways(plan: Plan) -> dict[tuple[str, str], PlannedService]:
    """One service of each way, the last: its distance, duration and fare are the way's."""
    return {(service.origin, service.destination): service for service in plan.services}


_ROUTE_OF: Final = (
    "SELECT r.id FROM route r JOIN town o ON o.id = r.origin_id JOIN town z ON z.id = r.destination_id"
    " WHERE o.name_en = ? AND z.name_en = ?"
)


def stage(db: sqlite3.Connection, services: Sequence[PlannedService], seats: int) -> None:
    """Write some of the plan's new departures where nobody sees them yet."""
    routes: dict[tuple[str, str], int] = {}
    rows = []
    for one in services:
        way = (one.origin, one.destination)
        if way not in routes:
            (routes[way],) = db.execute(_ROUTE_OF, way).fetchone()
        rows.append(
            (routes[way], one.minute, one.kind, one.days, seats, one.valid_from, one.valid_until, STAGED)
        )
    db.executemany(
        "INSERT INTO service (route_id, minute, kind, days, seats, valid_from, valid_until, retired,"
        " timetable_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT max(id) FROM timetable))",
        rows,
    )


def switch(
    db: sqlite3.Connection, found: Differences, plan: Plan, now_ms: int, seats: int, timezone_minutes: int
) -> None:
    """Put in force what was staged: the one transaction in which the new timetable takes the old one's place.

    Departures that have bookings are rows of their own and stay what they were.
    """
    timetable = db.execute(
        "INSERT INTO timetable (source, digest, timezone_minutes, sample, imported_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (plan.source, found.digest, timezone_minutes, int(plan.sample), now_ms),
    ).lastrowid
    ids = dict(db.execute("SELECT name_en, id FROM town"))
    # What the new files do not mention runs no more; what stays keeps its id, and its sold seats.
    db.execute("UPDATE route SET retired = 1 WHERE retired = 0")
    db.executemany(
        "UPDATE route SET retired = 0, km = ?, duration_min = ?, fare_santim = ?"
        " WHERE origin_id = ? AND destination_id = ?",
        [
            (service.km, service.duration_min, service.fare_santim, ids[origin], ids[destination])
            for (origin, destination), service in _ways(plan).items()
        ],
    )
    db.executemany("UPDATE service SET retired = 1 WHERE id = ?", [(gone,) for gone in found.gone])
    db.executemany(
        "UPDATE service SET seats = ?, kind = ?, valid_until = ?, timetable_id = ? WHERE id = ?",
        [(seats, one.kind, one.valid_until, timetable, number) for number, one in found.kept],
    )
    db.execute("UPDATE service SET retired = 0, timetable_id = ? WHERE retired = ?", (timetable, STAGED))
    _adopt(db, now_ms)
    for number, one in found.kept:
        for date in one.without:
            _cancel_day(db, number, date, timezone_minutes)
    for one in found.fresh:
        if one.without:
            (number,) = db.execute(
                f"SELECT id FROM service WHERE retired = 0 AND minute = ? AND days = ? AND valid_from = ?"
                f" AND route_id = ({_ROUTE_OF})",
                (one.minute, one.days, one.valid_from, one.origin, one.destination),
            ).fetchone()
            for date in one.without:
                _cancel_day(db, number, date, timezone_minutes)


def _adopt(db: sqlite3.Connection, now_ms: int) -> None:
    """Give departures to come, whose service is gone, to the new service of the same way, hour and day.

    It is the same bus under another calendar: with two departures its seats would be sold twice.
    """
    heir = (
        "SELECT n.id FROM service o JOIN service n ON n.route_id = o.route_id AND n.minute = o.minute"
        " WHERE o.id = departure.service_id AND n.retired = 0"
        " AND departure.date BETWEEN n.valid_from AND n.valid_until"
        " AND (n.days >> ((strftime('%w', departure.date) + 6) % 7)) & 1"
        " AND NOT EXISTS (SELECT 1 FROM departure d WHERE d.service_id = n.id AND d.date = departure.date)"
        " LIMIT 1"
    )
    db.execute(
        f"UPDATE departure SET service_id = ({heir}) WHERE departs_at_ms > ? AND ({heir}) IS NOT NULL"
        " AND service_id IN (SELECT id FROM service WHERE retired = 1)",
        (now_ms,),
    )


def _cancel_day(db: sqlite3.Connection, service_id: int, date: str, timezone_minutes: int) -> None:
    """A day the timetable leaves out: a departure that is cancelled, unless seats of it are sold already."""
    midnight = dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC)
    start_ms = int(midnight.timestamp()) * 1000 - timezone_minutes * 60_000
    db.execute(
        "INSERT INTO departure (service_id, date, origin_id, destination_id, minute, departs_at_ms, seats,"
        " fare_santim, state) SELECT s.id, ?, r.origin_id, r.destination_id, s.minute, ? + s.minute * 60000,"
        " s.seats, r.fare_santim, 'cancelled' FROM service s JOIN route r ON r.id = s.route_id WHERE s.id = ?"
        " ON CONFLICT (service_id, date) DO NOTHING",
        (date, start_ms, service_id),
    )
