"""People: the language they chose, and whether they want to hear from us."""

from __future__ import annotations

import sqlite3
from typing import Any

from appliance.store.effects import EffectContext, effect

__all__ = ["is_opted_out", "opted_out_among"]

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
