"""`outpost knowledge FILE...`: bring the assistant's questions and answers, or see what is there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="LANGUAGE.csv or LANGUAGE.md, such as en.csv or am.luggage.md; none: say what is there",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    paths = [str(path.absolute()) for path in args.files]
    answer = tell(args, {"op": "knowledge", "files": paths, "dry_run": args.dry_run}, timeout_s=60.0)
    if isinstance(answer, int):
        return answer
    if "errors" in answer:
        print(*answer["errors"], sep="\n", file=sys.stderr)
        return int(Exit.FAILED)
    if not paths:
        for source, language, count in answer["there"]:
            print(f"{count:5}  {language}  {source}")
        if not answer["there"]:
            print("the assistant knows nothing yet")
        return int(Exit.STOPPED)
    verb = "would bring" if args.dry_run else "brought"
    print(f"{verb}: {answer['changed']} new or changed, {answer['gone']} gone, {answer['count']} in all")
    return int(Exit.STOPPED)
