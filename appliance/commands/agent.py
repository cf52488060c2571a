"""`outpost agent`: the PINs of those who take cash, and what they hold."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from decimal import Decimal, InvalidOperation

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["birr", "configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    does = parser.add_subparsers(dest="do", metavar="DO", required=True)
    does.add_parser("list", help="all agents: PIN, lock, cash they hold")
    pin = does.add_parser("pin", help="set a PIN; without --ask one is made and shown this once")
    pin.add_argument("number", metavar="NUMBER")
    pin.add_argument("--ask", action="store_true", help="type it, or send it by standard input")
    unlock = does.add_parser("unlock", help="end the lock that wrong PINs led to")
    unlock.add_argument("number", metavar="NUMBER")
    hand_in = does.add_parser("hand-in", help="they brought cash; with a minus, they were given some")
    hand_in.add_argument("number", metavar="NUMBER")
    hand_in.add_argument("amount", type=_santim, metavar="BIRR", help="such as 1250 or 1250.50")


def _santim(text: str) -> int:
    try:
        santim = Decimal(text.replace(",", "")) * 100
    except InvalidOperation:
        santim = Decimal("0.1")
    if santim != santim.to_integral_value() or santim == 0:
        raise argparse.ArgumentTypeError(f"{text}: want an amount in birr, such as 1250.50")
    return int(santim)


def birr(santim: int) -> str:
    """`1,250.00`, with its sign."""
    sign = "-" if santim < 0 else ""
    return f"{sign}{abs(santim) // 100:,}.{abs(santim) % 100:02}"


def run(args: argparse.Namespace) -> int:
    request = {"op": "agent", "do": args.do.replace("-", "_")}
    if args.do != "list":
        request["number"] = args.number
    if args.do == "pin" and args.ask:
        request["pin"] = getpass.getpass("PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if args.do == "hand-in":
        request["santim"] = args.amount
    answer = tell(args, request)
    if isinstance(answer, int):
        return answer
    for agent in answer.get("agents", ()):
        notes = [
            "" if agent["in_force"] else "no longer in payments.agents",
            "" if agent["has_pin"] else "no PIN: outpost agent pin " + agent["number"],
            "locked" if agent["locked_until_ms"] > time.time() * 1000 else "",
        ]
        note = ", ".join(filter(None, notes))
        print(f"{agent['number']:<16} holds {birr(agent['holds_santim']):>14} birr  {note}".rstrip())
    if args.do == "list" and not answer["agents"]:
        print("no agents: list their numbers in payments.agents of the configuration")
    if args.do == "pin" and not args.ask:
        print(answer["pin"])
        print("Tell it to them: it is shown this once and stored nowhere.", file=sys.stderr)
    if args.do == "hand-in":
        print(f"{answer['number']} holds {birr(answer['holds_santim'])} birr")
    return int(Exit.STOPPED)
