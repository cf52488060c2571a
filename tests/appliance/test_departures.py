"""The operator's desk over the control socket: what is asked wrongly is told, not answered by nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Config
from appliance.control import ControlError
from appliance.conversation.budget import segments
from appliance.conversation.kit import Kit
from appliance.departures import Departures
from appliance.store import booking, effects
from appliance.store.booking_look import BookingLook
from appliance.store.departures import Manifest, Passenger
from appliance.store.effects import EffectContext
from appliance.store.store import Store
from appliance.store.timetable import import_folder

SAMPLE = Path(__file__).parents[2] / "config" / "data"
NOW_MS = 1_795_334_400_000  # 2026-11-22 08:00 UTC
HOUR_MS = 3_600_000
LEAVES_MS = 1_795_401_000_000  # 2026-11-23 02:30 UTC: 05:30 in Addis Ababa
DATE = "2026-11-23"
WAY = {"origin": "Addis Ababa", "destination": "Hawassa", "date": "2026-11-23"}
ABEBE, SARA, DRIVER = "+251911111111", "+251922222222", "+251933333333"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """With the sample timetable."""
    store = await Store.open(tmp_path)
    await store.writer.run(
        lambda db: import_folder(db, SAMPLE, now_ms=NOW_MS, seats_per_bus=45, timezone_minutes=180)
    )
    yield store
    await store.close()


def departures(store: Store) -> Departures:
    return Departures(store, Config(), Kit({}), lambda: NOW_MS)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"date": "tomorrow"}, "such as 2026-11-23"),
        ({"origin": "Adis Abeba"}, "no town of the timetable is called 'Adis Abeba'; near: Addis Ababa"),
        ({"destination": ""}, "no town of the timetable is called ''; near: "),
    ],
)
@pytest.mark.parametrize("op", ["manifest", "cancel_bus"])
async def test_desk_day_or_town_that_is_none_is_told(
    store: Store, op: str, asked: dict[str, str], told: str
) -> None:
    request: dict[str, Any] = {
        "origin": "Addis Ababa", "destination": "Hawassa", "date": "2026-11-23", "time": "05:30", **asked
    }  # fmt: skip
    with pytest.raises(ControlError) as refused:
        await departures(store).handlers()[op](request)
    assert told in str(refused.value)


async def test_desk_town_is_found_whatever_its_capitals(store: Store) -> None:
    request = {"origin": "ADDIS ABABA", "destination": "hawassa", "date": "2026-11-23", "time": "05:30"}
    asked = departures(store).handlers()
    assert await asked["cancel_bus"](request) == {"told": 0}
    found = (await asked["manifest"](request))["departures"]
    assert [(departure["time"], departure["state"]) for departure in found] == [("05:30", "cancelled")]


async def sold(store: Store, code: str, holder: str, *, names: str = "", paid: bool = True) -> None:
    """A booking of the 05:30 to Hawassa, made as a person's texts make it."""

    def write(db: sqlite3.Connection) -> None:
        look = BookingLook(db)
        trip = look.trips("Addis Ababa", "Hawassa", "2026-11-23", NOW_MS)[0]
        held = {
            "service": trip.service, "date": trip.date, "seats": 2, "code": code, "language": "en",
            "until_ms": NOW_MS + HOUR_MS, "fare_santim": trip.fare_santim, "names": names.split(", "),
        }  # fmt: skip
        effects.apply(db, EffectContext(NOW_MS, holder, 1), [("booking.hold", held)])
        if paid:
            numbers = list(look.ticket(code, NOW_MS).numbers)  # type: ignore[union-attr]  # just made
            args = {"code": code, "method": "cash", "amount_santim": 89_000, "numbers": numbers}
            effects.apply(db, EffectContext(NOW_MS, "+251911000099", 1), [("booking.pay", args)])

    await store.writer.run(write)


async def queued(store: Store) -> list[tuple[str, str, str]]:
    query = "SELECT recipient, lane, text FROM outbound ORDER BY id"
    return await store.reader.run(lambda db: db.execute(query).fetchall())


async def test_bus_that_moves_is_told_and_its_ticket_goes_back_whole(store: Store) -> None:
    await sold(store, "AB3D5F", ABEBE)
    await sold(store, "CD4E6G", SARA, paid=False)
    desk = departures(store)
    assert await desk.move_bus({**WAY, "time": "05:30", "new_time": "06:15"}) == {"told": 2}
    texts = {recipient: text for recipient, _, text in await queued(store)}
    assert texts[ABEBE] == (
        "The bus Addis Ababa-Hawassa Mon 23 Nov (14 Hidar) 05:30 now leaves at 06:15. Ticket AB3D5F stays"
        " good, or text CANCEL AB3D5F for all your money."
    )
    found = (await desk.manifest(WAY))["departures"]
    assert [(each["time"], len(each["passengers"])) for each in found] == [("06:15", 1)]
    ticket = await store.reader.run(booking.find_ticket, "AB3D5F", NOW_MS)
    assert ticket is not None and (ticket.minute, ticket.moved) == (375, True)
    assert ticket.departs_at_ms == LEAVES_MS + 45 * 60_000
    # It is found and sold at its new hour, and can be told from then on by that hour only.
    trips = await store.reader.run(lambda db: BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, NOW_MS))
    assert [(trip.minute, trip.left) for trip in trips[:2]] == [(360, 45), (375, 41)]
    with pytest.raises(ControlError, match="at 05:30 is in force"):
        await desk.cancel_bus({**WAY, "time": "05:30"})
    assert await desk.cancel_bus({**WAY, "time": "06:15"}) == {"told": 2}


async def test_passengers_are_reminded_once_and_those_who_said_stop_are_not(store: Store) -> None:
    await sold(store, "AB3D5F", ABEBE)
    await sold(store, "CD4E6G", SARA)
    stop = "INSERT INTO person (number, first_seen_ms, opted_out_ms) VALUES (?, 1, 1)"
    await store.writer.run(lambda db: db.execute(stop, (SARA,)).rowcount)
    now = LEAVES_MS - 12 * HOUR_MS - 1
    desk = Departures(store, Config(), Kit({}), lambda: now)
    assert await desk.tick() == 0
    now += 1
    assert (await desk.tick(), await desk.tick()) == (1, 0)
    assert await queued(store) == [
        (
            ABEBE,
            "normal",
            "Your bus Addis Ababa-Hawassa leaves Mon 23 Nov (14 Hidar) 05:30. Ticket AB3D5F, seats 1,2. Be"
            " there 30 minutes early.",
        )
    ]


async def test_who_pays_on_the_last_evening_is_not_reminded_of_what_they_just_read(store: Store) -> None:
    await sold(store, "AB3D5F", ABEBE)
    paid_late = "UPDATE booking SET paid_at_ms = ?"
    await store.writer.run(lambda db: db.execute(paid_late, (LEAVES_MS - 2 * HOUR_MS,)).rowcount)
    assert await Departures(store, Config(), Kit({}), lambda: LEAVES_MS - HOUR_MS - 1).tick() == 0


async def test_driver_is_sent_who_travels_once_in_the_order_of_the_seats(store: Store) -> None:
    await sold(store, "AB3D5F", ABEBE, names="Sara Ali, Abel Tesfaye")
    await sold(store, "CD4E6G", SARA)
    now = NOW_MS
    desk = Departures(store, Config(), Kit({}), lambda: now)
    way = {"origin": "Addis Ababa", "destination": "Hawassa", "time": "05:30"}
    assert await desk.driver({**way, "number": "0944000000"}) == {"driver": "+251944000000"}
    assert await desk.driver({**way, "number": DRIVER, "date": "2026-11-23"}) == {"driver": DRIVER}
    now = LEAVES_MS - 13 * HOUR_MS
    await desk.tick()
    assert await queued(store) == []
    now = LEAVES_MS - HOUR_MS
    await store.writer.run(lambda db: db.execute("UPDATE booking SET reminded_ms = 1").rowcount)
    assert (await desk.tick(), await desk.tick()) == (1, 0)
    assert await queued(store) == [
        (
            DRIVER,  # of this day; the other number is of every other day
            "normal",
            "Addis Ababa-Hawassa Mon 23 Nov (14 Hidar) 05:30: 4 of 45 seats.\n"
            "1,2 AB3D5F Sara Ali; Abel Tesfaye\n"
            "3,4 CD4E6G +251922222222",
        )
    ]


async def test_manifest_of_a_full_bus_is_cut_to_its_sms_and_says_how_many_are_left_out(store: Store) -> None:
    names = "Woizero Tigist Gebremariam Woldegiorgis"
    passengers = tuple(Passenger(f"AB{n:02}EF", ABEBE, 1, str(n), "paid", names) for n in range(1, 46))
    full = Manifest(1, DATE, "Addis Ababa", "Hawassa", 330, 45, "planned", DRIVER, None, passengers)
    towns = await store.reader.run(booking.town_names)
    text = departures(store).driver_text(full, towns)
    assert segments(text) <= 6
    shown = text.count(names)
    assert text.endswith(f"and {45 - shown} more")
    assert shown >= 15


async def test_bus_cancelled_while_somebody_books_tells_them_too(store: Store) -> None:
    """The look and the cancelling are two transactions; a hold between them is found by the second round."""
    await sold(store, "AB3D5F", ABEBE)
    desk = departures(store)
    notices = desk._notices

    async def late(*args: Any, **more: Any) -> dict[str, str]:
        found = await notices(*args, **more)
        if "CD4E6G" not in found and len(found) == 1:
            await sold(store, "CD4E6G", SARA, paid=False)
        return found

    desk._notices = late  # type: ignore[method-assign]  # a hold just after the look
    assert await desk.cancel_bus({**WAY, "time": "05:30"}) == {"told": 2}
    assert [recipient for recipient, _, _ in await queued(store)] == [ABEBE, SARA]
