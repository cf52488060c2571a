"""The conversations without a modem: a box in memory, its clock in the caller's hand.

Effects are applied for real, to an SQLite database in memory with the real schema, so a transcript that
passes here is what people will read. Used by `outpost try` and by the tests of the conversations.
"""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from appliance.conversation.shell import Shell
from appliance.conversation.turn import Event, Reply, Session, Turn
from appliance.store import agents, effects
from appliance.store.database import known_migrations
from appliance.store.effects import EffectContext, EffectRefused
from appliance.store.knowledge import import_folder
from appliance.store.lookups import looks_on
from appliance.store.timetable import import_sample

__all__ = ["AGENT", "AGENT_PIN", "SETTINGS", "Trial", "TrialError", "play", "read_time"]

ATTEMPTS: Final = 4  # calls of an app in one turn, as in the appliance
AGENT: Final = "+251911000099"
AGENT_PIN: Final = "2580"
_SALT: Final = "00" * 16
SETTINGS: Final[Mapping[str, Any]] = {
    "conversation": {"apps": ["booking"]},
    "payments": {"agents": [AGENT]},
    "booking": {"hold_minutes": 30},
}


class TrialError(Exception):
    """A transcript's line cannot be read, or an app's effects were refused again and again."""


class Trial:
    """One box. now_ms: its clock, moved by the caller; `pass_time` rings the timers on the way.

    settings: as the configuration; seats_per_bus: of the sample timetable.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, *, now_ms: int, seats_per_bus: int = 45
    ) -> None:
        self.now_ms = now_ms
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("PRAGMA foreign_keys = 1")
        for step in known_migrations():
            self.db.executescript(step.sql)
        effects.load()
        self.shell = Shell(SETTINGS if settings is None else settings)
        with self.db:
            import_sample(
                self.db,
                now_ms=now_ms,
                seats_per_bus=seats_per_bus,
                timezone_minutes=self.shell.kit.timezone_minutes,
            )
            import_folder(self.db, None)
            for number in self.shell.kit.section("payments").get("agents") or ():
                agents.set_pin(self.db, number, _SALT, agents.pin_hash(AGENT_PIN, _SALT), now_ms, "trial")
        self.looks = looks_on(self.db)
        self.sessions: dict[str, Session] = {}
        self.turns = 0
        self.last: Turn | None = None

    def close(self) -> None:
        self.db.close()

    def text(self, sender: str, text: str, *, channel: str = "trial") -> list[Reply]:
        """One text from a person: what goes out for it, to whomever."""
        return self._turn("text", sender, text, channel)

    def news(self, person: str, text: str) -> list[Reply]:
        """Something came for a person's conversation from outside: "assistant 17"."""
        return self._turn("event", person, text, "timer")

    def pass_time(self, until_ms: int) -> list[tuple[str, Reply]]:
        """Move the clock; returns what the timers on the way said, each with the person it belongs to."""
        said: list[tuple[str, Reply]] = []
        while due := [
            (session.wake_at_ms, sender)
            for sender, session in self.sessions.items()
            if session.wake_at_ms is not None and session.wake_at_ms <= until_ms
        ]:
            wake_at_ms, sender = min(due)
            self.now_ms = max(self.now_ms, wake_at_ms)
            said += [(sender, reply) for reply in self._turn("timer", sender, "")]
        self.now_ms = max(self.now_ms, until_ms)
        return said

    def _turn(self, kind: str, sender: str, text: str, channel: str = "trial") -> list[Reply]:
        self.turns += 1
        session = self.sessions.get(sender) or Session(sender=sender)
        event = Event(
            kind=kind,
            sender=sender,
            text=text,
            now_ms=self.now_ms,
            at_ms=self.now_ms,
            message_id=self.turns,
            channel=channel,
            entropy=(self.turns * 0x9E37_79B9_7F4A_7C15) & ((1 << 64) - 1),
        )
        context = EffectContext(self.now_ms, sender, self.turns)
        for attempt in range(ATTEMPTS):
            turn = self.shell.turn(session, event, self.looks)
            self.db.execute("BEGIN IMMEDIATE")
            try:
                effects.apply(self.db, context, [(wish.name, wish.args) for wish in turn.effects])
            except EffectRefused as refused:
                self.db.execute("ROLLBACK")
                event = msgspec.structs.replace(
                    event,
                    kind="effect",
                    effect=refused.effect,
                    reason=refused.reason,
                    detail=msgspec.to_builtins(refused.detail),
                    attempt=attempt + 1,
                )
                continue
            self.db.execute("COMMIT")
            # Through JSON, as on the way to a worker and back: what does not survive it shows here.
            self.sessions[sender] = msgspec.json.decode(msgspec.json.encode(turn.session), type=Session)
            self.last = turn
            return turn.replies
        raise TrialError(f"{sender}: effects refused {ATTEMPTS} times, last {event.effect}: {event.reason}")


def read_time(text: str, timezone_minutes: int = 180) -> int:
    """ISO time to UTC ms; without a zone it is local. Raises ValueError."""
    moment = dt.datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=timezone_minutes)))
    return int(moment.timestamp() * 1000)


_SPAN: Final = re.compile(r"(\d+)\s*(m|h|d)\Z")
_SAID: Final = re.compile(r"(\S+) ([<>]) (.*)\Z", re.DOTALL)


def play(lines: Iterable[str], trial: Trial, people: Mapping[str, str]) -> Iterator[str]:
    """Play a transcript again and give it back as it went this time.

    Lines: `abebe > text` is sent, `abebe < text` what came (dropped and written anew; a line that begins
    with two blanks continues it), `at 2026-11-22 09:00` and `wait 31m` move the clock, `#` comments stay.
    people: number by the name used in the transcript. Raises TrialError for anything else.
    """
    names = {number: name for name, number in people.items()}

    def told(replies: Iterable[tuple[str, Reply]]) -> Iterator[str]:
        for sender, reply in replies:
            to = reply.to or sender
            yield f"{names.get(to, to)} < " + reply.text.replace("\n", "\n  ")

    for line in lines:
        line = line.rstrip("\n")
        if not line.strip() or line.startswith("#"):
            yield line
        elif line.startswith("  ") or ((said := _SAID.match(line)) and said.group(2) == "<"):
            continue
        elif said:
            sender = people.get(said.group(1), said.group(1))
            yield line
            yield from told((sender, reply) for reply in trial.text(sender, said.group(3)))
        elif line.startswith("at "):
            yield line
            yield from told(trial.pass_time(read_time(line[3:], trial.shell.kit.timezone_minutes)))
        elif line.startswith("wait ") and (span := _SPAN.match(line[5:].strip())):
            yield line
            minutes = int(span.group(1)) * {"m": 1, "h": 60, "d": 1440}[span.group(2)]
            yield from told(trial.pass_time(trial.now_ms + minutes * 60_000))
        else:
            raise TrialError(f"not a line of a transcript: {line!r}")
