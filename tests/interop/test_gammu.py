"""The gammu command line on simulated modems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.simulator import ModemSpec, SimulatorThread
from firmware_bridge.simulator.personality import load_personality, personality_names

FIRST, SECOND, PHONE = "+251911000001", "+251911000002", "+251922000001"
# A Nokia S60 cannot read, so gammu cannot either. Chatter between a command and its echo stops gammu 1.42
# for good ("UNKNOWN frame"), on the simulator as on the devices: a matter of luck, and no test.
FOR_GAMMU = [
    name for name in personality_names() if name != "nokia_s60" and not load_personality(name).chatter
]
# gammu takes 10 to 30 s a family, most of it asleep: one of them stands for all but when all are asked for.
if os.environ.get("OUTPOST_INTEROP_FAMILIES") != "all":
    FOR_GAMMU = ["sim800"]


def gammu(tmp_path: Path, port: Path, *command: str, text: str | None = None) -> str:
    config = tmp_path / f"gammu-{port.name}.conf"
    config.write_text(f"[gammu]\ndevice = {port}\nconnection = at\n", encoding="utf-8")
    done = subprocess.run(
        ["gammu", "-c", str(config), *command], input=text, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_gammu_identify_names_modem_and_sim(tmp_path: Path, simulator: SimulatorThread) -> None:
    said = gammu(tmp_path, simulator.ports["modem0"], "--identify")

    assert "Simulated modem" in said
    modem = simulator.call(lambda running: running.world.modems["modem0"])
    assert modem.imei in said
    assert modem.sim.imsi in said


@pytest.mark.parametrize("simulator", [3], indirect=True)
def test_gammu_sendsms_arrives_whole(tmp_path: Path, simulator: SimulatorThread) -> None:
    """Three at once, one a modem: gammu is asleep most of its time."""
    came: list[dict[str, Any]] = []
    simulator.call(lambda running: running.phone(came.append, PHONE))
    shapes: list[tuple[str, tuple[str, ...], int]] = [
        ("hello {from} gammu €", (), 1),
        ("ሰላም ነው", ("-unicode",), 1),
        ("long " * 50, ("-autolen", "250"), 2),
    ]

    def send(at: int) -> None:
        text, flags, _ = shapes[at]
        gammu(tmp_path, simulator.ports[f"modem{at}"], "sendsms", "TEXT", PHONE, *flags, text=text)

    with ThreadPoolExecutor() as pool:
        list(pool.map(send, range(len(shapes))))

    assert {(event["from"], event["text"], event["segments"]) for event in came} == {
        (f"+25191100000{at + 1}", text, parts) for at, (text, _, parts) in enumerate(shapes)
    }


def test_gammu_getallsms_shows_what_another_gammu_sent(tmp_path: Path, simulator: SimulatorThread) -> None:
    gammu(tmp_path, simulator.ports["modem0"], "sendsms", "TEXT", SECOND, text="from one to two")

    said = gammu(tmp_path, simulator.ports["modem1"], "getallsms")

    assert "from one to two" in said
    assert FIRST in said
    assert "1 SMS parts in 1 SMS sequences" in said


def test_gammu_deletesms_frees_the_slot(tmp_path: Path, simulator: SimulatorThread) -> None:
    simulator.call(lambda running: running.deliver("+251922000001", FIRST, "to be deleted"))

    gammu(tmp_path, simulator.ports["modem0"], "deletesms", "1", "1")

    assert simulator.call(lambda running: len(running.world.modems["modem0"].sim.messages)) == 0


def test_gammu_getussd_shows_the_balance(tmp_path: Path, simulator: SimulatorThread) -> None:
    assert "125.40 Birr" in gammu(tmp_path, simulator.ports["modem0"], "getussd", "*804#")


@pytest.mark.parametrize("family", FOR_GAMMU)
def test_gammu_sends_and_reads_on_every_family(
    tmp_path: Path, family: str, wait_until: Callable[..., object]
) -> None:
    specs = [ModemSpec(personality=family), ModemSpec(personality="generic")]
    with SimulatorThread(specs, link_dir=tmp_path / "net") as simulator:
        modem = simulator.call(lambda running: running.world.modems["modem0"])
        wait_until(
            lambda: simulator.call(lambda running: modem.uptime_s) > 6, what="its messages to be ready"
        )
        simulator.call(lambda running: running.deliver("+251922000001", FIRST, "inbound text"))
        port = simulator.ports["modem0"]

        assert "inbound text" in gammu(tmp_path, port, "getallsms")
        gammu(tmp_path, port, "sendsms", "TEXT", SECOND, text="outbound text")

        assert simulator.call(lambda running: len(running.world.modems["modem1"].sim.messages)) == 1
