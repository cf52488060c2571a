"""The people a client writes to, on disk: contacts with their consent, and groups of them.

Ops for the writer and read functions for the reader. Times are UTC milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from appliance.store.bulk import chunks

__all__ = [
    "Contact",
    "NewContact",
    "change_members",
    "contact_of",
    "contacts",
    "delete_contact",
    "delete_group",
    "groups",
    "put_contacts",
    "put_group",
]


class NewContact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as it is to be. variables: JSON. consent_words: "" leaves what is kept of it as it is."""

    number: str
    name: str = ""
    language: str = ""
    variables: str = "{}"
    consent_words: str = ""
    consent_how: str = ""
    consent_at_ms: int = 0


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as it is. opted_out: the person said STOP to this box."""

    id: int
    number: str
    name: str
    language: str
    variables: str
    consent_words: str
    consent_how: str
    consent_at_ms: int
    consent_by: str
    opted_out: bool
    groups: str


_CONTACT: Final = (
    "SELECT c.id, c.number, c.name, c.language, c.variables, c.consent_words, c.consent_how,"
    " c.consent_at_ms, c.consent_by, p.opted_out_ms IS NOT NULL,"
    " coalesce((SELECT group_concat(g.name, ' ') FROM group_member m"
    " JOIN contact_group g ON g.id = m.group_id WHERE m.contact_id = c.id), '')"
    " FROM contact c LEFT JOIN person p ON p.number = c.number"
)


def put_contacts(
    db: sqlite3.Connection,
    client_id: int,
    found: Sequence[NewContact],
    group: str,
    now_ms: int,
    *,
    actor: str,
) -> tuple[int, int]:
    """Make contacts or bring known ones up to date; (how many are new, how many were known).

    group: they become members of it, and it is made when it is new; "" for none.
    """
    created = 0
    group_id = put_group(db, client_id, group, now_ms)[0] if group else None
    for each in found:
        row = db.execute(
            "SELECT id FROM contact WHERE client_id = ? AND number = ?", (client_id, each.number)
        ).fetchone()
        if row is None:
            created += 1
            row = db.execute(
                "INSERT INTO contact (client_id, number, name, language, variables, created_at_ms,"
                " updated_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (client_id, each.number, each.name, each.language, each.variables, now_ms, now_ms),
            ).fetchone()
        else:
            db.execute(
                "UPDATE contact SET name = ?, language = ?, variables = ?, updated_at_ms = ? WHERE id = ?",
                (each.name, each.language, each.variables, now_ms, row[0]),
            )
        if each.consent_words:
            db.execute(
                "UPDATE contact SET consent_words = ?, consent_how = ?, consent_at_ms = ?, consent_by = ?"
                " WHERE id = ?",
                (each.consent_words, each.consent_how, each.consent_at_ms, actor, row[0]),
            )
        if group_id is not None:
            db.execute("INSERT OR IGNORE INTO group_member VALUES (?, ?)", (group_id, row[0]))
    return created, len(found) - created


def contact_of(db: sqlite3.Connection, client_id: int, contact_id: int) -> Contact | None:
    """A client's own contact; None for anybody else's."""
    row = db.execute(f"{_CONTACT} WHERE c.id = ? AND c.client_id = ?", (contact_id, client_id)).fetchone()
    return None if row is None else _contact(row)


def contacts(
    db: sqlite3.Connection, client_id: int, after_id: int, limit: int, group: str | None = None
) -> list[Contact]:
    """A client's contacts in the order they were made, from above `after_id` on."""
    if group is None:
        rows = db.execute(
            f"{_CONTACT} WHERE c.client_id = ? AND c.id > ? ORDER BY c.id LIMIT ?",
            (client_id, after_id, limit),
        )
    else:
        rows = db.execute(
            f"{_CONTACT} WHERE c.id IN (SELECT m.contact_id FROM group_member m WHERE m.contact_id > ?"
            " AND m.group_id = (SELECT id FROM contact_group WHERE client_id = ? AND name = ?)"
            " ORDER BY m.contact_id LIMIT ?) ORDER BY c.id",
            (after_id, client_id, group, limit),
        )
    return [_contact(row) for row in rows]


def delete_contact(db: sqlite3.Connection, client_id: int, contact_id: int) -> bool:
    """Forget a contact; messages to it stay as they are."""
    if contact_of(db, client_id, contact_id) is None:
        return False
    db.execute("DELETE FROM group_member WHERE contact_id = ?", (contact_id,))
    db.execute("DELETE FROM contact WHERE id = ?", (contact_id,))
    return True


def put_group(db: sqlite3.Connection, client_id: int, name: str, now_ms: int) -> tuple[int, bool]:
    """A client's group of that name, made if it is new: (id, whether it is)."""
    row = db.execute(
        "INSERT INTO contact_group (client_id, name, created_at_ms) VALUES (?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING id",
        (client_id, name, now_ms),
    ).fetchone()
    if row is not None:
        return int(row[0]), True
    return int(_group(db, client_id, name) or 0), False


def groups(db: sqlite3.Connection, client_id: int) -> list[tuple[str, int]]:
    """(name, contacts) of a client's groups, by name."""
    return db.execute(
        "SELECT g.name, (SELECT count(*) FROM group_member m WHERE m.group_id = g.id)"
        " FROM contact_group g WHERE g.client_id = ? ORDER BY g.name",
        (client_id,),
    ).fetchall()


def change_members(
    db: sqlite3.Connection, client_id: int, name: str, add: Sequence[str], remove: Sequence[str]
) -> tuple[int, list[str]] | None:
    """Put contacts into a group and take others out, by number.

    Returns how many it has then and which numbers are no contacts; None when there is no such group.
    """
    group_id = _group(db, client_id, name)
    if group_id is None:
        return None
    unknown: list[str] = []
    for numbers, statement in (
        (add, "INSERT OR IGNORE INTO group_member (group_id, contact_id) VALUES (?, ?)"),
        (remove, "DELETE FROM group_member WHERE group_id = ? AND contact_id = ?"),
    ):
        for some in chunks(list(numbers)):
            marks = ",".join("?" * len(some))
            known: dict[str, int] = dict(
                db.execute(
                    f"SELECT number, id FROM contact WHERE client_id = ? AND number IN ({marks})",
                    (client_id, *some),
                ).fetchall()
            )
            unknown += [number for number in some if number not in known]
            db.executemany(statement, [(group_id, contact_id) for contact_id in known.values()])
    (count,) = db.execute("SELECT count(*) FROM group_member WHERE group_id = ?", (group_id,)).fetchone()
    return int(count), unknown


def delete_group(db: sqlite3.Connection, client_id: int, name: str, now_ms: int) -> bool:
    """End a group; its contacts stay, and campaigns to it that have not ended are cancelled."""
    group_id = _group(db, client_id, name)
    if group_id is None:
        return False
    db.execute(
        "UPDATE campaign SET state = 'cancelled', reason = 'its group was deleted', ended_at_ms = ?"
        " WHERE group_id = ? AND state IN ('scheduled', 'running', 'paused')",
        (now_ms, group_id),
    )
    db.execute("UPDATE campaign SET group_id = NULL WHERE group_id = ?", (group_id,))
    db.execute("DELETE FROM group_member WHERE group_id = ?", (group_id,))
    db.execute("DELETE FROM contact_group WHERE id = ?", (group_id,))
    return True


def _group(db: sqlite3.Connection, client_id: int, name: str) -> int | None:
    row = db.execute(
        "SELECT id FROM contact_group WHERE client_id = ? AND name = ?", (client_id, name)
    ).fetchone()
    return None if row is None else int(row[0])


def _contact(row: tuple[Any, ...]) -> Contact:
    return Contact(
        id=row[0],
        number=row[1],
        name=row[2],
        language=row[3],
        variables=row[4],
        consent_words=row[5],
        consent_how=row[6],
        consent_at_ms=row[7],
        consent_by=row[8],
        opted_out=bool(row[9]),
        groups=row[10],
    )
