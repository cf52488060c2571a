"""The state of the box in words: what is seen, what is wrong, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple

from appliance.web.services import ClockState, ModemHealth, Services

__all__ = [
    "REGISTRATION",
    "Disk",
    "Finding",
    "bars",
    "clock_text",
    "disk_of",
    "duration",
    "find_faults",
    "iso",
    "memory_of_process",
    "number_to_text",
    "pretty_number",
    "took",
]

# TS 27.007 7.2, +CREG <stat>
REGISTRATION: Final[Mapping[int, str]] = {
    0: "not registered, not searching",
    1: "registered at home",
    2: "searching for a network",
    3: "refused by the network",
    4: "unknown",
    5: "registered, roaming",
    6: "registered for SMS only",
    7: "registered for SMS only, roaming",
    8: "emergency calls only",
}
_REGISTERED: Final = (1, 5, 6, 7)

_BARS_DBM: Final = (-109, -101, -93, -85, -73)  # from one bar to five, as handsets draw GSM signal
_WEAK_DBM: Final = -105
_STORAGE_ALARM: Final = 0.8
_DISK_ALARM_BYTES: Final = 200 * 1024 * 1024
_CLOCK_DEAD_MS: Final = 1_735_689_600_000  # 2025-01-01: before this program was written
_WAIT_ALARM_MS: Final = 60_000


class Finding(NamedTuple):
    """Something that a technician should know. level: "bad" or "warn"."""

    level: str
    what: str
    mend: str


class Disk(NamedTuple):
    free_bytes: int
    total_bytes: int


def bars(dbm: int | None) -> int:
    """0 to 5 bars for a received signal strength."""
    if dbm is None:
        return 0
    return sum(1 for limit in _BARS_DBM if dbm >= limit)


def pretty_number(number: str) -> str:
    """+251911234567 as +251 911 234 567: groups that can be read out and typed."""
    if number.startswith("+251") and len(number) == 13:
        return f"+251 {number[4:7]} {number[7:10]} {number[10:]}"
    return number


def number_to_text(modems: Sequence[ModemHealth]) -> str | None:
    """The number that people text: of the first modem that is ready, else of the first that knows its own."""
    known = [modem for modem in modems if modem.own_number]
    for modem in known:
        if modem.state == "ready":
            return modem.own_number
    return known[0].own_number if known else None


def duration(milliseconds: float) -> str:
    """A length of time as one or two words: "3 s", "4 min", "2 h", "5 days"."""
    seconds = max(0, int(milliseconds // 1000))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        hours, rest = divmod(seconds, 3600)
        return f"{hours} h {rest // 60} min" if hours < 10 and rest >= 60 else f"{hours} h"
    return f"{seconds // 86400} days"


def took(milliseconds: int) -> str:
    """The time between two steps: as `duration`, with what lies under ten seconds told finer."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 10_000 else duration(milliseconds)


def clock_text(at_ms: int, now_ms: int, offset_minutes: int) -> str:
    """Local time of day; with the date when it is not today's."""
    zone = timezone(timedelta(minutes=offset_minutes))
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    if at.date() == datetime.fromtimestamp(now_ms / 1000, zone).date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%-d %b %H:%M:%S")


def iso(at_ms: int) -> str:
    """UTC, ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def disk_of(folder: Path) -> Disk | None:
    """Room where the data lives; None when it cannot be told."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Disk(usage.free, usage.total)


def memory_of_process(pid: int | str = "self") -> int | None:
    """Resident memory in bytes of one process, from /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def find_faults(
    services: Services,
    modems: Sequence[ModemHealth],
    dispatcher: Mapping[str, Any],
    outbound: Mapping[str, Any],
    disk: Disk | None,
) -> list[Finding]:
    """Everything that is wrong now, the worst first."""
    found = [
        *_modem_faults(modems),
        *_writer_faults(services.store.writer.snapshot()),
        *_worker_faults(dispatcher),
        *_outbound_faults(outbound),
        *_payment_faults(services),
        *_box_faults(services.clock_ms(), disk),
        *_clock_faults(services.clock_state() if services.clock_state is not None else None),
    ]
    return sorted(found, key=lambda finding: finding.level != "bad")


def _payment_faults(services: Services) -> Iterator[Finding]:
    state = services.payments.service.state() if services.payments is not None else {}
    for line in state.get("books", ()):
        yield Finding("bad", f"The books are wrong: {line}.", "Stop selling and keep the database as it is.")
    for name, way in state.get("ways", {}).items():
        if way["trouble"]:
            yield Finding("warn", f"Payments by {name}: {way['trouble']}.", "See the page of payments.")


def _modem_faults(modems: Sequence[ModemHealth]) -> Iterator[Finding]:
    if not modems:
        yield Finding(
            "warn",
            "No modem is configured: messages come and go by HTTP only.",
            "Add a [[modem]] table with name and port to the configuration.",
        )
    for modem in modems:
        if modem.state != "ready":
            level = "warn" if modem.state in ("starting", "degraded") else "bad"
            reason = f": {modem.reason}" if modem.reason else ""
            next_step = modem.next_step[:1].upper() + modem.next_step[1:] if modem.next_step else ""
            yield Finding(level, f"Modem {modem.name} is {modem.state}{reason}.", _sentence(next_step))
        elif modem.registration is not None and modem.registration not in _REGISTERED:
            words = REGISTRATION.get(modem.registration, f"in state {modem.registration}")
            yield Finding(
                "bad", f"Modem {modem.name} is {words}.", "Check the antenna, the SIM and its credit."
            )
        if modem.signal_dbm is not None and modem.signal_dbm < _WEAK_DBM:
            yield Finding(
                "warn",
                f"Modem {modem.name} hears the network at {modem.signal_dbm} dBm only.",
                "Move the antenna to a window or use a better one.",
            )
        for alarm in modem.alarms:
            yield Finding("warn", f"Modem {modem.name}: {alarm}.".replace("..", "."), "")
        if modem.storage_total and (modem.storage_used or 0) >= _STORAGE_ALARM * modem.storage_total:
            yield Finding(
                "warn",
                f"The SIM of {modem.name} holds {modem.storage_used} of {modem.storage_total} messages.",
                "It is emptied as messages are stored; if it stays full, restart the modem.",
            )


_WRITER_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "busy": ("another program holds the database", "End whatever else has outpost.db open for writing."),
    "full": ("the disk is full", "Make room on it; what was accepted is kept."),
    "ioerr": ("the disk fails", "Save what you can and replace the card or disk."),
    "readonly": (
        "the disk or the file is read-only",
        "Remount it, or mend the permissions of the data folder.",
    ),
    "corrupt": ("the database is damaged", "Restore the latest backup."),
    "stopped": ("the writer has stopped", "Restart the service; the log says why it stopped."),
}


def _writer_faults(writer: Mapping[str, Any]) -> Iterator[Finding]:
    state = writer.get("state", "ok")
    if state != "ok":
        words, mend = _WRITER_WORDS.get(state, (f"the writer is in state {state}", "See the log."))
        yield Finding("bad", f"Nothing new can be stored: {words}.", mend)


def _worker_faults(dispatcher: Mapping[str, Any]) -> Iterator[Finding]:
    workers = dispatcher.get("workers", ())
    if not any(worker.get("state") in ("ready", "idle", "busy") for worker in workers):
        yield Finding(
            "bad",
            "No worker is ready: messages are kept, nobody is answered.",
            "Wait some seconds; then see the log for why workers end.",
        )
    if dispatcher.get("alarm"):
        yield Finding("bad", f"Workers end at once: {dispatcher['alarm']}.", "See the log for the traceback.")
    if dispatcher.get("aside"):
        many = dispatcher["aside"] > 1
        yield Finding(
            "warn",
            f"{dispatcher['aside']} message{'s are' if many else ' is'} set aside: their turns failed twice.",
            "Open /aside to see why, and to give them another turn.",
        )
    if dispatcher.get("full"):
        yield Finding(
            "warn", "The queue is full; HTTP callers are asked to wait.", "More workers help: workers.max."
        )
    elif (dispatcher.get("oldest_ms") or 0) > _WAIT_ALARM_MS:
        yield Finding(
            "warn",
            f"A message has waited {duration(dispatcher['oldest_ms'])} for its turn.",
            "More workers help: workers.max.",
        )


def _outbound_faults(outbound: Mapping[str, Any]) -> Iterator[Finding]:
    for lane in outbound.get("lanes", ()):
        if lane["lane"] in ("otp", "reply") and (lane.get("oldest_ms") or 0) > 5 * _WAIT_ALARM_MS:
            yield Finding(
                "warn",
                f"The oldest message in lane {lane['lane']} has waited {duration(lane['oldest_ms'])}.",
                "See the modem: a modem sends about one message in three seconds.",
            )
    for spent in outbound.get("spent", ()):
        used = f"{spent['segments']} of {spent['limit']} SMS in 24 hours"
        done = spent["segments"] >= spent["limit"]
        yield Finding(
            "bad" if done and spent["who"] == "the box" else "warn",  # one person's brake is a small matter
            f"Spending: {pretty_number(spent['who'])} has used {used}"
            + (": the brake is on." if done else "."),
            "See who texts; the limits are [spending] in the configuration." if done else "",
        )
    for route in outbound.get("routes", ()):
        name = str(route.get("name", ""))
        for alarm in route.get("balance", {}).get("alarms", ()):
            yield Finding("warn", f"Modem {name.removeprefix('modem:')}: {alarm}.", "Recharge its SIM.")
        if route.get("state") == "used up":
            yield Finding("warn", f"Route {name} has used up its allowance: {route.get('reason')}.", "")
        elif route.get("hold"):
            what = name.removeprefix("modem:")
            yield Finding(
                "warn", f"Modem {what} sends nothing: {route['hold']}.", "Check its SIM's credit and bundle."
            )
        elif route.get("state") == "not ready" and not name.startswith("modem:"):
            reason = route.get("reason") or "it does not answer"
            yield Finding("warn", f"Route {name} is off for now: {reason}.", "It is tried again by itself.")


def _box_faults(now_ms: int, disk: Disk | None) -> Iterator[Finding]:
    if disk is not None and disk.free_bytes < _DISK_ALARM_BYTES:
        yield Finding(
            "bad",
            f"The disk has {disk.free_bytes // (1024 * 1024)} MB left.",
            "Delete what is not Outpost's from it, or give it a larger one.",
        )
    if now_ms < _CLOCK_DEAD_MS:
        yield Finding(
            "bad",
            "The clock shows a time long past.",
            "Set it with timedatectl set-time.",
        )


def _clock_faults(state: ClockState | None) -> Iterator[Finding]:
    if state is not None and not state.trusted:
        why = f": {state.reason}" if state.reason else ""
        yield Finding(
            "warn",
            f"The clock cannot be trusted{why}.",
            "Until it is, nothing expires. NTP, or a modem on the network, sets it.",
        )


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else text + "."
