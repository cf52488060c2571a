"""Which messages get a turn: the guards against machines, floods and loops (DOMAIN.md sections 3 and 4).

Everything is counted in the database, in the transaction that accepts the message and in the writer's thread,
so a restart changes nothing. What a wrong clock does to the counts is said in `tiers.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container
from typing import Final, NamedTuple

from appliance.guard.senders import unanswerable
from appliance.guard.tiers import DAY_MS, HOUR_MS, PERIODS, GuardSettings, Over, Window, over
from appliance.message import Inbound

__all__ = ["Admission", "Refusal"]

# Replies to these go where the message came from, or cost nothing; their callers have limits of their own.
NOT_BY_AIR: Final = frozenset({"http", "handset", "timer"})
LOOKED_BACK: Final = 8  # of our own latest messages to the sender, when looking for an echo
EVERYBODY: Final = ""


class Refusal(NamedTuple):
    """No turn, and the sender is told so, once until `until_ms`."""

    reason: str
    until_ms: int


def _nobody(message: Inbound) -> bool:
    return False


def _never(text: str) -> bool:
    return False


def _free(db: sqlite3.Connection, sender: str, now_ms: int) -> str | None:
    return None


class Admission:
    """The judge that `Store` asks. `own_numbers` may change at any time.

    exempt: messages that get a turn whoever sends them (a wallet's receipts). stops: whether a text is a
    STOP-class word, which no limit keeps from its turn. braked: why nothing more may be spent on a person.
    All three are set by who wires the box.
    """

    def __init__(self, own_numbers: Container[str], settings: GuardSettings | None = None) -> None:
        self.exempt: Callable[[Inbound], bool] = _nobody
        self.stops: Callable[[str], bool] = _never
        self.braked: Callable[[sqlite3.Connection, str, int], str | None] = _free
        self._own_numbers = own_numbers
        self._settings = settings or GuardSettings()

    def sender(self, db: sqlite3.Connection, message: Inbound) -> str | None:
        """Only what the sender's address tells; for callers who carry the answer themselves."""
        if message.channel == "timer":
            return None
        reason = unanswerable(message, self._own_numbers)
        return None if reason is not None and self.exempt(message) else reason

    def by_air(self, db: sqlite3.Connection, message: Inbound) -> str | Refusal | None:
        """All guards, for messages that came over the air and are answered there.

        Counts the message where it may have a turn; one that is known by its natural key is not counted.
        """
        reason = self.sender(db, message)
        if reason is not None or message.channel in NOT_BY_AIR or self.exempt(message):
            return reason
        if message.natural_key is not None and _is_known(db, message.natural_key):
            return None
        return self._machine(db, message) or self._limited(db, message)

    def _machine(self, db: sqlite3.Connection, message: Inbound) -> str | None:
        """Whether the text looks like that of a machine which would go on for ever."""
        if len(message.text) < self._settings.free_length:
            return None
        latest = db.execute(
            "SELECT text, received_at_ms FROM inbound WHERE sender = ? ORDER BY id DESC LIMIT ?",
            (message.sender, self._settings.identical),
        ).fetchall()
        if not latest:
            return None  # the first text of this sender, the usual case in a crowd
        now_ms = message.received_at_ms
        if len(latest) == self._settings.identical and all(
            text == message.text and abs(now_ms - at_ms) < HOUR_MS for text, at_ms in latest
        ):
            return f"the same text {len(latest) + 1} times within an hour: a machine, most likely"
        return "an echo of our own message" if self._is_echo(db, message) else None

    def _limited(self, db: sqlite3.Connection, message: Inbound) -> str | Refusal | None:
        """Count the text, or say which limit is used up."""
        now_ms = message.received_at_ms
        everybody, _ = _load(db, EVERYBODY, now_ms)
        mine, told_ms = _load(db, message.sender, now_ms)
        if not self.stops(message.text):
            most = self._settings.all_a_minute
            if everybody[0].used >= most:
                return f"more than {most} texts of all people in a minute"
            braked = self.braked(db, message.sender, now_ms)
            if braked is not None:
                return braked
            found = self._over(db, message.sender, mine)
            if found is not None:
                article = "an" if found.period == "hour" else "a"
                reason = f"more than {found.limit} texts in {article} {found.period}"
                if now_ms < told_ms <= now_ms + DAY_MS:
                    return reason
                db.execute(
                    "UPDATE text_count SET told_until_ms = ? WHERE who = ?", (found.until_ms, message.sender)
                )
                return Refusal(reason, found.until_ms)
        for who, windows in ((EVERYBODY, everybody), (message.sender, mine)):
            _count(db, who, windows)
        return None

    def _over(self, db: sqlite3.Connection, sender: str, windows: tuple[Window, ...]) -> Over | None:
        """The limit of the person's tier that is used up; the tier is looked up when the usual one is."""
        found = over(windows, self._settings.normal)
        return found and over(windows, self._settings.of(self.tier(db, sender)))

    def tier(self, db: sqlite3.Connection, sender: str) -> str:
        """The tier of a person: what was approved, or `frequent` by what they have paid for."""
        row = db.execute("SELECT tier FROM person WHERE number = ?", (sender,)).fetchone()
        if row is not None and row[0]:
            return str(row[0])
        paid = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM booking WHERE holder = ? AND state IN ('paid', 'used')"
            " LIMIT ?)",
            (sender, self._settings.frequent_after),
        ).fetchone()[0]
        return "frequent" if paid >= self._settings.frequent_after else "normal"

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


def _is_known(db: sqlite3.Connection, natural_key: str) -> bool:
    row = db.execute("SELECT 1 FROM inbound WHERE natural_key = ?", (natural_key,)).fetchone()
    return row is not None


def _load(db: sqlite3.Connection, who: str, now_ms: int) -> tuple[tuple[Window, ...], int]:
    """The windows of minute, hour and day that now lies in, and until when the sender was told to wait."""
    row = (
        db.execute(
            "SELECT minute_ms, minute, hour_ms, hour, day_ms, day, told_until_ms"
            " FROM text_count WHERE who = ?",
            (who,),
        ).fetchone()
        or (0,) * 7
    )
    windows = (Window(*row[at : at + 2]) for at in (0, 2, 4))
    return tuple(
        window.now(now_ms, length_ms) for window, (_, length_ms) in zip(windows, PERIODS, strict=True)
    ), row[6]


def _count(db: sqlite3.Connection, who: str, windows: tuple[Window, ...]) -> None:
    values = [number for window in windows for number in (window.at_ms, window.used + 1)]
    db.execute(
        "INSERT INTO text_count (who, minute_ms, minute, hour_ms, hour, day_ms, day) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (who) DO UPDATE SET minute_ms = excluded.minute_ms, minute = excluded.minute,"
        " hour_ms = excluded.hour_ms, hour = excluded.hour, day_ms = excluded.day_ms, day = excluded.day",
        (who, *values),
    )
