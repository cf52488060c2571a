"""`outpost manifest ORIGIN DESTINATION DATE`: who travels; --csv for a spreadsheet."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import Any

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("origin", metavar="ORIGIN", help="English name of the town, as in the timetable")
    parser.add_argument("destination", metavar="DESTINATION", help="English name of the town")
    parser.add_argument("date", metavar="DATE", help="the day, as 2026-11-23")
    parser.add_argument(
        "--cancel", metavar="TIME", help="the bus of that time does not run: refund all and tell them by SMS"
    )
    parser.add_argument("--csv", action="store_true", help="comma separated, one passenger a line")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    if args.cancel:
        return _cancel(args)
    request = {"op": "manifest", "origin": args.origin, "destination": args.destination, "date": args.date}
    answer = tell(args, request)
    if isinstance(answer, int):
        return answer
    departures: list[dict[str, Any]] = answer["departures"]
    if args.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(("time", "seats", "code", "phone", "state"))
        for departure in departures:
            for who in departure["passengers"]:
                row = (departure["time"], who["numbers"], who["code"], who["holder"], who["state"])
                writer.writerow(row)
        return int(Exit.STOPPED)
    for departure in departures:
        sold = sum(who["seats"] for who in departure["passengers"])
        print(f"{departure['time']}  {departure['state']}, {sold} of {departure['seats']} seats paid")
        for who in departure["passengers"]:
            print(f"  seat {who['numbers']:<12} {who['code']}  {who['holder']}  {who['state']}")
    if not departures:
        print(f"nothing is sold {args.origin}-{args.destination} on {args.date}")
    return int(Exit.STOPPED)


def _cancel(args: argparse.Namespace) -> int:
    where = {"origin": args.origin, "destination": args.destination, "date": args.date}
    answer = tell(args, {"op": "cancel_bus", "time": args.cancel, **where})
    if isinstance(answer, int):
        return answer
    print(f"the bus does not run; {answer['told']} bookings were ended and their holders are told")
    return int(Exit.STOPPED)
