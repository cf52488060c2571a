"""The driver against the simulator's modem families: another hand wrote them, from the same facts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.errors import NotReady
from firmware_bridge.pdu import Submit, submits
from firmware_bridge.simulator import ModemSpec
from firmware_bridge.simulator import personality as personalities
from firmware_bridge.simulator.service import Simulator

FAMILIES = sorted(p.stem for p in (Path(personalities.__file__).parent / "personalities").glob("*.toml"))
PROFILES = {
    "generic": "default",
    "huawei_e173": "huawei-stick",
    "huawei_e1752": "huawei-e1752",
    "huawei_e3531": "huawei-lte",
    "zte_mf180": "zte",
    "sim800": "sim800",
    "sim7600": "sim7600",
    "quectel_m95": "quectel-m95",
    "quectel_ec25": "quectel-ec25",
    "teltonika_trm240": "teltonika",
    "wavecom": "wavecom",
    "nokia_s60": "nokia-s60",
    "cinterion_mc75": "cinterion",
    "telit": "telit",
}
SENDS_ONLY = {"nokia_s60"}


async def send_as_a_channel_does(modem: Any, submit: Submit) -> int:
    """Again as long as nothing was sent: some of them initialise twice, when their SMS part gets ready."""
    async with asyncio.timeout(30):
        while True:
            await modem.wait_ready()
            try:
                return await modem.send(submit)
            except NotReady:
                await asyncio.sleep(0)


@pytest.mark.parametrize("family", FAMILIES)
async def test_modem_family_sends_receives_and_gets_its_report(
    family: str, harness: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.startup.RETRY_S", 0.05)
    async with Simulator(
        [ModemSpec(personality=family)], link_dir=tmp_path, radio_s=0.0, control=False
    ) as sim:
        heard: list[Any] = []
        phone = sim.phone(heard.append, "+251922000009")
        modem = harness.start(str(tmp_path / "modem0"))
        await harness.ready()
        assert modem.health.profile == PROFILES.get(family, "default")
        submit = submits("+251922000009", "Selam", reference=1, status_report=True)[0]
        mr = await send_as_a_channel_does(modem, submit)
        if family not in SENDS_ONLY:
            await harness.until(lambda: harness.reports)
            assert harness.reports[0].mr == mr
            phone.send("+251911000001", "ሰላም")
            await harness.until(lambda: harness.received)
            assert harness.received[0].deliver.text == "ሰላም"
            modem.sweep_soon()
        assert not harness.undecodable
        await harness.stop()
