from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.outbound.lanes import LANES, WINDOW, Lanes
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
    assert lanes.ahead_of("bulk", ANY) == {"otp"}
    got = lanes.take(ANY, MODEM)
    assert got is not None
    assert got.id == 1000
    assert not lanes.ahead_of("bulk", ANY)


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
    lane_of = []
    for number in range(800):
        got = lanes.take(ANY, MODEM)
        assert got is not None
        lane_of.append(got.key.lane)
        lanes.done(got)
        if got.key.lane == "otp":
            lanes.offer(row(1000 + number, "otp"))
    assert "bulk" not in lane_of[: LANES["otp"].burst]
    assert lane_of[LANES["otp"].burst :].count("bulk") in (10, 11)  # weights 64 : 1


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
        st.tuples(st.sampled_from(list(LANES)), st.integers(0, 3), st.integers(0, 5), st.booleans()),
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


def serve(lanes: Lanes, messages: int, busy: dict[str, list[int]], at: int = 10_000) -> list[QueuedRow]:
    """Send so many with lanes that never run dry. busy: by lane, the clients that always have a message."""
    for lane, clients in busy.items():
        for client in clients:
            for _ in range(3):
                at += 1
                lanes.offer(row(at, lane, client))
    given = []
    for _ in range(messages):
        got = lanes.take(ANY, MODEM)
        assert got is not None
        lanes.done(got)
        given.append(got)
        if got.key.client_id in busy.get(got.key.lane, ()):
            at += 1
            lanes.offer(row(at, got.key.lane, got.key.client_id))
    return given


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(list(LANES)), min_size=1), st.integers(1, 5), st.integers(0, 300))
def test_take_any_busy_lanes_get_their_shares_whatever_came_before(
    lanes_busy: set[str], clients: int, before: int
) -> None:
    lanes = Lanes()
    serve(lanes, before, {"otp": [0]})  # alone for a while, which nobody has to pay for
    while (got := lanes.take(ANY, MODEM)) is not None:
        lanes.done(got)
    busy = {lane: list(range(clients)) for lane in lanes_busy}
    serve(lanes, sum(policy.burst for policy in LANES.values()) + 200, busy)
    rounds = 10 * sum(LANES[lane].weight for lane in lanes_busy)
    given = serve(lanes, rounds, {}) if not busy else serve(lanes, rounds, busy)
    for lane in lanes_busy:
        share = sum(each.key.lane == lane for each in given) / rounds
        floor = LANES[lane].weight / sum(LANES[each].weight for each in lanes_busy)
        assert abs(share - floor) <= 0.02 + 2 / rounds
        per_client = [
            sum(each.key == QueueKey("", lane, client) for each in given) for client in range(clients)
        ]
        assert max(per_client) - min(per_client) <= 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(list(LANES)), max_size=400),
    st.integers(1, LANES["otp"].burst),
)
def test_take_otp_within_its_burst_is_next_whatever_was_sent_before(history: list[str], burst: int) -> None:
    lanes = Lanes()
    for number, lane in enumerate(history):
        lanes.offer(row(number, lane))
        if number % 3:
            got = lanes.take(ANY, MODEM)
            assert got is not None
            lanes.done(got)
    while (got := lanes.take(ANY, MODEM)) is not None:
        lanes.done(got)
    serve(lanes, 40, {"bulk": [1, 2]}, at=20_000)
    for number in range(burst):
        lanes.offer(row(30_000 + number, "otp"))
        assert lanes.ahead_of("bulk", ANY) == {"otp"}
        got = lanes.take(ANY, MODEM)
        assert got is not None and got.key.lane == "otp"
        lanes.done(got)


def test_take_person_with_sixty_messages_takes_turns_with_others() -> None:
    lanes = Lanes()
    for number in range(60):
        lanes.offer(row(number, to="+251911000001"))
    for number in range(60, 64):
        lanes.offer(row(number))
    given = []
    for _ in range(8):
        got = lanes.take(ANY, MODEM)
        assert got is not None
        lanes.done(got)
        given.append(got.id)
    assert given[:5] == [0, 60, 61, 62, 63]
    assert given[5:] == [1, 2, 3]  # his own stay in order


def test_take_person_served_lately_is_not_starved_by_strangers() -> None:
    lanes = Lanes()
    lanes.offer(row(1, to="+251911000001"))
    assert take_all(lanes) == [1]
    lanes.offer(row(2, to="+251911000001"))
    for number in range(10, 60):
        lanes.offer(row(number))
    got = lanes.take(ANY, MODEM)
    assert got is not None and got.id == 2


def test_charge_long_message_costs_its_lane_its_parts() -> None:
    lanes = Lanes()
    for number in range(40):
        lanes.offer(row(number, "normal"))
        lanes.offer(row(100 + number, "bulk"))
    lanes.charge("bulk", 5)
    given = [got.key.lane for _ in range(22) if (got := lanes.take(ANY, MODEM))]
    assert given == ["normal"] * 22  # five parts of bulk are twenty messages of lane normal, and the burst
