"""Putting a timetable in force: a new version in one transaction, and what is sold stays sold."""

from __future__ import annotations

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from appliance.store.gtfs import read_gtfs
from appliance.store.plan import Plan, TimetableErrors
from appliance.store.timetable_csv import read_folder

__all__ = [
    "SAMPLE_FOLDER",
    "ImportResult",
    "TimetableErrors",
    "import_folder",
    "import_sample",
    "known_towns",
    "put_in_force",
    "read_plan",
]

SAMPLE_FOLDER: Final = Path(__file__).resolve().parents[2] / "config" / "data"


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did, or with a dry run would do. changed: False when the same files are in force.

    added, removed: departure times; fares: ways whose fare is another one now; warnings: rows left out.
    """

    changed: bool
    towns: int = 0
    routes: int = 0
    services: int = 0
    added: int = 0
    removed: int = 0
    fares: int = 0
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
) -> ImportResult:
    """Make the CSV files of a folder the timetable in force. Raises TimetableErrors; then nothing changed."""
    plan = read_folder(folder, sample=sample)
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

    Departures that have bookings are rows of their own and stay what they were.
    """
    digest = f"{plan.digest} {seats_per_bus} {timezone_minutes}"
    latest = db.execute("SELECT digest FROM timetable ORDER BY id DESC LIMIT 1").fetchone()
    if latest is not None and latest[0] == digest:
        return ImportResult(changed=False)
    db.execute("SAVEPOINT timetable")
    try:
        result = _write(db, plan, digest, now_ms, seats_per_bus, timezone_minutes)
        if dry_run:
            db.execute("ROLLBACK TO timetable")
    except BaseException:
        db.execute("ROLLBACK TO timetable")
        raise
    finally:
        db.execute("RELEASE timetable")
    return result


_IN_FORCE: Final = (
    "SELECT r.origin_id, r.destination_id, s.minute, s.days, s.valid_from FROM service s"
    " JOIN route r ON r.id = s.route_id WHERE s.retired = 0"
)
_FARES: Final = "SELECT origin_id, destination_id, fare_santim FROM route WHERE retired = 0"


def _write(
    db: sqlite3.Connection, plan: Plan, digest: str, now_ms: int, seats: int, timezone_minutes: int
) -> ImportResult:
    before = set(db.execute(_IN_FORCE))
    fares_before = {row[:2]: row[2] for row in db.execute(_FARES)}
    timetable = db.execute(
        "INSERT INTO timetable (source, digest, timezone_minutes, sample, imported_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (plan.source, digest, timezone_minutes, int(plan.sample), now_ms),
    ).lastrowid
    for town in plan.towns:
        db.execute(
            "INSERT INTO town (name_en, name_am, name_om, lat, lon, aliases) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name_en) DO UPDATE SET name_am = excluded.name_am, name_om = excluded.name_om,"
            " lat = excluded.lat, lon = excluded.lon, aliases = excluded.aliases",
            (town.name_en, town.name_am, town.name_om, town.lat, town.lon, town.aliases),
        )
    town_ids = dict(db.execute("SELECT name_en, id FROM town"))
    # What the new files do not mention runs no more; what stays keeps its id, and its sold seats.
    db.execute("UPDATE route SET retired = 1")
    routes: dict[tuple[str, str], int] = {}
    for service in plan.services:
        way = (service.origin, service.destination)
        if way not in routes:
            (routes[way],) = db.execute(
                "INSERT INTO route (origin_id, destination_id, km, duration_min, fare_santim)"
                " VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (origin_id, destination_id) DO UPDATE SET km = excluded.km, retired = 0,"
                " duration_min = excluded.duration_min, fare_santim = excluded.fare_santim RETURNING id",
                (
                    town_ids[service.origin],
                    town_ids[service.destination],
                    service.km,
                    service.duration_min,
                    service.fare_santim,
                ),
            ).fetchone()
        (service_id,) = db.execute(
            "INSERT INTO service (route_id, minute, kind, days, seats, valid_from, valid_until, timetable_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (route_id, minute, valid_from, days) WHERE retired = 0 DO UPDATE SET"
            " seats = excluded.seats, kind = excluded.kind, valid_until = excluded.valid_until,"
            " timetable_id = excluded.timetable_id RETURNING id",
            (
                routes[way],
                service.minute,
                service.kind,
                service.days,
                seats,
                service.valid_from,
                service.valid_until,
                timetable,
            ),
        ).fetchone()
        for date in service.without:
            _cancel_day(db, service_id, date, timezone_minutes)
    db.execute("UPDATE service SET retired = 1 WHERE retired = 0 AND timetable_id <> ?", (timetable,))
    after = set(db.execute(_IN_FORCE))
    fares_after = {row[:2]: row[2] for row in db.execute(_FARES)}
    return ImportResult(
        changed=True,
        towns=len(plan.towns),
        routes=len(routes),
        services=len(plan.services),
        added=len(after - before),
        removed=len(before - after),
        fares=sum(fares_before.get(way, fare) != fare for way, fare in fares_after.items()),
        warnings=plan.warnings,
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
