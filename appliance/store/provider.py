"""What HTTP providers tell about messages they took, on disk; and why a message takes which route.

Ops for the writer thread, as those of `outbound.py`, which they go on from. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.message import Outbound, OutboundState
from appliance.store.outbound import (
    Change,
    PartResult,
    QueuedRow,
    QueueKey,
    insert,
    move,
    refused_by,
    release,
    settle_refusal,
    trace,
)

__all__ = [
    "ORPHANS_KEPT",
    "Move",
    "ProviderReport",
    "insert_routed",
    "last_channel",
    "opt_out",
    "provider_report",
    "queued_on",
    "refuse",
    "release_to",
    "reroute",
    "settle_accepted",
]

ORPHANS_KEPT: Final = 10_000  # reports that came before our own result, at a provider's burst of them
ORPHAN_WAIT_MS: Final = 10 * 60_000


class ProviderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says became of a message.

    provider_ref: its id for it. outbound_id: ours, where the callback carries it. recipient: E.164 or "".
    state: sent, delivered, failed or unknown. reason: its own words and code. opted_out: how the recipient
    said that they want no more messages, "" if they did not.
    """

    provider_ref: str
    state: OutboundState
    reason: str = ""
    outbound_id: int | None = None
    recipient: str = ""
    opted_out: str = ""


def settle_accepted(
    db: sqlite3.Connection, outbound_id: int, channel: str, provider_ref: str | None, now_ms: int
) -> list[Change]:
    """A provider accepted the whole message; a report that overtook its answer is applied now."""
    changes = move(db, outbound_id, OutboundState.SENT, now_ms, "", actor=channel)
    if not provider_ref:
        return changes
    # OR IGNORE: a provider that gives one id twice must not cost us the fact that it took the message.
    db.execute(
        "UPDATE OR IGNORE outbound SET provider_ref = ? WHERE id = ? AND channel = ?",
        (provider_ref, outbound_id, channel),
    )
    for orphan_id, state, reason in db.execute(
        "SELECT id, state, reason FROM orphan_provider_report WHERE channel = ? AND provider_ref = ?"
        " ORDER BY id",
        (channel, provider_ref),
    ).fetchall():
        db.execute("DELETE FROM orphan_provider_report WHERE id = ?", (orphan_id,))
        changes += _apply(db, outbound_id, channel, OutboundState(state), reason, now_ms)
    return changes


def refuse(
    db: sqlite3.Connection,
    result: PartResult,
    now_ms: int,
    next_attempt_ms: int | None,
    route: str | None = None,
    why: str = "",
    opted_out: str = "",
) -> list[Change]:
    """A message was refused: queue it again for `next_attempt_ms` (None: give it up).

    route: the route it goes on by, None for the one it has; why: the router's explanation of it.
    opted_out: the number to put on the local list, "" for none.
    """
    changes = settle_refusal(db, result, now_ms, next_attempt_ms)
    if opted_out:
        opt_out(db, opted_out, f"told {result.actor} to stop"[:40], now_ms)
    if route is not None and next_attempt_ms is not None and changes:
        db.execute("UPDATE outbound SET route = ? WHERE id = ?", (route, result.outbound_id))
        trace(db, result.outbound_id, now_ms, "routed", "router", why)
    return changes


def release_to(
    db: sqlite3.Connection, outbound_id: int, now_ms: int, reason: str, route: str, why: str
) -> list[Change]:
    """Put a claimed message back that was certainly not sent, on another route."""
    changes = release(db, outbound_id, now_ms, reason)
    if changes:
        db.execute("UPDATE outbound SET route = ? WHERE id = ?", (route, outbound_id))
        trace(db, outbound_id, now_ms, "routed", "router", why)
    return changes


def provider_report(
    db: sqlite3.Connection, channel: str, report: ProviderReport, now_ms: int
) -> list[Change]:
    """Apply a delivery callback. Repeated ones and those that come late change nothing.

    A report for an id we do not know yet waits for the answer it overtook. Where the answer was lost, our
    own id in the callback or else the recipient tells which uncertain message is meant.
    """
    if report.opted_out and report.recipient:
        opt_out(db, report.recipient, report.opted_out[:40], now_ms)
    outbound_id = _known(db, channel, report) or _doubtful(db, channel, report)
    if outbound_id is not None:
        return _apply(db, outbound_id, channel, report.state, report.reason, now_ms)
    if not report.provider_ref:
        return []
    db.execute(
        "INSERT INTO orphan_provider_report (channel, provider_ref, state, reason, received_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (channel, report.provider_ref, report.state, report.reason, now_ms),
    )
    db.execute(
        "DELETE FROM orphan_provider_report WHERE received_at_ms < ?"
        " OR id <= (SELECT max(id) FROM orphan_provider_report) - ?",
        (now_ms - ORPHAN_WAIT_MS, ORPHANS_KEPT),
    )
    return []


def opt_out(db: sqlite3.Connection, number: str, word: str, now_ms: int) -> None:
    """Put a number on the list of those who want no more messages. The first word and time are kept."""
    db.execute(
        "INSERT INTO person (number, first_seen_ms, opted_out_ms, opted_out_word) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET opted_out_ms = excluded.opted_out_ms,"
        " opted_out_word = excluded.opted_out_word WHERE opted_out_ms IS NULL",
        (number, now_ms, now_ms, word),
    )


class Move(NamedTuple):
    """Another route for a queued message, and why."""

    outbound_id: int
    before: str
    after: str
    why: str


def reroute(db: sqlite3.Connection, moves: Sequence[Move], now_ms: int) -> list[QueuedRow]:
    """Let queued messages take other routes; those that are no longer queued where they were stay out."""
    moved: list[QueuedRow] = []
    for outbound_id, before, after, why in moves:
        row = db.execute(
            "UPDATE outbound SET route = ? WHERE id = ? AND route = ? AND state = 'queued'"
            " RETURNING recipient, lane, client_id",
            (after, outbound_id, before),
        ).fetchone()
        if row is not None:
            trace(db, outbound_id, now_ms, "routed", "router", why)
            moved.append(QueuedRow(outbound_id, row[0], QueueKey(after, row[1], row[2])))
    return moved


def insert_routed(db: sqlite3.Connection, message: Outbound, now_ms: int, why: str) -> int:
    """Queue a message whose route was chosen, and keep why."""
    outbound_id = insert(db, message, now_ms)
    trace(db, outbound_id, now_ms, "routed", "router", why)
    return outbound_id


def queued_on(
    db: sqlite3.Connection, key: QueueKey, now_ms: int, limit: int
) -> list[tuple[int, str, str, frozenset[str]]]:
    """Due messages of a queue as the router needs them: id, recipient, text, who refused it before."""
    rows = db.execute(
        "SELECT id, recipient, text, attempts FROM outbound INDEXED BY outbound_queue"
        " WHERE state = 'queued' AND route = ? AND lane = ? AND client_id = ? AND next_attempt_ms <= ?"
        " ORDER BY next_attempt_ms, id LIMIT ?",
        (*key, now_ms, limit),
    ).fetchall()
    return [
        (outbound_id, recipient, text, refused_by(db, outbound_id) if attempts else frozenset())
        for outbound_id, recipient, text, attempts in rows
    ]


def last_channel(db: sqlite3.Connection, recipient: str, client_id: int, since_ms: int) -> str | None:
    """The channel that carried the newest message of this client to a person, for routes that stick."""
    row = db.execute(
        "SELECT channel FROM outbound WHERE recipient = ? AND client_id = ? AND created_at_ms >= ?"
        " AND state IN ('sent', 'delivered') ORDER BY id DESC LIMIT 1",
        (recipient, client_id, since_ms),
    ).fetchone()
    return None if row is None else str(row[0])


def _known(db: sqlite3.Connection, channel: str, report: ProviderReport) -> int | None:
    row = db.execute(
        "SELECT id FROM outbound WHERE channel = ? AND provider_ref = ?", (channel, report.provider_ref)
    ).fetchone()
    return None if row is None else int(row[0])


def _doubtful(db: sqlite3.Connection, channel: str, report: ProviderReport) -> int | None:
    """The message whose answer, and with it the provider's id, was lost."""
    if report.outbound_id is not None:
        row = db.execute(
            "SELECT id FROM outbound WHERE id = ? AND channel = ? AND provider_ref IS NULL"
            " AND state IN ('uncertain', 'sent', 'unknown')",
            (report.outbound_id, channel),
        ).fetchone()
    elif report.recipient:
        row = db.execute(
            # The list of two states is what makes SQLite see that the partial index fits.
            "SELECT id FROM outbound INDEXED BY outbound_open WHERE state IN ('sending', 'uncertain')"
            " AND state = 'uncertain' AND channel = ? AND recipient = ? AND provider_ref IS NULL"
            " ORDER BY id LIMIT 1",
            (channel, report.recipient),
        ).fetchone()
    else:
        row = None
    if row is None:
        return None
    if report.provider_ref:
        db.execute(
            "UPDATE OR IGNORE outbound SET provider_ref = ? WHERE id = ?", (report.provider_ref, row[0])
        )
    return int(row[0])


def _apply(
    db: sqlite3.Connection, outbound_id: int, channel: str, state: OutboundState, reason: str, now_ms: int
) -> list[Change]:
    actor = "handset" if state is OutboundState.DELIVERED else channel
    return move(db, outbound_id, state, now_ms, reason, actor=actor)
