"""`outpost timetable PATH [--dry-run]`: bring a new timetable, or see what it would change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a folder with towns.csv and routes.csv, or a GTFS zip"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    request = {"op": "timetable", "path": str(args.path.absolute()), "dry_run": args.dry_run}
    answer = tell(args, request, timeout_s=600.0)
    if isinstance(answer, int):
        return answer
    if "errors" in answer:
        print(*answer["errors"], sep="\n", file=sys.stderr)
        return int(Exit.FAILED)
    done = answer["result"]
    for warning in done["warnings"]:
        print(f"left out: {warning}")
    if not done["changed"]:
        print("this timetable is in force already")
        return int(Exit.STOPPED)
    verb = "would bring" if args.dry_run else "brought"
    print(
        f"{verb} {done['services']} departures on {done['routes']} ways:"
        f" {done['added']} new, {done['removed']} gone, {done['fares']} fares changed"
    )
    if done["sold"]:
        print(
            f"{done['sold']} departures with sold seats are not in it: they stay sold."
            " For one that does not run: outpost manifest ORIGIN DESTINATION DATE --cancel TIME"
        )
    return int(Exit.STOPPED)
