"""The radio is the limit: between the answer to one message and the next AT+CMGS lie less than 2 ms of
ours."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from firmware_bridge.pdu import submits


async def test_modem_gap_between_sends_is_below_two_milliseconds(fake: Any, harness: Any) -> None:
    answered: list[float] = []
    gaps: list[float] = []

    def answer(fake: Any, line: str) -> str:
        answered.append(time.perf_counter())
        return "+CMGS: 1\nOK"

    def next_command(fake: Any, line: str) -> bytes:
        if answered:
            gaps.append(time.perf_counter() - answered[-1])
        fake._expecting_pdu = True
        return b"\r\n> "

    fake.sent_answer = answer
    fake.on(r"AT\+CMGS=.*", next_command)
    modem = harness.start(fake.path)
    await harness.ready()
    submit = submits("+251911222333", "x" * 100, reference=1)[0]
    await asyncio.gather(*(modem.send(submit) for _ in range(200)))
    assert len(gaps) == 199
    # The median: other processes of the machine may own a single gap, they cannot own half of them.
    assert statistics.median(gaps) < 0.002, sorted(gaps)[-10:]
