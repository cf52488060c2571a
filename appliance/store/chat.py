"""The chat's pairs: the effects that make and end them, and what the conversation may see.

The keys hold that nobody is in two pairs and nobody who waits is in one; each effect leaves both people of a
pair in the same state, in one transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from appliance.conversation.meeting import Candidate, Partner, Standing
from appliance.store.effects import EffectContext, EffectRefused, effect

__all__ = ["ChatLook", "ban"]

_DAY_MS: Final = 86_400_000


def _person(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    db.execute(
        "INSERT INTO chat_person (number, alias, language, topic) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET language = excluded.language, topic = excluded.topic",
        (ctx.sender, args["alias"], args["language"], args["topic"]),
    )


def _pair_of(db: sqlite3.Connection, number: str) -> int | None:
    row = db.execute("SELECT pair_id FROM chat_member WHERE number = ?", (number,)).fetchone()
    return None if row is None else int(row[0])


@effect("chat.wait")
def wait(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender waits for a partner; somebody in a pair keeps the pair. args: alias, language, topic.

    Whoever fits and waits already is paired with them here, where nobody can be quicker: many who come in one
    moment are all matched. Both learn it at their next turn or alarm.
    """
    _person(db, ctx, args)
    if _pair_of(db, ctx.sender) is None:
        other = ChatLook(db).candidate(ctx.sender, args["language"], args["topic"], ctx.now_ms)
        if other is not None:
            _join(db, ctx, other.number, told=False)
            return
        db.execute(
            "UPDATE chat_person SET waiting_ms = ? WHERE number = ? AND waiting_ms IS NULL",
            (ctx.now_ms, ctx.sender),
        )


@effect("chat.pair")
def pair(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """Pair the sender with `other`, who waits. args: other, alias, language, topic. Refused: taken."""
    _person(db, ctx, args)
    other = args["other"]
    free = db.execute(
        "UPDATE chat_person SET waiting_ms = NULL WHERE number = ? AND waiting_ms IS NOT NULL", (other,)
    ).rowcount
    if not free or other == ctx.sender or _pair_of(db, ctx.sender) is not None:
        raise EffectRefused("taken")
    _join(db, ctx, other, told=True)


def _join(db: sqlite3.Connection, ctx: EffectContext, other: str, *, told: bool) -> None:
    """Make a pair of the sender and `other`, neither of whom waits any more."""
    db.execute("UPDATE chat_person SET waiting_ms = NULL WHERE number IN (?, ?)", (ctx.sender, other))
    pair_id = db.execute(
        "INSERT INTO chat_pair (began_ms, last_ms) VALUES (?, ?)", (ctx.now_ms, ctx.now_ms)
    ).lastrowid
    for side, (number, partner) in enumerate(((ctx.sender, other), (other, ctx.sender))):
        db.execute(
            "INSERT INTO chat_member (number, pair_id, side, told) VALUES (?, ?, ?, ?)",
            (number, pair_id, side, int(told)),
        )
        db.execute(
            "INSERT INTO chat_met (pair_id, number, other) VALUES (?, ?, ?)", (pair_id, number, partner)
        )


@effect("chat.told")
def told(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender was told that they are paired."""
    db.execute("UPDATE chat_member SET told = 1 WHERE number = ?", (ctx.sender,))


@effect("chat.leave")
def leave(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender waits no more and talks no more; a pair ends for both. Doing it twice changes nothing."""
    db.execute("UPDATE chat_person SET waiting_ms = NULL WHERE number = ?", (ctx.sender,))
    pair_id = _pair_of(db, ctx.sender)
    if pair_id is not None:
        db.execute(
            "UPDATE chat_pair SET ended_ms = ?, ended_by = ? WHERE id = ?", (ctx.now_ms, ctx.sender, pair_id)
        )


@effect("chat.say")
def say(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """A text passes between the two of a pair. args: pair. Refused: over, the pair has ended."""
    if _pair_of(db, ctx.sender) != args["pair"]:
        raise EffectRefused("over")
    db.execute("UPDATE chat_pair SET last_ms = ?, texts = texts + 1 WHERE id = ?", (ctx.now_ms, args["pair"]))


@effect("chat.share")
def share(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender lets numbers pass; both must. args: pair. Refused: over."""
    if _pair_of(db, ctx.sender) != args["pair"]:
        raise EffectRefused("over")
    db.execute("UPDATE chat_member SET shares = 1 WHERE number = ?", (ctx.sender,))


@effect("chat.report")
def report(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """Write a report about the partner for the operator, one per pair and person. args: pair, words."""
    row = db.execute(
        "SELECT other FROM chat_met WHERE number = ? AND pair_id = ?", (ctx.sender, args["pair"])
    ).fetchone()
    if row is not None:
        db.execute(
            "INSERT INTO chat_report (pair_id, reporter, reported, words, at_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (pair_id, reporter) DO NOTHING",
            (args["pair"], ctx.sender, row[0], args["words"], ctx.now_ms),
        )


@effect("chat.block")
def block(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender never wants to meet `other` again."""
    db.execute(
        "INSERT INTO chat_block (number, other, at_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (ctx.sender, args["other"], ctx.now_ms),
    )


def ban(db: sqlite3.Connection, number: str, until_ms: int, reason: str, now_ms: int) -> None:
    """The operator keeps somebody out until a time: an op of the writer. Their pair ends,"
    " they wait no more."""
    leave(db, EffectContext(now_ms, number, 0), {})
    db.execute(
        "INSERT INTO chat_person (number, alias, language, banned_ms, ban_reason) VALUES (?, '', '', ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET banned_ms = excluded.banned_ms, ban_reason ="
        " excluded.ban_reason",
        (number, until_ms, reason),
    )


class ChatLook:
    """What the chat may see, on a connection that only reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def standing(self, number: str, now_ms: int) -> Standing:
        """A person's place in the chat, their partner's included, in one query and one count."""
        row = self._db.execute(
            "SELECT p.alias, p.topic, p.waiting_ms, coalesce(p.banned_ms, 0), m.pair_id, m.shares, o.number,"
            " o.shares, q.alias, q.language, c.last_ms, (SELECT count(*) FROM chat_met t JOIN chat_pair x"
            " ON x.id = t.pair_id WHERE t.number = p.number AND x.began_ms > :since), coalesce(m.told, 1)"
            " FROM chat_person p LEFT JOIN chat_member m ON m.number = p.number"
            " LEFT JOIN chat_member o ON o.pair_id = m.pair_id AND o.number <> m.number"
            " LEFT JOIN chat_person q ON q.number = o.number LEFT JOIN chat_pair c ON c.id = m.pair_id"
            " WHERE p.number = :number",
            {"number": number, "since": now_ms - _DAY_MS},
        ).fetchone()
        if row is None:
            return Standing()
        partner = None
        if row[4] is not None:
            partner = Partner(
                row[4], row[6], row[8], row[9], bool(row[7]), bool(row[5]), row[10], bool(row[12])
            )
        return Standing(row[0], row[1], row[2] is not None, partner, row[3], row[11])

    def candidate(self, number: str, language: str, topic: str, now_ms: int) -> Candidate | None:
        """Who has waited longest of those who speak the language, want the topic (or any) and may meet them.

        Nobody is brought back to their last partner.
        """
        row = self._db.execute(
            "SELECT p.number, p.alias, p.language FROM chat_person p WHERE p.waiting_ms IS NOT NULL"
            " AND p.number <> :me AND p.language = :language AND (:topic = '' OR p.topic IN ('', :topic))"
            " AND coalesce(p.banned_ms, 0) <= :now"
            " AND NOT EXISTS (SELECT 1 FROM chat_block b WHERE (b.number = :me AND b.other = p.number)"
            " OR (b.number = p.number AND b.other = :me))"
            " AND p.number IS NOT (SELECT other FROM chat_met WHERE number = :me ORDER BY"
            " pair_id DESC LIMIT 1)"
            " ORDER BY p.waiting_ms, p.number LIMIT 1",
            {"me": number, "language": language, "topic": topic, "now": now_ms},
        ).fetchone()
        return None if row is None else Candidate(*row)
