"""`outpost check`: what is wrong, and how to mend it.

A running appliance is asked by its socket; otherwise the configuration, the data directory, the HTTP port
and each modem are tried from here. Messages on the SIM stay there.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance import loop
from appliance.commands.asking import DEMO_DIR, NotRunning, ask
from appliance.commands.run import DEFAULT_CONFIG
from appliance.config import Config, ConfigErrors, ModemConfig, load
from appliance.conversation.kit import Kit
from appliance.conversation.phrases import PhraseErrors
from appliance.conversation.wordlists import WordListErrors
from appliance.exits import Exit

__all__ = [
    "Finding",
    "configure",
    "findings_of_clock",
    "findings_of_disk",
    "findings_of_files",
    "findings_of_modem",
    "run",
]

PROBE_S: Final = 45.0  # a modem that was just plugged in may take that long to register
DISK_FULL: Final = 50 << 20  # octets; below it the writer may fail at any commit
DISK_LOW: Final = 500 << 20
SIGNAL_WEAK_DBM: Final = -105  # CSQ 4; texts begin to fail below
# A box without a battery-backed clock wakes in the past; this program was written after this day.
WRITTEN_S: Final = 1_767_225_600  # 2026-01-01T00:00:00Z
BACKWARDS_S: Final = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """grade: "ok", "note" (works, but look at it) or "bad". mend: what to do, for all but "ok"."""

    grade: str
    what: str
    found: str
    mend: str = ""

    def lines(self) -> Iterator[str]:
        yield f"{self.grade:>4}  {self.what}: {self.found}"
        if self.mend:
            yield f"      {'-> ' + self.mend}"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"TOML file to check, and its box; else {DEFAULT_CONFIG}, or without it the demo's",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=PROBE_S,
        metavar="SECONDS",
        help="how long a modem may take to get ready",
    )


def run(args: argparse.Namespace) -> int:
    demo = DEMO_DIR / "outpost.toml"
    usual = demo if demo.exists() and not Path(DEFAULT_CONFIG).exists() else DEFAULT_CONFIG
    file = str(args.config or usual)
    try:
        config = load(file)
    except ConfigErrors as error:
        print("configuration: cannot be used; mend each of these and check again", file=sys.stderr)
        print(*error.lines, sep="\n", file=sys.stderr)
        return int(Exit.FAILED)
    bad = 0
    for finding in _findings(config, file, args.wait):
        print(*finding.lines(), sep="\n", flush=True)
        bad += finding.grade == "bad"
    print("all is well" if not bad else f"{bad} {'thing is' if bad == 1 else 'things are'} wrong")
    return int(Exit.FAILED) if bad else int(Exit.STOPPED)


def findings_of_files(config: Config) -> Iterator[Finding]:
    """What the configuration names and the start would refuse: phrases, word lists, the model's key."""
    try:
        Kit(msgspec.to_builtins(config))
        config.assistant.key()
    except (PhraseErrors, WordListErrors) as error:
        for line in error.lines:
            yield Finding("bad", "texts", line, "mend the file; the start is refused until then")
    except ValueError as error:  # of the key, which is not in its words
        yield Finding("bad", "model", str(error), "mend it, or take assistant.endpoint out")


def _findings(config: Config, file: str, wait_s: float) -> Iterator[Finding]:
    yield Finding("ok", "configuration", f"{file} can be used")
    yield from findings_of_files(config)
    if config.http.page_password is None and not config.http.is_local:
        yield Finding(
            "note",
            "page",
            "listens to the network, but no browser elsewhere may open it",
            "set http.page_password",
        )
    yield from _routes(config)
    yield from findings_of_disk(config.data_path)
    yield from findings_of_clock(time.time(), _last_seen_s(config.data_path))
    try:
        state = ask(config.control_socket, {"op": "check"})
    except NotRunning:
        yield Finding(
            "note", "appliance", "does not run; its parts are tried from here", "start it: outpost run"
        )
        yield _port(config)
        yield from _probe(config.modem, wait_s)
        return
    yield Finding("ok", "appliance", f"runs, page at {state.get('http', {}).get('listen', '?')}")
    clock = state.get("clock", {})
    if clock.get("trusted") is False:
        mend = "wait for the modem or NTP to tell the time, or set it: sudo timedatectl set-time '...'"
        yield Finding("bad", "clock", f"not trusted: {clock.get('reason') or 'no reason given'}", mend)
    yield from _healths(config.modem, state.get("modems", []))
    yield from _writer(state.get("writer", {}))


def _routes(config: Config) -> Iterator[Finding]:
    """Templates and price tables of the routes, which are files of their own."""
    if not config.route:
        return
    from appliance.channels.build import build_routes
    from appliance.channels.provider import PresetError

    names = {modem.name for modem in config.modem}
    try:
        build_routes(config.route, names, None, region=config.conversation.region)
    except PresetError as error:
        yield Finding("bad", "routes", str(error), "docs/providers.md tells what a route's files hold")
    else:
        yield Finding("ok", "routes", ", ".join(route.name for route in config.route))


def _writer(writer: Mapping[str, Any]) -> Iterator[Finding]:
    state = writer.get("state", "ok")
    if state not in ("ok", "", None):
        yield Finding("bad", "database", f"the writer reports {state!r}", "see the disk's line, then the log")


# -- disk and clock


def findings_of_disk(path: Path) -> Iterator[Finding]:
    """Is there a folder, may we write it, is there room, is it a disk at all?"""
    here = path
    while not here.exists() and here != here.parent:
        here = here.parent
    if not here.is_dir() or not os.access(here, os.W_OK | os.X_OK):
        yield Finding(
            "bad",
            "disk",
            f"{path} cannot be written by user {os.getuid()}",
            f"sudo chown outpost: {here}, or run as its owner",
        )
        return
    free = shutil.disk_usage(here).free
    inodes = os.statvfs(here)
    if free < DISK_FULL or (inodes.f_files and inodes.f_favail < 100):
        yield Finding(
            "bad",
            "disk",
            f"{free >> 20} MB free for {path}",
            "delete what is not needed, or use a larger card",
        )
    elif free < DISK_LOW:
        yield Finding("note", "disk", f"{free >> 20} MB free for {path}", "make room before it runs out")
    else:
        yield Finding("ok", "disk", f"{free >> 20} MB free for {path}")
    if _file_system(here) in ("tmpfs", "ramfs", "overlay") and not str(here).startswith(("/tmp", "/dev/shm")):  # noqa: S108
        yield Finding(
            "note",
            "disk",
            f"{here} is a {_file_system(here)}: it may be gone after a power cut",
            "put data_dir on a disk",
        )


def _file_system(path: Path) -> str:
    """Type of the file system that holds `path`, "" if /proc does not tell."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, this, *_ = line.split()
            inside = str(path) == mount or str(path).startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best):
                best, kind = mount, this
    return kind


def findings_of_clock(now_s: float, last_seen_s: float | None) -> Iterator[Finding]:
    """Does the wall clock stand where it can? last_seen_s: newest time that the database holds, or None."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    mend = "set it: sudo timedatectl set-time '...', or let network time or a clock module do it"
    if now_s < WRITTEN_S:
        yield Finding("bad", "clock", f"{shown} is before this program was written", mend)
    elif last_seen_s is not None and now_s < last_seen_s - BACKWARDS_S:
        behind = round(last_seen_s - now_s)
        yield Finding("bad", "clock", f"{shown} is {behind} s before the latest message", mend)
    else:
        yield Finding("ok", "clock", shown)


def _last_seen_s(data: Path) -> float | None:
    file = data / "outpost.db"
    if not file.exists():
        return None
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=0.5)) as db,
    ):
        db.execute("PRAGMA query_only=1")
        row = db.execute("SELECT received_at_ms FROM inbound ORDER BY id DESC LIMIT 1").fetchone()
        return row[0] / 1000 if row else None
    return None


# -- the HTTP port


def _port(config: Config) -> Finding:
    host, port = config.http.host, config.http.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            mend = {
                errno.EADDRINUSE: f"stop who has it (ss -ltnp 'sport = :{port}'), or change http.listen",
                errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 is all it has",
                errno.EACCES: "ports below 1024 are root's; use 8080",
            }.get(error.errno or 0, "change http.listen")
            return Finding("bad", "http.listen", f"{config.http.listen}: {error.strerror}", mend)
    return Finding("ok", "http.listen", f"{config.http.listen} is free")


# -- modems


def _probe(modems: Iterable[ModemConfig], wait_s: float) -> Iterator[Finding]:
    for modem in modems:
        yield from findings_of_modem(modem, loop.run(_health(modem, wait_s)))


async def _health(modem: ModemConfig, wait_s: float) -> dict[str, Any]:
    """Start the modem's driver until it is ready or time is up; what it reads it must not keep."""
    import asyncio
    import dataclasses

    from firmware_bridge.modem import Modem, ModemSettings

    async def leave_it(*_: object) -> None:
        raise InterruptedError("outpost check reads no messages: they stay on the SIM")

    changed = asyncio.Event()
    driver = Modem(
        ModemSettings(
            name=modem.name,
            port=modem.port,
            baud=modem.baud,
            pin=modem.pin,
            smsc=modem.smsc,
            profile=modem.profile,
            imei=modem.imei,
            iccid=modem.iccid,
        ),
        on_deliver=leave_it,
        on_status_report=leave_it,
        on_undecodable=leave_it,
        on_change=lambda _: changed.set(),
    )
    running = asyncio.create_task(driver.run())
    running.add_done_callback(lambda _: changed.set())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            while not driver.ready and driver.health.state != "parked" and not running.done():
                changed.clear()
                await changed.wait()
    health = dataclasses.asdict(driver.health)
    await driver.stop()
    await asyncio.gather(running, return_exceptions=True)
    return health


def _healths(modems: Iterable[ModemConfig], told: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    by_name = {health.get("name"): health for health in told}
    for modem in modems:
        health = by_name.get(modem.name)
        if health is None:
            yield Finding(
                "bad",
                modem.name,
                "the running appliance does not know it",
                "restart it: its configuration is older",
            )
        else:
            yield from findings_of_modem(modem, health)


def findings_of_modem(modem: ModemConfig, health: Mapping[str, Any]) -> Iterator[Finding]:
    """Port, SIM, registration and SMSC of one modem, from its health as plain data."""
    state, reason = health["state"], health.get("reason") or "no reason given"
    identity = " ".join(filter(None, (health.get("manufacturer"), health.get("model"))))
    if not identity and state != "ready":
        mend = "is it plugged in and powered, is it the AT port? what is there: outpost modems"
        yield Finding("bad", f"{modem.name} port", f"{modem.port}: {reason}", mend)
        return
    yield Finding("ok", f"{modem.name} port", f"{modem.port}: {identity or 'a modem that gives no name'}")
    if not (health.get("iccid") or health.get("imsi") or state == "ready"):
        mend = health.get("next_step") or "put the SIM in, or set modem.pin if it has one"
        yield Finding("bad", f"{modem.name} SIM", reason, mend)
        return
    yield Finding(
        "ok", f"{modem.name} SIM", f"{health.get('own_number') or 'present, it does not know its number'}"
    )
    yield _registration(modem.name, health)
    dbm = health.get("signal_dbm")
    if dbm is not None and dbm < SIGNAL_WEAK_DBM:
        yield Finding(
            "note", f"{modem.name} signal", f"{dbm} dBm is weak", "an outside antenna, or a place higher up"
        )
    if health.get("smsc"):
        yield Finding("ok", f"{modem.name} SMSC", str(health["smsc"]))
    else:
        mend = "set modem.smsc to the SMS centre that the operator names"
        yield Finding("bad", f"{modem.name} SMSC", "the SIM holds none: nothing can be sent", mend)
    used, total = health.get("storage_used"), health.get("storage_total")
    if used is not None and total and used >= total:
        mend = "start the appliance: it takes them off as they are stored"
        yield Finding("bad", f"{modem.name} storage", f"{used} of {total} messages: no more can arrive", mend)
    if state not in ("ready", "degraded"):
        mend = health.get("next_step") or "wait, then check again"
        yield Finding("bad", modem.name, f"{state}: {reason}", mend)


def _registration(name: str, health: Mapping[str, Any]) -> Finding:
    stat, operator = health.get("registration"), health.get("operator") or "operator unknown"
    what = f"{name} registration"
    if stat in (1, 6):
        return Finding("ok", what, f"{operator}, at home")
    if stat in (5, 7):
        return Finding("note", what, f"{operator}, roaming", "every text may cost more; is it the right SIM?")
    return {
        2: Finding("bad", what, "still searching for a network", "wait a minute; then antenna, place, SIM"),
        3: Finding(
            "bad", what, "the network refuses this SIM", "is it activated and paid? try it in a phone"
        ),
        8: Finding("bad", what, "emergency calls only", "is it activated and paid? try it in a phone"),
    }.get(
        stat if isinstance(stat, int) else -1,
        Finding("bad", what, "not registered", "antenna, place, SIM; does a phone work here with it?"),
    )
