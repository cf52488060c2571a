"""Agents who take cash: their PINs, and what they hold of the company's money.

Which numbers are agents' is in the configuration; here is the PIN, hashed, and what wrong ones led to. The
hash is made where there is time for it (a worker, a command), never in the writer.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import sqlite3
from typing import Any, Final, NamedTuple

from appliance.conversation.travel import PinCheck
from appliance.store import ledger
from appliance.store.audit import audit
from appliance.store.effects import EffectContext, effect

__all__ = [
    "LOCK_MS",
    "MOST_WRONG",
    "AgentRow",
    "all_agents",
    "check_pin",
    "find",
    "hand_in",
    "is_pin",
    "pin_hash",
    "set_pin",
    "unlock",
]

MOST_WRONG: Final = 3  # wrong PINs in a row
LOCK_MS: Final = 3_600_000  # then nothing is taken from that number for an hour
_PIN: Final = re.compile(r"\d{4,8}\Z")
# scrypt, RFC 7914: 4 MiB and some 10 ms on the box. A PIN is short, so the lock above is what protects it;
# the hash is for who finds a backup.
_N, _R, _P = 4096, 8, 1


class AgentRow(NamedTuple):
    number: str
    salt: str
    pin_hash: str
    wrong: int
    locked_until_ms: int


def is_pin(text: str) -> bool:
    """4 to 8 digits, not all the same and not a row of neighbours."""
    steps = {ord(b) - ord(a) for a, b in itertools.pairwise(text)}
    return bool(_PIN.match(text)) and steps not in ({0}, {1}, {-1})


def pin_hash(pin: str, salt: str) -> str:
    """What is stored of a PIN. salt: 32 hex digits."""
    return hashlib.scrypt(pin.encode(), salt=bytes.fromhex(salt), n=_N, r=_R, p=_P, dklen=32).hex()


def find(db: sqlite3.Connection, number: str) -> AgentRow | None:
    """None: no PIN was set for that number."""
    row = db.execute(
        "SELECT number, salt, pin_hash, wrong, locked_until_ms FROM agent WHERE number = ?", (number,)
    ).fetchone()
    return None if row is None else AgentRow(*row)


def check_pin(db: sqlite3.Connection, number: str, pin: str, now_ms: int) -> PinCheck:
    """Compare a PIN with the agent's. Costs a hash, so it is no thing for the writer."""
    row = find(db, number)
    if row is None:
        return PinCheck("none")
    if row.locked_until_ms > now_ms:
        return PinCheck("locked", until_ms=row.locked_until_ms)
    if hmac.compare_digest(pin_hash(pin, row.salt), row.pin_hash):
        return PinCheck("right")
    return PinCheck("wrong", left=max(0, MOST_WRONG - row.wrong - 1), until_ms=now_ms + LOCK_MS)


def set_pin(db: sqlite3.Connection, number: str, salt: str, hashed: str, now_ms: int, by: str) -> None:
    """Set or change a PIN, which also ends a lock."""
    db.execute(
        "INSERT INTO agent (number, salt, pin_hash, set_ms) VALUES (?, ?, ?, ?) ON CONFLICT (number) DO"
        " UPDATE SET salt = excluded.salt, pin_hash = excluded.pin_hash, set_ms = excluded.set_ms, wrong = 0,"
        " locked_until_ms = 0",
        (number, salt, hashed, now_ms),
    )
    audit(db, now_ms, by, "agent.pin", number)


def unlock(db: sqlite3.Connection, number: str, now_ms: int, by: str) -> bool:
    """End a lock; False when there is no such agent."""
    done = db.execute("UPDATE agent SET wrong = 0, locked_until_ms = 0 WHERE number = ?", (number,)).rowcount
    if done:
        audit(db, now_ms, by, "agent.unlock", number)
    return bool(done)


def hand_in(db: sqlite3.Connection, number: str, santim: int, now_ms: int, by: str) -> int:
    """An agent handed cash in, santim > 0, or was given some (below 0). Returns what they hold then."""
    account = ledger.agent_account(number)
    debit, credit = (ledger.TILL, account) if santim > 0 else (account, ledger.TILL)
    (count,) = db.execute("SELECT count(*) FROM ledger_transfer WHERE kind = 'handed_in'").fetchone()
    ledger.post(db, "handed_in", count + 1, debit=debit, credit=credit, santim=abs(santim), at_ms=now_ms)
    audit(db, now_ms, by, "agent.hand_in", f"{number} {santim}")
    return ledger.balance(db, account)


def all_agents(db: sqlite3.Connection, numbers: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the operator sees of those who are or were agents: number, PIN or not, lock, cash held."""
    known = {row[0] for row in db.execute("SELECT number FROM agent")}
    booked = {
        account.removeprefix("agent:") for account, _ in ledger.balances(db) if account.startswith("agent:")
    }
    told = []
    for number in sorted(known | booked | set(numbers)):
        row = find(db, number)
        told.append(
            {
                "number": number,
                "in_force": number in numbers,
                "has_pin": row is not None,
                "wrong": 0 if row is None else row.wrong,
                "locked_until_ms": 0 if row is None else row.locked_until_ms,
                "holds_santim": ledger.balance(db, ledger.agent_account(number)),
            }
        )
    return told


@effect("agent.right_pin")
def right_pin(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender's PIN was right."""
    db.execute("UPDATE agent SET wrong = 0 WHERE number = ? AND wrong > 0", (ctx.sender,))


@effect("agent.wrong_pin")
def wrong_pin(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """The sender's PIN was wrong: count it, lock at the third."""
    db.execute(
        "UPDATE agent SET wrong = CASE WHEN wrong + 1 >= :most THEN 0 ELSE wrong + 1 END,"
        " locked_until_ms = CASE WHEN wrong + 1 >= :most THEN :until ELSE locked_until_ms END"
        " WHERE number = :number",
        {"most": MOST_WRONG, "until": ctx.now_ms + LOCK_MS, "number": ctx.sender},
    )


@effect("agent.hide_pin")
def hide_pin(db: sqlite3.Connection, ctx: EffectContext, args: dict[str, Any]) -> None:
    """A PIN stands in nobody's list of messages. args: text, what is kept of the message instead."""
    db.execute("UPDATE inbound SET text = ? WHERE id = ?", (args["text"], ctx.inbound_id))
