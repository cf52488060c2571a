"""The guards' written side: who is told once that nothing is answered for a while, and who may text how much.

The judging is `guard/admission.py`'s; what it costs in SMS is counted in `spend.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from appliance.guard.admission import Admission, Refusal
from appliance.guard.tiers import DAY_MS, TIERS
from appliance.message import Inbound, Lane, Outbound
from appliance.store import outbound, sessions
from appliance.store.audit import audit
from appliance.store.inbound import Judge, Verdict

__all__ = ["LimitText", "forget_old", "set_tier", "telling", "tier_of"]

LimitText = Callable[[str, int], str]
"""language and the end of the limit in UTC milliseconds: what somebody is told who texted too much."""


def telling(admission: Admission, text: Callable[[], LimitText | None]) -> Judge:
    """All guards of `admission`; where one says so, the sender is told in the commit that keeps the text.

    text: gives what is said; None: nothing is.
    """

    def judge(db: sqlite3.Connection, message: Inbound) -> str | Verdict | None:
        found = admission.by_air(db, message)
        if not isinstance(found, Refusal):
            return found
        said = text()
        return found.reason if said is None else Verdict(found.reason, partial(_tell, message, found, said))

    return judge


def _tell(
    message: Inbound, refusal: Refusal, text: LimitText, db: sqlite3.Connection, inbound_id: int
) -> None:
    session = sessions.load(db, message.sender)
    words = text("" if session is None else session.language, refusal.until_ms)
    reply = Outbound(recipient=message.sender, text=words, lane=Lane.REPLY, in_reply_to=inbound_id)
    outbound.insert(db, reply, message.received_at_ms)


def tier_of(db: sqlite3.Connection, admission: Admission, number: str) -> str:
    """How much a person may text: "normal", "frequent" or "agent"."""
    return admission.tier(db, number)


def set_tier(db: sqlite3.Connection, number: str, tier: str, now_ms: int, actor: str) -> None:
    """Somebody decides how much a person may text. tier: one of TIERS, "" by what they have paid for."""
    if tier and tier not in TIERS:
        raise ValueError(f"tier: {tier!r}; want one of {', '.join(TIERS)}")
    db.execute(
        "INSERT INTO person (number, tier, first_seen_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (number) DO UPDATE SET tier = excluded.tier",
        (number, tier, now_ms),
    )
    audit(db, now_ms, actor, "person.tier", f"{number}: {tier or 'by what they pay for'}")


def forget_old(db: sqlite3.Connection, now_ms: int, limit: int = 1_000) -> int:
    """Drop counts whose day is over, on either side of now; returns how many there were."""
    gone = db.execute(
        "DELETE FROM text_count WHERE who IN (SELECT who FROM text_count WHERE who <> ''"
        " AND (day_ms < ? OR day_ms > ?) LIMIT ?)",
        (now_ms - DAY_MS, now_ms + DAY_MS, limit),
    ).rowcount
    return (
        gone
        + db.execute(
            "DELETE FROM spend WHERE who IN (SELECT who FROM spend WHERE at_ms < ? OR at_ms > ? LIMIT ?)",
            (now_ms - DAY_MS, now_ms + DAY_MS, limit),
        ).rowcount
    )
