"""gammu-smsd with its files service on a simulated modem."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_bridge.simulator import SimulatorThread

FIRST = "+251911000001"
PHONE = "+251922000001"


def write_config(folder: Path, port: Path) -> Path:
    for name in ("inbox", "outbox", "sent", "error"):
        (folder / name).mkdir()
    config = folder / "smsdrc"
    config.write_text(
        f"""[gammu]
device = {port}
connection = at
[smsd]
service = files
inboxpath = {folder}/inbox/
outboxpath = {folder}/outbox/
sentsmspath = {folder}/sent/
errorsmspath = {folder}/error/
logfile = {folder}/smsd.log
debuglevel = 1
loopsleep = 1
receivefrequency = 1
statusfrequency = 0
checksecurity = 0
checkbattery = 0
checksignal = 0
""",
        encoding="utf-8",
    )
    return config


def test_gammu_smsd_sends_and_receives(
    tmp_path: Path,
    simulator: SimulatorThread,
    program: Callable[..., subprocess.Popen[bytes]],
    wait_until: Callable[..., Any],
) -> None:
    came: list[dict[str, Any]] = []
    simulator.call(lambda running: running.phone(came.append, PHONE))
    config = write_config(tmp_path, simulator.ports["modem0"])
    program("gammu-smsd", "-c", config, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    subprocess.run(
        ["gammu-smsd-inject", "-c", str(config), "TEXT", PHONE, "-text", "out by smsd"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    wait_until(lambda: came, what="the phone to get what smsd was given")
    simulator.call(lambda running: running.deliver(PHONE, FIRST, "in by smsd"))
    inbox = wait_until(lambda: list((tmp_path / "inbox").iterdir()), what="smsd to write the inbox")

    assert [(event["from"], event["text"]) for event in came] == [(FIRST, "out by smsd")]
    assert [path.read_text() for path in inbox] == ["in by smsd"]
    assert PHONE in inbox[0].name
    assert list((tmp_path / "error").iterdir()) == []
