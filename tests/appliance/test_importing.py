"""A timetable brought while the box runs: nobody waits for it, and what is cut short is not in force."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.importing import Importer
from appliance.store import timetable
from appliance.store.store import Store
from appliance.store.timetable import SAMPLE_FOLDER, TimetableErrors, import_sample

NOW_MS = 1_795_334_400_000  # 2026-11-22 08:00 UTC


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "box")
    await store.writer.run(lambda db: import_sample(db, now_ms=NOW_MS))
    yield store
    await store.close()


def feed(path: Path, trips: int) -> Path:
    """A trip every minute of the day round the sample's towns."""
    with (SAMPLE_FOLDER / "towns.csv").open(encoding="utf-8") as file:
        towns = list(csv.DictReader(file))
    stops = "".join(f"s{n},{t['name_en']},{t['lat']},{t['lon']}\n" for n, t in enumerate(towns))
    lines, times = [], []
    for n in range(trips):
        first, last = n % len(towns), (n + 1 + n // len(towns) % 40) % len(towns)
        lines.append(f"r,daily,t{n}\n")
        times.append(f"t{n},{n % 24}:{n % 60:02}:00,s{first},1\nt{n},{n % 24 + 3}:00:00,s{last},2\n")
    days = "monday,tuesday,wednesday,thursday,friday,saturday,sunday"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("agency.txt", "agency_id,agency_name\n1,Sample\n")
        archive.writestr("stops.txt", "stop_id,stop_name,stop_lat,stop_lon\n" + stops)
        archive.writestr("routes.txt", "route_id,route_type\nr,3\n")
        archive.writestr("trips.txt", "route_id,service_id,trip_id\n" + "".join(lines))
        archive.writestr("stop_times.txt", "trip_id,departure_time,stop_id,stop_sequence\n" + "".join(times))
        archive.writestr(
            "calendar.txt", f"service_id,{days},start_date,end_date\ndaily,1,1,1,1,1,1,1,20260101,20271231\n"
        )
        archive.writestr("fare_attributes.txt", "fare_id,price,currency_type\nf,300,ETB\n")
    return path


async def bring(importer: Importer, path: Path, *, dry_run: bool = False) -> timetable.ImportResult:
    return await importer.bring(path, now_ms=NOW_MS, seats_per_bus=45, timezone_minutes=180, dry_run=dry_run)


async def in_force(store: Store) -> int:
    query = "SELECT count(*) FROM service WHERE retired = 0"
    return await store.reader.run(lambda db: int(db.execute(query).fetchone()[0]))


async def test_import_of_a_feed_lets_other_writes_through_between_its_pieces(
    store: Store, tmp_path: Path
) -> None:
    before = await in_force(store)
    importing = asyncio.create_task(bring(Importer(store), feed(tmp_path / "feed.zip", 4000)))
    seen: set[int] = set()
    others = 0
    while not importing.done():
        await store.writer.run(lambda db: db.execute("UPDATE town SET lat = lat WHERE id = 1").rowcount)
        seen.add(await in_force(store))
        others += 1
    done = await importing
    # Of the pieces nothing was ever seen: one timetable, then the other.
    assert seen <= {before, done.services}
    assert await in_force(store) == done.services
    assert others >= 20  # 4000 departures are 20 pieces


async def test_import_dry_run_tells_the_same_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    path = feed(tmp_path / "feed.zip", 500)
    before = await in_force(store)
    told = await bring(Importer(store), path, dry_run=True)
    tables = ("service", "route", "timetable")
    rows = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    sizes = await store.reader.run(lambda db: db.execute(rows).fetchone())
    assert await bring(Importer(store), path, dry_run=True) == told
    assert await store.reader.run(lambda db: db.execute(rows).fetchone()) == sizes
    assert await in_force(store) == before
    assert await bring(Importer(store), path) == told
    assert await in_force(store) == told.services
    assert not (await bring(Importer(store), path)).changed


async def test_import_that_was_cut_short_is_not_in_force_and_the_next_one_starts_clean(
    store: Store, tmp_path: Path
) -> None:
    path = feed(tmp_path / "feed.zip", 500)
    towns = await store.reader.run(timetable.known_towns)
    plan = timetable.read_plan(path, towns, dt.date(2026, 11, 22))
    before = await in_force(store)
    found = await store.reader.run(timetable.differences, plan, 45, 180, NOW_MS)
    assert found is not None
    await store.writer.run(timetable.stage_towns, plan)
    await store.writer.run(timetable.stage, found.fresh[:300], 45)  # and the power goes
    assert await in_force(store) == before
    done = await bring(Importer(store), path)
    assert await in_force(store) == done.services
    left = "SELECT count(*) FROM service WHERE retired = 2"
    assert await store.reader.run(lambda db: db.execute(left).fetchone()) == (0,)


async def test_import_of_what_is_no_feed_or_not_there_is_told(store: Store, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.zip"
    wrong.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(TimetableErrors, match="no zip file"):
        await bring(Importer(store), wrong)
    with pytest.raises(OSError, match="No such file"):
        await bring(Importer(store), tmp_path / "nowhere.zip")
