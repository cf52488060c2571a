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
    parser.add_argument(
        "--move", metavar=("TIME", "NEW"), nargs=2, help="the bus of that time leaves at another: tell them"
    )
    parser.add_argument(
        "--driver",
        metavar=("TIME", "NUMBER"),
        nargs=2,
        help="whose phone gets the list before departure; NUMBER none: nobody's",
    )
    parser.add_argument("--every-day", action="store_true", help="with --driver: on every day, not only DATE")
    parser.add_argument("--csv", action="store_true", help="comma separated, one passenger a line")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    if args.cancel:
        return _cancel(args)
    if args.move:
        return _move(args)
    if args.driver:
        return _driver(args)
    request = {"op": "manifest", "origin": args.origin, "destination": args.destination, "date": args.date}
    answer = tell(args, request)
    if isinstance(answer, int):
        return answer
    departures: list[dict[str, Any]] = answer["departures"]
    if args.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(("time", "seats", "code", "names", "phone", "state"))
        for departure in departures:
            for who in departure["passengers"]:
                known = (who[column] for column in ("numbers", "code", "names", "holder", "state"))
                writer.writerow((departure["time"], *known))
        return int(Exit.STOPPED)
    for departure in departures:
        sold = sum(who["seats"] for who in departure["passengers"])
        driver = f", driver {departure['driver']}" if departure["driver"] else ""
        print(f"{departure['time']}  {departure['state']}, {sold} of {departure['seats']} seats paid{driver}")
        for who in departure["passengers"]:
            named = f"{who['holder']}  {who['state']:<5} {who['names']}".rstrip()
            print(f"  seat {who['numbers']:<12} {who['code']}  {named}")
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


def _move(args: argparse.Namespace) -> int:
    where = {"origin": args.origin, "destination": args.destination, "date": args.date}
    answer = tell(args, {"op": "move_bus", "time": args.move[0], "new_time": args.move[1], **where})
    if isinstance(answer, int):
        return answer
    print(f"the bus leaves at {args.move[1]}; the holders of {answer['told']} bookings are told")
    return int(Exit.STOPPED)


def _driver(args: argparse.Namespace) -> int:
    time, number = args.driver
    where = {"origin": args.origin, "destination": args.destination, "time": time}
    day = {} if args.every_day else {"date": args.date}
    answer = tell(args, {"op": "driver", "number": "" if number == "none" else number, **where, **day})
    if isinstance(answer, int):
        return answer
    when = "every day" if args.every_day else f"on {args.date}"
    print(f"{answer['driver'] or 'nobody'} is sent who travels at {time} {when}")
    return int(Exit.STOPPED)
