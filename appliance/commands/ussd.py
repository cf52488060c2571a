"""`outpost ussd CODE [REPLY ...]`: ask the network by USSD through the running appliance, never during a
send.
"""

from __future__ import annotations

import argparse
from typing import Final

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit

__all__ = ["configure", "run"]

_ENDED: Final = {
    "reply_wanted": "the menu waits for a reply: give it after the code",
    "ended_by_network": "ended by the network",
    "answered_elsewhere": "answered by another device",
    "not_supported": "the network does not support it",
    "timeout": "the network took too long",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", help="what to dial, e.g. '*804#'")
    parser.add_argument(
        "replies", nargs="*", default=[], metavar="REPLY", help="answers to its menus, in order"
    )
    parser.add_argument("--modem", metavar="NAME", help="by which modem, if there are several")
    parser.add_argument(
        "--any",
        action="store_true",
        help="dial it though the configuration does not allow it: it may cost money",
    )
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    request = {
        "op": "ussd",
        "modem": args.modem,
        "code": args.code,
        "replies": args.replies,
        "any": args.any,
    }
    # The network may take 40 s for each answer.
    answer = tell(args, request, timeout_s=60.0 * (1 + len(args.replies)))
    if isinstance(answer, int):
        return answer
    for one in answer["answers"]:
        if one["text"]:
            print(one["text"])
        if note := _ENDED.get(one["state"], ""):
            print(f"({note})")
    return int(Exit.STOPPED)
