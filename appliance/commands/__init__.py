"""The `outpost` command: one table of sub-commands, each in a module of its own.

A module is imported only when its command is chosen, so that `outpost send` does not pay for aiohttp
and a broken sub-command cannot take the others down. Each has two functions:

    configure(parser)  adds its arguments to an argparse parser
    run(args) -> int   does the work and returns the exit code (docs/exit-codes.md)
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Final, NamedTuple

from appliance import __version__

__all__ = ["COMMANDS", "EXIT_USAGE", "Command", "main"]

EXIT_USAGE: Final = 2  # argparse's own code for wrong arguments; configuration errors share it


class Command(NamedTuple):
    module: str
    help: str


COMMANDS: Final[dict[str, Command]] = {
    "run": Command("appliance.commands.run", "run the appliance until it is told to stop"),
    "demo": Command("appliance.commands.demo", "run it with a simulated modem and sample data"),
    "handset": Command("appliance.commands.handset", "be a phone on the simulated network"),
    "simulate": Command("appliance.commands.simulate", "run simulated modems for any SMS software"),
    "check": Command("appliance.commands.check", "say what is wrong and how to mend it"),
    "send": Command("appliance.commands.send", "send one SMS through the running appliance"),
    "trace": Command("appliance.commands.trace", "show the life of a message or of a number's messages"),
    "pdu": Command("appliance.commands.pdu", "take an SMS PDU apart, or put one together"),
    "record": Command("appliance.commands.record", "record what a modem and its software say"),
    "modems": Command("appliance.commands.modems", "list the modems that are plugged in"),
    "ussd": Command("appliance.commands.ussd", "ask the network by a USSD code, such as the balance"),
    "person": Command("appliance.commands.person", "show, export or erase what is kept of a person"),
    "timetable": Command("appliance.commands.timetable", "bring a timetable, or see what it would change"),
    "client": Command("appliance.commands.client", "make the businesses that send, their keys and credit"),
    "agent": Command("appliance.commands.agent", "set agents' PINs, see and settle the cash they hold"),
    "ledger": Command("appliance.commands.ledger", "show the books, check them, export them"),
    "knowledge": Command("appliance.commands.knowledge", "bring the assistant's questions and answers"),
    "emulate": Command("appliance.commands.emulate", "be a language model's API, with faults to order"),
    "manifest": Command("appliance.commands.manifest", "list who travels on a departure"),
    "try": Command("appliance.commands.try_", "talk to a conversation in the terminal, without a modem"),
}


def _chosen(argv: Sequence[str]) -> str | None:
    """The sub-command named on the command line, or None."""
    first = next((word for word in argv if not word.startswith("-")), None)
    return first if first in COMMANDS else None


def _load(name: str) -> ModuleType | None:
    """Import a sub-command's module; None when this build does not have it."""
    wanted = COMMANDS[name].module
    try:
        return importlib.import_module(wanted)
    except ModuleNotFoundError as error:
        if error.name == wanted:
            return None
        raise


def _parser(chosen: str | None, module: ModuleType | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outpost",
        description="An SMS server in a box: GSM modems, conversations, a business gateway.",
        epilog="outpost COMMAND --help tells about one command.",
    )
    parser.add_argument("--version", action="version", version=f"outpost {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.help, description=_sentence(command.help))
        if name == chosen and module is not None:
            module.configure(sub)
    return parser


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code. argv: without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = _chosen(words)
    module = _load(chosen) if chosen is not None else None
    if chosen is not None and module is None:
        print(f"outpost {chosen}: this build does not have it ({COMMANDS[chosen].module})", file=sys.stderr)
        return EXIT_USAGE
    args = _parser(chosen, module).parse_args(words)
    if module is None:  # an abbreviation, or an option's value before the command
        print(f"outpost: write the command first: outpost {args.command} ...", file=sys.stderr)
        return EXIT_USAGE
    run: Callable[[argparse.Namespace], int] = module.run
    try:
        return run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (`outpost trace | head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
