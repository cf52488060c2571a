"""Parts of concatenated messages: kept as they came, joined when whole or overdue.

Parts come in any order, twice, days apart, or never; references are one or two octets and soon used again
(TS 23.040 9.2.3.24.1). Every part is a row before the network is told that we have it, so a restart in the
middle of a message loses nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from typing import Final, Literal, NamedTuple, cast

import msgspec

from appliance.message import Inbound, InboundState
from appliance.store.inbound import Accepted, Judge, accept
from firmware_bridge.pdu import assemble

__all__ = ["PARTS_WAIT_MS", "Joined", "Part", "PartResult", "accept_part", "hand_over_overdue"]

PARTS_WAIT_MS: Final = 180_000  # silence after which a person is answered on what there is
GAP: Final = " … "  # stands for each run of parts that never came
LATE_MS: Final = 7 * 24 * 3_600_000  # an SMSC gives up after its validity period, a week at most in practice


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One SMS-DELIVER of a concatenated message.

    reference, reference_bits, total, sequence: from the user data header. encoding and data: of its user
    data without the header, undecoded. natural_key: what makes a second delivery of it the same part; None
    lets the store derive it from everything that the network keeps equal.
    """

    channel: str
    sender: str
    recipient: str
    reference: int
    reference_bits: int
    total: int
    sequence: int
    encoding: str
    data: bytes
    received_at_ms: int
    sent_at_ms: int | None = None
    natural_key: str | None = None

    def key(self) -> str:
        """The natural key, derived when none was given."""
        if self.natural_key is not None:
            return self.natural_key
        digest = hashlib.blake2b(self.data, digest_size=12).hexdigest()
        return (
            f"part:{self.channel}:{self.sender}:{self.reference_bits}:{self.reference}:{self.total}"
            f":{self.sequence}:{self.sent_at_ms}:{digest}"
        )


class Joined(NamedTuple):
    """A message that was handed over: its row's id, what was stored, and the row's state."""

    id: int
    inbound: Inbound
    state: InboundState


class PartResult(NamedTuple):
    """accepted: the whole message when this part completed it (or repeats one); None: more is awaited.

    joined: every message handed over on this occasion, oldest first.
    """

    accepted: Accepted | None
    joined: list[Joined]


class _Row(NamedTuple):
    id: int
    sequence: int
    encoding: str
    data: bytes
    sent_at_ms: int | None
    received_at_ms: int


def accept_part(db: sqlite3.Connection, part: Part, judge: Judge | None = None) -> PartResult:
    """Store a part and, when it was the last one missing, the whole message."""
    key = part.key()
    known = db.execute("SELECT inbound_id FROM inbound_part WHERE natural_key = ?", (key,)).fetchone()
    if known is not None:
        return PartResult(None if known[0] is None else _again(db, known[0]), [])
    joined: list[Joined] = []
    rows = _open_set(db, part)
    clash = next((row for row in rows if row.sequence == part.sequence), None)
    if clash is not None:
        if clash.data == part.data:
            return PartResult(None, [])  # the network's repeat under another time stamp
        # The reference is in use again, so the older message can never be completed.
        joined.append(_hand_over(db, part, rows, part.received_at_ms, judge))
        rows = []
    cursor = db.execute(
        "INSERT INTO inbound_part (channel, sender, recipient, reference, reference_bits, total, sequence,"
        " encoding, data, natural_key, sent_at_ms, received_at_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            part.channel,
            part.sender,
            part.recipient,
            part.reference,
            part.reference_bits,
            part.total,
            part.sequence,
            part.encoding,
            part.data,
            key,
            part.sent_at_ms,
            part.received_at_ms,
        ),
    )
    assert cursor.lastrowid is not None
    rows.append(
        _Row(cursor.lastrowid, part.sequence, part.encoding, part.data, part.sent_at_ms, part.received_at_ms)
    )
    if len(rows) < part.total:
        return PartResult(None, joined)
    whole = _hand_over(db, part, rows, part.received_at_ms, judge)
    joined.append(whole)
    return PartResult(Accepted(whole.id, False, whole.state), joined)


def hand_over_overdue(
    db: sqlite3.Connection,
    now_ms: int,
    judge: Judge | None = None,
    *,
    wait_ms: int = PARTS_WAIT_MS,
    limit: int = 64,
) -> list[Joined]:
    """Hand over what there is of messages whose latest part came `wait_ms` ago, at most `limit` of them.

    A part stamped in the future was received before the clock was set back: it counts as overdue as well.
    """
    overdue = db.execute(
        "SELECT sender, max(recipient), reference, reference_bits, total, channel,"
        " max(received_at_ms) AS latest FROM inbound_part WHERE inbound_id IS NULL"
        " GROUP BY sender, channel, reference, reference_bits, total"
        " HAVING latest <= ? OR latest > ? ORDER BY latest LIMIT ?",
        (now_ms - wait_ms, now_ms + wait_ms, limit),
    ).fetchall()
    joined = []
    for sender, recipient, reference, reference_bits, total, channel, _ in overdue:
        template = Part(
            channel=channel,
            sender=sender,
            recipient=recipient,
            reference=reference,
            reference_bits=reference_bits,
            total=total,
            sequence=0,
            encoding="",
            data=b"",
            received_at_ms=now_ms,
        )
        joined.append(_hand_over(db, template, _open_set(db, template), now_ms, judge))
    return joined


def _open_set(db: sqlite3.Connection, part: Part) -> list[_Row]:
    rows = db.execute(
        "SELECT id, sequence, encoding, data, sent_at_ms, received_at_ms FROM inbound_part"
        " WHERE sender = ? AND reference = ? AND total = ? AND reference_bits = ? AND channel = ?"
        " AND inbound_id IS NULL",
        (part.sender, part.reference, part.total, part.reference_bits, part.channel),
    )
    return [_Row(*row) for row in rows]


def _hand_over(
    db: sqlite3.Connection, part: Part, rows: list[_Row], now_ms: int, judge: Judge | None
) -> Joined:
    rows = sorted(rows, key=lambda row: row.sequence)
    partial = len(rows) < part.total
    digest = hashlib.blake2b(digest_size=12)
    for row in rows:
        digest.update(b"%d:%d:" % (row.sequence, row.id) + row.data)
    inbound = Inbound(
        channel=part.channel,
        sender=part.sender,
        recipient=part.recipient,
        text=_join(rows, part.total),
        received_at_ms=now_ms,
        sent_at_ms=min((row.sent_at_ms for row in rows if row.sent_at_ms is not None), default=None),
        natural_key=f"parts:{part.sender}:{digest.hexdigest()}",
        partial=partial,
    )
    straggler = _earlier_half(db, part, rows) if partial else None
    verdict: Judge | None = judge
    if straggler is not None:
        reason = f"late part of message {straggler}, which was handed over without it"
        verdict = lambda _db, _inbound: reason  # noqa: E731
    accepted = accept(db, inbound, verdict)
    db.executemany(
        "UPDATE inbound_part SET inbound_id = ? WHERE id = ?", [(accepted.id, row.id) for row in rows]
    )
    return Joined(accepted.id, inbound, accepted.state)


def _earlier_half(db: sqlite3.Connection, part: Part, rows: list[_Row]) -> int | None:
    """The message that these parts are missing from, when it was handed over without them."""
    marks = ",".join("?" * len(rows))
    row = db.execute(
        "SELECT i.id FROM inbound_part p JOIN inbound i ON i.id = p.inbound_id"
        " WHERE p.sender = ? AND p.reference = ? AND p.total = ? AND p.reference_bits = ? AND p.channel = ?"
        " AND i.partial AND i.received_at_ms > ? AND NOT EXISTS (SELECT 1 FROM inbound_part q"
        f" WHERE q.inbound_id = i.id AND q.sequence IN ({marks})) ORDER BY i.id DESC LIMIT 1",
        (
            part.sender,
            part.reference,
            part.total,
            part.reference_bits,
            part.channel,
            part.received_at_ms - LATE_MS,
            *(row.sequence for row in rows),
        ),
    ).fetchone()
    return None if row is None else int(row[0])


def _join(rows: Sequence[_Row], total: int) -> str:
    """The text of the parts in order, with a mark wherever some are missing.

    Neighbours of one encoding are joined before decoding, since a pair may be cut between them; phones
    may write each part in an encoding of its own.
    """
    pieces = []
    expected = 1
    for _, run in groupby(enumerate(rows), key=lambda at: (at[1].sequence - at[0], at[1].encoding)):
        parts = [row for _, row in run]
        if parts[0].sequence > expected:
            pieces.append(GAP)
        encoding = cast(Literal["gsm7", "ucs2", "8bit"], parts[0].encoding)
        pieces.append(assemble(encoding, [row.data for row in parts]))
        expected = parts[-1].sequence + 1
    if expected <= total:
        pieces.append(GAP)
    return "".join(pieces).strip()


def _again(db: sqlite3.Connection, inbound_id: int) -> Accepted:
    row = db.execute("SELECT state FROM inbound WHERE id = ?", (inbound_id,)).fetchone()
    return Accepted(inbound_id, True, InboundState(row[0]))
