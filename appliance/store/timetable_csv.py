"""Reading towns.csv and routes.csv into a plan. Every bad row is named, with its line."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Final

from appliance.store.plan import Plan, PlannedService, PlannedTown, TimetableErrors

__all__ = ["read_folder"]

_TOWN_COLUMNS: Final = ("name_en", "name_am", "name_om", "lat", "lon", "aliases")
_ROUTE_COLUMNS: Final = ("origin", "destination", "km", "typical_duration_min", "fare_etb", "departures")


def read_folder(folder: Path, *, sample: bool = False) -> Plan:
    """Read a folder. Each row of routes.csv is a way and its way back, leaving daily at the same times.

    Raises TimetableErrors with every bad row, OSError when a file is missing.
    """
    raw = {name: (folder / name).read_bytes() for name in ("towns.csv", "routes.csv")}
    errors: list[str] = []
    towns = _rows("towns.csv", raw["towns.csv"], _TOWN_COLUMNS, errors)
    routes = _rows("routes.csv", raw["routes.csv"], _ROUTE_COLUMNS, errors)
    names = {row["name_en"] for _, row in towns}
    services = [service for line, row in routes for service in _route(line, row, names, errors)]
    places = [_place(line, row, errors) for line, row in towns]
    if errors:
        raise TimetableErrors(errors)
    digest = hashlib.sha256(b"\0".join(raw.values())).hexdigest()
    return Plan(folder.name, digest, tuple(places), tuple(services), sample=sample)


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


def _place(line: int, row: dict[str, str], errors: list[str]) -> PlannedTown:
    lat = lon = 0.0
    try:
        lat, lon = float(row["lat"]), float(row["lon"])
    except ValueError:
        errors.append(f"towns.csv: line {line}: lat, lon: {row['lat']!r}, {row['lon']!r}; want degrees")
    if not row["name_en"]:
        errors.append(f"towns.csv: line {line}: name_en: empty")
    return PlannedTown(row["name_en"], row["name_am"], row["name_om"], lat, lon, row["aliases"])


def _route(line: int, row: dict[str, str], towns: set[str], errors: list[str]) -> list[PlannedService]:
    """The departures of the way and the way back, or nothing and lines in errors."""
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
    ways = ((row["origin"], row["destination"]), (row["destination"], row["origin"]))
    km, duration = numbers["km"], numbers["typical_duration_min"]
    return [
        PlannedService(origin, destination, km, duration, fare, minute)
        for origin, destination in ways
        for minute in sorted(set(minutes))
    ]


def _santim(text: str) -> int | None:
    birr, _, rest = text.replace(",", "").partition(".")
    if not birr.isdigit() or (rest and not (rest.isdigit() and len(rest) <= 2)):
        return None
    return int(birr) * 100 + int(rest.ljust(2, "0") if rest else 0)
