"""The driver with modems whose habits are drawn by chance: it sends, receives and hears reports with each."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.pdu import submits

sys.path.insert(0, str(Path(__file__).parent))

from odd_modem import Habits, OddModem

MODEMS = range(int(os.environ.get("OUTPOST_ODD_MODEMS", "12")))


@pytest.mark.parametrize("seed", MODEMS)
async def test_modem_of_odd_habits_sends_receives_and_reports(
    seed: int, harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.startup.RETRY_S", 0.05)
    habits = Habits.drawn(seed)
    odd = OddModem(habits, seed)
    try:
        harness.start(odd.path, poll_s=0.2, sweep_s=1.0)
        await harness.ready()
        odd.arrive("while it was starting")
        references = []
        for number in range(4):
            (submit,) = submits("+251911222333", f"out {number}", reference=number, status_report=True)
            async with asyncio.timeout(20):
                references.append(await harness.modem.send(submit))
            odd.arrive(f"in {number}")
        wanted = sorted(["while it was starting", *(f"in {n}" for n in range(4))])
        await harness.until(lambda: len(harness.received) >= 5, 20)
        assert sorted(r.deliver.text for r in harness.received) == wanted
        await odd.until(lambda: not any(odd.slots.values()))
        assert [s.text for s in odd.sent] == [f"out {n}" for n in range(4)]
        assert len(set(references)) == 4
        if habits.report and odd._cnmi[3] != "0":
            await harness.until(lambda: len(harness.reports) >= 4, 20)
            assert sorted(r.mr for r in harness.reports) == sorted(references)
        assert not harness.undecodable
    finally:
        await harness.stop()
        odd.close()
