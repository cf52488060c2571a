"""Reading towns and routes from CSV into a new version of the timetable, in one transaction."""

from __future__ import annotations

import csv
import hashlib
import sqlite3
from pathlib import Path
from typing import Final

__all__ = ["SAMPLE_FOLDER", "ImportResult", "TimetableErrors", "import_folder", "import_sample"]

import msgspec

SAMPLE_FOLDER: Final = Path(__file__).resolve().parents[2] / "config" / "data"
_TOWN_COLUMNS: Final = ("name_en", "name_am", "name_om", "lat", "lon", "aliases")
_ROUTE_COLUMNS: Final = ("origin", "destination", "km", "typical_duration_min", "fare_etb", "departures")


class TimetableErrors(Exception):
    """The files cannot be used. `lines`: one per mistake, with file and line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did; changed is False when the same files are in force already."""

    changed: bool
    towns: int = 0
    routes: int = 0
    services: int = 0


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
    """Make towns.csv and routes.csv of a folder the timetable in force.

    Each row of routes.csv is a way and its way back, leaving daily at the same times. Departures with sold
    seats stay what they were. Raises TimetableErrors with every bad row; then nothing has changed.
    """
    raw = {name: (folder / name).read_bytes() for name in ("towns.csv", "routes.csv")}
    settings = f"{seats_per_bus} {timezone_minutes}".encode()
    digest = hashlib.sha256(b"\0".join([*raw.values(), settings])).hexdigest()
    latest = db.execute("SELECT digest FROM timetable ORDER BY id DESC LIMIT 1").fetchone()
    if latest is not None and latest[0] == digest:
        return ImportResult(changed=False)
    errors: list[str] = []
    towns = _rows("towns.csv", raw["towns.csv"], _TOWN_COLUMNS, errors)
    routes = _rows("routes.csv", raw["routes.csv"], _ROUTE_COLUMNS, errors)
    names = {row["name_en"] for _, row in towns}
    parsed = [_route(line, row, names, errors) for line, row in routes]
    places = [_place(line, row, errors) for line, row in towns]
    if errors:
        raise TimetableErrors(errors)

    timetable = db.execute(
        "INSERT INTO timetable (source, digest, timezone_minutes, sample, imported_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (folder.name, digest, timezone_minutes, int(sample), now_ms),
    ).lastrowid
    for (_, row), (lat, lon) in zip(towns, places, strict=True):
        db.execute(
            "INSERT INTO town (name_en, name_am, name_om, lat, lon, aliases) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name_en) DO UPDATE SET name_am = excluded.name_am, name_om = excluded.name_om,"
            " lat = excluded.lat, lon = excluded.lon, aliases = excluded.aliases",
            (row["name_en"], row["name_am"], row["name_om"], lat, lon, row["aliases"]),
        )
    town_ids = dict(db.execute("SELECT name_en, id FROM town"))
    # What no row of the new files mentions runs no more; what stays keeps its id, and its sold seats.
    db.execute("UPDATE route SET retired = 1")
    services = 0
    for origin, destination, km, duration, fare, minutes in (way for ways in parsed for way in ways):
        (route_id,) = db.execute(
            "INSERT INTO route (origin_id, destination_id, km, duration_min, fare_santim)"
            " VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (origin_id, destination_id) DO UPDATE SET km = excluded.km, retired = 0,"
            " duration_min = excluded.duration_min, fare_santim = excluded.fare_santim RETURNING id",
            (town_ids[origin], town_ids[destination], km, duration, fare),
        ).fetchone()
        for minute in minutes:
            db.execute(
                "INSERT INTO service (route_id, minute, seats, timetable_id) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (route_id, minute, valid_from, days) WHERE retired = 0"
                " DO UPDATE SET seats = excluded.seats, timetable_id = excluded.timetable_id",
                (route_id, minute, seats_per_bus, timetable),
            )
            services += 1
    db.execute("UPDATE service SET retired = 1 WHERE retired = 0 AND timetable_id <> ?", (timetable,))
    return ImportResult(changed=True, towns=len(towns), routes=2 * len(parsed), services=services)


def _rows(
    name: str, raw: bytes, columns: tuple[str, ...], errors: list[str]
) -> list[tuple[int, dict[str, str]]]:
    try:
        reader = csv.DictReader(raw.decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        errors.append(f"{name}: not UTF-8 at byte {error.start}")
        return []
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        errors.append(f"{name}: line 1: no column {', '.join(missing)}")
        return []
    rows = []
    for row in reader:
        if any(row[column] is None for column in columns):
            errors.append(f"{name}: line {reader.line_num}: too few columns")
            continue
        rows.append((reader.line_num, {column: row[column].strip() for column in columns}))
    return rows


def _place(line: int, row: dict[str, str], errors: list[str]) -> tuple[float, float]:
    try:
        lat, lon = float(row["lat"]), float(row["lon"])
    except ValueError:
        errors.append(f"towns.csv: line {line}: lat, lon: {row['lat']!r}, {row['lon']!r}; want degrees")
        return 0.0, 0.0
    if not row["name_en"]:
        errors.append(f"towns.csv: line {line}: name_en: empty")
    return lat, lon


_Way = tuple[str, str, int, int, int, list[int]]


def _route(line: int, row: dict[str, str], towns: set[str], errors: list[str]) -> list[_Way]:
    """The way and the way back, or nothing and a line in errors."""
    before = len(errors)
    where = f"routes.csv: line {line}"
    for column in ("origin", "destination"):
        if row[column] not in towns:
            errors.append(f"{where}: {column}: {row[column]!r}; want a name_en of towns.csv")
    if row["origin"] == row["destination"]:
        errors.append(f"{where}: destination: the same as origin")
    numbers: dict[str, int] = {}
    for column in ("km", "typical_duration_min"):
        if not row[column].isdigit() or int(row[column]) == 0:
            errors.append(f"{where}: {column}: {row[column]!r}; want a whole number above 0")
        else:
            numbers[column] = int(row[column])
    fare = _santim(row["fare_etb"])
    if not fare:
        errors.append(f"{where}: fare_etb: {row['fare_etb']!r}; want an amount such as 445 or 445.50")
    minutes = []
    for text in filter(None, row["departures"].split(";")):
        hour, _, minute = text.strip().partition(":")
        if not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
            errors.append(f"{where}: departures: {text!r}; want HH:MM")
            continue
        minutes.append(int(hour) * 60 + int(minute))
    if not minutes and len(errors) == before:
        errors.append(f"{where}: departures: none; want HH:MM;HH:MM")
    if len(errors) > before or fare is None:
        return []
    rest = (numbers["km"], numbers["typical_duration_min"], fare, sorted(set(minutes)))
    return [(row["origin"], row["destination"], *rest), (row["destination"], row["origin"], *rest)]


def _santim(text: str) -> int | None:
    birr, _, rest = text.replace(",", "").partition(".")
    if not birr.isdigit() or (rest and not (rest.isdigit() and len(rest) <= 2)):
        return None
    return int(birr) * 100 + int(rest.ljust(2, "0") if rest else 0)
