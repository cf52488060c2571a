"""`outpost ledger`: balances, entries, and whether the books are right; --csv for the accountant."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from typing import Any

from appliance.commands.agent import birr
from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]

PAGE = 10_000  # entries asked for at once


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT", nargs="?", default="", help="its latest entries")
    parser.add_argument("--csv", action="store_true", help="every entry, oldest first, comma separated")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    if args.csv:
        return _csv(args)
    limit = 20 if args.account else 1
    answer = tell(args, {"op": "ledger", "account": args.account, "limit": limit, "newest": True})
    if isinstance(answer, int):
        return answer
    for account, santim in answer["balances"]:
        if args.account in ("", account):
            print(f"{account:<28}{birr(santim):>16}")
    if args.account:
        for _, at_ms, kind, _, santim, code in reversed(answer["entries"]):
            print(f"  {_when(at_ms)}  {kind:<12}{birr(santim):>14}  {code}".rstrip())
    for line in answer["wrong"]:
        print(f"WRONG: {line}", file=sys.stderr)
    if not answer["wrong"]:
        print("the books are right")
    return int(Exit.FAILED if answer["wrong"] else Exit.STOPPED)


def _csv(args: argparse.Namespace) -> int:
    writer = csv.writer(sys.stdout)
    writer.writerow(("transfer", "at", "kind", "account", "santim", "code"))
    after = 0
    while True:
        request: dict[str, Any] = {"op": "ledger", "account": args.account, "after": after, "limit": PAGE}
        answer = tell(args, request)
        if isinstance(answer, int):
            return answer
        rows = answer["entries"]
        # A page may end between the two sides of a transfer: its last one comes whole with the next page.
        whole = [row for row in rows if row[0] != rows[-1][0]] if len(rows) == PAGE else rows
        for transfer, at_ms, kind, account, santim, code in whole:
            writer.writerow((transfer, _when(at_ms), kind, account, santim, code))
        if len(rows) < PAGE:
            return int(Exit.STOPPED)
        after = whole[-1][0]


def _when(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000))
