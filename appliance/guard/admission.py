"""Which messages get a turn: the guards against machines, floods and loops (DOMAIN.md sections 3 and 4).

Everything is counted from the rows themselves, so the counts survive a restart, and there is no second
truth to go wrong. A clock that was set back or forward makes old rows fall outside every window rather
than locking people out: only what lies within a window's length of now, on either side, is counted.
Judging happens in the transaction that accepts the message, in the writer's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container
from typing import Final

import msgspec

from appliance.guard.senders import unanswerable
from appliance.message import Inbound

__all__ = ["Admission", "GuardSettings"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
# Replies to these go where the message came from, or cost nothing; their callers have limits of their own.
NOT_BY_AIR: Final = frozenset({"http", "handset", "timer"})
LOOKED_BACK: Final = 8  # of our own latest messages to the sender, when looking for an echo


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """per_minute, per_hour: texts of one sender that are answered. identical: times the same text in a row is
    answered within an hour. echo_h: hours in which a text of ours that comes back is an echo.
    free_length: shorter texts are menu choices and commands, which people do repeat.
    """

    per_minute: int = 30
    per_hour: int = 300
    identical: int = 3
    echo_h: int = 24
    free_length: int = 9


def _nobody(message: Inbound) -> bool:
    return False


class Admission:
    """The judge that `Store` asks. `own_numbers` may change at any time.

    exempt: messages that get a turn whoever sends them (a wallet's receipts); set by who wires the box.
    """

    def __init__(self, own_numbers: Container[str], settings: GuardSettings | None = None) -> None:
        self.exempt: Callable[[Inbound], bool] = _nobody
        self._own_numbers = own_numbers
        self._settings = settings or GuardSettings()

    def sender(self, db: sqlite3.Connection, message: Inbound) -> str | None:
        """Only what the sender's address tells; for callers who carry the answer themselves."""
        if message.channel == "timer":
            return None
        reason = unanswerable(message, self._own_numbers)
        return None if reason is not None and self.exempt(message) else reason

    def by_air(self, db: sqlite3.Connection, message: Inbound) -> str | None:
        """All guards, for messages that came over the air and are answered there."""
        reason = self.sender(db, message)
        if reason is not None or message.channel in NOT_BY_AIR or self.exempt(message):
            return reason
        latest = db.execute(
            "SELECT text, received_at_ms FROM inbound WHERE sender = ? ORDER BY id DESC LIMIT ?",
            (message.sender, self._settings.identical),
        ).fetchall()
        if not latest:
            return None  # the first text of this sender, the usual case in a crowd
        now_ms = message.received_at_ms
        if len(message.text) >= self._settings.free_length:
            if len(latest) == self._settings.identical and all(
                text == message.text and abs(now_ms - at_ms) < HOUR_MS for text, at_ms in latest
            ):
                return f"the same text {len(latest) + 1} times within an hour: a machine, most likely"
            if self._is_echo(db, message):
                return "an echo of our own message"
        if abs(now_ms - latest[-1][1]) < HOUR_MS:
            return self._too_many(db, message)
        return None

    def _too_many(self, db: sqlite3.Connection, message: Inbound) -> str | None:
        settings = self._settings
        for most, window_ms, name in (
            (settings.per_minute, MINUTE_MS, "minute"),
            (settings.per_hour, HOUR_MS, "hour"),
        ):
            row = db.execute(
                "SELECT received_at_ms FROM inbound WHERE sender = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                (message.sender, most - 1),
            ).fetchone()
            if row is None:
                return None  # has not sent so many texts ever
            if abs(message.received_at_ms - row[0]) < window_ms:
                return f"more than {most} texts in a {name}"
        return None

    def _is_echo(self, db: sqlite3.Connection, message: Inbound) -> bool:
        since_ms = message.received_at_ms - self._settings.echo_h * HOUR_MS
        return (
            db.execute(
                "SELECT 1 FROM (SELECT text, created_at_ms FROM outbound WHERE recipient = ?"
                " ORDER BY id DESC LIMIT ?) WHERE text = ? AND created_at_ms >= ?",
                (message.sender, LOOKED_BACK, message.text, since_ms),
            ).fetchone()
            is not None
        )
