"""`outpost record PORT FILE`: save a real modem's dialogue as a transcript that a test can replay.

The modem is started as the appliance would start it, then watched. Nothing is deleted from it and nothing
is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from appliance.exits import Exit
from appliance.loop import run as run_loop
from firmware_bridge.errors import BridgeError
from firmware_bridge.modem import Modem, ModemHealth, ModemSettings, Received
from firmware_bridge.pdu import StatusReport
from firmware_bridge.recorder import Recorder

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="its port, which no other program may hold")
    parser.add_argument("file", metavar="FILE", type=Path, help="the transcript to write; a new file")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60); Ctrl-C ends it too")
    parser.add_argument("--baud", type=int, default=115200, help="line speed (115200)")
    parser.add_argument("--profile", default="auto", help="of config/modems (by identity)")


def run(args: argparse.Namespace) -> int:
    if args.file.exists():
        print(f"outpost record: {args.file} exists; name a new file", file=sys.stderr)
        return int(Exit.USAGE)
    if not Path(args.port).is_char_device():
        what = "is no serial port" if Path(args.port).exists() else "no such port; is the modem plugged in?"
        print(f"outpost record: {args.port}: {what}", file=sys.stderr)
        return int(Exit.USAGE)
    return run_loop(_record(args))


class _Kept(BridgeError):
    """Not ours to take: the message stays in the modem."""


async def _record(args: argparse.Namespace) -> int:
    recorder = Recorder()
    last = why = ""

    def show(health: ModemHealth) -> None:
        nonlocal last, why
        if health.reason != "stopped":  # which is our own doing
            why = health.reason
        line = f"{health.state}: {health.reason or health.registration_text}"
        if line != last:
            last = line
            print(line, flush=True)

    async def keep(received: Received) -> None:
        raise _Kept("recording only")

    async def keep_report(report: StatusReport, raw: bytes) -> None:
        raise _Kept("recording only")

    modem = Modem(
        ModemSettings(name="recorded", port=args.port, baud=args.baud, profile=args.profile),
        on_deliver=keep,
        on_status_report=keep_report,
        on_change=show,
        recorder=recorder.feed,
    )
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"recording {args.port} for {args.seconds:g} s; Ctrl-C ends it", flush=True)
    task = asyncio.create_task(modem.run())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(args.seconds):
            await stopped.wait()
    await modem.stop()
    await task
    transcript = recorder.finish()
    health = modem.health
    transcript.head.update(
        family=" ".join(filter(None, (health.manufacturer, health.model, health.firmware))) or "unknown",
        origin=f"recorded {time.strftime('%Y-%m-%d')} by outpost record; numbers, texts and codes masked",
    )
    if not transcript.pieces:
        print(f"outpost record: nothing crossed the port: {why or health.reason}", file=sys.stderr)
        return int(Exit.FAILED)
    if health.profile is not None:
        transcript.head["expect profile"] = health.profile
    text = "\n".join(transcript.format()) + "\n"
    await asyncio.to_thread(args.file.write_text, text, "ascii")
    print(f"{args.file}: {len(transcript.pieces)} pieces; read it before you send it to anybody")
    return int(Exit.STOPPED)
