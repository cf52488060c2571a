from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.store import effects
from appliance.store.booking import close_expired, find_ticket
from appliance.store.booking_look import BookingLook
from appliance.store.database import known_migrations
from appliance.store.departures import cancel_departure, sold_tickets
from appliance.store.effects import EffectContext, EffectRefused
from appliance.store.timetable import SAMPLE_FOLDER, TimetableErrors, import_folder, import_sample

NOW = 1_795_327_200_000  # 2026-11-22 06:00 UTC
DATE = "2026-11-23"
HALF_HOUR = 1_800_000
ABEBE, SARA, AGENT = "+251911111111", "+251922222222", "+251911000099"


def open_database(path: str, *, seats: int = 4) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=10)
    db.execute("PRAGMA foreign_keys = 1")
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        for step in known_migrations():
            db.executescript(step.sql)
        import_sample(db, now_ms=NOW, seats_per_bus=seats)
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    effects.load()
    database = open_database(":memory:")
    yield database
    database.close()


def service(db: sqlite3.Connection, origin: str = "Addis Ababa", destination: str = "Hawassa") -> int:
    return BookingLook(db).trips(origin, destination, DATE, NOW)[0].service


def do(db: sqlite3.Connection, name: str, sender: str = ABEBE, now_ms: int = NOW, **args: Any) -> Any:
    """One effect in a transaction of its own, as a turn's commit does it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (granted,) = effects.apply(db, EffectContext(now_ms, sender, 1), [(name, args)])
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return granted


def hold(db: sqlite3.Connection, code: str, seats: int, sender: str = ABEBE, now_ms: int = NOW) -> Any:
    return do(
        db, "booking.hold", sender, now_ms, service=service(db), date=DATE, seats=seats, code=code,
        language="en", until_ms=now_ms + HALF_HOUR, fare_santim=44_500,
    )  # fmt: skip


def pay(db: sqlite3.Connection, code: str, amount: int, now_ms: int = NOW, numbers: Any = (1,)) -> Any:
    return do(
        db, "booking.pay", AGENT, now_ms, code=code, method="cash", amount_santim=amount, numbers=numbers
    )


def left(db: sqlite3.Connection, now_ms: int = NOW) -> int:
    return BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, now_ms)[0].left


def test_hold_takes_the_lowest_free_seats(db: sqlite3.Connection) -> None:
    assert hold(db, "AAAAA3", 1) == {"numbers": [1]}
    assert hold(db, "AAAAA4", 2) == {"numbers": [2, 3]}
    assert left(db) == 1


def test_hold_beyond_the_bus_is_refused_with_what_is_left(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 3)
    with pytest.raises(EffectRefused) as refused:
        hold(db, "AAAAA4", 2, SARA)
    assert (refused.value.reason, refused.value.detail) == ("sold_out", {"left": 1})
    assert find_ticket(db, "AAAAA4", NOW) is None


def test_hold_with_a_code_in_use_is_refused(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 1)
    with pytest.raises(EffectRefused, match="code_taken"):
        hold(db, "AAAAA3", 1, SARA)


def test_hold_of_a_departure_that_left_is_refused(db: sqlite3.Connection) -> None:
    with pytest.raises(EffectRefused, match="gone"):
        do(
            db, "booking.hold", service=service(db), date="2026-11-22", seats=1, code="AAAAA3",
            language="en", until_ms=NOW + 1, fare_santim=44_500,
        )  # fmt: skip


def test_hold_at_another_fare_than_told_is_refused(db: sqlite3.Connection) -> None:
    with pytest.raises(EffectRefused) as refused:
        do(
            db, "booking.hold", service=service(db), date=DATE, seats=1, code="AAAAA3",
            language="en", until_ms=NOW + 1, fare_santim=1,
        )  # fmt: skip
    assert refused.value.detail == {"fare_santim": 44_500}


def test_hold_of_a_fourth_unpaid_booking_is_refused(db: sqlite3.Connection) -> None:
    for code in ("AAAAA3", "AAAAA4", "AAAAA5"):
        hold(db, code, 1)
    with pytest.raises(EffectRefused, match="too_many_holds"):
        hold(db, "AAAAA6", 1)


def test_hold_past_its_time_never_counts_and_makes_room(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 4)
    later = NOW + HALF_HOUR
    assert left(db) == 0
    assert left(db, later) == 4
    assert hold(db, "AAAAA4", 4, SARA, later) == {"numbers": [1, 2, 3, 4]}
    ticket = find_ticket(db, "AAAAA3", later)
    assert ticket is not None and ticket.state == "expired"


def test_release_gives_only_own_unpaid_seats_back(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    assert do(db, "booking.release", SARA, code="AAAAA3") == {"released": 0}
    assert left(db) == 2
    assert do(db, "booking.release", ABEBE, code="AAAAA3") == {"released": 1}
    assert do(db, "booking.release", ABEBE) == {"released": 0}
    assert left(db) == 4


def test_pay_marks_paid_once_and_writes_the_money(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    pay(db, "AAAAA3", 89_000)
    with pytest.raises(EffectRefused, match="paid_already"):
        pay(db, "AAAAA3", 89_000)
    assert db.execute("SELECT method, taken_by, amount_santim FROM payment").fetchall() == [
        ("cash", AGENT, 89_000)
    ]
    assert left(db, NOW + HALF_HOUR) == 2
    assert do(db, "booking.release", ABEBE) == {"released": 0}


@pytest.mark.parametrize(
    ("code", "amount", "reason"), [("BBBBB3", 44_500, "unknown"), ("AAAAA3", 1, "wrong_amount")]
)
def test_pay_of_what_was_not_agreed_is_refused(
    db: sqlite3.Connection, code: str, amount: int, reason: str
) -> None:
    hold(db, "AAAAA3", 1)
    with pytest.raises(EffectRefused, match=reason):
        pay(db, code, amount)


def test_pay_late_is_honoured_while_the_seats_are_free(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    later = NOW + HALF_HOUR + 1
    pay(db, "AAAAA3", 89_000, later, [1, 2])
    ticket = find_ticket(db, "AAAAA3", later)
    assert ticket is not None and (ticket.state, ticket.numbers) == ("paid", (1, 2))


def test_pay_late_with_other_seats_free_asks_for_a_new_ticket_text(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    later = NOW + HALF_HOUR + 1
    hold(db, "AAAAA4", 1, SARA, later)  # takes seat 1
    with pytest.raises(EffectRefused) as refused:
        pay(db, "AAAAA3", 89_000, later, [1, 2])
    assert (refused.value.reason, refused.value.detail) == ("seats_moved", {"numbers": [2, 3]})
    pay(db, "AAAAA3", 89_000, later, [2, 3])
    assert left(db, later) == 1


def test_pay_late_with_no_seats_free_is_refused(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    later = NOW + HALF_HOUR + 1
    hold(db, "AAAAA4", 3, SARA, later)
    with pytest.raises(EffectRefused, match="late"):
        pay(db, "AAAAA3", 89_000, later, [1, 2])


def test_schema_refuses_what_the_code_would_not_do(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 2)
    departure, booking = db.execute("SELECT departure_id, id FROM booking").fetchone()
    for statement in (
        f"INSERT INTO seat VALUES ({departure}, 1, {booking})",  # sold already
        f"INSERT INTO seat VALUES ({departure}, 5, {booking})",  # the bus has four
        f"INSERT INTO seat VALUES ({departure + 1}, 1, {booking})",  # another departure
        f"UPDATE seat SET number = 4 WHERE departure_id = {departure} AND number = 1",
        f"UPDATE departure SET seats = 1 WHERE id = {departure}",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(statement)
    db.execute("DELETE FROM seat WHERE number = 2")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE booking SET state = 'paid'")


def test_concurrent_writers_never_oversell(tmp_path: Path) -> None:
    effects.load()
    path = str(tmp_path / "outpost.db")
    open_database(path, seats=7).close()
    results: list[str] = []
    ready = threading.Barrier(4)

    def buyer(number: int) -> None:
        db = open_database(path)
        ready.wait()
        for turn in range(5):
            try:
                hold(db, f"A{number}A{turn}AA", 1, f"+2519110000{number}{turn}")
                results.append("held")
            except EffectRefused as refused:
                results.append(refused.reason)
        db.close()

    threads = [threading.Thread(target=buyer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db = open_database(path)
    assert sorted(results) == ["held"] * 7 + ["sold_out"] * 13
    assert db.execute("SELECT count(*), max(number) FROM seat").fetchone() == (7, 7)
    db.close()


def test_close_expired_closes_all_that_are_over(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 1)
    assert close_expired(db, NOW) == 0
    assert close_expired(db, NOW + HALF_HOUR) == 1
    assert db.execute("SELECT count(*) FROM seat").fetchone() == (0,)


def test_import_sample_twice_changes_nothing(db: sqlite3.Connection) -> None:
    before = db.execute("SELECT count(*), max(id) FROM service").fetchone()
    assert not import_sample(db, now_ms=NOW, seats_per_bus=4).changed
    assert db.execute("SELECT count(*), max(id) FROM service").fetchone() == before
    assert db.execute("SELECT count(*) FROM route").fetchone() == (138,)


def test_import_of_another_timetable_keeps_what_is_sold(db: sqlite3.Connection, tmp_path: Path) -> None:
    hold(db, "AAAAA3", 2)
    pay(db, "AAAAA3", 89_000)
    (tmp_path / "towns.csv").write_bytes((SAMPLE_FOLDER / "towns.csv").read_bytes())
    (tmp_path / "routes.csv").write_text(
        "origin,destination,km,typical_duration_min,fare_etb,departures\n"
        "Addis Ababa,Hawassa,275,315,500.50,07:00\n"
    )
    result = import_folder(db, tmp_path, now_ms=NOW, seats_per_bus=30, timezone_minutes=180)
    assert (result.routes, result.services) == (2, 2)
    trips = BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, NOW)
    assert [(trip.minute, trip.fare_santim, trip.left) for trip in trips] == [(420, 50_050, 30)]
    assert BookingLook(db).route("Addis Ababa", "Adama") is None
    ticket = find_ticket(db, "AAAAA3", NOW)
    assert ticket is not None and (ticket.state, ticket.minute, ticket.price_santim) == ("paid", 330, 89_000)


def test_import_with_bad_rows_names_each_and_changes_nothing(db: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "towns.csv").write_bytes((SAMPLE_FOLDER / "towns.csv").read_bytes())
    (tmp_path / "routes.csv").write_text(
        "origin,destination,km,typical_duration_min,fare_etb,departures\n"
        "Addis Ababa,Atlantis,275,315,445,07:00\n"
        "Addis Ababa,Adama,x,120,-3,25:00\n"
    )
    with pytest.raises(TimetableErrors) as errors:
        import_folder(db, tmp_path, now_ms=NOW, seats_per_bus=30, timezone_minutes=180)
    assert [line.split(": ")[1] for line in errors.value.lines] == ["line 2", "line 3", "line 3", "line 3"]
    assert left(db) == 4


def test_look_shows_no_departure_that_left(db: sqlite3.Connection) -> None:
    noon = NOW + 3 * 3_600_000
    trips = BookingLook(db).trips("Addis Ababa", "Hawassa", "2026-11-22", noon)
    assert [trip.minute for trip in trips] == [750, 840]


def test_look_changes_finds_the_shortest_way_round(db: sqlite3.Connection) -> None:
    assert BookingLook(db).changes("Hawassa", "Gondar")[0] == "Addis Ababa"


def test_cancelled_departure_ends_all_owes_what_was_paid_and_tells_once(db: sqlite3.Connection) -> None:
    hold(db, "AAAAA3", 1)
    pay(db, "AAAAA3", 44_500)
    hold(db, "AAAAA4", 2, SARA)
    where = (DATE, "Addis Ababa", "Hawassa", 330)
    tickets = sold_tickets(db, *where, NOW)
    assert [ticket.code for ticket in tickets] == ["AAAAA3", "AAAAA4"]
    notices = {ticket.code: f"no bus {ticket.code}" for ticket in tickets}
    found, rows = cancel_departure(db, *where, notices, NOW)
    assert found and [row.recipient for row in rows] == [ABEBE, SARA]
    assert cancel_departure(db, *where, notices, NOW) == (True, [])
    assert db.execute("SELECT state FROM booking ORDER BY id").fetchall() == [("cancelled",), ("released",)]
    assert BookingLook(db).refund_owed("AAAAA3") == 44_500
    assert BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, NOW)[0].minute == 360
    with pytest.raises(EffectRefused, match="gone"):
        hold_cancelled(db)


def hold_cancelled(db: sqlite3.Connection) -> None:
    (number,) = db.execute("SELECT service_id FROM departure").fetchone()
    do(
        db, "booking.hold", service=number, date=DATE, seats=1, code="AAAAA6", language="en",
        until_ms=NOW + 1, fare_santim=44_500,
    )  # fmt: skip


def test_cancel_of_a_departure_that_is_not_there_says_so(db: sqlite3.Connection) -> None:
    assert cancel_departure(db, DATE, "Addis Ababa", "Hawassa", 331, {}, NOW) == (False, [])


def test_look_remembers_a_search_until_its_seats_change(db: sqlite3.Connection) -> None:
    look = BookingLook(db)
    way = ("Addis Ababa", "Hawassa", DATE)

    def left() -> tuple[int, int]:
        before = look.remembered
        return look.trips(*way, NOW)[0].left, look.remembered - before

    assert (left(), left()) == ((4, 0), (4, 1))
    db.execute("UPDATE person SET language = 'en'")  # what has nothing to do with it
    hold(db, "AAAAA3", 1, ABEBE)
    assert (left(), left()) == ((3, 0), (3, 1))
    do(db, "booking.release")
    assert left() == (4, 0)
    # Another way, or the same on another day, is not looked for again because of it.
    look.trips("Hawassa", "Addis Ababa", DATE, NOW)
    hold(db, "AAAAA4", 1, SARA)
    before = look.remembered
    look.trips("Hawassa", "Addis Ababa", DATE, NOW)
    assert look.remembered == before + 1


def test_look_forgets_a_search_when_a_hold_in_it_runs_out(db: sqlite3.Connection) -> None:
    look = BookingLook(db)
    hold(db, "AAAAA3", 3, ABEBE)
    way = ("Addis Ababa", "Hawassa", DATE)
    assert look.trips(*way, NOW)[0].left == 1
    assert look.trips(*way, NOW + HALF_HOUR - 1)[0].left == 1
    assert look.trips(*way, NOW + HALF_HOUR)[0].left == 4


def test_look_forgets_all_searches_when_a_timetable_comes(db: sqlite3.Connection, tmp_path: Path) -> None:
    look = BookingLook(db)
    way = ("Addis Ababa", "Hawassa", DATE)
    count = len(look.trips(*way, NOW))
    (tmp_path / "towns.csv").write_bytes((SAMPLE_FOLDER / "towns.csv").read_bytes())
    (tmp_path / "routes.csv").write_text(
        "origin,destination,km,typical_duration_min,fare_etb,departures\n"
        "Addis Ababa,Hawassa,275,315,445,09:00\n"
    )
    import_folder(db, tmp_path, now_ms=NOW, seats_per_bus=4, timezone_minutes=180)
    assert look.version  # as each turn begins
    assert (count, [trip.minute for trip in look.trips(*way, NOW)]) == (7, [540])


def test_look_nearby_tells_towns_with_a_bus_the_nearest_first(db: sqlite3.Connection) -> None:
    look = BookingLook(db)
    (near,) = look.nearby("Addis Ababa", "Goba")[:1]
    assert (near.slot, near.town, near.km) == ("destination", "Bale Robe", 12)
    # From a town without a way there: where one could get on instead.
    assert {each.slot for each in look.nearby("Goba", "Addis Ababa")} == {"origin"}
    assert look.nearby("Moyale", "Assosa") == []


def small(folder: Path, minute: str) -> Path:
    folder.mkdir()
    (folder / "towns.csv").write_bytes((SAMPLE_FOLDER / "towns.csv").read_bytes())
    (folder / "routes.csv").write_text(
        "origin,destination,km,typical_duration_min,fare_etb,departures\n"
        f"Addis Ababa,Hawassa,275,315,445,{minute}\n"
    )
    return folder


def bring(db: sqlite3.Connection, folder: Path, *, once: bool = False, sample: bool = False) -> bool:
    return import_folder(
        db, folder, now_ms=NOW, seats_per_bus=4, timezone_minutes=180, once=once, sample=sample
    ).changed


def test_import_back_and_forth_sells_no_seat_of_a_bus_twice(db: sqlite3.Connection, tmp_path: Path) -> None:
    hold(db, "AAAAA3", 3, ABEBE)
    bring(db, small(tmp_path / "other", "09:00"))
    assert [trip.minute for trip in BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, NOW)] == [540]
    bring(db, SAMPLE_FOLDER)
    first = BookingLook(db).trips("Addis Ababa", "Hawassa", DATE, NOW)[0]
    assert (first.minute, first.left) == (330, 1)
    with pytest.raises(EffectRefused, match="sold_out"):
        hold(db, "AAAAA4", 2, SARA)


def test_import_at_the_start_leaves_what_was_brought_by_hand(db: sqlite3.Connection, tmp_path: Path) -> None:
    other = small(tmp_path / "other", "09:00")
    assert bring(db, other)
    assert not bring(db, SAMPLE_FOLDER, once=True, sample=True)  # each start tries
    assert not bring(db, other, once=True)
    assert bring(db, small(tmp_path / "changed", "10:00"), once=True)  # the configured files are others now
