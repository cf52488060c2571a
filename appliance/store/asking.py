"""Questions that a language model is asked: recorded by a turn, asked by the main process, told by a turn.

asking -> answered or failed -> told. Each arrow is one commit, and the last one carries the SMS, so that a
person gets exactly one answer however often the box is killed in between. Tokens are reserved while a
question is asked, so that no cap is passed by many who ask at once.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from typing import Any, Final, NamedTuple

import msgspec

from appliance.conversation.asking import Asked, Fact
from appliance.message import Inbound
from appliance.store import inbound
from appliance.store.effects import EffectContext, EffectRefused, effect

__all__ = [
    "Open",
    "Settled",
    "Spent",
    "asked",
    "count_try",
    "day_of",
    "forget_told",
    "open_questions",
    "recent",
    "settle",
    "spent_by",
    "spent_on",
]

_MOST_OPEN: Final = 200  # rows of one look; the rest is overdue before its turn comes


class Open(NamedTuple):
    """A question that the endpoint owes an answer. prompt: (role, text) in order."""

    id: int
    asker: str
    client_id: int
    prompt: list[tuple[str, str]]
    deadline_ms: int
    tries: int
    most_tokens: int


class Settled(NamedTuple):
    """What came of asking. reason: "" or why there is no answer. requests and tokens: of this process."""

    asking_id: int
    answer: str
    reason: str
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0


class Spent(NamedTuple):
    """Requests, tokens and cost (millionths) of a day."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def day_of(now_ms: int, timezone_minutes: int) -> str:
    """The local date that usage is counted under."""
    return dt.datetime.fromtimestamp(now_ms / 1000 + timezone_minutes * 60, dt.UTC).date().isoformat()


@effect("assistant.think")
def think(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """Record a question for the model. Refused: capped, a daily cap would be passed.

    args: language, words, prompt [[role, text]], facts [[question, answer]], deadline_ms, timezone_minutes
    (of the day that counts), reserve [tokens in, tokens out, cost], caps {"person", "client", "cost"} (0: no
    cap).
    """
    row = db.execute(
        "SELECT i.channel, h.client_id FROM inbound i LEFT JOIN client_inbound h ON h.inbound_id = i.id"
        " WHERE i.id = ?",
        (ctx.inbound_id,),
    ).fetchone()
    came_by, client_id = ("", 0) if row is None else (row[0], row[1] or 0)
    tokens_in, tokens_out, cost = args["reserve"]
    caps, day = args["caps"], day_of(ctx.now_ms, args["timezone_minutes"])
    for cap, amount, column, person, client in (
        (caps["person"], tokens_in + tokens_out, "tokens", ctx.sender, None),
        (caps["client"] if client_id else 0, tokens_in + tokens_out, "tokens", None, client_id),
        (caps["cost"], cost, "cost", None, None),
    ):
        if cap and _committed(db, day, column, person, client) + amount > cap:
            raise EffectRefused("capped")
    db.execute(
        "INSERT INTO asking (asker, client_id, came_by, language, words, prompt, facts, state, asked_ms,"
        " deadline_ms, reserved_in, reserved_out, reserved_cost)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'asking', ?, ?, ?, ?, ?)",
        (
            ctx.sender,
            client_id,
            came_by,
            args["language"],
            args["words"],
            json.dumps(args["prompt"], ensure_ascii=False),
            json.dumps(args["facts"], ensure_ascii=False),
            ctx.now_ms,
            args["deadline_ms"],
            tokens_in,
            tokens_out,
            cost,
        ),
    )


def _committed(db: sqlite3.Connection, day: str, what: str, person: str | None, client: int | None) -> int:
    """Spent today and reserved by what is being asked: of a person, a client or everybody."""
    column = "asker" if person is not None else "client_id" if client is not None else "1"
    value = person if person is not None else client if client is not None else 1
    used, kept = (
        ("tokens_in + tokens_out", "reserved_in + reserved_out")
        if what == "tokens"
        else ("cost", "reserved_cost")
    )
    (spent,) = db.execute(
        f"SELECT coalesce(sum({used}), 0) FROM model_usage WHERE day = ? AND {column} = ?", (day, value)
    ).fetchone()
    (reserved,) = db.execute(
        f"SELECT coalesce(sum({kept}), 0) FROM asking WHERE state = 'asking' AND {column} = ?", (value,)
    ).fetchone()
    return int(spent) + int(reserved)


def open_questions(db: sqlite3.Connection) -> list[Open]:
    """What waits to be asked or is being asked, the oldest first."""
    rows = db.execute(
        "SELECT id, asker, client_id, prompt, deadline_ms, tries, reserved_out FROM asking"
        " WHERE state = 'asking' ORDER BY id LIMIT ?",
        (_MOST_OPEN,),
    )
    return [
        Open(row[0], row[1], row[2], [(role, text) for role, text in json.loads(row[3])], *row[4:])
        for row in rows
    ]


def count_try(db: sqlite3.Connection, asking_id: int) -> bool:
    """A request is about to go out: an op of the writer, on disk before it does. False: settled meanwhile."""
    done = db.execute("UPDATE asking SET tries = tries + 1 WHERE id = ? AND state = 'asking'", (asking_id,))
    return done.rowcount == 1


def settle(db: sqlite3.Connection, settled: Settled, now_ms: int, day: str) -> list[tuple[int, Inbound]]:
    """Write what came of a question, what it cost, and the event that tells its person's conversation.

    An op of the writer. Returns what to announce; [] when the question was settled before.
    """
    row = db.execute(
        "UPDATE asking SET state = ?, answer = ?, reason = ?, settled_ms = ?, prompt = '[]'"
        " WHERE id = ? AND state = 'asking'"
        " RETURNING asker, client_id, came_by, tries, reserved_in, reserved_cost",
        (
            "failed" if settled.reason else "answered",
            settled.answer,
            settled.reason,
            now_ms,
            settled.asking_id,
        ),
    ).fetchone()
    if row is None:
        return []
    asker, client_id, came_by, tries, reserved_in, reserved_cost = row
    # Requests of a process that was killed may have been answered and paid for: count what they were to cost.
    lost = max(0, tries - settled.requests)
    db.execute(
        "INSERT INTO model_usage (day, asker, client_id, requests, tokens_in, tokens_out, cost)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, asker, client_id) DO UPDATE SET"
        " requests = requests + excluded.requests, tokens_in = tokens_in + excluded.tokens_in,"
        " tokens_out = tokens_out + excluded.tokens_out, cost = cost + excluded.cost",
        (
            day,
            asker,
            client_id,
            settled.requests + lost,
            settled.tokens_in + lost * reserved_in,
            settled.tokens_out,
            settled.cost + lost * reserved_cost,
        ),
    )
    news = Inbound(
        channel="timer",
        sender=asker,
        recipient=came_by,
        text=f"assistant {settled.asking_id}",
        received_at_ms=now_ms,
        natural_key=f"assistant:{settled.asking_id}",
    )
    accepted = inbound.accept(db, news)
    return [] if accepted.duplicate else [(accepted.id, news)]


def asked(db: sqlite3.Connection, number: str, asking_id: int) -> Asked | None:
    """One question of this person."""
    row = db.execute(
        "SELECT state, words, language, answer, facts FROM asking WHERE id = ? AND asker = ?",
        (asking_id, number),
    ).fetchone()
    if row is None:
        return None
    state, words, language, answer, facts = row
    return Asked(state, words, language, answer, tuple(Fact(*fact) for fact in json.loads(facts)))


@effect("assistant.told")
def told(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The turn that answers the person. args: id, by ('model', 'knowledge', 'person'), reason why the model's
    answer was not used. Refused: told, somebody else's turn was quicker."""
    done = db.execute(
        "UPDATE asking SET state = 'told', told_by = ?,"
        " reason = CASE WHEN ? = '' THEN reason ELSE ? END"
        " WHERE id = ? AND asker = ? AND state IN ('answered', 'failed')",
        (args["by"], args["reason"], args["reason"], args["id"], ctx.sender),
    )
    if done.rowcount != 1:
        raise EffectRefused("told")


def forget_told(db: sqlite3.Connection, before_ms: int, limit: int = 500) -> int:
    """Remove old questions that were told. Returns how many."""
    return db.execute(
        "DELETE FROM asking WHERE id IN (SELECT id FROM asking WHERE state = 'told' AND asked_ms < ?"
        " ORDER BY id LIMIT ?)",
        (before_ms, limit),
    ).rowcount


def spent_on(db: sqlite3.Connection, day: str) -> Spent:
    """Everybody's usage of a day."""
    return Spent(
        *db.execute(
            "SELECT coalesce(sum(requests), 0), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0),"
            " coalesce(sum(cost), 0) FROM model_usage WHERE day = ?",
            (day,),
        ).fetchone()
    )


def spent_by(db: sqlite3.Connection, day: str, who: str, limit: int = 10) -> list[tuple[str, Spent]]:
    """Usage of a day by who asked ("asker") or by client ("client"), the most first. Names of clients."""
    rows: list[Any]
    if who == "asker":
        rows = db.execute(
            "SELECT asker, sum(requests), sum(tokens_in), sum(tokens_out), sum(cost) FROM model_usage"
            " WHERE day = ? GROUP BY asker ORDER BY sum(tokens_in + tokens_out) DESC LIMIT ?",
            (day, limit),
        ).fetchall()
    else:
        rows = db.execute(
            "SELECT coalesce(c.name, ''), sum(u.requests), sum(u.tokens_in), sum(u.tokens_out), sum(u.cost)"
            " FROM model_usage u LEFT JOIN client c ON c.id = u.client_id WHERE u.day = ?"
            " GROUP BY u.client_id ORDER BY sum(u.tokens_in + u.tokens_out) DESC LIMIT ?",
            (day, limit),
        ).fetchall()
    return [(row[0], Spent(*row[1:])) for row in rows]


class Recent(msgspec.Struct, frozen=True):
    """One question, for the page. took_ms: until it was settled, None while it is asked."""

    id: int
    asker: str
    words: str
    state: str
    told_by: str
    reason: str
    asked_ms: int
    took_ms: int | None


def recent(db: sqlite3.Connection, limit: int = 20) -> list[Recent]:
    """The last questions, the newest first."""
    rows = db.execute(
        "SELECT id, asker, words, state, told_by, reason, asked_ms, settled_ms - asked_ms FROM asking"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [Recent(*row) for row in rows]
