"""The chat's pairs: the effects that make and end them, and what the conversation may see.

The keys hold that nobody is in two pairs and nobody who waits is in one; each effect leaves both people of a
pair in the same state, in one transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from appliance.conversation.meeting import Candidate, Partner, Standing
from appliance.message import Inbound
from appliance.store import inbound
from appliance.store.asking import day_of
from appliance.store.effects import EffectContext, EffectRefused, effect

__all__ = ["ChatLook", "end_pair", "pair_of"]

_DAY_MS: Final = 86_400_000
APART_MS: Final = 30 * 60_000  # so long nobody is brought back to the partner they had last


def _person(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    db.execute(
        "INSERT INTO chat_person (number, alias, language, topic, gender, wants) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET language = excluded.language, topic = excluded.topic,"
        " alias = excluded.alias, gender = excluded.gender, wants = excluded.wants",
        (ctx.sender, *(args[name] for name in ("alias", "language", "topic", "gender", "wants"))),
    )


def pair_of(db: sqlite3.Connection, number: str) -> int | None:
    """The live pair that somebody is in."""
    row = db.execute("SELECT pair_id FROM chat_member WHERE number = ?", (number,)).fetchone()
    return None if row is None else int(row[0])


@effect("chat.wait")
def wait(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender waits for a partner; somebody in a pair keeps the pair. args: alias, language, topic,
    gender, wants.

    Whoever fits and waits already is paired with them here, where nobody can be quicker: many who come in one
    moment are all matched. The other learns it by an event at once, the sender at their next alarm.
    """
    _person(db, ctx, args)
    if pair_of(db, ctx.sender) is None:
        other = ChatLook(db).candidate(
            ctx.sender, args["language"], args["topic"], args["gender"], args["wants"], ctx.now_ms
        )
        if other is not None:
            pair_id = _join(db, ctx, other.number, told=False)
            news = Inbound(
                channel="timer",
                sender=other.number,
                recipient="",
                text=f"chat {pair_id}",
                received_at_ms=ctx.now_ms,
                natural_key=f"chat:{pair_id}",
            )
            inbound.accept(db, news)  # the dispatcher's sweep finds it, within seconds
            return
        db.execute(
            "UPDATE chat_person SET waiting_ms = ? WHERE number = ? AND waiting_ms IS NULL",
            (ctx.now_ms, ctx.sender),
        )


@effect("chat.pair")
def pair(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """Pair the sender with `other`, who waits. args: other, and as chat.wait. Refused: taken."""
    _person(db, ctx, args)
    other = args["other"]
    free = db.execute(
        "UPDATE chat_person SET waiting_ms = NULL WHERE number = ? AND waiting_ms IS NOT NULL", (other,)
    ).rowcount
    if not free or other == ctx.sender or pair_of(db, ctx.sender) is not None:
        raise EffectRefused("taken")
    _join(db, ctx, other, told=True)


def _join(db: sqlite3.Connection, ctx: EffectContext, other: str, *, told: bool) -> int:
    """Make a pair of the sender and `other`, neither of whom waits any more."""
    db.execute("UPDATE chat_person SET waiting_ms = NULL WHERE number IN (?, ?)", (ctx.sender, other))
    pair_id = db.execute(
        "INSERT INTO chat_pair (began_ms, last_ms) VALUES (?, ?)", (ctx.now_ms, ctx.now_ms)
    ).lastrowid
    assert pair_id is not None
    for side, (number, partner) in enumerate(((ctx.sender, other), (other, ctx.sender))):
        db.execute(
            "INSERT INTO chat_member (number, pair_id, side, told) VALUES (?, ?, ?, ?)",
            (number, pair_id, side, int(told)),
        )
        db.execute(
            "INSERT INTO chat_met (pair_id, number, other) VALUES (?, ?, ?)", (pair_id, number, partner)
        )
    return pair_id


@effect("chat.told")
def told(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender was told that they are paired."""
    db.execute("UPDATE chat_member SET told = 1 WHERE number = ?", (ctx.sender,))


@effect("chat.leave")
def leave(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender waits no more and talks no more; a pair ends for both. args: pair, the one they know of or
    None. Refused: changed, somebody was matched with them meanwhile (and would not be told)."""
    pair_id = pair_of(db, ctx.sender)
    if pair_id is not None and pair_id != args["pair"]:
        raise EffectRefused("changed")
    db.execute("UPDATE chat_person SET waiting_ms = NULL WHERE number = ?", (ctx.sender,))
    if pair_id is not None:
        end_pair(db, pair_id, ctx.sender, ctx.now_ms)


def end_pair(db: sqlite3.Connection, pair_id: int, by: str, now_ms: int) -> bool:
    """End a pair for both; False when it had ended."""
    done = db.execute(
        "UPDATE chat_pair SET ended_ms = ?, ended_by = ? WHERE id = ? AND ended_ms IS NULL",
        (now_ms, by, pair_id),
    )
    return done.rowcount == 1


@effect("chat.say")
def say(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """A text passes between the two of a pair. args: pair, timezone_minutes (of the day that counts).
    Refused: over, the pair has ended."""
    _same_pair(db, ctx, args)
    db.execute("UPDATE chat_pair SET last_ms = ?, texts = texts + 1 WHERE id = ?", (ctx.now_ms, args["pair"]))
    day = day_of(ctx.now_ms, args["timezone_minutes"])
    db.execute(
        "UPDATE chat_person SET texts = CASE WHEN texts_day = ? THEN texts + 1 ELSE 1 END, texts_day = ?"
        " WHERE number = ?",
        (day, day, ctx.sender),
    )


@effect("chat.flag")
def flag(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """A word list stopped or changed a text. args: pair, kind ('refused', 'masked'), text. Refused: over."""
    _same_pair(db, ctx, args)
    db.execute(
        "INSERT INTO chat_flag (pair_id, number, at_ms, kind, text) VALUES (?, ?, ?, ?, ?)",
        (args["pair"], ctx.sender, ctx.now_ms, args["kind"], args["text"]),
    )


@effect("chat.share")
def share(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender lets numbers pass; both must. args: pair. Refused: over."""
    _same_pair(db, ctx, args)
    db.execute("UPDATE chat_member SET shares = 1 WHERE number = ?", (ctx.sender,))


def _same_pair(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    if pair_of(db, ctx.sender) != args["pair"]:
        raise EffectRefused("over")


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


class ChatLook:
    """What the chat may see, on a connection that only reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def standing(self, number: str, now_ms: int, timezone_minutes: int = 180) -> Standing:
        """A person's place in the chat, their partner's included, in one query."""
        row = self._db.execute(
            "SELECT p.alias, p.topic, p.waiting_ms, coalesce(p.banned_ms, 0), m.pair_id, m.shares, o.number,"
            " o.shares, q.alias, q.language, c.last_ms, (SELECT count(*) FROM chat_met t JOIN chat_pair x"
            " ON x.id = t.pair_id WHERE t.number = p.number AND x.began_ms > :since), coalesce(m.told, 1),"
            " p.gender, p.wants, CASE WHEN p.texts_day = :day THEN p.texts ELSE 0 END"
            " FROM chat_person p LEFT JOIN chat_member m ON m.number = p.number"
            " LEFT JOIN chat_member o ON o.pair_id = m.pair_id AND o.number <> m.number"
            " LEFT JOIN chat_person q ON q.number = o.number LEFT JOIN chat_pair c ON c.id = m.pair_id"
            " WHERE p.number = :number",
            {"number": number, "since": now_ms - _DAY_MS, "day": day_of(now_ms, timezone_minutes)},
        ).fetchone()
        if row is None:
            return Standing()
        partner = None
        if row[4] is not None:
            partner = Partner(
                row[4], row[6], row[8], row[9], bool(row[7]), bool(row[5]), row[10], bool(row[12])
            )
        return Standing(row[0], row[1], row[2], partner, row[3], row[11], *row[13:])

    def candidate(
        self, number: str, language: str, topic: str, gender: str, wants: str, now_ms: int
    ) -> Candidate | None:
        """Who has waited longest of those who fit: the same language, the topic or none, the gender that each
        of the two asked for, and neither blocked the other. Nobody is brought back to their last partner."""
        row = self._db.execute(
            "SELECT p.number, p.alias, p.language FROM chat_person p WHERE p.waiting_ms IS NOT NULL"
            " AND p.language = :language AND p.number <> :me"
            " AND (:topic = '' OR p.topic IN ('', :topic))"
            " AND (:wants = '' OR p.gender = :wants) AND (p.wants = '' OR p.wants = :gender)"
            " AND coalesce(p.banned_ms, 0) <= :now"
            " AND NOT EXISTS (SELECT 1 FROM chat_block b WHERE b.number = :me AND b.other = p.number)"
            " AND NOT EXISTS (SELECT 1 FROM chat_block b WHERE b.number = p.number AND b.other = :me)"
            " AND p.number IS NOT (SELECT t.other FROM chat_met t JOIN chat_pair c ON c.id = t.pair_id"
            " WHERE t.number = :me AND c.last_ms > :apart ORDER BY t.pair_id DESC LIMIT 1)"
            " ORDER BY p.waiting_ms, p.number LIMIT 1",
            {
                "me": number,
                "language": language,
                "topic": topic,
                "gender": gender,
                "wants": wants,
                "now": now_ms,
                "apart": now_ms - APART_MS,
            },
        ).fetchone()
        return None if row is None else Candidate(*row)
