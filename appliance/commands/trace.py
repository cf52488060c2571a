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

__all__ = ["configure", "flat", "lines", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="ID|NUMBER", help="a message (7, in:7, out:7, out_7) or a number's latest messages"
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
    messages = flat(answer["messages"])
    if not messages:
        print(f"nothing is known of {args.what}")
        return int(Exit.FAILED)
    for message in messages:
        print(*lines(message, answer["timezone_minutes"]), sep="\n")
    return int(Exit.STOPPED)


def flat(lives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of some exchanges (views.Life as plain data), each once, oldest first."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for life in lives:
        for message in [life["inbound"], *life["outbound"]]:
            if message is not None:
                found[message["row"]["kind"], message["row"]["id"]] = message
    return sorted(found.values(), key=lambda message: (message["row"]["at_ms"], message["row"]["kind"]))


def lines(message: dict[str, Any], timezone_minutes: int) -> Iterator[str]:
    """One message (views.MessageLife as plain data): a heading, then a line a step.

    timezone_minutes: of the box, east of UTC, so that the times are those of its page wherever one asks from.
    """
    row = message["row"]
    way = "from" if row["kind"] == "in" else "to"
    by = f" by {row['channel']}" if row["channel"] else ""
    yield f"{row['kind']}:{row['id']} {way} {row['number']}{by}: {row['state']}{_because(row['reason'])}"
    yield f"  {row['text']!r}"
    before: int | None = None
    for step in message["steps"]:
        waited = "" if before is None else f"+{(step['at_ms'] - before) / 1000:.3f} s"
        before = step["at_ms"]
        what = f"{step['state']:<10} {step['actor']}{_because(step['reason'])}"
        yield f"  {_clock(before, timezone_minutes)} {waited:>11}  {what}"
    for part in message["parts"]:
        mr = "" if part["tp_mr"] is None else f", TP-MR {part['tp_mr']}"
        status = "" if part["tp_status"] is None else f", TP-Status {part['tp_status']:#04x}"
        yield f"  part {part['sequence']} by {part['modem']}: {part['state']}{mr}{status}"
    if held := message.get("held"):
        until = f" until {_clock(held[1], timezone_minutes)}" if held[1] else ""
        yield f"  held{until}: {held[0]}"
    elif message["next_attempt_ms"]:
        yield f"  {_clock(message['next_attempt_ms'], timezone_minutes)}              next attempt"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _clock(at_ms: int, timezone_minutes: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ms / 1000 + 60 * timezone_minutes, datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"
