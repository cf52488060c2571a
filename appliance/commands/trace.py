"""`outpost trace ID|NUMBER`: the life of a message, every state with its time and reason."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from typing import Any

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit
from appliance.message import normalise_number

__all__ = ["configure", "lines", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="ID|NUMBER", help="a message (7, in:7, out:7) or a number's latest messages"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    what = normalise_number(args.what) or args.what
    answer = tell(args, {"op": "trace", "what": what})
    if isinstance(answer, int):
        return answer
    if args.json:
        print(json.dumps(answer["messages"], ensure_ascii=False, indent=2))
        return int(Exit.STOPPED)
    if not answer["messages"]:
        print(f"nothing is known of {args.what}")
        return int(Exit.FAILED)
    for message in answer["messages"]:
        print(*lines(message), sep="\n")
    return int(Exit.STOPPED)


def lines(message: dict[str, Any]) -> Iterator[str]:
    """One message as text: a heading, then a line for each step of its life, in local time."""
    other = f"from {message['from']}" if message["kind"] == "in" else f"to {message['to']}"
    by = f" by {message['channel']}" if message.get("channel") else ""
    yield f"{message['kind']}:{message['id']} {other}{by}: {message['state']}"
    yield f"  {message['text']!r}"
    before: int | None = None
    for step in message["steps"]:
        at = datetime.datetime.fromtimestamp(step["at_ms"] / 1000).astimezone()
        clock = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"
        waited = "" if before is None else f"+{(step['at_ms'] - before) / 1000:.3f} s"
        reason = f"  {step['reason']}" if step.get("reason") else ""
        yield f"  {clock} {waited:>11}  {step['state']:<10} {step['actor']}{reason}"
        before = step["at_ms"]
