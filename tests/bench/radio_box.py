"""The whole box in the radio benchmark: the real server with store, lanes, pumps and page, on many modems.

    python radio_box.py LINK_DIR MODEMS MESSAGES

runs an Appliance in this process, queues MESSAGES for each modem on disk, and prints one JSON object when
all are sent. What separates it from radio_driver.py: each message's intent is committed before its PDU and
its result after it.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from radio_driver import READY_S, TEXT, GapMeter, cpu_s, phone_of, summary

from appliance import config, loop, server
from appliance.message import Lane, Outbound
from firmware_bridge.modem import Modem

PEOPLE = 4  # to each modem: one person's messages go one after the other, the next behind the commit
SENT = "SELECT count(*) FROM outbound WHERE state IN ('sent', 'delivered')"


def settings(folder: Path, link: Path, modems: int) -> config.Config:
    tables = "".join(
        f'[[modem]]\nname = "modem{position}"\nport = "{link}/modem{position}"\n'
        for position in range(modems)
    )
    text = f'data_dir = "{folder}/data"\n[http]\nlisten = "127.0.0.1:0"\n[log]\nlevel = "error"\n{tables}'
    return config.parse(text, name="radio_box", folder=folder, env={})


async def measure(folder: Path, link: Path, modems: int, messages: int) -> dict[str, Any]:
    gaps = GapMeter()
    server.Modem = functools.partial(Modem, wire_log=gaps)  # type: ignore[misc, assignment]
    box = server.Appliance(settings(folder, link, modems))
    await box.start()
    try:
        async with asyncio.timeout(READY_S):
            await asyncio.gather(*(modem.wait_ready() for modem in box.modems))
        began, cpu_before = time.perf_counter(), cpu_s()
        for number in range(modems * messages):
            position = number % modems
            await box.outbound.send(
                Outbound(
                    recipient=phone_of(number % (PEOPLE * modems)),
                    text=TEXT,
                    lane=Lane.NORMAL,
                    route=f"modem:modem{position}",
                )
            )
        while await box.store.reader.run(_count) < modems * messages:
            await asyncio.sleep(0.05)
        return summary(gaps, cpu_s() - cpu_before, time.perf_counter() - began)
    finally:
        await box.stop()


def _count(db: Any) -> int:
    return int(db.execute(SENT).fetchone()[0])


def main() -> None:
    link, modems, messages = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="outpost-box-") as folder:
        print(json.dumps(loop.run(measure(Path(folder), link, modems, messages))))


if __name__ == "__main__":
    main()
