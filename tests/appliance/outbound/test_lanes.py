from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.outbound.lanes import LANE_WEIGHTS, WINDOW, Lanes
from appliance.store.outbound import QueuedRow, QueueKey

ANY = ("", "modem:gsm0")
MODEM = "modem:gsm0"


def row(
    number: int, lane: str = "reply", client: int = 0, to: str | None = None, route: str = ""
) -> QueuedRow:
    return QueuedRow(number, to or f"+2519{number:08d}", QueueKey(route, lane, client))


def take_all(lanes: Lanes) -> list[int]:
    taken = []
    while (got := lanes.take(ANY, MODEM)) is not None:
        taken.append(got.id)
        lanes.done(got)
    return taken


def test_take_one_lane_gives_first_in_first_out() -> None:
    lanes = Lanes()
    for number in range(5):
        lanes.offer(row(number))
    assert take_all(lanes) == [0, 1, 2, 3, 4]


def test_take_otp_into_a_full_bulk_lane_is_next() -> None:
    lanes = Lanes()
    for number in range(40):
        lanes.offer(row(number, "bulk"))
    for _ in range(10):
        got = lanes.take(ANY, MODEM)
        assert got is not None
        lanes.done(got)
    lanes.offer(row(1000, "otp"))
    assert lanes.waits_above("bulk", ANY)
    got = lanes.take(ANY, MODEM)
    assert got is not None
    assert got.id == 1000
    assert not lanes.waits_above("bulk", ANY)


def test_take_stream_for_any_modem_does_not_starve_those_for_one() -> None:
    lanes = Lanes()
    for number in range(20):
        lanes.offer(row(number, route=""))
    lanes.offer(row(100, route=MODEM))
    lanes.offer(row(101, route=MODEM))
    assert set(take_all(lanes)[:5]) >= {100, 101}


def test_take_flood_of_otp_leaves_bulk_its_share() -> None:
    lanes = Lanes()
    for number in range(60):
        lanes.offer(row(number, "otp"))
        lanes.offer(row(100 + number, "bulk"))
    first = []
    for number in range(130):
        got = lanes.take(ANY, MODEM)
        assert got is not None
        first.append(got.key.lane)
        lanes.done(got)
        if got.key.lane == "otp":
            lanes.offer(row(1000 + number, "otp"))
    assert first.count("bulk") == 2  # weights 64 : 1


def test_take_two_clients_alternate_within_a_lane() -> None:
    lanes = Lanes()
    for number in range(50):
        lanes.offer(row(number, "normal", client=1))
    for number in range(100, 103):
        lanes.offer(row(number, "normal", client=2))
    assert take_all(lanes)[:6] == [0, 100, 1, 101, 2, 102]


def test_take_person_being_sent_to_waits_and_others_pass() -> None:
    lanes = Lanes()
    lanes.offer(row(1, to="+251911000001"))
    lanes.offer(row(2, to="+251911000001"))
    lanes.offer(row(3, to="+251911000002"))
    first = lanes.take(ANY, MODEM)
    second = lanes.take(ANY, MODEM)
    assert first is not None and second is not None
    assert (first.id, second.id) == (1, 3)
    assert lanes.take(ANY, MODEM) is None
    lanes.done(first)
    third = lanes.take(ANY, MODEM)
    assert third is not None and third.id == 2


def test_take_fixed_route_goes_to_that_route_only() -> None:
    lanes = Lanes()
    lanes.offer(row(1, route="twilio"))
    assert lanes.take(ANY, MODEM) is None
    got = lanes.take(("twilio",), "twilio")
    assert got is not None and got.id == 1


def test_take_avoided_channel_leaves_it_to_the_other() -> None:
    lanes = Lanes()
    lanes.offer(row(1))
    lanes.avoid(1, MODEM)
    assert lanes.take(ANY, MODEM) is None
    assert lanes.take(("", "modem:gsm1"), "modem:gsm1") is not None


def test_offer_beyond_window_stays_on_disk_until_refilled() -> None:
    lanes = Lanes()
    for number in range(WINDOW + 10):
        lanes.offer(row(number))
    assert lanes.in_window() == WINDOW
    assert lanes.wants() == []
    taken = take_all(lanes)
    assert taken == list(range(WINDOW))
    key = QueueKey("", "reply", 0)
    assert lanes.wants() == [key]
    lanes.refill(key, [row(number) for number in range(WINDOW, WINDOW + 10)], None, now_ms=0)
    assert take_all(lanes) == list(range(WINDOW, WINDOW + 10))
    assert lanes.wants() == []


def test_refill_with_a_row_that_is_on_the_air_does_not_give_it_twice() -> None:
    lanes = Lanes()
    lanes.offer(row(1))
    taken = lanes.take(ANY, MODEM)
    assert taken is not None
    lanes.refill(taken.key, [row(1), row(2)], None, now_ms=0)
    got = lanes.take(ANY, MODEM)
    assert got is not None and got.id == 2
    assert lanes.take(ANY, MODEM) is None


def test_schedule_wants_a_refill_when_the_time_has_come() -> None:
    lanes = Lanes()
    key = QueueKey("", "normal", 7)
    lanes.schedule(key, 5_000)
    lanes.tick(4_999)
    assert lanes.wants() == []
    assert lanes.next_due_ms() == 5_000
    lanes.tick(5_000)
    assert lanes.wants() == [key]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(LANE_WEIGHTS)), st.integers(0, 3), st.integers(0, 5), st.booleans()),
        max_size=120,
    )
)
def test_lanes_any_history_gives_every_row_once(steps: list[tuple[str, int, int, bool]]) -> None:
    lanes = Lanes()
    on_disk: dict[QueueKey, list[QueuedRow]] = {}
    open_rows: list[QueuedRow] = []
    seen: list[int] = []
    for number, (lane, client, person, take) in enumerate(steps):
        new = row(number, lane, client, to=f"+25191100000{person}")
        on_disk.setdefault(new.key, []).append(new)
        lanes.offer(new)
        if take and (got := lanes.take(ANY, MODEM)) is not None:
            seen.append(got.id)
            open_rows.append(got)
        if len(open_rows) > 2:
            done = open_rows.pop(0)
            on_disk[done.key].remove(done)
            lanes.done(done)
    for _ in range(10 * len(steps) + 10):
        for key in lanes.wants():
            due = on_disk.get(key, [])
            lanes.refill(key, due[:WINDOW], 0 if len(due) > WINDOW else None, now_ms=0)
        got = lanes.take(ANY, MODEM)
        if got is None and not open_rows:
            break
        if got is not None:
            seen.append(got.id)
            open_rows.append(got)
        done = open_rows.pop(0)
        on_disk[done.key].remove(done)
        lanes.done(done)
    assert sorted(seen) == list(range(len(steps)))
