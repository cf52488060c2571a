"""`outpost simulate`: simulated modems on ptys for any SMS software, with a control socket."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance import loop
from firmware_bridge.simulator import ModemSpec, NetworkSettings, Simulator
from firmware_bridge.simulator.personality import personality_names
from firmware_bridge.simulator.scenario import scenario_names

__all__ = ["configure", "run"]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: want 0 to 3600 seconds")
    return value


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= 256:
        raise argparse.ArgumentTypeError(f"{text}: want 1 to 256")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modems", type=_count, default=1, metavar="N", help="how many (default 1)")
    parser.add_argument(
        "--link",
        type=Path,
        required=True,
        metavar="DIR",
        help="where modem0, modem1 ... and control.sock appear",
    )
    parser.add_argument(
        "--radio", type=_seconds, default=3.0, metavar="S", help="seconds a message is on the air (default 3)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same story (default 0)")
    parser.add_argument(
        "--family",
        action="append",
        choices=personality_names(),
        metavar="NAME",
        help="behave like this family of modems (default generic), again for each further modem: "
        + ", ".join(personality_names()),
    )
    parser.add_argument(
        "--scenario",
        choices=scenario_names(),
        metavar="NAME",
        help="a field trouble on every modem from the start: " + ", ".join(scenario_names()),
    )
    parser.add_argument("--pin", help="the SIMs ask for this PIN")
    parser.add_argument(
        "--unattached",
        choices=("hold", "delivered"),
        default="hold",
        help="messages for numbers nobody has switched on: held by the network, or called delivered",
    )
    parser.add_argument(
        "--keep", action="store_true", help="SIMs and held messages survive a restart, in DIR/state.json"
    )
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")


def run(args: argparse.Namespace) -> int:
    return loop.run(_simulate(args))


async def _simulate(args: argparse.Namespace) -> int:
    families = args.family or ["generic"]
    specs = [
        ModemSpec(personality=families[min(position, len(families) - 1)], pin=args.pin)
        for position in range(args.modems)
    ]
    settings = NetworkSettings(radio_s=args.radio, downlink_s=args.radio / 10, unattached=args.unattached)
    ended = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, ended.set)
    try:
        async with Simulator(
            specs, link_dir=args.link, seed=args.seed, settings=settings, keep=args.keep
        ) as simulator:
            for name, port in simulator.ports.items():
                modem = simulator.world.modems[name]
                print(f"{port}  {modem.number}  {modem.personality.name}", flush=True)
            if args.scenario:
                for name in simulator.ports:
                    simulator.scenario(name, args.scenario)
            print(f"{args.link / 'control.sock'}  control", flush=True)
            if args.until_eof:
                with _ending_with_stdin(running, ended):
                    await ended.wait()
            else:
                await ended.wait()
    except OSError as error:
        print(f"outpost simulate: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _ending_with_stdin(running: asyncio.AbstractEventLoop, ended: asyncio.Event) -> Iterator[None]:
    """Standard input is a pipe from the parent: its end is the parent's end."""

    def readable() -> None:
        if not os.read(0, 4096):
            ended.set()

    running.add_reader(0, readable)
    try:
        yield
    finally:
        running.remove_reader(0)
