from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.message import Lane, Outbound, OutboundState
from appliance.store import outbound as ops
from appliance.store import status_reports as reports
from appliance.store.database import known_migrations
from appliance.store.outbound import PartResult, QueueKey
from appliance.store.outbound_moves import DOUBT_GRACE_MS

NOW = 1_800_000_000_000
SIM = "860000000000001/8925101"
TO = "+251911223344"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for migration in known_migrations():
        connection.executescript(migration.sql)
    yield connection
    connection.close()


def queue(db: sqlite3.Connection, lane: Lane = Lane.REPLY, text: str = "hello", **more: object) -> int:
    return ops.insert(db, Outbound(recipient=TO, text=text, lane=lane, **more), NOW)  # type: ignore[arg-type]


def claim(
    db: sqlite3.Connection,
    number: int,
    *,
    parts: int = 1,
    next_after: ops.PartKey | None = None,
    at: int = NOW,
) -> ops.Claim:
    got = ops.claim(
        db,
        number,
        channel="modem:gsm0",
        now_ms=at,
        modem=SIM,
        next_after=next_after,
        count_parts=lambda text: parts,
    )
    assert isinstance(got, ops.Claim)
    return got


def state(db: sqlite3.Connection, number: int) -> tuple[str, str]:
    row: tuple[str, str] = db.execute("SELECT state, reason FROM outbound WHERE id = ?", (number,)).fetchone()
    return row


def sent(number: int, sequence: int = 1, attempt: int = 1, mr: int = 9) -> PartResult:
    return PartResult(outbound_id=number, sequence=sequence, attempt=attempt, outcome="sent", tp_mr=mr)


def test_message_sent_and_reported_moves_forward_to_delivered(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number)
    assert state(db, number)[0] == "sending"
    assert [change.state for change in ops.settle_part(db, sent(number), NOW)] == ["sent"]
    assert [c.state for c in reports.report(db, SIM, 9, "251911223344", 0, NOW + 5)] == ["delivered"]
    assert reports.report(db, SIM, 9, TO, 0x40, NOW + 6) == []
    assert state(db, number)[0] == "delivered"


def test_message_of_three_parts_is_sent_and_delivered_with_the_last(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number, parts=3)
    for sequence in (1, 2):
        assert ops.settle_part(db, sent(number, sequence, mr=sequence), NOW) == []
    assert [c.state for c in ops.settle_part(db, sent(number, 3, mr=3), NOW)] == ["sent"]
    assert reports.report(db, SIM, 3, TO, 0, NOW) == []
    assert reports.report(db, SIM, 1, TO, 0, NOW) == []
    assert reports.report(db, SIM, 1, TO, 0, NOW) == []  # a report that came twice
    assert [c.state for c in reports.report(db, SIM, 2, TO, 0, NOW)] == ["delivered"]


def test_report_before_the_result_is_adopted_by_it(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number)
    assert reports.report(db, SIM, 9, TO, 0, NOW) == []
    assert [c.state for c in ops.settle_part(db, sent(number), NOW)] == ["sent", "delivered"]
    assert db.execute("SELECT count(*) FROM orphan_report").fetchone()[0] == 0


def test_report_after_tp_mr_came_round_finds_the_newest_part(db: sqlite3.Connection) -> None:
    old, new = queue(db), queue(db)
    claim(db, old)
    ops.settle_part(db, sent(old), NOW)
    claim(db, new)
    ops.settle_part(db, sent(new), NOW + 1_000)
    reports.report(db, SIM, 9, TO, 0, NOW + 2_000)
    assert (state(db, old)[0], state(db, new)[0]) == ("sent", "delivered")


def test_report_for_another_recipient_with_the_same_tp_mr_is_not_taken(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number)
    ops.settle_part(db, sent(number), NOW)
    assert reports.report(db, SIM, 9, "+251922000000", 0, NOW) == []
    assert reports.report(db, "another/sim", 9, TO, 0, NOW) == []
    assert state(db, number)[0] == "sent"


@pytest.mark.parametrize(
    ("status", "want"),
    [(0x00, "delivered"), (0x02, "delivered"), (0x20, "sent"), (0x46, "failed"), (0x62, "failed")],
)
def test_report_status_groups(db: sqlite3.Connection, status: int, want: str) -> None:
    number = queue(db)
    claim(db, number)
    ops.settle_part(db, sent(number), NOW)
    reports.report(db, SIM, 9, TO, status, NOW)
    assert state(db, number)[0] == want


def test_report_settles_the_doubt_of_a_part_whose_answer_was_lost(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number)
    doubt = PartResult(outbound_id=number, sequence=1, attempt=1, outcome="doubt", reason="answer lost")
    assert [c.state for c in ops.settle_part(db, doubt, NOW)] == ["uncertain"]
    assert [c.state for c in reports.report(db, SIM, 200, TO, 0, NOW + 1)] == ["sent", "delivered"]


@pytest.mark.parametrize(
    ("lane", "want"),
    [(Lane.OTP, "queued"), (Lane.REPLY, "queued"), (Lane.NORMAL, "unknown"), (Lane.BULK, "unknown")],
)
def test_sweep_unsettled_doubt_follows_the_lane(db: sqlite3.Connection, lane: Lane, want: str) -> None:
    number = queue(db, lane)
    claim(db, number)
    ops.settle_part(db, PartResult(outbound_id=number, sequence=1, attempt=1, outcome="doubt"), NOW)
    grace = DOUBT_GRACE_MS[lane]
    assert ops.sweep(db, NOW + grace - 1) == []
    assert [c.state for c in ops.sweep(db, NOW + grace)] == [want]
    if want == "queued":
        again = claim(db, number, at=NOW + grace)
        assert again.doubted and again.attempt == 2
        second = PartResult(outbound_id=number, sequence=1, attempt=2, outcome="doubt")
        ops.settle_part(db, second, NOW + grace)
        assert [c.state for c in ops.sweep(db, NOW + 2 * grace)] == ["unknown"]  # repeated once, not for ever


def test_sweep_every_open_state_has_an_end(db: sqlite3.Connection) -> None:
    queued, silent, stuck = queue(db), queue(db), queue(db)
    claim(db, silent)
    ops.settle_part(db, sent(silent), NOW)
    claim(db, stuck)
    for day in range(1, 8):
        ops.sweep(db, NOW + day * 86_400_000)
    finals = {state(db, number)[0] for number in (queued, silent, stuck)}
    assert finals == {"expired", "unknown"}
    left = db.execute("SELECT count(*) FROM outbound WHERE deadline_ms IS NOT NULL").fetchone()[0]
    assert left == 0


def test_claim_expired_message_says_so_and_is_never_sent(db: sqlite3.Connection) -> None:
    number = queue(db, expires_at_ms=NOW + 10)
    changes = ops.claim(db, number, channel="modem:gsm0", now_ms=NOW + 10, modem=SIM)
    assert isinstance(changes, list) and [change.state for change in changes] == ["expired"]
    assert state(db, number) == ("expired", "its validity ended before it could be sent")


@pytest.mark.parametrize(
    ("lane", "want"), [(Lane.BULK, "failed"), (Lane.NORMAL, "failed"), (Lane.REPLY, "sending")]
)
def test_claim_after_opt_out_refuses_all_but_replies(db: sqlite3.Connection, lane: Lane, want: str) -> None:
    number = queue(db, lane)
    db.execute("INSERT INTO person (number, opted_out_ms, first_seen_ms) VALUES (?, ?, ?)", (TO, NOW, NOW))
    changes = ops.claim(db, number, channel="modem:gsm0", now_ms=NOW, modem=SIM)
    assert state(db, number)[0] == want
    if want == "failed":  # who looks at the page learns of it
        assert changes == [ops.Change(number, "failed", "the recipient opted out")]


def test_claim_twice_is_refused_the_second_time(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number)
    assert ops.claim(db, number, channel="modem:gsm1", now_ms=NOW, modem="other") == []


def test_settle_refusal_part_two_keeps_part_one_sent_and_repeats_only_two(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number, parts=2)
    ops.settle_part(db, sent(number, 1), NOW)
    refusal = PartResult(outbound_id=number, sequence=2, attempt=1, outcome="refused", reason="congestion")
    assert [c.state for c in ops.settle_refusal(db, refusal, NOW, NOW + 30_000)] == ["queued"]
    again = claim(db, number, parts=2, at=NOW + 30_000)
    assert again.done == {1}
    assert [c.state for c in ops.settle_part(db, sent(number, 2, 2, mr=10), NOW)] == ["sent"]


def test_recover_doubts_only_the_first_open_part_of_each_modem(db: sqlite3.Connection) -> None:
    first, ahead, other, by_http, fresh = (queue(db) for _ in range(5))
    claim(db, first)
    claim(db, ahead)
    got = ops.claim(db, other, channel="modem:gsm1", now_ms=NOW, modem="second/sim")
    assert isinstance(got, ops.Claim)
    assert isinstance(ops.claim(db, by_http, channel="twilio", now_ms=NOW), ops.Claim)
    ops.recover(db, NOW)
    states = [state(db, number)[0] for number in (first, ahead, other, by_http, fresh)]
    assert states == ["uncertain", "queued", "uncertain", "uncertain", "queued"]
    assert db.execute("SELECT attempts FROM outbound WHERE id = ?", (ahead,)).fetchone()[0] == 0


def test_recover_between_parts_doubts_the_second_and_keeps_the_first(db: sqlite3.Connection) -> None:
    number = queue(db)
    claim(db, number, parts=3)
    ops.settle_part(db, sent(number, 1, mr=1), NOW)
    ops.recover(db, NOW)
    rows = db.execute("SELECT sequence, state FROM outbound_part ORDER BY sequence").fetchall()
    assert rows == [(1, "sent"), (2, "uncertain")]
    assert state(db, number)[0] == "uncertain"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["ahead", "urgent", "part", "result"]), max_size=40), st.integers(1, 5))
def test_recover_after_any_order_of_claims_doubts_the_part_in_doubt_alone(
    steps: list[str], parts: int
) -> None:
    """The pump in small: a line of messages, of whose parts one at most is without its result on disk."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for migration in known_migrations():
        db.executescript(migration.sql)
    line: list[tuple[int, list[int]]] = []
    newest: ops.PartKey | None = None
    open_part: ops.PartKey | None = None
    for step in steps:
        if step == "part" and line and open_part is None:
            number, left = line[0]
            newest = open_part = (number, left.pop(0), 1)
            if not left:
                line.pop(0)
        elif step == "result" and open_part is not None:
            ops.settle_part(db, sent(open_part[0], open_part[1]), NOW)
            open_part = None
        elif step in ("ahead", "urgent"):
            number = queue(db)
            after = (newest or (0, 0, 0)) if step == "urgent" else None
            claim(db, number, parts=parts, next_after=after)
            line.insert(len(line) if after is None else 0, (number, list(range(1, parts + 1))))
    ops.recover(db, NOW)
    doubted = db.execute("SELECT outbound_id, sequence, attempt FROM outbound_part WHERE state = 'uncertain'")
    first = (line[0][0], line[0][1][0], 1) if line else None  # claimed, so it could have been given since
    expected = open_part or first
    assert doubted.fetchall() == ([expected] if expected else [])
    assert db.execute("SELECT count(*) FROM outbound_part WHERE state = 'sending'").fetchone()[0] == 0
    db.close()


def test_cancel_only_while_queued(db: sqlite3.Connection) -> None:
    waiting, away = queue(db), queue(db)
    claim(db, away)
    assert [c.state for c in ops.cancel(db, waiting, NOW, "taken back")] == ["cancelled"]
    assert ops.cancel(db, away, NOW, "taken back") == []


def test_active_keys_and_load_queue_follow_lane_client_and_time(db: sqlite3.Connection) -> None:
    put = partial(ops.insert, db, now_ms=NOW)
    one = put(Outbound(recipient=TO, text="a", lane=Lane.BULK, client_id=1))
    late = put(Outbound(recipient=TO, text="b", lane=Lane.BULK, client_id=1, not_before_ms=NOW + 9))
    put(Outbound(recipient=TO, text="c", lane=Lane.OTP, client_id=2, route="twilio"))
    keys = dict(ops.active_keys(db))
    assert keys == {QueueKey("", "bulk", 1): 0, QueueKey("twilio", "otp", 2): 0}
    rows, due = ops.load_queue(db, QueueKey("", "bulk", 1), NOW, 10)
    assert ([row.id for row in rows], due) == ([one], NOW + 9)
    rows, due = ops.load_queue(db, QueueKey("", "bulk", 1), NOW + 9, 10)
    assert ([row.id for row in rows], due) == ([one, late], None)
    rows, due = ops.load_queue(db, QueueKey("", "bulk", 1), NOW + 9, 1)
    assert ([row.id for row in rows], due) == ([one], NOW + 9)


def test_insert_handed_over_is_final_and_never_queued(db: sqlite3.Connection) -> None:
    number = ops.insert(db, Outbound(recipient=TO, text="x"), NOW, handed_over=True)
    assert state(db, number)[0] == OutboundState.SENT
    assert ops.active_keys(db) == []
    assert ops.sweep(db, NOW + 10**11) == []
