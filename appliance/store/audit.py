"""Who did what to clients, keys, credit, prices, webhooks and campaigns. Times are UTC milliseconds."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

__all__ = ["AuditEntry", "audit", "audit_log"]


def audit(db: sqlite3.Connection, now_ms: int, actor: str, action: str, what: str) -> None:
    """Write down who did what to clients, keys, credit, prices, rules or campaigns."""
    db.execute(
        "INSERT INTO audit (at_ms, actor, action, what) VALUES (?, ?, ?, ?)", (now_ms, actor, action, what)
    )


class AuditEntry(NamedTuple):
    at_ms: int
    actor: str
    action: str
    what: str


def audit_log(
    db: sqlite3.Connection, limit: int, client_id: int | None = None, before_id: int = 1 << 62
) -> list[AuditEntry]:
    """Who did what, the newest first; of one client only what names it."""
    rows = db.execute(
        "SELECT at_ms, actor, action, what FROM audit WHERE id < ?"
        " AND (? IS NULL OR what = ? OR what LIKE ?) ORDER BY id DESC LIMIT ?",
        (before_id, client_id, f"client {client_id}", f"client {client_id}:%", limit),
    )
    return [AuditEntry(*row) for row in rows]
