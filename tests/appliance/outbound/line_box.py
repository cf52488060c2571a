"""A box of one modem in a process of its own, for `test_line_killed.py`; its air is lines in a file.

Arguments: the data directory, the file. Queues long messages of lane bulk, and codes and replies all the
time; ends when nothing is left to send.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from appliance.channels.channel import Gate, Outcome, Sent
from appliance.message import Lane, Outbound
from appliance.outbound.service import OutboundService
from appliance.store.outbound import Claim
from appliance.store.store import Store

LONG, URGENT, PARTS = 4, 40, 24


class Air:
    """Takes some milliseconds for a part, and has sent it before it says so."""

    name, routes, identity = "modem:a", ("", "modem:a"), "imei/iccid"
    ready, trouble = True, ""

    def __init__(self, file: Path) -> None:
        self._log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._mr = 0

    def snapshot(self) -> dict[str, Any]:
        return {}

    async def wait_ready(self) -> None:
        return

    def count_parts(self, text: str) -> int:
        return PARTS if text.startswith("long") else 2 if text.startswith("reply") else 1

    async def send(self, claim: Claim, sequence: int, gate: Gate) -> Outcome:
        await gate()
        os.write(self._log, f"{claim.text}/{sequence}\n".encode())
        await asyncio.sleep(random.uniform(0.002, 0.012))
        self._mr = (self._mr + 1) % 256
        return Sent(tp_mr=self._mr)


def _waiting(db: sqlite3.Connection) -> tuple[int, int]:
    made = db.execute("SELECT count(*) FROM outbound").fetchone()[0]
    left = db.execute("SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')").fetchone()[0]
    return made, left


async def main(data: Path, file: Path) -> None:
    store = await Store.open(data)
    service = OutboundService(store, lambda: time.time_ns() // 1_000_000)
    await service.start()
    service.add(Air(file))
    print("ready", flush=True)
    made, left = await store.reader.run(_waiting)
    while made < LONG + URGENT or left:
        if made < LONG + URGENT:
            number = made + 1
            lane = Lane.BULK if number <= LONG else Lane.OTP if number % 3 else Lane.REPLY
            text = f"{'long' if number <= LONG else lane} {number}"
            await service.send(Outbound(recipient=f"+25191100{number:04d}", text=text, lane=lane))
        await asyncio.sleep(0.02)
        made, left = await store.reader.run(_waiting)
    await service.stop(1)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
