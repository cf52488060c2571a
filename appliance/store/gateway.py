"""The business side on disk: clients, keys, credit, and the messages they hand in.

Ops for the writer and read functions for the reader. Units are moved by triggers of the schema in the
statement that moves the message; nothing here adds or subtracts a balance. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from appliance.message import Lane
from appliance.store.audit import audit
from appliance.store.outbound import QueuedRow

__all__ = [
    "ANSWERS_KEPT_MS",
    "Answer",
    "Client",
    "ClientMessage",
    "ClientRefused",
    "KeyRow",
    "NewMessage",
    "Placed",
    "Refused",
    "add_client",
    "add_credit",
    "add_key",
    "books",
    "client_by_id",
    "client_by_name",
    "clients",
    "delete_template",
    "drop_old_answers",
    "find_key",
    "get_template",
    "keep_answer",
    "keys_of",
    "list_messages",
    "message_of",
    "put_template",
    "revoke_key",
    "set_client",
    "statement",
    "stored_answer",
    "templates",
    "units_under_way",
]

ANSWERS_KEPT_MS: Final = 48 * 3_600_000  # how long an Idempotency-Key is remembered


class ClientRefused(Exception):
    """The operator asked for what the books forbid. reason: a word; the text says it whole."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A business. balance: units it may spend; reserved: of messages under way."""

    id: int
    name: str
    state: str
    balance: int
    reserved: int
    low_mark: int
    per_second: int
    created_at_ms: int


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored: the secret part is a hash. networks: CIDR, blanks between; "" anywhere."""

    id: str
    client_id: int
    hash: bytes
    scopes: str
    networks: str
    note: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a request, checked and counted. why: what the router said, for the trace."""

    recipient: str
    text: str
    lane: Lane
    encoding: str
    segments: int
    reference: str = ""
    route: str = ""
    why: str = ""
    not_before_ms: int = 0
    expires_at_ms: int | None = None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was taken and paid for; `row` tells the outbound lanes."""

    outbound_id: int
    units: int
    row: QueuedRow


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was not taken. reason: "credit" or "suspended"."""

    reason: str
    needed: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered to a request with an Idempotency-Key."""

    request_hash: bytes
    status: int
    body: bytes


class ClientMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as its client may see it."""

    id: int
    to: str
    text: str
    lane: str
    state: str
    reason: str
    reference: str
    encoding: str
    segments: int
    units: int
    charge: str
    attempts: int
    may_be_double: bool
    created_at_ms: int
    next_attempt_ms: int
    expires_at_ms: int | None
    sent_at_ms: int | None
    final_at_ms: int | None


# -- clients and keys

_CLIENT: Final = "SELECT id, name, state, balance, reserved, low_mark, per_second, created_at_ms FROM client"
_KEY: Final = (
    "SELECT id, client_id, hash, scopes, networks, note, created_at_ms, expires_at_ms,"
    " revoked_at_ms FROM api_key"
)


def _client(row: tuple[Any, ...]) -> Client:
    return Client(
        id=row[0],
        name=row[1],
        state=row[2],
        balance=row[3],
        reserved=row[4],
        low_mark=row[5],
        per_second=row[6],
        created_at_ms=row[7],
    )


def _key(row: tuple[Any, ...]) -> KeyRow:
    return KeyRow(
        id=row[0],
        client_id=row[1],
        hash=row[2],
        scopes=row[3],
        networks=row[4],
        note=row[5],
        created_at_ms=row[6],
        expires_at_ms=row[7],
        revoked_at_ms=row[8],
    )


def add_client(db: sqlite3.Connection, name: str, now_ms: int, *, actor: str, low_mark: int = 0) -> Client:
    """Register a business; ClientRefused when the name is taken."""
    try:
        (client_id,) = db.execute(
            "INSERT INTO client (name, low_mark, created_at_ms) VALUES (?, ?, ?) RETURNING id",
            (name, low_mark, now_ms),
        ).fetchone()
    except sqlite3.IntegrityError as error:
        raise ClientRefused("name-taken", f"there is a client named {name!r} already") from error
    audit(db, now_ms, actor, "client.add", f"client {client_id}: {name}")
    return _client(db.execute(f"{_CLIENT} WHERE id = ?", (client_id,)).fetchone())


def clients(db: sqlite3.Connection) -> list[Client]:
    """All of them, by name."""
    return [_client(row) for row in db.execute(f"{_CLIENT} ORDER BY name")]


def client_by_id(db: sqlite3.Connection, client_id: int) -> Client | None:
    row = db.execute(f"{_CLIENT} WHERE id = ?", (client_id,)).fetchone()
    return _client(row) if row else None


def client_by_name(db: sqlite3.Connection, name: str) -> Client | None:
    row = db.execute(f"{_CLIENT} WHERE name = ?", (name,)).fetchone()
    return _client(row) if row else None


def set_client(
    db: sqlite3.Connection,
    client_id: int,
    now_ms: int,
    *,
    actor: str,
    state: str | None = None,
    low_mark: int | None = None,
    per_second: int | None = None,
) -> None:
    """Suspend or resume a client, or change its limits."""
    db.execute(
        "UPDATE client SET state = coalesce(?, state), low_mark = coalesce(?, low_mark),"
        " per_second = coalesce(?, per_second) WHERE id = ?",
        (state, low_mark, per_second, client_id),
    )
    changed = {"state": state, "low_mark": low_mark, "per_second": per_second}
    told = ", ".join(f"{name} {value}" for name, value in changed.items() if value is not None)
    audit(db, now_ms, actor, "client.set", f"client {client_id}: {told}")


def add_credit(
    db: sqlite3.Connection, client_id: int, units: int, now_ms: int, *, actor: str, note: str = ""
) -> Client:
    """Give units, or take back what is not spent; ClientRefused when it would go below zero."""
    try:
        db.execute(
            "INSERT INTO credit (client_id, at_ms, units, actor, note) VALUES (?, ?, ?, ?, ?)",
            (client_id, now_ms, units, actor, note),
        )
    except sqlite3.IntegrityError as error:
        raise ClientRefused("credit", "a balance cannot go below zero, and 0 units are no credit") from error
    audit(db, now_ms, actor, "client.credit", f"client {client_id}: {units:+d}")
    return _client(db.execute(f"{_CLIENT} WHERE id = ?", (client_id,)).fetchone())


def add_key(db: sqlite3.Connection, key: KeyRow, *, actor: str) -> None:
    """Store a key's hash."""
    db.execute(
        "INSERT INTO api_key (id, client_id, hash, scopes, networks, note, created_at_ms, expires_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.client_id,
            key.hash,
            key.scopes,
            key.networks,
            key.note,
            key.created_at_ms,
            key.expires_at_ms,
        ),
    )
    audit(db, key.created_at_ms, actor, "key.add", f"client {key.client_id}: {key.id} ({key.scopes})")


def revoke_key(db: sqlite3.Connection, client_id: int, key_id: str, at_ms: int, *, actor: str) -> bool:
    """End a key at a moment, now or later (a rotation's overlap); False when the client has no such key."""
    done = db.execute(
        "UPDATE api_key SET revoked_at_ms = ? WHERE id = ? AND client_id = ?"
        " AND (revoked_at_ms IS NULL OR revoked_at_ms > ?)",
        (at_ms, key_id, client_id, at_ms),
    )
    if done.rowcount:
        audit(db, at_ms, actor, "key.revoke", f"client {client_id}: {key_id}")
    row = db.execute("SELECT 1 FROM api_key WHERE id = ? AND client_id = ?", (key_id, client_id)).fetchone()
    return row is not None


def find_key(db: sqlite3.Connection, key_id: str) -> tuple[KeyRow, Client] | None:
    """A key and its client, whatever their state."""
    row = db.execute(f"{_KEY} WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        return None
    key = _key(row)
    return key, _client(db.execute(f"{_CLIENT} WHERE id = ?", (key.client_id,)).fetchone())


def keys_of(db: sqlite3.Connection, client_id: int) -> list[KeyRow]:
    """A client's keys, the oldest first."""
    rows = db.execute(f"{_KEY} WHERE client_id = ? ORDER BY created_at_ms, id", (client_id,))
    return [_key(row) for row in rows]


# -- messages


def stored_answer(db: sqlite3.Connection, client_id: int, key: str) -> Answer | None:
    """What was answered to this key, if it was used."""
    row = db.execute(
        "SELECT request_hash, status, answer FROM idempotency WHERE client_id = ? AND key = ?",
        (client_id, key),
    ).fetchone()
    return None if row is None else Answer(request_hash=row[0], status=row[1], body=row[2])


def keep_answer(
    db: sqlite3.Connection,
    client_id: int,
    key: str,
    request_hash: bytes,
    status: int,
    body: bytes,
    now_ms: int,
) -> None:
    """Keep what is answered to an Idempotency-Key, in the transaction of what was asked for."""
    db.execute(
        "INSERT INTO idempotency (client_id, key, request_hash, status, answer, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (client_id, key, request_hash, status, body, now_ms),
    )


def drop_old_answers(db: sqlite3.Connection, now_ms: int, limit: int = 5_000) -> int:
    """Forget answers older than ANSWERS_KEPT_MS; returns how many."""
    return db.execute(
        "DELETE FROM idempotency WHERE (client_id, key) IN"
        " (SELECT client_id, key FROM idempotency WHERE created_at_ms < ? LIMIT ?)",
        (now_ms - ANSWERS_KEPT_MS, limit),
    ).rowcount


_MESSAGE: Final = (
    "SELECT o.id, o.recipient, o.text, o.lane, o.state, o.reason, m.reference, m.encoding, m.segments,"
    " m.units, m.charge, o.attempts, o.doubted, o.created_at_ms, o.next_attempt_ms, o.expires_at_ms,"
    " o.sent_at_ms, o.final_at_ms FROM client_message m JOIN outbound o ON o.id = m.outbound_id"
)


def _message(row: tuple[Any, ...]) -> ClientMessage:
    return ClientMessage(
        id=row[0],
        to=row[1],
        text=row[2],
        lane=row[3],
        state=row[4],
        reason=row[5],
        reference=row[6],
        encoding=row[7],
        segments=row[8],
        units=row[9],
        charge=row[10],
        attempts=row[11],
        may_be_double=bool(row[12]),
        created_at_ms=row[13],
        next_attempt_ms=row[14],
        expires_at_ms=row[15],
        sent_at_ms=row[16],
        final_at_ms=row[17],
    )


def message_of(db: sqlite3.Connection, client_id: int, outbound_id: int) -> ClientMessage | None:
    """A client's own message; None for anybody else's."""
    row = db.execute(
        f"{_MESSAGE} WHERE m.outbound_id = ? AND m.client_id = ?", (outbound_id, client_id)
    ).fetchone()
    return _message(row) if row else None


def list_messages(
    db: sqlite3.Connection,
    client_id: int,
    before_id: int | None,
    limit: int,
    state: str | None = None,
    to: str | None = None,
) -> list[ClientMessage]:
    """A client's messages, the newest first, from below `before_id` on."""
    rows = db.execute(
        f"{_MESSAGE} WHERE m.client_id = ? AND m.outbound_id < ? AND (? IS NULL OR o.state = ?)"
        " AND (? IS NULL OR o.recipient = ?) ORDER BY m.outbound_id DESC LIMIT ?",
        (client_id, before_id if before_id is not None else 1 << 62, state, state, to, to, limit),
    )
    return [_message(row) for row in rows]


# -- books and reports


def books(db: sqlite3.Connection) -> list[dict[str, int]]:
    """For each client, what was given, what it has, and what its messages hold; they must add up."""
    rows = db.execute(
        "SELECT c.id, c.balance, c.reserved,"
        " (SELECT coalesce(sum(units), 0) FROM credit WHERE client_id = c.id),"
        " (SELECT coalesce(sum(units), 0) FROM client_message m"
        " WHERE m.client_id = c.id AND m.charge = 'reserved'),"
        " (SELECT coalesce(sum(units), 0) FROM client_message m"
        " WHERE m.client_id = c.id AND m.charge = 'settled')"
        " FROM client c ORDER BY c.id"
    )
    return [
        {
            "client": client_id,
            "balance": balance,
            "reserved": reserved,
            "given": given,
            "settled": settled,
            "difference": given - balance - held - settled,
            "reserved_difference": reserved - held,
        }
        for client_id, balance, reserved, given, held, settled in rows
    ]


def units_under_way(db: sqlite3.Connection) -> int:
    """Units that messages of all clients hold while they are queued or sent."""
    return int(db.execute("SELECT coalesce(sum(reserved), 0) FROM client").fetchone()[0])


def statement(
    db: sqlite3.Connection, client_id: int, before_id: int | None, limit: int
) -> list[tuple[int, int, int, str]]:
    """Credit given and taken back: (id, at_ms, units, note), the newest first."""
    return db.execute(
        "SELECT id, at_ms, units, note FROM credit WHERE client_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
        (client_id, before_id if before_id is not None else 1 << 62, limit),
    ).fetchall()


# -- templates


def put_template(db: sqlite3.Connection, client_id: int, name: str, body: str, now_ms: int) -> bool:
    """Store a template; True when it is new."""
    known = get_template(db, client_id, name) is not None
    db.execute(
        "INSERT INTO template (client_id, name, body, updated_at_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET body = excluded.body, updated_at_ms = excluded.updated_at_ms",
        (client_id, name, body, now_ms),
    )
    return not known


def get_template(db: sqlite3.Connection, client_id: int, name: str) -> str | None:
    row = db.execute(
        "SELECT body FROM template WHERE client_id = ? AND name = ?", (client_id, name)
    ).fetchone()
    return None if row is None else str(row[0])


def templates(db: sqlite3.Connection, client_id: int) -> list[tuple[str, str]]:
    """(name, body) of a client's templates, by name."""
    return db.execute(
        "SELECT name, body FROM template WHERE client_id = ? ORDER BY name", (client_id,)
    ).fetchall()


def delete_template(db: sqlite3.Connection, client_id: int, name: str) -> bool:
    done = db.execute("DELETE FROM template WHERE client_id = ? AND name = ?", (client_id, name))
    return done.rowcount == 1
