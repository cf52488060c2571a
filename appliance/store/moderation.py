"""What the chat's admins see and do: pairs with both sides, reports, bans, and the trace of every look.

Looking costs the relay nothing: both sides of a pair are read from the messages themselves. What an admin
does or sees is written to the audit log before it is shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from appliance.conversation.budget import segments
from appliance.message import Lane, Outbound
from appliance.store import outbound
from appliance.store.audit import audit
from appliance.store.chat import end_pair, pair_of
from appliance.store.outbound import QueuedRow, QueueKey
from appliance.store.views import Life, MessageLife, MessageRow, life_of, messages_with, recent_messages

__all__ = [
    "Flag",
    "LivePair",
    "Look",
    "PairView",
    "Report",
    "Side",
    "Talk",
    "ban",
    "banned",
    "decide",
    "digest",
    "digest_due",
    "digest_sent",
    "end",
    "life_without_chats",
    "live_pairs",
    "looks",
    "open_reports",
    "partner_of",
    "person_without_chats",
    "recent_flags",
    "recent_without_chats",
    "unban",
    "view",
    "waiting",
]

TEXTS_SHOWN: Final = 200
FLAG_CHARS: Final = 160  # of a text, as the conversation keeps it with a flag
DIGEST_SMS: Final = 3
DIGEST_PAIRS: Final = 3  # of those that need a look, with both sides


class Side(msgspec.Struct, frozen=True):
    """One person of a pair, with what is known of them. name: from contacts, "" if unknown."""

    number: str
    alias: str
    language: str
    gender: str
    wants: str
    topic: str
    shares: int
    name: str
    first_seen_ms: int | None
    chats: int
    tickets: int
    reports: int  # against them, rejected ones apart
    flags: int
    blocks: int  # by how many
    banned_ms: int


class LivePair(msgspec.Struct, frozen=True):
    """A pair that talks. sides: alias, reports against and flags of each."""

    id: int
    began_ms: int
    last_ms: int
    texts: int
    sides: tuple[tuple[str, int, int], ...]


class Talk(msgspec.Struct, frozen=True):
    """One text of a pair. side: 0 or 1. passed: as the other read it, "" if it was not passed on."""

    side: int
    at_ms: int
    text: str
    passed: str


class PairView(msgspec.Struct, frozen=True):
    id: int
    began_ms: int
    ended_ms: int | None
    ended_by: str
    texts: int
    sides: tuple[Side, ...]
    talk: tuple[Talk, ...]


class Report(msgspec.Struct, frozen=True):
    id: int
    pair: int
    reporter: str
    reported: str
    words: str
    at_ms: int


class Flag(NamedTuple):
    pair: int
    number: str
    at_ms: int
    kind: str
    text: str


class Look(NamedTuple):
    at_ms: int
    actor: str
    action: str
    what: str


_TROUBLE: Final = (
    "(SELECT count(*) FROM chat_report r WHERE r.reported = {n} AND r.state <> 'rejected'),"
    " (SELECT count(*) FROM chat_flag f WHERE f.number = {n})"
)


def live_pairs(db: sqlite3.Connection, limit: int = 50) -> list[LivePair]:
    """Who talks now, the last to write first. No texts and no numbers: this is no look at anybody."""
    rows = db.execute(
        "SELECT id, began_ms, last_ms, texts FROM chat_pair WHERE ended_ms IS NULL"
        " ORDER BY last_ms DESC LIMIT ?",
        (limit,),
    ).fetchall()
    trouble = _TROUBLE.format(n="m.number")
    sides = {
        row[0]: tuple(
            db.execute(
                f"SELECT p.alias, {trouble} FROM chat_member m JOIN chat_person p ON p.number = m.number"
                " WHERE m.pair_id = ? ORDER BY m.side",
                (row[0],),
            ).fetchall()
        )
        for row in rows
    }
    return [
        LivePair(pair_id, began_ms, last_ms, texts, sides[pair_id])
        for pair_id, began_ms, last_ms, texts in rows
    ]


def waiting(db: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Who waits: by language how many and since when the first."""
    return db.execute(
        "SELECT language, count(*), min(waiting_ms) FROM chat_person WHERE waiting_ms IS NOT NULL"
        " GROUP BY language ORDER BY language"
    ).fetchall()


def view(db: sqlite3.Connection, pair_id: int) -> PairView | None:
    """A pair with both sides and what they said, from the messages of the time it lasted."""
    pair = db.execute(
        "SELECT id, began_ms, ended_ms, ended_by, texts FROM chat_pair WHERE id = ?", (pair_id,)
    ).fetchone()
    if pair is None:
        return None
    numbers = [
        number
        for (number,) in db.execute(
            "SELECT number FROM chat_met WHERE pair_id = ? ORDER BY number", (pair_id,)
        )
    ]
    sides = tuple(_side(db, number, pair_id) for number in numbers)
    ended_ms = pair[2] if pair[2] is not None else 1 << 62
    stopped = {
        (number, text)
        for number, text in db.execute(
            "SELECT number, text FROM chat_flag WHERE pair_id = ? AND kind = 'refused'", (pair_id,)
        )
    }
    talk: list[Talk] = []
    for side, number in enumerate(numbers):
        other = next((each for each in numbers if each != number), "")
        rows = db.execute(
            "SELECT i.received_at_ms, i.text, (SELECT o.text FROM outbound o WHERE o.in_reply_to = i.id"
            " AND o.recipient = ?) FROM inbound i WHERE i.sender = ? AND i.channel <> 'timer'"
            " AND i.received_at_ms BETWEEN ? AND ? ORDER BY i.id DESC LIMIT ?",
            (other, number, pair[1] - 1000, ended_ms, TEXTS_SHOWN),
        )
        for at_ms, text, passed in rows:
            # What they said to the box, or to another conversation meanwhile, was not for the other.
            relayed = passed is not None and passed.startswith(f"{sides[side].alias}: ")
            if relayed or (number, text[:FLAG_CHARS]) in stopped:
                talk.append(Talk(side, at_ms, text, passed if relayed else ""))
    talk.sort(key=lambda each: each.at_ms)
    _, began_ms, ended, ended_by, texts = pair
    return PairView(pair_id, began_ms, ended, ended_by, texts, sides, tuple(talk[-TEXTS_SHOWN:]))


def without_chats(db: sqlite3.Connection, rows: Sequence[MessageRow]) -> list[MessageRow]:
    """Messages as the other pages show them: what strangers said to each other is seen on the chat's pages
    only, where looking leaves a trace."""
    return [_hidden(db, row) for row in rows]


def _hidden(db: sqlite3.Connection, row: MessageRow) -> MessageRow:
    pair_id = _pair_at(db, row.number, row.at_ms)
    if pair_id is None:
        return row
    if row.kind == "out":
        said = db.execute("SELECT 1 FROM inbound WHERE id = ? AND sender <> ?", (row.in_reply_to, row.number))
    else:
        said = db.execute(
            "SELECT 1 FROM outbound WHERE in_reply_to = ? AND recipient <> ? UNION ALL"
            " SELECT 1 FROM chat_flag WHERE number = ? AND text = ? LIMIT 1",
            (row.id, row.number, row.number, row.text[:FLAG_CHARS]),
        )
    if said.fetchone() is None:  # to the box, or from it
        return row
    return msgspec.structs.replace(row, text=f"(in the chat, pair {pair_id})")


def _pair_at(db: sqlite3.Connection, number: str, at_ms: int) -> int | None:
    """The pair that somebody was in at a time, a second about it, for it begins in the turn of a text."""
    row = db.execute(
        "SELECT c.id FROM chat_met t JOIN chat_pair c ON c.id = t.pair_id WHERE t.number = ?"
        " AND ? BETWEEN c.began_ms - 1000 AND coalesce(c.ended_ms, c.began_ms + 864000000) + 1000 LIMIT 1",
        (number, at_ms),
    ).fetchone()
    return None if row is None else int(row[0])


def life_without_chats(db: sqlite3.Connection, kind: str, message_id: int) -> Life | None:
    """`views.life_of` in the same way."""
    life = life_of(db, kind, message_id)
    if life is None:
        return None

    def hide(each: MessageLife) -> MessageLife:
        return msgspec.structs.replace(each, row=_hidden(db, each.row))

    return msgspec.structs.replace(
        life,
        inbound=None if life.inbound is None else hide(life.inbound),
        outbound=[hide(each) for each in life.outbound],
    )


def recent_without_chats(db: sqlite3.Connection, limit: int) -> list[MessageRow]:
    """`views.recent_messages` in the same way."""
    return without_chats(db, recent_messages(db, limit))


def person_without_chats(db: sqlite3.Connection, number: str, limit: int) -> list[MessageRow]:
    """`views.messages_with` in the same way."""
    return without_chats(db, messages_with(db, number, limit))


def _side(db: sqlite3.Connection, number: str, pair_id: int) -> Side:
    trouble = _TROUBLE.format(n=":n")
    row = db.execute(
        "SELECT :n, coalesce(p.alias, ''), coalesce(p.language, ''), coalesce(p.gender, ''),"
        " coalesce(p.wants, ''), coalesce(p.topic, ''),"
        " coalesce((SELECT shares FROM chat_member WHERE number = :n AND pair_id = :pair), 0),"
        " coalesce((SELECT name FROM contact WHERE number = :n AND name <> '' LIMIT 1), ''),"
        " coalesce((SELECT first_seen_ms FROM person WHERE number = :n),"
        " (SELECT received_at_ms FROM inbound WHERE sender = :n ORDER BY id LIMIT 1)),"
        " (SELECT count(*) FROM chat_met WHERE number = :n),"
        " (SELECT count(*) FROM booking WHERE holder = :n AND paid_at_ms IS NOT NULL),"
        f" {trouble}, (SELECT count(*) FROM chat_block WHERE other = :n), coalesce(p.banned_ms, 0)"
        " FROM (SELECT 1) LEFT JOIN chat_person p ON p.number = :n",
        {"n": number, "pair": pair_id},
    ).fetchone()
    return Side(*row)


def open_reports(db: sqlite3.Connection, limit: int = 100) -> list[Report]:
    """Reports that wait for a decision, the oldest first."""
    rows = db.execute(
        "SELECT id, pair_id, reporter, reported, words, at_ms FROM chat_report WHERE state = 'open'"
        " ORDER BY id LIMIT ?",
        (limit,),
    )
    return [Report(*row) for row in rows]


def recent_flags(db: sqlite3.Connection, limit: int = 30) -> list[Flag]:
    """Texts that a word list stopped or changed, the newest first."""
    rows = db.execute(
        "SELECT pair_id, number, at_ms, kind, text FROM chat_flag ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [Flag(*row) for row in rows]


def banned(db: sqlite3.Connection, now_ms: int) -> list[tuple[str, int, str]]:
    """Who is kept out: number, until when, why."""
    return db.execute(
        "SELECT number, banned_ms, ban_reason FROM chat_person WHERE banned_ms > ? ORDER BY banned_ms",
        (now_ms,),
    ).fetchall()


def looks(db: sqlite3.Connection, limit: int = 20) -> list[Look]:
    """What admins saw and did, the newest first."""
    rows = db.execute(
        "SELECT at_ms, actor, action, what FROM audit WHERE action LIKE 'chat.%' ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [Look(*row) for row in rows]


# -- what admins do, ops of the writer


def ban(
    db: sqlite3.Connection,
    number: str,
    until_ms: int,
    reason: str,
    now_ms: int,
    *,
    actor: str = "",
    notice: str = "",
) -> list[QueuedRow]:
    """Keep somebody out until a time: their pair ends, they wait no more. notice: what their partner is told.

    Returns the rows put on the queue.
    """
    db.execute(
        "INSERT INTO chat_person (number, alias, language, banned_ms, ban_reason) VALUES (?, '', '', ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET banned_ms = excluded.banned_ms, ban_reason ="
        " excluded.ban_reason, waiting_ms = NULL",
        (number, until_ms, reason),
    )
    audit(db, now_ms, actor, "chat.ban", f"{number} until {until_ms}: {reason}")
    other = partner_of(db, number)
    pair_id = pair_of(db, number)
    if pair_id is None or not end_pair(db, pair_id, actor, now_ms):
        return []
    return [] if other is None or not notice else [_notice(db, other[0], notice, now_ms)]


def unban(db: sqlite3.Connection, number: str, now_ms: int, *, actor: str) -> bool:
    """Let somebody in again."""
    done = db.execute(
        "UPDATE chat_person SET banned_ms = NULL, ban_reason = '' WHERE number = ? AND banned_ms IS NOT NULL",
        (number,),
    )
    audit(db, now_ms, actor, "chat.unban", number)
    return done.rowcount == 1


def decide(db: sqlite3.Connection, report_id: int, upheld: bool, now_ms: int, *, actor: str) -> Report | None:
    """Close a report; None when it was closed before."""
    row = db.execute(
        "UPDATE chat_report SET state = ?, decided_ms = ?, decided_by = ? WHERE id = ? AND state = 'open'"
        " RETURNING id, pair_id, reporter, reported, words, at_ms",
        ("upheld" if upheld else "rejected", now_ms, actor, report_id),
    ).fetchone()
    if row is None:
        return None
    audit(db, now_ms, actor, "chat.uphold" if upheld else "chat.reject", f"report {report_id} on {row[3]}")
    return Report(*row)


def end(
    db: sqlite3.Connection, pair_id: int, notices: dict[str, str], now_ms: int, *, actor: str
) -> list[QueuedRow]:
    """End a pair; both are told. notices: by number."""
    if not end_pair(db, pair_id, actor, now_ms):
        return []
    audit(db, now_ms, actor, "chat.end", f"pair {pair_id}")
    return [_notice(db, number, text, now_ms) for number, text in notices.items()]


def partner_of(db: sqlite3.Connection, number: str) -> tuple[str, str] | None:
    """The partner of somebody who talks: number and language."""
    row = db.execute(
        "SELECT o.number, p.language FROM chat_member m JOIN chat_member o ON o.pair_id = m.pair_id"
        " AND o.number <> m.number JOIN chat_person p ON p.number = o.number WHERE m.number = ?",
        (number,),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def _notice(db: sqlite3.Connection, number: str, text: str, now_ms: int) -> QueuedRow:
    message = Outbound(recipient=number, text=text, lane=Lane.REPLY)
    row = outbound.insert(db, message, now_ms)
    return QueuedRow(row, number, QueueKey(message.route, str(message.lane), message.client_id))


# -- the digest


def digest_due(db: sqlite3.Connection, number: str, every_ms: int, now_ms: int) -> int | None:
    """Since when an admin was told nothing, if it is time to tell; None: it is not."""
    row = db.execute("SELECT sent_ms FROM chat_digest WHERE number = ?", (number,)).fetchone()
    since_ms = now_ms - every_ms if row is None else int(row[0])
    # A clock that was set back makes the last digest lie ahead: then the next one is due now.
    return since_ms if row is None or not 0 <= now_ms - since_ms < every_ms else None


def digest(db: sqlite3.Connection, since_ms: int, now_ms: int) -> str:
    """What happened since, for an SMS; "" when there is nothing to tell.

    Counts first, then the pairs that need a look with both sides and what is known of them.
    """
    (pairs,) = db.execute("SELECT count(*) FROM chat_pair WHERE began_ms > ?", (since_ms,)).fetchone()
    (active,) = db.execute("SELECT count(*) FROM chat_pair WHERE last_ms > ?", (since_ms,)).fetchone()
    (opened,) = db.execute("SELECT count(*) FROM chat_report WHERE state = 'open'").fetchone()
    (flags,) = db.execute("SELECT count(*) FROM chat_flag WHERE at_ms > ?", (since_ms,)).fetchone()
    if not (pairs or active or flags):
        return ""
    text = f"Chat: {pairs} new pairs, {active} active, {opened} open reports, {flags} flagged texts."
    seen: set[int] = set()
    rows = db.execute(
        "SELECT pair_id, words FROM chat_report WHERE state = 'open' AND at_ms > :since"
        " UNION ALL SELECT pair_id, text FROM chat_flag WHERE at_ms > :since ORDER BY pair_id DESC LIMIT 20",
        {"since": since_ms},
    ).fetchall()
    for pair_id, words in rows:
        found = None if pair_id in seen else view(db, pair_id)
        if found is None or len(seen) >= DIGEST_PAIRS:
            continue
        seen.add(pair_id)
        sides = " / ".join(
            f"{side.alias} {side.name or side.number} {side.reports}r {side.flags}f" for side in found.sides
        )
        line = f"\n#{pair_id} {sides}: {words[:40]}"
        if segments(text + line) <= DIGEST_SMS:
            text += line
    return text


def digest_sent(db: sqlite3.Connection, number: str, text: str, now_ms: int) -> list[QueuedRow]:
    """Put a digest on the queue and note it, in the audit log too; "" only notes the time."""
    db.execute(
        "INSERT INTO chat_digest (number, sent_ms) VALUES (?, ?)"
        " ON CONFLICT (number) DO UPDATE SET sent_ms = excluded.sent_ms",
        (number, now_ms),
    )
    if not text:
        return []
    audit(db, now_ms, number, "chat.digest", text.partition("\n")[0])
    message = Outbound(recipient=number, text=text, lane=Lane.NORMAL)
    row = outbound.insert(db, message, now_ms)
    return [QueuedRow(row, number, QueueKey(message.route, str(message.lane), message.client_id))]
