"""`outpost emulate WHAT`: what the box talks to in the world, on this machine, with faults to order."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from typing import Final

from appliance.exits import Exit

__all__ = ["EMULATORS", "configure", "run"]

# Each module has `configure(parser)` and `run(args) -> int`, like a command's; only the wanted is imported.
EMULATORS: Final = {
    "telebirr": ("appliance.payments.emulator", "telebirr's payment API, with a checkout page"),
    "llm": ("appliance.llm.emulator", "a language model's API, in OpenAI's and Azure's form"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    told = "; ".join(f"{name}: {what}" for name, (_, what) in EMULATORS.items())
    parser.add_argument("what", choices=EMULATORS, metavar="WHAT", help=told)
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, help="its own: outpost emulate WHAT --help tells them"
    )


def run(args: argparse.Namespace) -> int:
    module_name, what = EMULATORS[args.what]
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"outpost emulate {args.what}", description=f"Be {what}.")
    module.configure(parser)
    emulate: Callable[[argparse.Namespace], int] = module.run
    try:
        return emulate(parser.parse_args(args.options))
    except OSError as error:
        print(f"outpost emulate {args.what}: {error.strerror or error}", file=sys.stderr)
        return int(Exit.PORT_BUSY)
