"""People: the language they chose, whether they want to hear from us, and what is kept of them.

`export` and `erase` answer a person's right to see and to remove their data. What the law of accounts asks to
keep (bookings, payments, refunds) stays under a name that leads to nobody.
"""

from __future__ import annotations

import secrets
import sqlite3
from typing import Any, Final

from appliance.store.effects import EffectContext, effect

__all__ = ["erase", "export", "is_opted_out", "opted_out_among", "show"]

_KNOWN = "INSERT INTO person (number, first_seen_ms) VALUES (?, ?) ON CONFLICT (number) DO NOTHING"


def is_opted_out(db: sqlite3.Connection, number: str) -> bool:
    """Whether they said STOP and not START since. Replies to what they send are still theirs to get."""
    row = db.execute("SELECT opted_out_ms FROM person WHERE number = ?", (number,)).fetchone()
    return row is not None and row[0] is not None


def opted_out_among(db: sqlite3.Connection, numbers: list[str]) -> set[str]:
    """Those of many numbers that said STOP, in one query."""
    marks = ",".join("?" * len(numbers))
    rows = db.execute(
        f"SELECT number FROM person WHERE opted_out_ms IS NOT NULL AND number IN ({marks})",
        numbers,
    )
    return {number for (number,) in rows}


@effect("person.opt_out")
def opt_out(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender wants no more messages. args: word, as they wrote it. The first word and time are kept."""
    db.execute(_KNOWN, (ctx.sender, ctx.now_ms))
    db.execute(
        "UPDATE person SET opted_out_ms = ?, opted_out_word = ? WHERE number = ? AND opted_out_ms IS NULL",
        (ctx.now_ms, str(args.get("word", ""))[:40], ctx.sender),
    )


@effect("person.opt_in")
def opt_in(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender wants to hear from us again."""
    db.execute(_KNOWN, (ctx.sender, ctx.now_ms))
    db.execute("UPDATE person SET opted_out_ms = NULL, opted_out_word = '' WHERE number = ?", (ctx.sender,))


@effect("person.language")
def set_language(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender chose a language. args: language, its code."""
    db.execute(_KNOWN, (ctx.sender, ctx.now_ms))
    db.execute("UPDATE person SET language = ? WHERE number = ?", (args["language"], ctx.sender))


# Where a person's number stands: table, column of the number, columns told in an export.
_TRACES: Final = (
    ("person", "number", "language, opted_out_ms, opted_out_word, first_seen_ms"),
    ("session", "sender", "app, state, CAST(body AS TEXT) AS body, updated_at_ms"),
    ("inbound", "sender", "id, channel, text, received_at_ms, state"),
    ("outbound", "recipient", "id, text, lane, state, created_at_ms, sent_at_ms"),
    ("booking", "holder", "code, names, state, seats, numbers, price_santim, held_at_ms, paid_at_ms, reason"),
    ("waiting", "number", "service_id, date, seats, at_ms"),
    ("question", "asker", "words, answer, asked_ms"),
    ("asking", "asker", "words, answer, asked_ms"),
    ("model_usage", "asker", "day, requests, tokens_in, tokens_out, cost"),
    ("chat_person", "number", "alias, language, topic, banned_ms"),
    ("chat_block", "number", "at_ms"),
    ("chat_report", "reporter", "words, at_ms, state"),
    ("contact", "number", "name, language, variables, consent_words, consent_how, consent_at_ms"),
)


_DELETED: Final = (
    ("session", "sender"),
    ("waiting", "number"),
    ("question", "asker"),
    ("asking", "asker"),
    ("chat_block", "number"),
    ("chat_block", "other"),
    ("chat_person", "number"),
    ("contact", "number"),
    ("text_count", "who"),
    ("spend", "who"),
)
_RENAMED: Final = (
    ("booking", "holder"),
    ("chat_met", "number"),
    ("chat_met", "other"),
    ("chat_report", "reporter"),
    ("chat_report", "reported"),
    ("chat_pair", "ended_by"),
    ("chat_flag", "number"),
    ("model_usage", "asker"),
)


def _count(db: sqlite3.Connection, query: str, number: str) -> int:
    return int(db.execute(query, (number,)).fetchone()[0])


def show(db: sqlite3.Connection, number: str) -> dict[str, Any]:
    """What there is of a person, in numbers: rows by table, and the choices they made."""
    person = db.execute(
        "SELECT language, opted_out_ms, opted_out_word, first_seen_ms FROM person WHERE number = ?", (number,)
    ).fetchone()
    rows = {
        table: int(db.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", (number,)).fetchone()[0])
        for table, column, _ in _TRACES
    }
    session = db.execute("SELECT app, state FROM session WHERE sender = ?", (number,)).fetchone()
    fields = ("language", "opted_out_ms", "opted_out_word", "first_seen_ms")
    return {
        "number": number,
        "person": None if person is None else dict(zip(fields, person, strict=True)),
        "session": None if session is None else {"app": session[0], "state": session[1]},
        "rows": {table: count for table, count in rows.items() if count},
    }


def export(db: sqlite3.Connection, number: str) -> dict[str, Any]:
    """Everything that is kept under a person's number, by table."""
    told: dict[str, Any] = {"number": number}
    for table, column, columns in _TRACES:
        cursor = db.execute(f"SELECT {columns} FROM {table} WHERE {column} = ?", (number,))
        names = [field[0] for field in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        if rows:
            told[table] = rows
    return told


def erase(db: sqlite3.Connection, number: str, now_ms: int) -> dict[str, int]:
    """Remove a person: texts are emptied, their number becomes a name that leads to nobody, unpaid seats go.

    Kept: bookings, payments and refunds under that name, and, if they said STOP, the number alone, so that
    nobody texts it again. Returns the rows changed by table. Doing it twice changes nothing more.
    """
    name = f"erased-{secrets.token_hex(6)}"
    changed: dict[str, int] = {}

    def run(table: str, statement: str, *values: Any) -> None:
        changed[table] = changed.get(table, 0) + db.execute(statement, values).rowcount

    run(
        "booking",
        "UPDATE booking SET state = 'released', ended_at_ms = ?, reason = 'erased'"
        " WHERE holder = ? AND state = 'held'",
        now_ms,
        number,
    )
    run("chat_pair", "UPDATE chat_pair SET ended_ms = ?, ended_by = '' WHERE ended_ms IS NULL AND id IN"
        " (SELECT pair_id FROM chat_member WHERE number = ?)", now_ms, number)  # fmt: skip
    run(
        "group_member",
        "DELETE FROM group_member WHERE contact_id IN (SELECT id FROM contact WHERE number = ?)",
        number,
    )
    for table, column in _DELETED:
        run(table, f"DELETE FROM {table} WHERE {column} = ?", number)
    for table, column in _RENAMED:
        run(table, f"UPDATE {table} SET {column} = ? WHERE {column} = ?", name, number)
    run(
        "inbound",
        "UPDATE inbound SET text = '', sender = ?, natural_key = NULL WHERE sender = ?",
        name,
        number,
    )
    run("booking", "UPDATE booking SET names = '' WHERE holder = ? AND names <> ''", name)
    run("inbound_part", "DELETE FROM inbound_part WHERE sender = ?", number)
    run("outbound", "UPDATE outbound SET state = 'cancelled', reason = 'erased' WHERE recipient = ?"
        " AND state = 'queued'", number)  # fmt: skip
    run("outbound", "UPDATE outbound SET text = '', recipient = ? WHERE recipient = ?"
        " AND state NOT IN ('sending')", name, number)  # fmt: skip
    run("person", "DELETE FROM person WHERE number = ? AND opted_out_ms IS NULL", number)
    run(
        "person",
        "UPDATE person SET language = '', opted_out_word = '' WHERE number = ? AND language <> ''",
        number,
    )
    return {table: count for table, count in changed.items() if count}
