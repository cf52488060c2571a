"""SMS-STATUS-REPORTs on disk: which part each belongs to, and what it says of the message."""

from __future__ import annotations

import sqlite3
from typing import Final

from appliance.message import OutboundState
from appliance.store.outbound_moves import REPORT_WAIT_MS, Change, move, sent_if_whole, trace

__all__ = ["adopt_orphan", "report"]

ADOPTED_WITHIN_MS: Final = 60_000  # a result follows its report by the time of a commit, not by hours
ORPHANS_KEPT: Final = 2_000
MATCH_DIGITS: Final = 8  # a report may name the recipient in national or international form


def report(
    db: sqlite3.Connection, modem: str, tp_mr: int, recipient: str, tp_status: int, now_ms: int
) -> list[Change]:
    """Apply an SMS-STATUS-REPORT (3GPP TS 23.040 9.2.3.15) to the newest part it can belong to.

    TP-MR comes round after 256 messages, so modem, TP-MR and the recipient's last digits together choose,
    newest first within the time reports take. A report that came before its part's result is kept and
    adopted by `settle_part`.
    """
    for part in db.execute(
        "SELECT outbound_id, sequence, attempt, recipient, state FROM outbound_part"
        " WHERE modem = ? AND tp_mr = ? AND sent_at_ms >= ? ORDER BY sent_at_ms DESC",
        (modem, tp_mr, now_ms - REPORT_WAIT_MS),
    ):
        if _same_recipient(part[3], recipient):
            return _apply_report(db, part[:3], tp_status, now_ms)
    # The answer to +CMGS was lost, and with it the TP-MR: the recipient alone must do.
    for part in db.execute(
        "SELECT outbound_id, sequence, attempt, recipient FROM outbound_part"
        " WHERE modem = ? AND state = 'uncertain' AND tp_mr IS NULL ORDER BY turn, sequence",
        (modem,),
    ):
        if _same_recipient(part[3], recipient):
            db.execute(
                "UPDATE outbound_part SET tp_mr = ? WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
                (tp_mr, *part[:3]),
            )
            return _apply_report(db, part[:3], tp_status, now_ms)
    db.execute(
        "INSERT INTO orphan_report (modem, tp_mr, recipient, tp_status, received_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (modem, tp_mr, recipient, tp_status, now_ms),
    )
    db.execute(
        "DELETE FROM orphan_report WHERE id <= (SELECT max(id) FROM orphan_report) - ?",
        (ORPHANS_KEPT,),
    )
    return []


def adopt_orphan(db: sqlite3.Connection, part: tuple[int, int, int], tp_mr: int, now_ms: int) -> list[Change]:
    modem, recipient = db.execute(
        "SELECT modem, recipient FROM outbound_part WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
        part,
    ).fetchone()
    for orphan_id, named, status in db.execute(
        "SELECT id, recipient, tp_status FROM orphan_report"
        " WHERE modem = ? AND tp_mr = ? AND received_at_ms >= ? ORDER BY id",
        (modem, tp_mr, now_ms - ADOPTED_WITHIN_MS),
    ).fetchall():
        if _same_recipient(recipient, named):
            db.execute("DELETE FROM orphan_report WHERE id = ?", (orphan_id,))
            return _apply_report(db, part, status, now_ms)
    return []


def _apply_report(
    db: sqlite3.Connection, part: tuple[int, int, int], tp_status: int, now_ms: int
) -> list[Change]:
    outbound_id, sequence, _ = part
    group = tp_status & 0x60
    if group == 0x20:  # the SC is still trying
        trace(db, outbound_id, now_ms, "pending", "network", f"part {sequence}: TP-Status 0x{tp_status:02X}")
        return []
    if group in (0x40, 0x60):
        db.execute(
            "UPDATE outbound_part SET state = 'failed', tp_status = ?, final_at_ms = ?"
            " WHERE outbound_id = ? AND sequence = ? AND attempt = ? AND state != 'delivered'",
            (tp_status, now_ms, *part),
        )
        reason = f"part {sequence} not delivered: TP-Status 0x{tp_status:02X}"
        return move(db, outbound_id, OutboundState.FAILED, now_ms, reason, actor="network")
    db.execute(
        "UPDATE outbound_part SET state = 'delivered', tp_status = ?, final_at_ms = ?"
        " WHERE outbound_id = ? AND sequence = ? AND attempt = ?",
        (tp_status, now_ms, *part),
    )
    segments, delivered = db.execute(
        "SELECT segments, (SELECT count(DISTINCT sequence) FROM outbound_part"
        " WHERE outbound_id = o.id AND state = 'delivered') FROM outbound o WHERE id = ?",
        (outbound_id,),
    ).fetchone()
    if delivered < segments:
        changes = sent_if_whole(db, outbound_id, now_ms, "network")
        trace(db, outbound_id, now_ms, "part delivered", "handset", f"part {sequence} of {segments}")
        return changes
    changes = sent_if_whole(db, outbound_id, now_ms, "network")
    return changes + move(db, outbound_id, OutboundState.DELIVERED, now_ms, "", actor="handset")


def _same_recipient(ours: str, named: str) -> bool:
    a, b = ours.lstrip("+"), named.lstrip("+")
    if len(a) <= 6 or len(b) <= 6:
        return a == b
    return a[-MATCH_DIGITS:] == b[-MATCH_DIGITS:]
