"""Campaigns on disk: made, expanded slice by slice, paused, resumed, cancelled.

A slice's messages, what they cost and how far the campaign came are one transaction: after a crash it goes
on where it was, to nobody twice. Ops for the writer and read functions for the reader; UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from appliance.store import gateway, webhooks
from appliance.store.audit import audit
from appliance.store.bulk import chunks
from appliance.store.enqueue import enqueue
from appliance.store.gateway import Client, NewMessage, Placed
from appliance.store.people import opted_out_among
from appliance.store.prices import prices_of

__all__ = [
    "Campaign",
    "Due",
    "Member",
    "Slice",
    "SliceDone",
    "add_campaign",
    "campaign_of",
    "campaigns",
    "cancelled_rows",
    "change_campaign",
    "commit_slice",
    "due_campaigns",
    "members_after",
    "put_off",
]


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """As its client may see it. messages: how many are in each state."""

    id: int
    name: str
    group: str
    body: str
    per_minute: int
    start_at_ms: int
    state: str
    reason: str
    contacts: int
    accepted: int
    opted_out: int
    refused: int
    refused_why: str
    units: int
    created_at_ms: int
    ended_at_ms: int | None
    messages: dict[str, int]


class Due(NamedTuple):
    """A campaign whose next slice may be made. waiting: its messages that have not gone out yet."""

    id: int
    client: Client
    group_id: int
    body: str
    per_minute: int
    after_contact: int
    waiting: int


class Member(NamedTuple):
    """A contact as a campaign needs it. consent: whether the client gave us any."""

    id: int
    number: str
    name: str
    language: str
    variables: str
    consent: bool


class Slice(NamedTuple):
    """A campaign's next contacts, each with its message or why there is none.

    after_contact: where the campaign must stand still for this to count. last: there are no contacts after.
    pause_ms: for each message, until the next slice.
    """

    campaign_id: int
    after_contact: int
    entries: Sequence[tuple[int, NewMessage | str]]
    last: bool
    pause_ms: float


class SliceDone(NamedTuple):
    """What came of a slice. state: the campaign's now, "" when the slice came too late to count."""

    state: str
    placed: list[Placed]


def add_campaign(
    db: sqlite3.Connection,
    client_id: int,
    *,
    name: str,
    group: str,
    body: str,
    per_minute: int,
    start_at_ms: int,
    now_ms: int,
    actor: str,
) -> int | None:
    """Make a campaign that starts at a time; None when the client has no such group."""
    row = db.execute(
        "SELECT id, (SELECT count(*) FROM group_member WHERE group_id = g.id) FROM contact_group g"
        " WHERE client_id = ? AND name = ?",
        (client_id, group),
    ).fetchone()
    if row is None:
        return None
    (campaign_id,) = db.execute(
        "INSERT INTO campaign (client_id, name, group_id, group_name, body, per_minute, start_at_ms, state,"
        " next_slice_ms, contacts, made_by, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'scheduled', ?, ?, ?, ?)"
        " RETURNING id",
        (client_id, name, row[0], group, body, per_minute, start_at_ms, start_at_ms, row[1], actor, now_ms),
    ).fetchone()
    audit(db, now_ms, actor, "campaign.add", f"client {client_id}: campaign {campaign_id} to {group}")
    return int(campaign_id)


_CAMPAIGN: Final = (
    "SELECT id, name, group_name, body, per_minute, start_at_ms, state, reason, contacts, accepted,"
    " opted_out, refused, refused_why, units, created_at_ms, ended_at_ms FROM campaign"
)


def _campaign(db: sqlite3.Connection, row: tuple[Any, ...]) -> Campaign:
    states = dict(
        db.execute(
            "SELECT state, messages FROM campaign_progress WHERE campaign_id = ? AND messages > 0", (row[0],)
        ).fetchall()
    )
    return Campaign(
        id=row[0],
        name=row[1],
        group=row[2],
        body=row[3],
        per_minute=row[4],
        start_at_ms=row[5],
        state=row[6],
        reason=row[7],
        contacts=row[8],
        accepted=row[9],
        opted_out=row[10],
        refused=row[11],
        refused_why=row[12],
        units=row[13],
        created_at_ms=row[14],
        ended_at_ms=row[15],
        messages=states,
    )


def campaign_of(db: sqlite3.Connection, client_id: int, campaign_id: int) -> Campaign | None:
    """A client's own campaign; None for anybody else's."""
    row = db.execute(f"{_CAMPAIGN} WHERE id = ? AND client_id = ?", (campaign_id, client_id)).fetchone()
    return None if row is None else _campaign(db, row)


def campaigns(db: sqlite3.Connection, client_id: int, before_id: int | None, limit: int) -> list[Campaign]:
    """A client's campaigns, the newest first, from below `before_id` on."""
    rows = db.execute(
        f"{_CAMPAIGN} WHERE client_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
        (client_id, before_id if before_id is not None else 1 << 62, limit),
    ).fetchall()
    return [_campaign(db, row) for row in rows]


_FROM: Final = {
    "paused": ("scheduled", "running"),
    "running": ("paused",),
    "cancelled": ("scheduled", "running", "paused"),
}


def change_campaign(
    db: sqlite3.Connection, client_id: int, campaign_id: int, state: str, now_ms: int, *, actor: str
) -> Campaign | None:
    """Pause, resume ("running") or cancel a campaign, where it is in a state for that.

    Returns it as it is then, changed or not; None when the client has no such campaign.
    """
    held = ",".join(f"'{each}'" for each in _FROM[state])
    ended = now_ms if state == "cancelled" else None
    done = db.execute(
        "UPDATE campaign SET"
        " state = CASE WHEN :state = 'running' AND start_at_ms > :now THEN 'scheduled' ELSE :state END,"
        " reason = :reason, next_slice_ms = max(start_at_ms, :now), ended_at_ms = :ended"
        f" WHERE id = :id AND client_id = :client AND (state IN ({held})"
        # What is done may still have messages that wait, and they can be taken back.
        " OR (state = 'done' AND :state = 'cancelled' AND EXISTS (SELECT 1 FROM campaign_progress"
        " WHERE campaign_id = :id AND state = 'queued' AND messages > 0)))",
        {
            "state": state,
            "reason": "" if state == "running" else f"by {actor}",
            "now": now_ms,
            "ended": ended,
            "id": campaign_id,
            "client": client_id,
        },
    )
    if done.rowcount:
        audit(db, now_ms, actor, f"campaign.{state}", f"client {client_id}: campaign {campaign_id}")
    return campaign_of(db, client_id, campaign_id)


def due_campaigns(db: sqlite3.Connection, now_ms: int, limit: int) -> list[Due]:
    """Campaigns whose next slice is due, the one that waits longest first."""
    rows = db.execute(
        "SELECT c.id, k.name, c.group_id, c.body, c.per_minute, c.after_contact,"
        " (SELECT coalesce(sum(messages), 0) FROM campaign_progress p WHERE p.campaign_id = c.id"
        "  AND p.state IN ('queued', 'sending'))"
        " FROM campaign c JOIN client k ON k.id = c.client_id"
        " WHERE c.state IN ('scheduled', 'running') AND c.next_slice_ms <= ?"
        " ORDER BY c.next_slice_ms LIMIT ?",
        (now_ms, limit),
    ).fetchall()
    found = []
    for row in rows:
        client = gateway.client_by_name(db, row[1])
        assert client is not None  # a foreign key
        found.append(Due(row[0], client, *row[2:]))
    return found


def members_after(db: sqlite3.Connection, group_id: int, after_id: int, limit: int) -> list[Member]:
    """A group's next contacts in the order of their ids."""
    rows = db.execute(
        "SELECT c.id, c.number, c.name, c.language, c.variables, c.consent_at_ms > 0"
        " FROM group_member m JOIN contact c ON c.id = m.contact_id"
        " WHERE m.group_id = ? AND m.contact_id > ? ORDER BY m.contact_id LIMIT ?",
        (group_id, after_id, limit),
    )
    return [Member(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


def put_off(db: sqlite3.Connection, campaign_id: int, until_ms: int) -> None:
    """Make no slice before a time."""
    db.execute("UPDATE campaign SET next_slice_ms = ? WHERE id = ?", (until_ms, campaign_id))


def commit_slice(db: sqlite3.Connection, part: Slice, now_ms: int) -> SliceDone:
    """Queue and charge a slice's messages and move the campaign on.

    Who said STOP is passed over and counted. Where the credit ends, the campaign pauses before that contact.
    """
    row = db.execute(
        "SELECT c.client_id, c.name, k.state, k.balance FROM campaign c JOIN client k ON k.id = c.client_id"
        " WHERE c.id = ? AND c.state IN ('scheduled', 'running') AND c.after_contact = ?",
        (part.campaign_id, part.after_contact),
    ).fetchone()
    if row is None:
        return SliceDone("", [])
    client_id, name, client_state, balance = row
    messages = [each for _, each in part.entries if isinstance(each, NewMessage)]
    numbers = [message.recipient for message in messages]
    stopped = {number for some in chunks(numbers) for number in opted_out_among(db, list(some))}
    prices = dict(zip(numbers, prices_of(db, numbers, now_ms), strict=True))
    taken: list[NewMessage] = []
    opted_out = refused = units = 0
    refused_why, state, reason, reached = "", "running", "", part.after_contact
    if client_state != "active":
        state, reason = "paused", "the client is suspended"
    for contact_id, each in part.entries if state == "running" else ():
        if isinstance(each, str):
            refused, refused_why = refused + 1, each
        elif each.recipient in stopped:
            opted_out += 1
        elif units + (cost := prices[each.recipient] * each.segments) > balance:
            state, reason = "paused", f"the credit does not reach: the next message needs {cost}"
            break
        else:
            units += cost
            taken.append(each)
        reached = contact_id
    if state == "running" and part.last:
        state = "done"

    def also(connection: sqlite3.Connection, placed: Placed) -> None:
        connection.execute(
            "INSERT INTO campaign_message (outbound_id, campaign_id) VALUES (?, ?)",
            (placed.outbound_id, part.campaign_id),
        )

    results = enqueue(db, client_id, taken, now_ms, "", b"", _no_answer, also)
    assert not isinstance(results, gateway.Answer)  # no key was given
    placed = [each for each in results if isinstance(each, Placed)]  # all: the credit was looked at above
    db.execute(
        "UPDATE campaign SET state = ?, reason = ?, after_contact = ?, next_slice_ms = ?,"
        " accepted = accepted + ?, opted_out = opted_out + ?, refused = refused + ?,"
        " refused_why = CASE WHEN ? = '' THEN refused_why ELSE ? END, units = units + ?, ended_at_ms = ?"
        " WHERE id = ?",
        (
            *(state, reason, reached, now_ms + round(part.pause_ms * len(taken)), len(placed)),
            *(opted_out, refused, refused_why, refused_why, units, now_ms if state == "done" else None),
            part.campaign_id,
        ),
    )
    if state != "running":
        data = {"id": f"cmp_{part.campaign_id}", "name": name, "state": state, "reason": reason}
        webhooks.emit(db, client_id, f"campaign.{state}", data, f"campaign {part.campaign_id}", now_ms)
    return SliceDone(state, placed)


def _no_answer(results: Sequence[Any]) -> tuple[int, bytes]:
    return 202, b""


def cancelled_rows(db: sqlite3.Connection, limit: int) -> list[int]:
    """Messages that are queued although their campaign was cancelled, to be taken back."""
    found: list[int] = []
    for (campaign_id,) in db.execute(
        "SELECT c.id FROM campaign c JOIN campaign_progress p ON p.campaign_id = c.id AND p.state = 'queued'"
        " WHERE c.state = 'cancelled' AND p.messages > 0 LIMIT 16"
    ).fetchall():
        found += [
            outbound_id
            for (outbound_id,) in db.execute(
                "SELECT m.outbound_id FROM campaign_message m JOIN outbound o ON o.id = m.outbound_id"
                " WHERE m.campaign_id = ? AND o.state = 'queued' LIMIT ?",
                (campaign_id, limit),
            )
        ]
    return found[:limit]
