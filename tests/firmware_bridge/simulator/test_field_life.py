"""The real modem driver through field troubles, in virtual time: nothing lost, nothing twice but in doubt.

For hours of simulated life a program sends a text a minute and a person texts in every two. At the end the
faults stop and the books are compared: what the network took and gave against what the driver said.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge import line as bridge_line
from firmware_bridge.errors import SendError
from firmware_bridge.modem import Modem, ModemSettings, Received
from firmware_bridge.pdu import StatusReport, submits
from firmware_bridge.simulator import ModemSpec, Simulator, scenario
from firmware_bridge.simulator.virtual import MemoryPort, MemoryWire, VirtualTimeLoop

BOX, PERSON, PHONE = "+251911000001", "+251922000001", "+251922000002"
# OUTPOST_FIELD_HOURS=23 makes a thousand hours of it, healing included, in a minute or two.
TROUBLE_H = float(os.environ.get("OUTPOST_FIELD_HOURS", "6"))
HEALING_S = 1.5 * 3600.0

# A SIM that no program may open, a network that says no, firmware that only loses its grip with the power:
# nothing to come back from without a person.
NEED_A_PERSON = {"puk", "pin-two-left", "registration-denied", "hang-for-good"}
COMES_BACK = [name for name in scenario.scenario_names() if name not in NEED_A_PERSON]
# Hours of trouble; less where every byte or every half second is an event of its own.
HOURS = {"urc-storm": 0.5, "split": 1.0}


@dataclass
class Books:
    """What each side says happened."""

    certain: set[str] = field(default_factory=set)  # send() returned
    doubtful: set[str] = field(default_factory=set)  # send() said it may or may not have gone out
    refused: Counter[str] = field(default_factory=Counter)
    texted_in: set[str] = field(default_factory=set)
    handed_over: Counter[str] = field(default_factory=Counter)
    undecodable: int = 0
    reports: list[StatusReport] = field(default_factory=list)
    phone_got: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    ready_at_end: bool = False
    slots_at_end: int = 0


async def live(
    folder: Path, name: str, hours: float, *, seed: int, spec: ModemSpec, pin: str | None
) -> Books:
    books = Books()
    loop = asyncio.get_running_loop()

    async def on_deliver(received: Received) -> None:
        books.handed_over[received.deliver.text or ""] += 1

    async def on_report(report: StatusReport, raw: bytes) -> None:
        books.reports.append(report)

    async def on_undecodable(pdu: bytes, why: str) -> None:
        books.undecodable += 1

    def on_phone(event: dict[str, Any]) -> None:
        if event["event"] == "sms":
            books.phone_got[event["text"]] += 1

    async with Simulator(
        [spec], link_dir=folder, radio_s=3.0, seed=seed, control=False, wire=MemoryWire
    ) as simulator:
        simulator.phone(on_phone, PHONE)
        modem = Modem(
            ModemSettings(name="modem0", port=str(simulator.ports["modem0"]), pin=pin, poll_s=60.0),
            on_deliver=on_deliver,
            on_status_report=on_report,
            on_undecodable=on_undecodable,
            on_change=lambda health: books.states.update([health.state]),
            clock=loop.time,
        )
        driving = asyncio.create_task(modem.run())
        await modem.wait_ready()
        trouble = simulator.scenario("modem0", name)
        minute = 0
        while loop.time() < hours * 3600.0:
            minute += 1
            await asyncio.sleep(60.0)
            if minute % 2 == 0:
                books.texted_in.add(f"in {minute}")
                simulator.deliver(PERSON, BOX, f"in {minute}")
            if not modem.ready:
                continue
            text = f"out {minute}"
            try:
                await modem.send(submits(PHONE, text, status_report=True)[0])
            except SendError as error:
                if error.ambiguous:
                    books.doubtful.add(text)
                else:
                    books.refused[type(error).__name__] += 1
            else:
                books.certain.add(text)
        trouble.stop()
        simulator.world.modems["modem0"].line.become("")
        await asyncio.sleep(HEALING_S)
        books.ready_at_end = modem.ready
        books.slots_at_end = len(simulator.world.modems["modem0"].sim.messages)
        await modem.stop()
        await asyncio.wait_for(driving, 30)
    return books


def run(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    hours: float,
    *,
    seed: int = 1,
    spec: ModemSpec | None = None,
    pin: str | None = "1234",
) -> Books:
    monkeypatch.setattr(bridge_line, "Port", MemoryPort)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(live(folder, name, hours, seed=seed, spec=spec or ModemSpec(), pin=pin))


@pytest.mark.parametrize("name", COMES_BACK)
def test_driver_lives_through(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = run(tmp_path, monkeypatch, name, HOURS.get(name, TROUBLE_H))
    silent_loss = name in ("lie", "silent-after-20")

    assert books.ready_at_end, books.states
    assert books.certain
    # outbound: said to be sent is there, once; nothing else is there but what is in doubt
    assert {text for text, times in books.phone_got.items() if times > 1} == set()
    if not silent_loss:
        assert books.certain <= set(books.phone_got)
    assert set(books.phone_got) <= books.certain | books.doubtful
    # inbound: nothing lost, and off the SIM
    if name == "garbage":  # a digit hit by noise is another digit: nothing in AT can tell
        assert books.handed_over.total() + books.undecodable >= len(books.texted_in)
    else:
        assert books.texted_in <= set(books.handed_over)
    assert books.slots_at_end == 0


@pytest.mark.parametrize("name", sorted(NEED_A_PERSON))
def test_driver_waits_for_a_person_at(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    books = run(tmp_path, monkeypatch, name, 2.0)

    assert not books.ready_at_end
    assert set(books.phone_got) == books.certain
