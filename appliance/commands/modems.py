"""`outpost modems`: the modems of the running appliance and how they fare, or what answers on the ports.

Numbers of SIMs and modems are shown by their last digits only: the output is made to be sent to somebody.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from typing import Any, Final

from appliance.commands.asking import add_where, tell
from appliance.exits import Exit
from appliance.loop import run as run_loop
from firmware_bridge.discovery import candidates, probe
from firmware_bridge.errors import PortUnusable

__all__ = ["configure", "run"]

HISTORY_SHOWN: Final = 10


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this modem, with all of its history")
    parser.add_argument(
        "--probe",
        nargs="?",
        const="auto",
        metavar="GLOB",
        help="ask the ports themselves who answers; without the appliance, and past ports it holds",
    )
    parser.add_argument(
        "--balance", action="store_true", help="ask modem NAME's operator for its credit first"
    )
    parser.add_argument("--at", metavar="COMMAND", help='ask modem NAME one AT command, e.g. "AT+CSQ"')
    add_where(parser)


def run(args: argparse.Namespace) -> int:
    if args.probe is not None:
        return run_loop(_probe(args.probe))
    if args.at is not None:
        answer = tell(args, {"op": "at", "modem": args.name, "command": args.at})
        if isinstance(answer, int):
            return answer
        print(*answer["lines"], "OK", sep="\n")
        return int(Exit.STOPPED)
    if args.balance:
        asked = tell(args, {"op": "balance", "modem": args.name})
        if isinstance(asked, int):
            return asked
    answer = tell(args, {"op": "modems"})
    if isinstance(answer, int):
        return answer
    modems = [m for m in answer["modems"] if args.name in (None, m["name"])]
    if not modems:
        print("no modem is configured" if args.name is None else f"no modem is called {args.name}")
        return int(Exit.FAILED)
    for modem in modems:
        print("\n".join(_lines(modem, full=args.name is not None)))
    return int(Exit.STOPPED)


def _lines(modem: dict[str, Any], *, full: bool) -> list[str]:
    """One modem for a person, most needed first."""
    reason = f": {modem['reason']}" if modem["reason"] else ""
    lines = [f"{modem['name']}  {modem['state']} since {_when(modem['since_ms'])}{reason}"]
    if modem["next_step"]:
        lines.append(f"  next      {modem['next_step']}")
    device = " ".join(str(modem[k]) for k in ("manufacturer", "model", "firmware") if modem.get(k))
    lines.append(f"  device    {device or 'unknown'}, profile {modem.get('profile') or '-'}")
    lines.append(f"  port      {modem['port']}{_usb(modem)}")
    signal = "unknown" if modem.get("signal_dbm") is None else f"{modem['signal_dbm']} dBm"
    network = modem.get("operator") or "no operator"
    lines.append(f"  network   {network}, registration {modem.get('registration')}, signal {signal}")
    lines.append(
        f"  SIM       {_tail(modem.get('iccid'))}, IMEI {_tail(modem.get('imei'))}, SMSC {modem.get('smsc')}"
    )
    lines.append(f"  store     {modem.get('storage_used')} of {modem.get('storage_total')}")
    lines.append(f"  messages  {modem['sent']} sent, {modem['received']} received")
    route = modem.get("route", {})
    if route.get("hold"):
        lines.append(f"  held      {route['hold']}")
        if route.get("to_do"):
            lines.append(f"  next      {route['to_do']}")
    balance = route.get("balance", {})
    if balance.get("words"):
        lines.append(f"  balance   {balance['words']} (said {_when(balance['said_at_ms'])})")
    lines += [f"  alarm     {alarm}" for alarm in balance.get("alarms", ())]
    lines += [f"  alarm     {alarm}" for alarm in modem.get("alarms", ())]
    history = modem.get("history", [])
    for entry in history if full else history[-HISTORY_SHOWN:]:
        took = "" if entry.get("took_s") is None else f" in {entry['took_s']:.0f} s"
        outcome = f" -> {entry['outcome']}{took}" if entry["outcome"] else " -> awaited"
        why = f" ({entry['reason']})" if entry["reason"] else ""
        lines.append(f"  history   {_when(entry['at_ms'])} {entry['step']}{why}{outcome}")
    return lines


async def _probe(pattern: str) -> int:
    ports = candidates(pattern if pattern == "auto" else f"auto:{pattern}")()
    if not ports:
        print("no port that could be a modem: is it plugged in, and switched from storage to modem mode?")
        return int(Exit.FAILED)

    async def one(path: str) -> tuple[str, bool]:
        try:
            found = await probe(path)
        except PortUnusable as e:
            return str(e), False
        if found is None:
            return f"{path}: does not answer AT", False
        return (
            f"{path}: IMEI {_tail(found.imei)}, SIM {_tail(found.iccid)}, USB {found.usb_path or '-'}",
            True,
        )

    answers = await asyncio.gather(*map(one, ports))
    print(*(text for text, _ in answers), sep="\n")
    return int(Exit.STOPPED if any(ok for _, ok in answers) else Exit.FAILED)


def _when(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def _tail(number: str | None) -> str:
    return "unknown" if not number else f"…{number[-5:]}"


def _usb(modem: dict[str, Any]) -> str:
    real = os.path.realpath(modem["port"])
    parts = [real] if real != modem["port"] else []
    if modem.get("usb_path"):
        parts.append(f"USB {modem['usb_path']}")
    return f" ({', '.join(parts)})" if parts else ""
