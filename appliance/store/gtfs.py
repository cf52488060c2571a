"""Reading a GTFS zip into a plan: streamed, bounded by the number of trips and not of stop times.

A trip becomes one departure from its first to its last stop. Stops become towns: by name if the town is
known, else as a new one. Rows that cannot be used are reported with file and line, and left out.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.conversation.text import words
from appliance.conversation.words import Names
from appliance.store.plan import Plan, PlannedService, PlannedTown, TimetableErrors, great_circle_km

__all__ = ["read_gtfs"]

_NEEDED: Final = ("agency.txt", "routes.txt", "trips.txt", "stop_times.txt", "stops.txt")
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COACH: Final = {"3", *map(str, range(200, 210))}
_TIME: Final = re.compile(r"\s*(\d{1,3}):([0-5]\d):([0-5]\d)\s*\Z")
MAX_ROWS: Final = 5_000_000  # of one file: more is a mistake, or a bomb
MAX_FILE_OCTETS: Final = 600_000_000  # unpacked
MAX_WARNINGS: Final = 200
ROAD: Final = 1.3  # road distance for one of the great circle, when the feed tells none


class _Feed:
    """One open zip; `rows` streams a file, `skip` writes down what was left out."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        # Some publishers zip the folder instead of its files.
        self.names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist() if name.endswith(".txt")}
        self.warnings: list[str] = []
        self.skipped = 0

    def skip(self, file: str, line: int, why: str) -> None:
        self.skipped += 1
        if self.skipped <= MAX_WARNINGS:
            self.warnings.append(f"{file}: line {line}: {why}")

    def rows(self, file: str) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number and fields, blanks stripped; nothing when the feed has no such file."""
        for line, names, row in self._read(file):
            yield line, {name: value.strip() for name, value in zip(names, row, strict=False) if name}

    def columns(self, file: str, *wanted: str) -> Iterator[tuple[int, list[str]]]:
        """Line number and the wanted fields in their order, "" for what is not there: for the long files."""
        places: list[int] = []
        for line, names, row in self._read(file):
            if not places:
                places = [names.index(name) if name in names else -1 for name in wanted]
            width = len(row)
            yield line, [row[at].strip() if 0 <= at < width else "" for at in places]

    def _read(self, file: str) -> Iterator[tuple[int, list[str], list[str]]]:
        name = self.names.get(file)
        if name is None:
            return
        if self.archive.getinfo(name).file_size > MAX_FILE_OCTETS:
            raise TimetableErrors([f"{file}: unpacks to more than {MAX_FILE_OCTETS // 1_000_000} MB"])
        with self.archive.open(name) as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="", errors="replace")
            reader = csv.reader(text)
            header = [column.strip() for column in next(reader, [])]
            for count, row in enumerate(reader):
                if count >= MAX_ROWS:
                    raise TimetableErrors([f"{file}: more than {MAX_ROWS} rows"])
                if row:
                    yield reader.line_num, header, row


def read_gtfs(path: Path, towns: dict[str, list[str]], today: dt.date) -> Plan:
    """Read a feed. towns: spellings of the towns known already, by key. today: what ended before is left out.

    Raises TimetableErrors when it is no usable feed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            feed = _Feed(archive)
            missing = [name for name in _NEEDED if name not in feed.names]
            if missing:
                raise TimetableErrors([f"{path.name}: no {name}" for name in missing])
            if "calendar.txt" not in feed.names and "calendar_dates.txt" not in feed.names:
                raise TimetableErrors([f"{path.name}: neither calendar.txt nor calendar_dates.txt"])
            return _plan(feed, path, towns, today)
    except zipfile.BadZipFile as error:
        raise TimetableErrors([f"{path.name}: no zip file: {error}"]) from error


def _plan(feed: _Feed, path: Path, known: dict[str, list[str]], today: dt.date) -> Plan:
    places, stop_towns = _stops(feed, known)
    routes = {row["route_id"]: row for line, row in feed.rows("routes.txt") if _is_coach(feed, line, row)}
    calendars = _calendars(feed, today)
    trips = _trips(feed, routes, calendars)
    _find_ends(feed, trips)
    fares = _Fares(feed)
    headways: dict[str, list[tuple[int, int, int]]] = {}
    for line, row in feed.rows("frequencies.txt"):
        begins, stops = _minutes(row.get("start_time", "")), _minutes(row.get("end_time", ""))
        seconds = row.get("headway_secs", "")
        if begins is None or stops is None or not seconds.isdigit() or int(seconds) < 60:
            feed.skip("frequencies.txt", line, "start_time, end_time or headway_secs cannot be read")
            continue
        headways.setdefault(row.get("trip_id", ""), []).append((begins, stops, int(seconds) // 60))
    services: dict[tuple[str, str, int, int, str], PlannedService] = {}
    for trip in list(trips):
        end = trips.pop(trip)  # what is done with gives its memory back
        line, route = end.line, end.route
        if end.first_stop is None or end.last_stop is None:
            feed.skip("trips.txt", line, f"trip {trip!r} has no two timed stops")
            continue
        origin, destination = stop_towns.get(end.first_stop), stop_towns.get(end.last_stop)
        if origin is None or destination is None or origin == destination:
            feed.skip("trips.txt", line, f"trip {trip!r} does not lead from one town to another")
            continue
        fare = fares.of(route, end.first_stop, end.last_stop)
        if fare is None:
            feed.skip("trips.txt", line, f"trip {trip!r}: no fare for route {route!r}")
            continue
        km = max(1, round(great_circle_km(places[origin], places[destination]) * ROAD))
        duration = max(1, end.arrive - end.leave)
        times = [(end.leave, "fixed")]
        if trip in headways:
            times = [(m, "when_full") for s, e, step in headways[trip] for m in range(s, e, step)]
        for minute, kind in times:
            for days, valid_from, valid_until, without in calendars[end.service]:
                if minute >= 1440:  # 25:10 leaves on the next calendar day
                    days = (days << 1 | days >> 6) & 127
                    valid_from, valid_until = _next_day(valid_from), _next_day(valid_until)
                    without = tuple(_next_day(date) for date in without)
                planned = PlannedService(
                    origin, destination, km, duration, fare, minute % 1440, kind, days, valid_from,
                    valid_until, without,
                )  # fmt: skip
                services[origin, destination, minute % 1440, days, valid_from] = planned
    if not services:
        raise TimetableErrors([f"{path.name}: no trip can be used", *feed.warnings[:20]])
    if feed.skipped > MAX_WARNINGS:
        feed.warnings.append(f"... and {feed.skipped - MAX_WARNINGS} more rows")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    used = {name for service in services.values() for name in (service.origin, service.destination)}
    fresh = tuple(place for key, place in places.items() if key in used and key not in known)
    return Plan(path.name, digest, fresh, tuple(services.values()), tuple(feed.warnings))


def _is_coach(feed: _Feed, line: int, row: dict[str, str]) -> bool:
    kind = row.get("route_type", "")
    if kind in _COACH:
        return True
    feed.skip("routes.txt", line, f"route_type {kind!r} is no bus or coach")
    return False


def _stops(feed: _Feed, known: dict[str, list[str]]) -> tuple[dict[str, PlannedTown], dict[str, str]]:
    """Towns by key, and the town's key of each stop; a stop of a station is the station's town."""
    names = Names(known)
    translated: dict[str, dict[str, str]] = {}
    for _, row in feed.rows("translations.txt"):
        if row.get("table_name") == "stops" and row.get("field_name") == "stop_name":
            key = row.get("record_id") or row.get("field_value", "")
            translated.setdefault(key, {})[row.get("language", "")[:2]] = row.get("translation", "")
    towns: dict[str, PlannedTown] = {}
    keys: dict[str, str] = {}
    parents: dict[str, str] = {}
    for line, row in feed.rows("stops.txt"):
        stop, name = row.get("stop_id", ""), row.get("stop_name", "")
        if row.get("parent_station"):
            parents[stop] = row["parent_station"]
        try:
            lat, lon = float(row.get("stop_lat", "")), float(row.get("stop_lon", ""))
        except ValueError:
            if stop not in parents:
                feed.skip("stops.txt", line, "stop_lat or stop_lon is no number")
            continue
        if not name:
            if stop not in parents:
                feed.skip("stops.txt", line, "stop_name is empty")
            continue
        found = names.find("".join(words(name)))
        key = found[0] if len(found) == 1 else name
        spoken = {**translated.get(name, {}), **translated.get(stop, {})}
        towns.setdefault(key, PlannedTown(key, spoken.get("am", ""), spoken.get("om", ""), lat, lon))
        keys[stop] = key
    for stop, parent in parents.items():
        if parent in keys:
            keys[stop] = keys[parent]
    return towns, keys


_Calendar = tuple[int, str, str, tuple[str, ...]]


def _calendars(feed: _Feed, today: dt.date) -> dict[str, list[_Calendar]]:
    """By service: weekdays, first and last day, days without; an added day is a calendar of one day."""
    found: dict[str, list[_Calendar]] = {}
    for line, row in feed.rows("calendar.txt"):
        start, end = _date(row.get("start_date", "")), _date(row.get("end_date", ""))
        days = sum(1 << bit for bit, name in enumerate(_DAYS) if row.get(name) == "1")
        if start is None or end is None or not days:
            feed.skip("calendar.txt", line, "no day, or start_date or end_date cannot be read")
        elif end < today.isoformat():
            feed.skip("calendar.txt", line, f"service {row.get('service_id')!r} ended on {end}")
        else:
            found.setdefault(row.get("service_id", ""), []).append((days, start, end, ()))
    for line, row in feed.rows("calendar_dates.txt"):
        date, service = _date(row.get("date", "")), row.get("service_id", "")
        if date is None or row.get("exception_type") not in ("1", "2"):
            feed.skip("calendar_dates.txt", line, "date or exception_type cannot be read")
        elif date < today.isoformat():
            continue
        elif row["exception_type"] == "1":
            found.setdefault(service, []).append((127, date, date, ()))
        else:
            found[service] = [(*c[:3], (*c[3], date)) for c in found.get(service, [])]
    return found


class _Trip:
    """One trip; its first and last stop are found in one pass over rows in any order."""

    __slots__ = ("arrive", "first", "first_stop", "last", "last_stop", "leave", "line", "route", "service")

    def __init__(self, line: int, route: str, service: str) -> None:
        # Few routes, services and stops share many trips: one string of each is kept.
        self.line, self.route, self.service = line, sys.intern(route), sys.intern(service)
        self.first, self.last = 1 << 30, -1
        self.first_stop: str | None = None
        self.last_stop: str | None = None
        self.leave = self.arrive = 0


def _trips(
    feed: _Feed, routes: dict[str, dict[str, str]], calendars: dict[str, list[_Calendar]]
) -> dict[str, _Trip]:
    trips: dict[str, _Trip] = {}
    for line, (trip, route, service) in feed.columns("trips.txt", "trip_id", "route_id", "service_id"):
        if route not in routes:
            feed.skip("trips.txt", line, f"trip {trip!r}: route {route!r} is unknown or no coach")
        elif not calendars.get(service):
            feed.skip("trips.txt", line, f"trip {trip!r} is dead: service {service!r} has no day left")
        else:
            trips[trip] = _Trip(line, route, service)
    return trips


def _find_ends(feed: _Feed, trips: dict[str, _Trip]) -> None:
    wanted = ("trip_id", "stop_sequence", "stop_id", "arrival_time", "departure_time")
    for line, (name, sequence, stop, arrival, departure) in feed.columns("stop_times.txt", *wanted):
        trip = trips.get(name)
        if trip is None:
            continue
        if not sequence.isdigit() or not stop:
            feed.skip("stop_times.txt", line, "stop_sequence or stop_id cannot be read")
            continue
        at = int(sequence)
        if at < trip.first:
            leave = _minutes(departure or arrival)
            if leave is None:
                feed.skip("stop_times.txt", line, f"trip {name!r}: its first stop has no time")
                continue
            trip.first, trip.first_stop, trip.leave = at, sys.intern(stop), leave
        if at > trip.last:
            arrive = _minutes(arrival or departure)
            if arrive is not None:
                trip.last, trip.last_stop, trip.arrive = at, sys.intern(stop), arrive
    for trip in trips.values():
        if trip.first == trip.last:
            trip.last_stop = None


class _Fares:
    """fare_attributes and fare_rules (GTFS fares v1), in birr: by route and zones, route, zones, or any."""

    def __init__(self, feed: _Feed) -> None:
        prices: dict[str, int] = {}
        for line, row in feed.rows("fare_attributes.txt"):
            if row.get("currency_type", "ETB") != "ETB":
                feed.skip("fare_attributes.txt", line, f"currency {row.get('currency_type')!r}; want ETB")
                continue
            try:
                prices[row.get("fare_id", "")] = round(float(row.get("price", "")) * 100)
            except ValueError:
                feed.skip("fare_attributes.txt", line, f"price: {row.get('price')!r}; want an amount")
        self._zones = {row.get("stop_id", ""): row.get("zone_id", "") for _, row in feed.rows("stops.txt")}
        self._rules: dict[tuple[str, str, str], int] = {}
        ruled = set()
        for line, row in feed.rows("fare_rules.txt"):
            fare = row.get("fare_id", "")
            ruled.add(fare)
            if fare not in prices:
                feed.skip("fare_rules.txt", line, f"fare {fare!r} has no price")
                continue
            key = (row.get("route_id", ""), row.get("origin_id", ""), row.get("destination_id", ""))
            self._rules[key] = prices[fare]
        everywhere = [price for fare, price in prices.items() if fare not in ruled]
        if everywhere:
            self._rules.setdefault(("", "", ""), everywhere[0])

    def of(self, route: str, first: str, last: str) -> int | None:
        start, end = self._zones.get(first, ""), self._zones.get(last, "")
        for key in ((route, start, end), (route, "", ""), ("", start, end), ("", "", "")):
            price = self._rules.get(key)
            if price:
                return price
        return None


def _minutes(text: str) -> int | None:
    match = _TIME.match(text)
    return None if match is None else int(match[1]) * 60 + int(match[2])


def _date(text: str) -> str | None:
    try:
        return dt.datetime.strptime(text, "%Y%m%d").date().isoformat()
    except ValueError:
        return None


def _next_day(date: str) -> str:
    return (dt.date.fromisoformat(date) + dt.timedelta(days=1)).isoformat()
