"""A program killed between a status report and its acknowledgement: the next one hears texts at once.

TS 27.005 3.4.4: a modem whose +CDS is not acknowledged in time stops announcing. The time of the old report
runs out in the life of the next program, after it has set +CNMI.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge import line as bridge_line
from firmware_bridge.modem import Modem, ModemSettings, Received
from firmware_bridge.pdu import submits
from firmware_bridge.simulator import ModemSpec, NetworkSettings, Simulator
from firmware_bridge.simulator.virtual import MemoryPort, MemoryWire, VirtualTimeLoop
from firmware_bridge.startup import Startup

BOX, PERSON, PHONE = "+251911000001", "+251922000001", "+251922000002"


async def two_lives(folder: Path, acknowledge_s: float) -> tuple[float, list[str]]:
    """How long a text took to be handed over to the second program, and what was done meanwhile."""
    loop = asyncio.get_running_loop()
    network = NetworkSettings(radio_s=1.0, downlink_s=0.1, acknowledge_s=acknowledge_s)
    reported, heard = asyncio.Event(), asyncio.Event()

    async def nothing(*_: Any) -> None:
        return None

    async def never_stored(*_: Any) -> None:
        reported.set()
        await asyncio.Event().wait()

    async def on_deliver(received: Received) -> None:
        heard.set()

    async with Simulator(
        [ModemSpec()], link_dir=folder, settings=network, control=False, wire=MemoryWire
    ) as simulator:
        simulator.phone(lambda event: None, PHONE)
        settings = ModemSettings(name="modem0", port=str(simulator.ports["modem0"]))
        killed = Modem(settings, on_deliver=nothing, on_status_report=never_stored, clock=loop.time)
        life = asyncio.create_task(killed.run())
        await killed.wait_ready()
        await killed.send(submits(PHONE, "report, please", status_report=True)[0])
        await reported.wait()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

        modem = Modem(settings, on_deliver=on_deliver, on_status_report=nothing, clock=loop.time)
        life = asyncio.create_task(modem.run())
        await modem.wait_ready()
        await asyncio.sleep(acknowledge_s + 1.0)
        simulator.deliver(PERSON, BOX, "is anybody there?")
        arrived = loop.time()
        await heard.wait()
        took_s = loop.time() - arrived
        await modem.stop()
        await life
    return took_s, [entry.step for entry in modem.history]


@pytest.mark.parametrize("acknowledge_s", [2.0, 15.0, 120.0])
def test_killed_before_the_acknowledgement_the_next_life_hears_texts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acknowledge_s: float
) -> None:
    monkeypatch.setattr(bridge_line, "Port", MemoryPort)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        took_s, steps = runner.run(two_lives(tmp_path, acknowledge_s))
    assert took_s < 5.0
    assert "settings lost" not in steps


def test_modem_that_stops_announcing_all_the_same_is_set_right_at_the_next_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Startup.service

    async def without_settling(self: Startup) -> None:
        execute = self._line.execute

        async def not_cnma(command: Any, **more: Any) -> tuple[str, ...]:
            return () if command.name == "+CNMA" else await execute(command, **more)

        monkeypatch.setattr(self._line, "execute", not_cnma)
        await service(self)
        monkeypatch.setattr(self._line, "execute", execute)

    monkeypatch.setattr(bridge_line, "Port", MemoryPort)
    monkeypatch.setattr(Startup, "service", without_settling)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        took_s, _ = runner.run(two_lives(tmp_path, 15.0))
    assert took_s < 20.0
