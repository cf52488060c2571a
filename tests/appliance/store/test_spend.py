"""The brake on spending: counted as SMS are handed over, on disk, whatever the clock does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.guard.tiers import DAY_MS, Spend
from appliance.message import Lane, Outbound
from appliance.store import outbound as ops
from appliance.store import spend
from appliance.store.database import connect_writer, prepare

NOW = 1_790_000_000_000
ALEM, BETI = "+251911000001", "+251911000002"
LIMITS = Spend(person=5, client=4, box=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return prepare(tmp_path / "x.db").path


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(path)) as db:
        yield db


def claim(
    db: sqlite3.Connection, to: str = ALEM, at: int = NOW, **more: object
) -> ops.Claim | list[ops.Change]:
    number = ops.insert(db, Outbound(recipient=to, text="hello", **more), at)  # type: ignore[arg-type]
    return ops.claim(db, number, channel="modem:a", now_ms=at, modem="sim", limits=LIMITS)


def test_brake_person_beyond_the_limit_gives_the_reply_up_and_says_why(db: sqlite3.Connection) -> None:
    spend.count(db, ALEM, Lane.REPLY, 0, 5, NOW)
    found = claim(db)
    assert isinstance(found, list)
    assert [(each.state, each.reason) for each in found] == [
        ("failed", "spend brake: +251911000001 used 5 of 5 SMS in 24 hours")
    ]
    assert isinstance(claim(db, BETI), ops.Claim)
    assert spend.braked_person(db, ALEM, NOW, limits=LIMITS)
    assert spend.braked_person(db, BETI, NOW, limits=LIMITS) is None


def test_brake_box_beyond_the_limit_stops_everybody_but_codes_and_clients(db: sqlite3.Connection) -> None:
    for number in range(4):
        spend.count(db, f"+25191100002{number}", Lane.REPLY, 0, 2, NOW)
    assert isinstance(claim(db, BETI), list)
    assert isinstance(claim(db, BETI, lane=Lane.OTP), ops.Claim)
    assert isinstance(claim(db, BETI, lane=Lane.BULK, client_id=7), ops.Claim)
    assert spend.spent(db, LIMITS, NOW) == [spend.Spent("the box", 8, 8)]


def test_brake_client_beyond_the_limit_waits_until_its_day_is_over(db: sqlite3.Connection) -> None:
    spend.count(db, BETI, Lane.OTP, 7, 4, NOW)
    found = claim(db, client_id=7, lane=Lane.BULK, expires_at_ms=NOW + 3 * DAY_MS)
    assert isinstance(found, list) and found[0].state == "queued"
    keys = ops.active_keys(db)
    assert keys == [(ops.QueueKey("", "bulk", 7), NOW + DAY_MS)]
    again = ops.claim(
        db, found[0].outbound_id, channel="modem:a", now_ms=NOW + DAY_MS, modem="sim", limits=LIMITS
    )
    assert isinstance(again, ops.Claim)
    assert isinstance(claim(db, client_id=8), ops.Claim)


def test_brake_survives_a_restart(path: Path) -> None:
    with closing(connect_writer(path)) as db:
        spend.count(db, ALEM, Lane.REPLY, 0, 5, NOW)
    with closing(connect_writer(path)) as db:
        assert isinstance(claim(db), list)


@pytest.mark.parametrize("jump_ms", [-365 * DAY_MS, 40 * DAY_MS])
def test_brake_clock_that_jumps_gives_one_new_day_and_no_more(db: sqlite3.Connection, jump_ms: int) -> None:
    spend.count(db, ALEM, Lane.REPLY, 0, 5, NOW)
    at = NOW + jump_ms
    assert spend.braked_person(db, ALEM, at, limits=LIMITS) is None
    spend.count(db, ALEM, Lane.REPLY, 0, 5, at)
    assert spend.braked_person(db, ALEM, at + DAY_MS - 1, limits=LIMITS)
    assert spend.braked_person(db, ALEM, at + DAY_MS, limits=LIMITS) is None


def test_brake_without_limits_never_holds(db: sqlite3.Connection) -> None:
    spend.count(db, ALEM, Lane.REPLY, 0, 10**6, NOW)
    assert spend.braked_person(db, ALEM, NOW, limits=Spend()) is None
    assert spend.spent(db, Spend(), NOW) == []
