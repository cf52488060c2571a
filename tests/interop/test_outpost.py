"""Outpost on one modem, other people's software on the other side of the network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.simulator import SimulatorThread

ROOT = Path(__file__).parents[2]
BOX, OTHER = "+251911000001", "+251911000002"
CONFIG = """\
data_dir = "{folder}/data"
[http]
listen = "127.0.0.1:0"
[[modem]]
name = "modem0"
port = "{port}"
"""


@pytest.fixture
def outpost(
    tmp_path: Path, simulator: SimulatorThread, program: Callable[..., Any], wait_until: Callable[..., Any]
) -> Iterator[Path]:
    """The appliance on modem0, registered; gives its configuration."""
    config = tmp_path / "outpost.toml"
    config.write_text(CONFIG.format(folder=tmp_path, port=simulator.ports["modem0"]), encoding="utf-8")
    with open(tmp_path / "outpost.log", "wb") as log:
        program(
            sys.executable, "-m", "appliance", "run", "--config", config, cwd=ROOT, stdout=log, stderr=log
        )
        wait_until(
            lambda: simulator.call(lambda running: running.world.modems["modem0"].settings.cnmi.mt) == 1,
            what="Outpost to set the modem up",
        )
        yield config


def gammu(tmp_path: Path, port: Path, *command: str, text: str | None = None) -> str:
    config = tmp_path / "gammurc"
    config.write_text(f"[gammu]\ndevice = {port}\nconnection = at\n", encoding="utf-8")
    done = subprocess.run(
        ["gammu", "-c", str(config), *command], input=text, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_outpost_answers_gammu(
    tmp_path: Path, simulator: SimulatorThread, outpost: Path, wait_until: Callable[..., Any]
) -> None:
    port = simulator.ports["modem1"]

    gammu(tmp_path, port, "sendsms", "TEXT", BOX, text="HELP")
    said = wait_until(
        lambda: (said := gammu(tmp_path, port, "getallsms")) and "BOOK" in said and said,
        what="the answer to HELP",
    )

    assert f'Remote number        : "{BOX}"' in said
    assert said.count("BOOK ADDIS HAWASSA") == 1


def test_outpost_answers_smstools_in_amharic(
    tmp_path: Path,
    simulator: SimulatorThread,
    outpost: Path,
    program: Callable[..., Any],
    wait_until: Callable[..., Any],
    which: Callable[[str], str],
) -> None:
    folder = tmp_path / "smstools"
    for name in ("outgoing", "checked", "incoming"):
        (folder / name).mkdir(parents=True)
    config = folder / "smsd.conf"
    config.write_text(
        f"""devices = GSM1
outgoing = {folder}/outgoing
checked = {folder}/checked
incoming = {folder}/incoming
logfile = {folder}/smsd.log
infofile = {folder}/smsd.working
pidfile = {folder}/smsd.pid
delaytime = 1
receive_before_send = no
internal_combine = yes
decode_unicode_text = yes
incoming_utf8 = yes
[GSM1]
device = {simulator.ports["modem1"]}
incoming = yes
baudrate = 115200
""",
        encoding="utf-8",
    )
    draft = folder / "draft"
    draft.write_text(f"To: {BOX[1:]}\nAlphabet: UTF-8\n\nእርዳታ", encoding="utf-8")
    draft.rename(folder / "outgoing" / "one")
    program(which("smsd"), f"-c{config}", "-t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def whole() -> list[str]:  # smsd keeps parts of a message to come in the same folder
        texts = [path.read_text("utf-8", "replace") for path in (folder / "incoming").iterdir()]
        return [text for text in texts if text.startswith("From:")]

    answers = wait_until(whole, what="the answer in Amharic")

    assert len(answers) == 1
    assert f"From: {BOX[1:]}\n" in answers[0]
    assert any("\u1200" <= character <= "\u137f" for character in answers[0].partition("\n\n")[2])


def test_outpost_send_reaches_gammu(
    tmp_path: Path, simulator: SimulatorThread, outpost: Path, wait_until: Callable[..., Any]
) -> None:
    said = wait_until(
        lambda: (
            (
                done := subprocess.run(
                    [sys.executable, "-m", "appliance", "send", "--config", str(outpost), OTHER, "by hand"],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    env=os.environ,
                    timeout=30,
                )
            ).returncode
            == 0
            and done
        ),
        what="outpost send",
    )
    wait_until(
        lambda: simulator.call(lambda running: len(running.world.modems["modem1"].sim.messages)),
        what="the text on the other modem",
    )

    assert said.stderr == ""
    assert "by hand" in gammu(tmp_path, simulator.ports["modem1"], "getallsms")
