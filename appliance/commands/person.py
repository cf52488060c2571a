"""`outpost person show|export|erase|tier NUMBER`: what is kept of somebody, and how much they may text."""

from __future__ import annotations

import argparse
import json
import sys

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("do", choices=("show", "export", "erase", "tier"), help="what to do")
    parser.add_argument("number", metavar="NUMBER", help="the person's number")
    parser.add_argument(
        "tier",
        nargs="?",
        choices=("normal", "frequent", "agent", "auto"),
        help="with tier: how much they may text from now on; auto goes by what they have paid for",
    )
    parser.add_argument("--yes", action="store_true", help="erase without asking")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    if args.do == "erase" and not args.yes and not _sure(args.number):
        print("nothing was erased")
        return int(Exit.FAILED)
    wanted = {"op": "person", "do": args.do, "number": args.number, "tier": args.tier}
    answer = tell(args, wanted, timeout_s=60.0)
    if isinstance(answer, int):
        return answer
    answer.pop("ok", None)
    print(json.dumps(answer.get("data", answer), ensure_ascii=False, indent=2))
    return int(Exit.STOPPED)


def _sure(number: str) -> bool:
    if not sys.stdin.isatty():
        print("outpost person erase: add --yes to erase without being asked", file=sys.stderr)
        return False
    return input(f"Erase everything that is kept of {number}? Type YES: ").strip() == "YES"
