"""A client's webhook addresses as people handle them: made, looked at, paused, replayed, ended.

Ops for the writer and read functions for the reader; each change is in the audit log, in its transaction.
How the telling itself goes is in `webhooks`. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from appliance.store import webhooks
from appliance.store.audit import audit

__all__ = [
    "Delivery",
    "Endpoint",
    "add",
    "deliveries",
    "endpoint_of",
    "endpoints_of",
    "pause",
    "remove",
    "replay",
    "rotate",
]

SECRET_OVERLAP_MS: Final = 24 * 3_600_000  # both secrets sign for so long after a rotation
REMOVED: Final = "deleted by the client"  # the reason of one that its owner ended


class Endpoint(NamedTuple):
    """events: types it wants, empty for all. waiting: still to be delivered; dead: given up."""

    id: int
    url: str
    events: tuple[str, ...]
    state: str
    reason: str
    failing_since_ms: int | None
    waiting: int
    dead: int


class Delivery(NamedTuple):
    """One event on its way to one address. status: HTTP status of the last attempt, None when none came."""

    event_id: int
    type: str
    body: str
    state: str
    attempts: int
    status: int | None
    reason: str
    at_ms: int
    next_attempt_ms: int
    ended_at_ms: int | None


_ENDPOINT: Final = (
    "SELECT e.id, e.url, e.events, e.state, e.reason, e.failing_since_ms,"
    " (SELECT count(*) FROM webhook_delivery d"
    "  WHERE d.endpoint_id = e.id AND d.state IN ('waiting', 'pending')),"
    " (SELECT count(*) FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.state = 'dead')"
    " FROM webhook_endpoint e WHERE e.client_id = ?"
)


_THERE: Final = "NOT (e.state = 'gone' AND e.reason = ?)"


def _endpoint(row: Sequence[object]) -> Endpoint:
    events = str(row[2])
    return Endpoint(row[0], row[1], tuple(events.split(",")) if events else (), *row[3:])  # type: ignore[arg-type]  # of the query above


def endpoints_of(db: sqlite3.Connection, client_id: int) -> list[Endpoint]:
    """A client's addresses, without those that it ended; one that answered 410 Gone is shown."""
    rows = db.execute(
        f"{_ENDPOINT} AND NOT (e.state = 'gone' AND e.reason = ?) ORDER BY e.id", (client_id, REMOVED)
    )
    return [_endpoint(row) for row in rows]


def endpoint_of(db: sqlite3.Connection, client_id: int, endpoint_id: int) -> Endpoint | None:
    """A client's own address; None for anybody else's, and for one that was ended."""
    row = db.execute(
        f"{_ENDPOINT} AND e.id = ? AND NOT (e.state = 'gone' AND e.reason = ?)",
        (client_id, endpoint_id, REMOVED),
    ).fetchone()
    return None if row is None else _endpoint(row)


def deliveries(
    db: sqlite3.Connection, endpoint_id: int, state: str | None, before_id: int | None, limit: int
) -> list[Delivery]:
    """What was and is to be told to one address, the newest first, of one state or of all."""
    rows = db.execute(
        "SELECT d.event_id, v.type, v.body, d.state, d.attempts, d.status, d.reason, v.at_ms,"
        " d.next_attempt_ms, d.ended_at_ms"
        " FROM webhook_delivery d JOIN webhook_event v ON v.id = d.event_id"
        " WHERE d.endpoint_id = ? AND d.event_id < ? AND (? IS NULL OR d.state = ?)"
        " ORDER BY d.event_id DESC LIMIT ?",
        (endpoint_id, before_id if before_id is not None else 1 << 62, state, state, limit),
    )
    return [Delivery(*row) for row in rows]


def add(
    db: sqlite3.Connection, client_id: int, url: str, events: str, secret: str, now_ms: int, *, actor: str
) -> int:
    """Register an address; returns its number."""
    number = webhooks.add_endpoint(db, client_id, url, events, secret, now_ms)
    audit(db, now_ms, actor, "webhook.add", f"client {client_id}: webhook {number} {url}")
    return number


def remove(db: sqlite3.Connection, client_id: int, endpoint_id: int, now_ms: int, *, actor: str) -> None:
    """End an address; what waits for it is not delivered."""
    webhooks.set_state(db, endpoint_id, "gone", REMOVED, now_ms)
    audit(db, now_ms, actor, "webhook.remove", f"client {client_id}: webhook {endpoint_id}")


def pause(
    db: sqlite3.Connection, client_id: int, endpoint_id: int, on: bool, now_ms: int, *, actor: str
) -> None:
    """Hold everything back, or go on where it stopped; one that was gone is active again."""
    webhooks.set_state(db, endpoint_id, "paused" if on else "active", f"by {actor}" if on else "", now_ms)
    action = "webhook.pause" if on else "webhook.resume"
    audit(db, now_ms, actor, action, f"client {client_id}: webhook {endpoint_id}")


def rotate(
    db: sqlite3.Connection, client_id: int, endpoint_id: int, secret: str, now_ms: int, *, actor: str
) -> None:
    """Give an address a new secret; the old one signs beside it for a day."""
    webhooks.rotate(db, endpoint_id, secret, SECRET_OVERLAP_MS, now_ms)
    audit(db, now_ms, actor, "webhook.rotate", f"client {client_id}: webhook {endpoint_id}")


def replay(
    db: sqlite3.Connection,
    client_id: int,
    endpoint_id: int,
    now_ms: int,
    *,
    actor: str,
    event_id: int | None = None,
    from_ms: int = 0,
    until_ms: int | None = None,
    dead_only: bool = False,
) -> int:
    """Deliver again one event, or all of a range of time; returns how many."""
    count = webhooks.replay(
        db, endpoint_id, now_ms, event_id=event_id, from_ms=from_ms, until_ms=until_ms, dead_only=dead_only
    )
    audit(db, now_ms, actor, "webhook.replay", f"client {client_id}: webhook {endpoint_id}, {count} events")
    return count
