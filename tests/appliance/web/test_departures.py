"""The pages of departures: what leaves soon, who travels, and a CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from typing import Any

from appliance.store.timetable import import_sample
from appliance.web.services import wall_clock_ms

DAY_MS = 86_400_000


def sold(bench: Any, names: str = "Sara Ali") -> int:
    """A departure of tomorrow with one paid ticket, by its id."""
    db = bench.store.db
    import_sample(db, now_ms=wall_clock_ms())
    service, origin, destination = db.execute(
        "SELECT s.id, r.origin_id, r.destination_id FROM service s JOIN route r ON r.id = s.route_id LIMIT 1"
    ).fetchone()
    departure = db.execute(
        "INSERT INTO departure (service_id, date, origin_id, destination_id, minute, departs_at_ms, seats,"
        " fare_santim) VALUES (?, '2026-11-23', ?, ?, 330, ?, 45, 44500) RETURNING id",
        (service, origin, destination, wall_clock_ms() + DAY_MS),
    ).fetchone()[0]
    db.execute("DROP TRIGGER IF EXISTS booking_paid_has_its_seats")
    db.execute(
        "INSERT INTO booking (code, departure_id, holder, language, seats, numbers, price_santim, state,"
        " held_at_ms, expires_at_ms, names) VALUES ('AB3D5F', ?, '+251911111111', 'en', 2, '3,4', 89000,"
        " 'paid', 1, 1, ?)",
        (departure, names),
    )
    return int(departure)


async def test_departures_without_passengers_say_so(bench: Any) -> None:
    assert "No seat is sold yet" in await (await bench.client.get("/departures")).text()


async def test_departures_and_their_passengers_are_shown(bench: Any) -> None:
    departure = sold(bench, "Sara <Ali>")
    html = await (await bench.client.get("/departures")).text()
    assert f'href="/departures/{departure}"' in html and "2026-11-23 05:30" in html
    html = await (await bench.client.get(f"/departures/{departure}")).text()
    assert "Sara &lt;Ali&gt;" in html and "AB3D5F" in html and "2 of 45 seats paid" in html


async def test_manifest_as_csv_has_a_line_a_booking_and_no_formula(bench: Any) -> None:
    departure = sold(bench, "=1+1")
    answer = await bench.client.get(f"/departures/{departure}/manifest.csv")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="manifest-2026-11-23-0530')
    rows = list(csv.reader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
    assert rows == [
        ["seats", "code", "names", "phone", "state"],
        ["3,4", "AB3D5F", "'=1+1", "+251911111111", "paid"],
    ]


async def test_departure_that_is_not_there_is_404(bench: Any) -> None:
    for path in ("/departures/99", "/departures/99/manifest.csv"):
        assert (await bench.client.get(path)).status == 404
