"""`outpost send NUMBER TEXT`: one SMS through the running appliance."""

from __future__ import annotations

import argparse
import sys

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit
from appliance.message import Lane, normalise_number

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "number", metavar="NUMBER", help="who gets it, as people write it: 0911234567, +2519..."
    )
    parser.add_argument("text", metavar="TEXT", help="what it says; - reads it from standard input")
    parser.add_argument(
        "--lane", choices=[lane.value for lane in Lane], default=Lane.NORMAL.value, help="how urgent it is"
    )
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    number = normalise_number(args.number)
    if number is None:
        print(
            f"outpost send: {args.number!r} is no mobile number; want one such as +251911234567",
            file=sys.stderr,
        )
        return int(Exit.USAGE)
    text = sys.stdin.read() if args.text == "-" else args.text
    if not text.strip():
        print("outpost send: the text is empty", file=sys.stderr)
        return int(Exit.USAGE)
    answer = tell(args, {"op": "send", "to": number, "text": text, "lane": args.lane})
    if isinstance(answer, int):
        return answer
    print(f"message out:{answer['id']} to {number} is queued; its life: outpost trace out:{answer['id']}")
    return int(Exit.STOPPED)
