"""Webhooks on disk: what happened, who wants to know, and how far the telling is.

Ops for the writer and read functions for the reader. `emit` is called inside the transaction that makes
the event true. Times are UTC milliseconds.
"""

from __future__ import annotations

import base64
import datetime as dt
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

__all__ = [
    "RETRY_MS",
    "Attempt",
    "Due",
    "add_endpoint",
    "due_deliveries",
    "due_endpoints",
    "emit",
    "give_up_stale",
    "new_secret",
    "replay",
    "rotate",
    "set_state",
    "settle",
    "stale",
]

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
# Standard Webhooks 1.0's schedule; the last failure makes the delivery dead.
RETRY_MS: Final = (
    5_000,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
LONGEST_MS: Final = 7 * 24 * _HOUR  # news of a message is no news any more, however long a receiver is down
# From so many failures in a row on the endpoint is down: one probe at a time, and no attempt is counted
# against what waits behind the probe.
DOWN_AFTER: Final = 5
MAX_BODY: Final = 20_000  # octets; the standard's advice


class Due(NamedTuple):
    """A delivery to try now, with all that the request needs."""

    delivery_id: int
    endpoint_id: int
    event_id: int
    url: str
    body: str
    signing: tuple[str, ...]
    attempts: int


class Attempt(NamedTuple):
    """What came of a try. status None: no answer. retry_after_ms: as the receiver asked. jitter: 0 to 1."""

    delivery_id: int
    status: int | None
    reason: str
    retry_after_ms: int | None
    jitter: float


def new_secret() -> str:
    """A signing secret of 32 random octets in the standard's form."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def add_endpoint(
    db: sqlite3.Connection, client_id: int, url: str, events: str, secret: str, now_ms: int
) -> int:
    """Register where a client wants to be told. events: types, ',' between; "" for all."""
    row = db.execute(
        "INSERT INTO webhook_endpoint (client_id, url, events, secret, created_at_ms) VALUES (?, ?, ?, ?, ?)"
        " RETURNING id",
        (client_id, url, events, secret, now_ms),
    ).fetchone()
    return int(row[0])


def rotate(db: sqlite3.Connection, endpoint_id: int, secret: str, overlap_ms: int, now_ms: int) -> bool:
    """Give an endpoint a new secret; the old one signs beside it for `overlap_ms`."""
    done = db.execute(
        "UPDATE webhook_endpoint SET old_secret = secret, old_until_ms = ?, secret = ? WHERE id = ?",
        (now_ms + overlap_ms, secret, endpoint_id),
    )
    return done.rowcount == 1


def set_state(db: sqlite3.Connection, endpoint_id: int, state: str, reason: str, now_ms: int) -> bool:
    """Pause an endpoint or make it active again; what waits for it goes on where it stopped."""
    done = db.execute(
        "UPDATE webhook_endpoint SET state = ?, reason = ?, failures = 0, failing_since_ms = NULL,"
        " retry_at_ms = 0 WHERE id = ?",
        (state, reason, endpoint_id),
    )
    if done.rowcount and state == "active":
        _hurry(db, endpoint_id, now_ms)
    return done.rowcount == 1


def emit(
    db: sqlite3.Connection, client_id: int, kind: str, data: Mapping[str, Any], ordering: str, now_ms: int
) -> int:
    """Tell a client's endpoints that something happened; returns how many want to know.

    ordering: events of the same ordering reach an endpoint one after the other (a recipient's number).
    Nothing is stored for a client without an endpoint that wants the type.
    """
    wanting = [
        endpoint_id
        for endpoint_id, events in db.execute(
            "SELECT id, events FROM webhook_endpoint WHERE client_id = ? AND state != 'gone'", (client_id,)
        )
        if not events or kind in events.split(",")
    ]
    if not wanting:
        return 0
    at = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).isoformat(timespec="milliseconds")
    body = orjson.dumps({"type": kind, "timestamp": at.replace("+00:00", "Z"), "data": data}).decode()
    event_id = db.execute(
        "INSERT INTO webhook_event (client_id, type, ordering, body, at_ms) VALUES (?, ?, ?, ?, ?)"
        " RETURNING id",
        (client_id, kind, ordering, body, now_ms),
    ).fetchone()[0]
    for endpoint_id in wanting:
        _queue(db, endpoint_id, event_id, ordering, now_ms)
    return len(wanting)


def due_endpoints(db: sqlite3.Connection, now_ms: int) -> list[int]:
    """Endpoints that have something to be told now."""
    return [
        endpoint_id
        for (endpoint_id,) in db.execute(
            "SELECT id FROM webhook_endpoint e WHERE state = 'active' AND retry_at_ms <= :now AND EXISTS"
            " (SELECT 1 FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'pending'"
            " AND d.next_attempt_ms <= :now)",
            {"now": now_ms},
        )
    ]


def due_deliveries(db: sqlite3.Connection, endpoint_id: int, now_ms: int, limit: int) -> list[Due]:
    """What to tell one endpoint now, oldest first; a single probe while it is down."""
    endpoint = db.execute(
        "SELECT url, secret, old_secret, old_until_ms, failures, retry_at_ms FROM webhook_endpoint"
        " WHERE id = ? AND state = 'active'",
        (endpoint_id,),
    ).fetchone()
    if endpoint is None or endpoint[5] > now_ms:
        return []
    url, secret, old_secret, old_until_ms, failures, _ = endpoint
    signing = (secret, old_secret) if old_secret and (old_until_ms or 0) > now_ms else (secret,)
    rows = db.execute(
        "SELECT d.id, d.event_id, v.body, d.attempts"
        " FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event_id"
        " WHERE d.endpoint_id = ? AND d.state = 'pending' AND d.next_attempt_ms <= ?"
        " ORDER BY d.next_attempt_ms, d.id LIMIT ?",
        (endpoint_id, now_ms, 1 if failures >= DOWN_AFTER else limit),
    )
    return [Due(row[0], endpoint_id, row[1], url, row[2], signing, row[3]) for row in rows]


def settle(db: sqlite3.Connection, attempt: Attempt, now_ms: int) -> str:
    """Write what came of a try; returns the delivery's state after it."""
    row = db.execute(
        "SELECT d.endpoint_id, d.ordering, d.attempts, d.state, v.at_ms"
        " FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event_id WHERE d.id = ?",
        (attempt.delivery_id,),
    ).fetchone()
    if row is None or row[3] != "pending":
        return "" if row is None else str(row[3])
    endpoint_id, ordering, attempts, _, at_ms = row
    if attempt.status is not None and 200 <= attempt.status < 300:
        _end(db, attempt, "done", now_ms)
        _endpoint_answered(db, endpoint_id, now_ms)
        _next_in_order(db, endpoint_id, ordering, now_ms)
        return "done"
    if attempt.status == 410:
        # The receiver says that it is gone for good; a person must give it a new address.
        db.execute(
            "UPDATE webhook_endpoint SET state = 'gone', reason = 'it answered 410 Gone' WHERE id = ?",
            (endpoint_id,),
        )
    down = _endpoint_failed(db, endpoint_id, attempt, now_ms)
    if attempts >= len(RETRY_MS) or now_ms - at_ms > LONGEST_MS:
        _end(db, attempt, "dead", now_ms)
        _next_in_order(db, endpoint_id, ordering, now_ms)
        return "dead"
    pause_ms = round(RETRY_MS[attempts] * (1 + 0.2 * attempt.jitter))
    if down:
        # The endpoint's own pause decides; and as all of it is down, this is not held against the delivery.
        attempts, pause_ms = min(attempts, DOWN_AFTER), 0
    db.execute(
        "UPDATE webhook_delivery SET attempts = ?, next_attempt_ms = ?, status = ?, reason = ? WHERE id = ?",
        (
            attempts + (0 if down else 1),
            now_ms + max(pause_ms, attempt.retry_after_ms or 0),
            attempt.status,
            attempt.reason,
            attempt.delivery_id,
        ),
    )
    return "pending"


def stale(db: sqlite3.Connection, now_ms: int, limit: int) -> list[int]:
    """Deliveries that nobody will try in time: behind an endpoint that is paused or gone, or behind one.

    Walks what is open; the caller does so seldom.
    """
    rows = db.execute(
        "SELECT d.id FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event_id"
        " WHERE d.state IN ('waiting', 'pending') AND v.at_ms < ? ORDER BY d.id LIMIT ?",
        (now_ms - LONGEST_MS, limit),
    )
    return [row[0] for row in rows]


def give_up_stale(db: sqlite3.Connection, deliveries: Sequence[int], now_ms: int) -> int:
    """End them as dead, the oldest first; what waits behind one is pending then. Returns how many."""
    given_up = 0
    for delivery in deliveries:
        row = db.execute(
            "UPDATE webhook_delivery SET state = 'dead', reason = 'not told within 7 days', ended_at_ms = ?"
            " WHERE id = ? AND state IN ('waiting', 'pending') RETURNING endpoint_id, ordering",
            (now_ms, delivery),
        ).fetchone()
        if row is not None:
            given_up += 1
            _next_in_order(db, row[0], row[1], now_ms)
    return given_up


def replay(
    db: sqlite3.Connection,
    endpoint_id: int,
    now_ms: int,
    *,
    event_id: int | None = None,
    from_ms: int = 0,
    until_ms: int | None = None,
    dead_only: bool = False,
) -> int:
    """Deliver again: one event, or all of a range of time, in their order. Returns how many."""
    rows = db.execute(
        "SELECT d.id, d.ordering FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event_id"
        " WHERE d.endpoint_id = ? AND d.state IN ('done', 'dead') AND v.at_ms >= ? AND v.at_ms < ?"
        " AND (? IS NULL OR d.event_id = ?) AND (? = 0 OR d.state = 'dead') ORDER BY d.id",
        (
            endpoint_id,
            from_ms,
            now_ms + 1 if until_ms is None else until_ms,
            event_id,
            event_id,
            int(dead_only),
        ),
    ).fetchall()
    for delivery_id, ordering in rows:
        state = "waiting" if _open_in_order(db, endpoint_id, ordering) else "pending"
        db.execute(
            "UPDATE webhook_delivery SET state = ?, attempts = 0, next_attempt_ms = ?, ended_at_ms = NULL,"
            " reason = 'replayed' WHERE id = ?",
            (state, now_ms, delivery_id),
        )
    return len(rows)


def _queue(db: sqlite3.Connection, endpoint_id: int, event_id: int, ordering: str, now_ms: int) -> None:
    state = "waiting" if _open_in_order(db, endpoint_id, ordering) else "pending"
    db.execute(
        "INSERT INTO webhook_delivery (endpoint_id, event_id, ordering, state, next_attempt_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (endpoint_id, event_id, ordering, state, now_ms),
    )


def _open_in_order(db: sqlite3.Connection, endpoint_id: int, ordering: str) -> bool:
    row = db.execute(
        "SELECT 1 FROM webhook_delivery WHERE endpoint_id = ? AND ordering = ?"
        " AND state IN ('waiting', 'pending') LIMIT 1",
        (endpoint_id, ordering),
    ).fetchone()
    return row is not None


def _next_in_order(db: sqlite3.Connection, endpoint_id: int, ordering: str, now_ms: int) -> None:
    db.execute(
        "UPDATE webhook_delivery SET state = 'pending', next_attempt_ms = ? WHERE id = (SELECT id FROM"
        " webhook_delivery WHERE endpoint_id = ? AND ordering = ? AND state IN ('waiting', 'pending')"
        " ORDER BY id LIMIT 1) AND state = 'waiting'",
        (now_ms, endpoint_id, ordering),
    )


def _end(db: sqlite3.Connection, attempt: Attempt, state: str, now_ms: int) -> None:
    db.execute(
        "UPDATE webhook_delivery SET state = ?, attempts = attempts + 1, status = ?, reason = ?,"
        " ended_at_ms = ? WHERE id = ?",
        (state, attempt.status, attempt.reason, now_ms, attempt.delivery_id),
    )


def _endpoint_answered(db: sqlite3.Connection, endpoint_id: int, now_ms: int) -> None:
    healed = db.execute(
        "UPDATE webhook_endpoint SET failures = 0, failing_since_ms = NULL, retry_at_ms = 0, reason = ''"
        " WHERE id = ? AND failures >= ?",
        (endpoint_id, DOWN_AFTER),
    )
    if healed.rowcount:
        _hurry(db, endpoint_id, now_ms)
    else:
        db.execute("UPDATE webhook_endpoint SET failures = 0 WHERE id = ? AND failures > 0", (endpoint_id,))


def _hurry(db: sqlite3.Connection, endpoint_id: int, now_ms: int) -> None:
    """It is back: what was put off on its account is due at once."""
    db.execute(
        "UPDATE webhook_delivery SET next_attempt_ms = ? WHERE endpoint_id = ? AND state = 'pending'"
        " AND next_attempt_ms > ?",
        (now_ms, endpoint_id, now_ms),
    )


def _endpoint_failed(db: sqlite3.Connection, endpoint_id: int, attempt: Attempt, now_ms: int) -> bool:
    """Count the failure; True when the endpoint as a whole is down. A 4xx is about one message only."""
    if attempt.status is not None and attempt.status < 500 and attempt.status != 429:
        return False
    (failures,) = db.execute(
        "UPDATE webhook_endpoint SET failures = failures + 1, reason = ?,"
        " failing_since_ms = coalesce(failing_since_ms, ?) WHERE id = ? RETURNING failures",
        (attempt.reason, now_ms, endpoint_id),
    ).fetchone()
    over = failures - DOWN_AFTER
    if over < 0:
        return False
    pause_ms = min(5_000 << min(over, 7), 10 * _MINUTE)
    db.execute(
        "UPDATE webhook_endpoint SET retry_at_ms = ? WHERE id = ?",
        (
            now_ms + max(round(pause_ms * (1 + 0.2 * attempt.jitter)), attempt.retry_after_ms or 0),
            endpoint_id,
        ),
    )
    return True
