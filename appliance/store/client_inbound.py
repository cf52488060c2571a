"""What comes in for clients, on disk: the rules, and each text that was handed over by one.

Ops for the writer and read functions for the reader. Times are UTC milliseconds.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Final, NamedTuple

from appliance.message import Inbound
from appliance.store import webhooks
from appliance.store.audit import audit
from appliance.store.gateway import ClientRefused

__all__ = [
    "REPLY_WINDOW_MS",
    "Received",
    "Rule",
    "add_rule",
    "answered",
    "hand_over",
    "received",
    "remove_rule",
    "rules",
    "rules_of",
]

REPLY_WINDOW_MS: Final = 7 * 24 * 3_600_000  # a text later than that answers nothing
_RULE: Final = (
    "SELECT r.id, r.client_id, c.name, r.number, r.keyword, r.folded, r.replies, r.mode"
    " FROM inbound_rule r JOIN client c ON c.id = r.client_id"
)


class Rule(NamedTuple):
    """Which texts are a client's. number, keyword: "" for any; replies: answers to its last message.
    folded: the keyword's folded words. mode: "instead" of a conversation of the box, or "besides" it."""

    id: int
    client_id: int
    client: str
    number: str
    keyword: str
    folded: str
    replies: bool
    mode: str

    def words(self) -> str:
        """The rule as a person says it."""
        if self.replies:
            return "answers to its last message"
        parts = [f"keyword {self.keyword}"] if self.keyword else []
        return " ".join([*parts, *([f"to {self.number}"] if self.number else [])])


class Received(NamedTuple):
    """A text that was handed to a client. in_reply_to: its own message that was answered, if any."""

    inbound_id: int
    sender: str
    recipient: str
    text: str
    keyword: str
    in_reply_to: int | None
    reference: str
    received_at_ms: int


def add_rule(
    db: sqlite3.Connection,
    client_id: int,
    now_ms: int,
    *,
    actor: str,
    number: str = "",
    keyword: str = "",
    folded: str = "",
    mode: str = "instead",
) -> int:
    """Make a rule; neither number nor keyword: the answers to the client's last message.

    ClientRefused when another rule has that number and keyword already.
    """
    replies = not number and not folded
    try:
        (rule_id,) = db.execute(
            "INSERT INTO inbound_rule (client_id, number, keyword, folded, replies, mode, created_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (client_id, number, keyword, folded, int(replies), mode, now_ms),
        ).fetchone()
    except sqlite3.IntegrityError as error:
        raise ClientRefused("rule-taken", "a rule for that exists already; remove it first") from error
    what = keyword or number or "replies"
    audit(db, now_ms, actor, "rule.add", f"client {client_id}: rule {rule_id} ({what}, {mode})")
    return int(rule_id)


def remove_rule(db: sqlite3.Connection, client_id: int, rule_id: int, now_ms: int, *, actor: str) -> bool:
    """End a rule; False when the client has no such rule."""
    done = db.execute("DELETE FROM inbound_rule WHERE id = ? AND client_id = ?", (rule_id, client_id))
    if done.rowcount:
        audit(db, now_ms, actor, "rule.remove", f"client {client_id}: rule {rule_id}")
    return done.rowcount == 1


def _rule(row: tuple[int, int, str, str, str, str, int, str]) -> Rule:
    return Rule(*row[:6], bool(row[6]), row[7])


def rules(db: sqlite3.Connection) -> list[Rule]:
    """All of them, the oldest first."""
    return [_rule(row) for row in db.execute(f"{_RULE} ORDER BY r.id")]


def rules_of(db: sqlite3.Connection, client_id: int) -> list[Rule]:
    """One client's, the oldest first."""
    return [_rule(row) for row in db.execute(f"{_RULE} WHERE r.client_id = ? ORDER BY r.id", (client_id,))]


def answered(db: sqlite3.Connection, sender: str, now_ms: int) -> int | None:
    """Whose message this person got last (0: the box's own), if it went out lately enough to be answered."""
    row = db.execute(
        "SELECT client_id, coalesce(sent_at_ms, created_at_ms) FROM outbound WHERE recipient = ?"
        " AND state IN ('sending', 'sent', 'delivered', 'uncertain', 'unknown') ORDER BY id DESC LIMIT 1",
        (sender,),
    ).fetchone()
    if row is None or abs(now_ms - row[1]) > REPLY_WINDOW_MS:
        return None
    return int(row[0])


def hand_over(db: sqlite3.Connection, inbound_id: int, message: Inbound, rule: Rule) -> None:
    """Make the text the client's and tell its webhooks, in the transaction that accepts it."""
    now_ms = message.received_at_ms
    last = db.execute(
        "SELECT o.id, m.reference FROM outbound o JOIN client_message m ON m.outbound_id = o.id"
        " WHERE o.recipient = ? AND o.client_id = ? AND o.created_at_ms >= ?"
        " AND o.state IN ('sending', 'sent', 'delivered', 'uncertain', 'unknown') ORDER BY o.id DESC LIMIT 1",
        (message.sender, rule.client_id, now_ms - REPLY_WINDOW_MS),
    ).fetchone()
    outbound_id, reference = (None, "") if last is None else last
    db.execute(
        "INSERT INTO client_inbound (inbound_id, client_id, keyword, in_reply_to) VALUES (?, ?, ?, ?)",
        (inbound_id, rule.client_id, rule.keyword, outbound_id),
    )
    reason = f"for {rule.client}: {rule.words()}"
    if rule.mode == "instead":
        db.execute(
            "UPDATE inbound SET state = 'handled', reason = ?, handled_at_ms = ? WHERE id = ?",
            (reason, now_ms, inbound_id),
        )
    db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason)"
        " VALUES ('in', ?, ?, 'handed over', 'us', ?)",
        (inbound_id, now_ms, reason),
    )
    at = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).isoformat(timespec="milliseconds")
    data = {
        "id": f"in_{inbound_id}",
        "from": message.sender,
        "to": message.recipient,
        "text": message.text,
        "keyword": rule.keyword,
        "in_reply_to": None if outbound_id is None else f"out_{outbound_id}",
        "reference": reference,
        "received_at": at.replace("+00:00", "Z"),
    }
    webhooks.emit(db, rule.client_id, "message.received", data, message.sender, now_ms)


def received(db: sqlite3.Connection, client_id: int, before_id: int | None, limit: int) -> list[Received]:
    """Texts that were handed to a client, the newest first, from below `before_id` on."""
    rows = db.execute(
        "SELECT h.inbound_id, i.sender, i.recipient, i.text, h.keyword, h.in_reply_to,"
        " coalesce(m.reference, ''), i.received_at_ms"
        " FROM client_inbound h JOIN inbound i ON i.id = h.inbound_id"
        " LEFT JOIN client_message m ON m.outbound_id = h.in_reply_to"
        " WHERE h.client_id = ? AND h.inbound_id < ? ORDER BY h.inbound_id DESC LIMIT ?",
        (client_id, before_id if before_id is not None else 1 << 62, limit),
    )
    return [Received(*row) for row in rows]
