"""`outpost client`: the businesses that send through the box, their keys and their credit."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any, Final

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    add_where(parser)
    does = parser.add_subparsers(dest="do", metavar="DO", required=True)
    _add(does, "list", "all clients with their credit")
    add = _with_name(does, "add", "register a client")
    add.add_argument("--credit", type=int, metavar="UNITS", help="give it credit at once")
    key = _with_name(does, "key", "make a key; it is shown this once")
    key.add_argument("--scope", action="append", choices=("send", "read", "admin"), help="else all of them")
    key.add_argument("--days", type=int, metavar="N", help="it expires after so many days")
    key.add_argument("--networks", metavar="CIDR", help="from where it may be used, blanks between")
    key.add_argument("--note", metavar="TEXT", help="to tell it from others")
    _with_name(does, "keys", "its keys, without their secrets")
    revoke = _with_name(does, "revoke", "end a key")
    revoke.add_argument("id", metavar="ID", help="the key's part between the underscores")
    credit = _with_name(does, "credit", "give units, or take back with a minus")
    credit.add_argument("units", type=int, metavar="UNITS")
    credit.add_argument("--note", metavar="TEXT")
    usage = _with_name(does, "usage", "what was sent, by day")
    usage.add_argument("--days", type=int, default=31, metavar="N")
    usage.add_argument("--by", choices=("day", "hour"), default="day", help="the periods that are counted")
    _with_name(does, "suspend", "refuse whatever it sends; what was accepted goes out")
    _with_name(does, "resume", "let it send again")
    limits = _with_name(does, "limits", "how fast it may send, and when its credit is low")
    limits.add_argument("--per-second", type=int, metavar="N")
    limits.add_argument("--low-mark", type=int, metavar="UNITS")
    rule = _with_name(does, "rule", "give it the texts with a keyword, to a number, or that answer it")
    rule.add_argument("--keyword", metavar="WORD", help="the text begins with it; the longest one decides")
    rule.add_argument("--number", metavar="NUMBER", help="the number that was texted")
    rule.add_argument("--replies", action="store_true", default=None, help="answers to its last message")
    rule.add_argument(
        "--besides", action="store_true", default=None, help="a conversation of the box answers too"
    )
    rules = _add(does, "rules", "which texts go to whom")
    rules.add_argument("name", metavar="NAME", nargs="?", help="of one client only")
    unrule = _with_name(does, "unrule", "take a rule away")
    unrule.add_argument("rule", type=int, metavar="ID", help="as `rules` shows it")
    price = _add(does, "price", "what a segment costs by prefix")
    price.add_argument("prefix", metavar="PREFIX", help="such as +2517; '' for every number")
    price.add_argument("units", type=int, metavar="UNITS")
    price.add_argument("--from", dest="from_day", metavar="DAY", help="from a day on (2026-12-01); else now")
    _add(does, "prices", "the price list, with what is to come")
    audit = _add(does, "audit", "who did what to clients, keys, credit, prices and rules")
    audit.add_argument("--limit", type=int, default=50, metavar="N", help="how many, the newest first")


def _add(
    does: argparse._SubParsersAction[argparse.ArgumentParser], do: str, about: str
) -> argparse.ArgumentParser:
    parser = does.add_parser(do, help=about)
    # Where one looks for it: behind the word as well as before it. What is given before must not be lost.
    add_where(parser, default=argparse.SUPPRESS)
    return parser


def _with_name(
    does: argparse._SubParsersAction[argparse.ArgumentParser], do: str, about: str
) -> argparse.ArgumentParser:
    parser = _add(does, do, about)
    parser.add_argument("name", metavar="NAME", help="the client")
    return parser


def run(args: argparse.Namespace) -> int:
    ours = {key: value for key, value in vars(args).items() if key in _FIELDS and value is not None}
    if args.do == "key":
        ours["scopes"] = args.scope or ["send", "read", "admin"]
    answer = tell(args, {"op": "client", "do": args.do, **ours})
    if isinstance(answer, int):
        return answer
    if args.do == "add" and args.credit:
        answer = tell(args, {"op": "client", "do": "credit", "name": args.name, "units": args.credit})
        if isinstance(answer, int):
            return answer
    _show(args, answer)
    return int(Exit.STOPPED)


_FIELDS: Final = (
    *("name", "days", "networks", "note", "id", "units", "per_second", "low_mark", "prefix"),
    *("keyword", "number", "replies", "besides", "rule", "by", "from_day", "limit"),
)
# What to do where there is nothing to show.
_EMPTY: Final = {
    "list": "no client yet; make one: outpost client add NAME --credit 1000",
    "keys": "no key yet; make one: outpost client key NAME",
    "rules": "no rule yet; make one: outpost client rule NAME --keyword WORD",
    "prices": "no price yet: a segment costs 1 unit; set one: outpost client price +2517 3",
    "audit": "nothing was done yet",
    "usage": "nothing sent in that time",
}


def _show(args: argparse.Namespace, answer: dict[str, Any]) -> None:
    if "key" in answer:
        print(answer["key"])
        print("Keep it: it is shown this once and stored nowhere.", file=sys.stderr)
    for client in answer.get("clients", [answer["client"]] if "client" in answer else []):
        print(
            f"{client['name']:<24} {client['state']:<10} {client['balance']:>10} units"
            f" {client['reserved']:>8} reserved  {client['per_second']}/s"
        )
    for row in answer.get("usage", ()):
        print(
            f"{row['period']:<17} {row['lane']:<7}{row['status']:<10}{row['messages']:>8} messages"
            f"{row['segments']:>8} segments{row['units']:>8} units"
        )
    for lane in answer.get("lanes", ()):
        share = "-" if lane["delivered_share"] is None else f"{lane['delivered_share']:.1%}"
        times = ", ".join(f"{part} % {_took(lane[f'p{part}_ms'])}" for part in (50, 95, 99))
        print(f"all in {lane['lane']:<7} {share} delivered; with the network within: {times}")
    for rule in answer.get("rules", ()):
        print(f"{rule['id']:>4}  {rule['client']:<24} {rule['what']:<32} {rule['mode']} the box's own answer")
    zone = answer.get("timezone_minutes", 0)
    for key in answer.get("keys", ()):
        ends = "" if key["ends_at_ms"] is None else f" until {_day(key['ends_at_ms'], zone)}"
        print(
            f"{key['id']}  {key['scopes']:<16} since {_day(key['created_at_ms'], zone)}{ends}"
            f"  {key['networks']}  {key['note']}".rstrip()
        )
    for price in answer.get("prices", ()):
        print(f"{price['prefix'] or 'any':<12} {price['units']:>6} units from {_day(price['from_ms'], zone)}")
    for entry in answer.get("audit", ()):
        print(f"{_day(entry['at_ms'], zone)}  {entry['actor']:<16} {entry['action']:<18} {entry['what']}")
    if args.do == "rule":
        print(f"rule {answer['id']}")
    listed = {"list": "clients"}.get(args.do, args.do)
    if args.do in _EMPTY and not answer.get(listed):
        print(_EMPTY[args.do])


def _took(milliseconds: int | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds / 1000:g} s"


def _day(at_ms: int, timezone_minutes: int) -> str:
    """The time where the box is."""
    return f"{datetime.fromtimestamp(at_ms / 1000 + 60 * timezone_minutes, UTC):%Y-%m-%d %H:%M}"
