"""smstools3's smsd on a simulated modem."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_bridge.simulator import SimulatorThread

FIRST = "+251911000001"
PHONE = "+251922000001"


def write_config(folder: Path, port: Path) -> Path:
    for name in ("outgoing", "checked", "incoming", "sent", "failed", "report"):
        (folder / name).mkdir()
    config = folder / "smsd.conf"
    config.write_text(
        f"""devices = GSM1
outgoing = {folder}/outgoing
checked = {folder}/checked
incoming = {folder}/incoming
sent = {folder}/sent
failed = {folder}/failed
report = {folder}/report
logfile = {folder}/smsd.log
infofile = {folder}/smsd.working
pidfile = {folder}/smsd.pid
delaytime = 1
receive_before_send = no
autosplit = 3
loglevel = 5
[GSM1]
device = {port}
incoming = yes
report = yes
init = AT+CNMI=2,0,0,2,0
primary_memory = SM
secondary_memory = SR
secondary_memory_max = 20
baudrate = 115200
""",
        encoding="utf-8",
    )
    return config


def test_smstools_sends_receives_and_gets_the_report(
    tmp_path: Path,
    simulator: SimulatorThread,
    program: Callable[..., subprocess.Popen[bytes]],
    wait_until: Callable[..., Any],
    which: Callable[[str], str],
) -> None:
    came: list[dict[str, Any]] = []
    simulator.call(lambda running: running.phone(came.append, PHONE))
    config = write_config(tmp_path, simulator.ports["modem0"])
    long_text = "a text of two parts. " * 11 + "End."
    draft = tmp_path / "draft"
    draft.write_text(f"To: {PHONE[1:]}\nReport: yes\n\n{long_text}", encoding="latin-1")
    draft.rename(tmp_path / "outgoing" / "one")  # whole when smsd sees it
    program(which("smsd"), f"-c{config}", "-t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    wait_until(lambda: came, what="the phone to get what smsd was given")
    simulator.call(lambda running: running.deliver(PHONE, FIRST, "in by smstools"))
    incoming = wait_until(
        lambda: [path for path in (tmp_path / "incoming").iterdir() if "in by" in path.read_text("latin-1")],
        what="smsd to write the incoming file",
    )
    reports = wait_until(lambda: list((tmp_path / "report").iterdir()), what="the delivery report")

    assert [(event["from"], event["text"], event["segments"]) for event in came] == [(FIRST, long_text, 2)]
    assert f"From: {PHONE[1:]}\n" in incoming[0].read_text("latin-1")
    assert "Status: 0," in reports[0].read_text("latin-1")
    assert list((tmp_path / "failed").iterdir()) == []
