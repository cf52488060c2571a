from __future__ import annotations

import csv
import datetime as dt
import io
import sqlite3
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store.booking_look import BookingLook
from appliance.store.database import known_migrations
from appliance.store.gtfs import read_gtfs
from appliance.store.timetable import (
    SAMPLE_FOLDER,
    TimetableErrors,
    import_sample,
    known_towns,
    put_in_force,
)

NOW = 1_795_327_200_000  # 2026-11-22 06:00 UTC
TODAY = dt.date(2026, 11, 22)
Tables = dict[str, list[list[str]]]


def zipped(path: Path, tables: Tables, *, bom: bool = False, folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            text = io.StringIO()
            csv.writer(text).writerows(rows)
            archive.writestr(folder + name, ("\ufeff" if bom else "") + text.getvalue())
    return path


def sample_feed() -> Tables:
    """The sample timetable as GTFS: one trip per departure and direction, fares by route."""
    with (SAMPLE_FOLDER / "towns.csv").open(encoding="utf-8") as file:
        towns = list(csv.DictReader(file))
    with (SAMPLE_FOLDER / "routes.csv").open(encoding="utf-8") as file:
        routes = list(csv.DictReader(file))
    feed: Tables = {
        "agency.txt": [["agency_id", "agency_name", "agency_url", "agency_timezone"],
                       ["1", "Sample", "https://example.org", "Africa/Addis_Ababa"]],
        "stops.txt": [["stop_id", "stop_name", "stop_lat", "stop_lon"],
                      *[[f"s{n}", t["name_en"], t["lat"], t["lon"]] for n, t in enumerate(towns)]],
        "routes.txt": [["route_id", "route_short_name", "route_type"]],
        "trips.txt": [["route_id", "service_id", "trip_id"]],
        "stop_times.txt": [["trip_id", "arrival_time", "departure_time", "stop_id", "stop_sequence"]],
        "calendar.txt": [["service_id", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
                          "sunday", "start_date", "end_date"], ["daily", *"1111111", "20260101", "20271231"]],
        "fare_attributes.txt": [["fare_id", "price", "currency_type"]],
        "fare_rules.txt": [["fare_id", "route_id"]],
    }  # fmt: skip
    stops = {town["name_en"]: f"s{n}" for n, town in enumerate(towns)}
    for n, route in enumerate(routes):
        feed["routes.txt"].append([f"r{n}", f"{n}", "3"])
        feed["fare_attributes.txt"].append([f"f{n}", route["fare_etb"], "ETB"])
        feed["fare_rules.txt"].append([f"f{n}", f"r{n}"])
        for departure in route["departures"].split(";"):
            hour, minute = map(int, departure.split(":"))
            arrival = hour * 60 + minute + int(route["typical_duration_min"])
            for way in ("there", "back"):
                ends = [stops[route["origin"]], stops[route["destination"]]]
                first, last = ends if way == "there" else ends[::-1]
                trip = f"t{n}-{departure}-{way}"
                feed["trips.txt"].append([f"r{n}", "daily", trip])
                feed["stop_times.txt"].append([trip, "", f"{departure}:00", first, "1"])
                feed["stop_times.txt"].append([trip, f"{arrival // 60}:{arrival % 60:02}:00", "", last, "9"])
    return feed


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("PRAGMA foreign_keys = 1")
    for step in known_migrations():
        database.executescript(step.sql)
    import_sample(database, now_ms=NOW)
    yield database
    database.close()


def bring(db: sqlite3.Connection, path: Path, *, dry_run: bool = False):
    plan = read_gtfs(path, known_towns(db), TODAY)
    return put_in_force(db, plan, now_ms=NOW, seats_per_bus=45, timezone_minutes=180, dry_run=dry_run)


def test_gtfs_of_the_sample_is_the_sample(db: sqlite3.Connection, tmp_path: Path) -> None:
    before = [
        (trip.minute, trip.fare_santim)
        for trip in BookingLook(db).trips("Hawassa", "Addis Ababa", "2026-11-23", NOW)
    ]
    result = bring(db, zipped(tmp_path / "feed.zip", sample_feed(), bom=True, folder="feed/"))
    assert (result.routes, result.warnings) == (138, ())
    after = [
        (trip.minute, trip.fare_santim)
        for trip in BookingLook(db).trips("Hawassa", "Addis Ababa", "2026-11-23", NOW)
    ]
    assert after == before
    assert not bring(db, tmp_path / "feed.zip").changed


def test_gtfs_dry_run_tells_and_changes_nothing(db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    feed["fare_attributes.txt"][1][1] = "99.50"
    feed["trips.txt"] = [row for row in feed["trips.txt"] if not row[2].startswith("t1-")]
    before = db.execute("SELECT count(*), max(id) FROM service WHERE retired = 0").fetchone()
    versions = db.execute("SELECT count(*) FROM timetable").fetchone()
    result = bring(db, zipped(tmp_path / "feed.zip", feed), dry_run=True)
    assert (result.changed, result.fares) == (True, 2)
    assert db.execute("SELECT count(*), max(id) FROM service WHERE retired = 0").fetchone() == before
    assert db.execute("SELECT count(*) FROM timetable").fetchone() == versions


def test_gtfs_bad_rows_are_left_out_and_named(db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    feed["trips.txt"] += [["r0", "never", "dead"], ["nope", "daily", "lost"], ["r0", "daily", "unstopped"]]
    feed["stops.txt"].append(["bad", "Nowhere", "x", "y"])
    feed["stop_times.txt"].append(["t0-06:00-there", "", "", "s1", "x"])
    result = bring(db, zipped(tmp_path / "feed.zip", feed))
    told = "\n".join(result.warnings)
    assert "service 'never' has no day left" in told
    assert "route 'nope' is unknown or no coach" in told
    assert "trip 'unstopped' has no two timed stops" in told
    assert "stops.txt: line 51: stop_lat or stop_lon is no number" in told
    assert all(": line " in line for line in result.warnings)


def test_gtfs_calendar_dates_add_and_take_away_days(db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    feed["calendar.txt"][1][1:8] = list("1000000")  # Mondays
    feed["calendar_dates.txt"] = [
        ["service_id", "date", "exception_type"], ["daily", "20261130", "2"], ["daily", "20261202", "1"]
    ]  # fmt: skip
    bring(db, zipped(tmp_path / "feed.zip", feed))
    look = BookingLook(db)
    runs = {
        date: bool(look.trips("Addis Ababa", "Hawassa", f"2026-{date}", NOW))
        for date in ("11-23", "11-24", "11-30", "12-02", "12-07")
    }
    assert runs == {"11-23": True, "11-24": False, "11-30": False, "12-02": True, "12-07": True}


def test_gtfs_unknown_stop_becomes_a_town_and_times_past_midnight_the_next_day(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    feed = sample_feed()
    feed["calendar.txt"][1][1:8] = list("1000000")
    feed["stops.txt"].append(["new", "Newtown", "9.5", "38.5"])
    feed["trips.txt"].append(["r0", "daily", "night"])
    feed["stop_times.txt"] += [["night", "", "25:10:00", "s0", "1"], ["night", "27:00:00", "", "new", "2"]]
    bring(db, zipped(tmp_path / "feed.zip", feed))
    trips = BookingLook(db).trips("Addis Ababa", "Newtown", "2026-11-24", NOW)
    assert [trip.minute for trip in trips] == [70]
    assert BookingLook(db).trips("Addis Ababa", "Newtown", "2026-11-23", NOW) == []


def test_gtfs_frequencies_become_departures(db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    feed["frequencies.txt"] = [
        ["trip_id", "start_time", "end_time", "headway_secs"],
        ["t0-06:00-there", "06:10:00", "07:00:00", "1200"]
    ]  # fmt: skip
    bring(db, zipped(tmp_path / "feed.zip", feed))
    minutes = [t.minute for t in BookingLook(db).trips("Addis Ababa", "Bishoftu", "2026-11-23", NOW)]
    assert {370, 390, 410} <= set(minutes)


@pytest.mark.parametrize("missing", ["trips.txt", "stop_times.txt", "calendar.txt", "stops.txt"])
def test_gtfs_without_a_needed_file_is_refused(missing: str, db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    del feed[missing]
    with pytest.raises(TimetableErrors, match=missing):
        bring(db, zipped(tmp_path / "feed.zip", feed))


def test_gtfs_file_that_is_no_zip_is_refused(db: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "feed.zip").write_text("hello")
    with pytest.raises(TimetableErrors, match="no zip file"):
        bring(db, tmp_path / "feed.zip")


def test_gtfs_many_stop_times_need_memory_for_trips_only(db: sqlite3.Connection, tmp_path: Path) -> None:
    feed = sample_feed()
    stop_times = feed.pop("stop_times.txt")
    path = zipped(tmp_path / "feed.zip", feed)
    rows = 100_000
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("stop_times.txt", "w") as raw, io.TextIOWrapper(raw, newline="") as text:
            writer = csv.writer(text)
            writer.writerows(stop_times)
            for number in range(rows):
                writer.writerow(["t0-06:00-there", "07:00:00", "07:00:00", "s3", str(2 + number % 5)])
    tracemalloc.start()
    read_gtfs(path, known_towns(db), TODAY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
