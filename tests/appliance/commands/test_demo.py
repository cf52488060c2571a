"""`outpost demo`, as `make run` starts it, with its simulated modem."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from appliance.commands import demo
from appliance.exits import Exit, StartRefused

ROOT: Final = Path(__file__).parents[3]
BANNER_LINES: Final = 10


class Demo:
    def __init__(self, data: Path) -> None:
        self.data = data
        env = {k: v for k, v in os.environ.items() if not k.startswith("OUTPOST")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "demo", "--data-dir", str(data)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def banner(self) -> list[str]:
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line.rstrip())
            if "Ctrl-C" in line:
                return lines
        raise AssertionError(self.process.communicate()[1])

    def ask(self, text: str) -> list[str]:
        [page] = [line for line in (self.data / "outpost.toml").read_text().splitlines() if "listen" in line]
        body = json.dumps({"from": "+251911000222", "to": demo.NUMBER, "message": text}).encode()
        request = urllib.request.Request(
            f"http://{page.split(chr(34))[1]}/api/sms/incoming",
            data=body,
            headers={"Content-Type": "application/json", "Prefer": "wait=10"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return [reply["text"] for reply in json.load(answer)["replies"]]


@pytest.fixture
def demo_dir(tmp_path: Path) -> Iterator[Path]:
    """Short: a unix socket's path is at most 107 octets."""
    yield tmp_path


def test_demo_greets_answers_and_survives_a_kill(demo_dir: Path) -> None:
    first = Demo(demo_dir)
    lines = first.banner()
    assert len(lines) <= BANNER_LINES
    text = "\n".join(lines)
    assert "http://127.0.0.1:" in text and demo.NUMBER in text and "outpost handset" in text
    [offer] = first.ask("BOOK ADDIS HAWASSA TOMORROW 2")
    assert "Hawassa" in offer
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()

    second = Demo(demo_dir)
    second.banner()
    [held] = second.ask("YES")
    assert "PAY" in held.upper()
    second.process.send_signal(signal.SIGTERM)
    _, err = second.process.communicate(timeout=30)
    assert second.process.returncode == Exit.STOPPED, err


def test_demo_with_telebirr_runs_its_emulator_beside_it(tmp_path: Path) -> None:
    with demo._telebirr(tmp_path / "telebirr", wanted=True) as settings:
        config = demo._configure(tmp_path, 8099, tmp_path / "modem0", settings)
        telebirr = config.payments.telebirr
        assert telebirr.app_id and telebirr.public_url == "http://127.0.0.1:8099"
        with socket.create_connection(("127.0.0.1", int(telebirr.url.split(":")[2].split("/")[0])), 5):
            pass
    with demo._telebirr(tmp_path, wanted=False) as settings:
        assert settings == ""


def test_demo_takes_the_next_port_when_one_is_taken() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert demo.free_port(taken) in range(taken + 1, taken + demo.PORTS)


def test_demo_twice_in_one_folder_is_refused(tmp_path: Path) -> None:
    with (
        demo._only_one(tmp_path),
        pytest.raises(StartRefused, match="a demo runs here already"),
        demo._only_one(tmp_path),
    ):
        raise AssertionError("two at once")
