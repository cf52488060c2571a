from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import pytest

from appliance.message import Outbound
from appliance.store import outbound, status_reports, webhooks
from appliance.store.database import known_migrations
from appliance.store.webhooks import DOWN_AFTER, RETRY_MS, Attempt

NOW = 1_800_000_000_000
HOUR = 3_600_000


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for migration in known_migrations():
        connection.executescript(migration.sql)
    connection.execute(
        "INSERT INTO webhook_endpoint (client_id, url, secret, created_at_ms) VALUES (1,'u','whsec_AA',0)"
    )
    yield connection
    connection.close()


def emit(
    db: sqlite3.Connection, ordering: str = "+251911000001", at: int = NOW, kind: str = "message.sent"
) -> int:
    return webhooks.emit(db, 1, kind, {"n": 1}, ordering, at)


def due(db: sqlite3.Connection, at: int = NOW) -> list[int]:
    return [each.delivery_id for each in webhooks.due_deliveries(db, 1, at, 100)]


def answer(
    db: sqlite3.Connection, delivery: int, status: int | None, at: int = NOW, after: int | None = None
) -> str:
    return webhooks.settle(db, Attempt(delivery, status, "said", after, 0.0), at)


def test_emit_without_an_endpoint_stores_nothing(db: sqlite3.Connection) -> None:
    assert webhooks.emit(db, 2, "message.sent", {}, "x", NOW) == 0
    assert db.execute("SELECT count(*) FROM webhook_event").fetchone() == (0,)


def test_emit_type_nobody_wants_is_not_delivered(db: sqlite3.Connection) -> None:
    db.execute("UPDATE webhook_endpoint SET events = 'message.delivered,message.failed'")
    assert emit(db) == 0
    assert emit(db, kind="message.failed") == 1


def test_same_ordering_waits_for_the_first_and_others_do_not(db: sqlite3.Connection) -> None:
    for ordering in ("a", "a", "b"):
        emit(db, ordering)
    assert due(db) == [1, 3]
    answer(db, 1, 500)
    assert due(db, NOW + 1) == [3]
    assert due(db, NOW + RETRY_MS[0]) == [3, 1]
    answer(db, 1, 200, NOW + RETRY_MS[0])
    assert due(db, NOW + RETRY_MS[0]) == [3, 2]


def test_refused_for_a_day_is_dead_and_the_next_in_order_goes_on(db: sqlite3.Connection) -> None:
    emit(db, "a")
    emit(db, "a")
    at = NOW
    states = []
    for pause in (*RETRY_MS, 0):
        states.append(answer(db, 1, 400, at))
        at += pause
    assert states == ["pending"] * len(RETRY_MS) + ["dead"]
    assert due(db, at) == [2]


def test_endpoint_down_is_probed_alone_and_loses_nothing_when_it_is_back(db: sqlite3.Connection) -> None:
    for number in range(50):
        emit(db, f"person {number}")
    at = NOW
    for delivery in range(1, DOWN_AFTER + 1):
        answer(db, delivery, None, at)
    assert due(db, at) == []
    for _ in range(60):  # many hours
        at += 11 * 60_000
        probe = due(db, at)
        assert len(probe) == 1
        assert answer(db, probe[0], 503, at) == "pending"
    at += 11 * 60_000
    (probe_id,) = due(db, at)
    assert answer(db, probe_id, 204, at) == "done"
    assert len(due(db, at)) == 49


def test_retry_after_is_honoured(db: sqlite3.Connection) -> None:
    emit(db)
    answer(db, 1, 429, after=HOUR)
    assert due(db, NOW + HOUR - 1) == []
    assert due(db, NOW + HOUR) == [1]


def test_gone_ends_the_endpoint(db: sqlite3.Connection) -> None:
    emit(db)
    answer(db, 1, 410)
    assert due(db, NOW + 10 * HOUR) == []
    assert emit(db) == 0


def test_replay_of_a_range_keeps_the_order(db: sqlite3.Connection) -> None:
    for at in (NOW, NOW + 1, NOW + 2):
        emit(db, "a", at)
    for delivery in (1, 2, 3):
        assert due(db) == [delivery] if delivery == 1 else True
        answer(db, delivery, 200)
    assert webhooks.replay(db, 1, NOW + 9, from_ms=NOW + 1) == 2
    assert due(db, NOW + 9) == [2]
    answer(db, 2, 200)
    assert due(db, NOW + 9) == [3]


def test_rotation_signs_with_both_secrets_until_the_overlap_ends(db: sqlite3.Connection) -> None:
    emit(db)
    webhooks.rotate(db, 1, "whsec_BB", HOUR, NOW)
    assert webhooks.due_deliveries(db, 1, NOW, 1)[0].signing == ("whsec_BB", "whsec_AA")
    assert webhooks.due_deliveries(db, 1, NOW + HOUR, 1)[0].signing == ("whsec_BB",)


def test_paused_endpoint_keeps_what_it_is_owed(db: sqlite3.Connection) -> None:
    webhooks.set_state(db, 1, "paused", "by its owner", NOW)
    emit(db)
    assert webhooks.due_endpoints(db, NOW) == [] == due(db)
    webhooks.set_state(db, 1, "active", "", NOW + 5)
    assert webhooks.due_endpoints(db, NOW + 5) == [1]


def test_states_of_a_clients_message_are_told_in_order(db: sqlite3.Connection) -> None:
    mine = outbound.insert(db, Outbound(recipient="+251911223344", text="x", client_id=1), NOW)
    boxes = outbound.insert(db, Outbound(recipient="+251911223344", text="x"), NOW)
    db.execute("INSERT INTO client (id, name, balance, created_at_ms) VALUES (1, 'acme', 9, 0)")
    db.execute(
        "INSERT INTO client_message (outbound_id, client_id, reference, encoding, segments, units)"
        " VALUES (?, 1, 'order 7', 'gsm7', 1, 2)",
        (mine,),
    )
    for number in (mine, boxes):
        outbound.claim(db, number, channel="modem:a", now_ms=NOW, modem="sim")
        sent = outbound.PartResult(outbound_id=number, sequence=1, attempt=1, outcome="sent", tp_mr=number)
        outbound.settle_part(db, sent, NOW)
        status_reports.report(db, "sim", number, "+251911223344", 0, NOW)
    bodies = [json.loads(body) for (body,) in db.execute("SELECT body FROM webhook_event ORDER BY id")]
    assert [(body["type"], body["data"]["id"]) for body in bodies] == [
        ("message.sent", f"out_{mine}"),
        ("message.delivered", f"out_{mine}"),
    ]
    assert {(body["data"]["reference"], body["data"]["units"]) for body in bodies} == {("order 7", 2)}
    assert due(db) == [1]
