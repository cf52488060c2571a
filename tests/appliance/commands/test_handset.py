"""`outpost handset` and `outpost simulate` as programs: pipes, sockets, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.commands.handset import measure
from firmware_bridge.simulator import SimulatorThread

ROOT = Path(__file__).parents[3]
BOX, PHONE, FRIEND = "+251911000001", "+251922000001", "+251922000002"


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[SimulatorThread]:
    with SimulatorThread(1, link_dir=tmp_path / "network") as thread:
        yield thread


def outpost(*words: str | Path, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "appliance", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def finish(process: subprocess.Popen[str], text: str = "") -> tuple[int, str, str]:
    out, err = process.communicate(text, timeout=30)
    return process.returncode, out, err


def test_handset_piped_line_is_sent_ticked_and_answered(tmp_path: Path, simulator: SimulatorThread) -> None:
    simulator.call(
        lambda running: running.phone(
            lambda event: event["event"] == "sms" and running.deliver(FRIEND, PHONE, "answer " * 30), FRIEND
        )
    )

    code, out, err = finish(
        outpost("handset", "--data-dir", tmp_path, "--number", PHONE, "--to", FRIEND, "--replies", "1"),
        "question\n",
    )

    assert (code, err) == (0, "")
    assert "me: question\n  1 segment, GSM-7, 152 characters left\n" in out
    assert "✓✓ delivered" in out
    assert f"{FRIEND}:  (2 segments)\n  answer answer" in out
    assert "\x1b" not in out


def test_handset_two_at_once_text_each_other(tmp_path: Path, simulator: SimulatorThread) -> None:
    one = outpost("handset", "--data-dir", tmp_path, "--number", PHONE, "--to", FRIEND, "--replies", "1")
    two = outpost("handset", "--data-dir", tmp_path, "--number", FRIEND, "--to", PHONE, "--replies", "1")
    for process, text in ((one, "from one\n"), (two, "from two\n")):
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None

    assert "from two" in finish(one)[1]
    assert "from one" in finish(two)[1]


def test_handset_without_network_says_how_to_start_one(tmp_path: Path) -> None:
    code, _, err = finish(outpost("handset", "--data-dir", tmp_path, "--wait", "0.1"))

    assert code == 6
    assert "outpost demo" in err


def test_handset_taken_number_is_refused(tmp_path: Path, simulator: SimulatorThread) -> None:
    code, _, err = finish(outpost("handset", "--data-dir", tmp_path, "--number", BOX))

    assert code == 6
    assert "already" in err


def test_handset_says_when_the_network_goes_and_comes_back(tmp_path: Path) -> None:
    with SimulatorThread(1, link_dir=tmp_path / "network"):
        process = outpost(
            "handset", "--data-dir", tmp_path, "--number", PHONE, "--wait", "20", "--replies", "1"
        )
        assert process.stdout is not None
        assert PHONE in process.stdout.readline()
    assert "has gone" in process.stdout.readline()
    with SimulatorThread(1, link_dir=tmp_path / "network") as again:
        while "back on the network" not in process.stdout.readline():
            pass
        again.call(lambda running: running.deliver(BOX, PHONE, "after the restart"))
        assert process.stdin is not None
        process.stdin.write("x\n")
        assert "after the restart" in finish(process)[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hi", "1 segment, GSM-7, 158 characters left"),
        ("a" * 161, "2 segments, GSM-7, 145 characters left"),
        ("ሰላም", "1 segment, UCS-2 because of 'ሰ', 67 characters left"),
    ],
)
def test_measure_counts_segments(text: str, said: str) -> None:
    assert measure(text) == said


@pytest.mark.parametrize("end", ["signal", "eof"])
def test_simulate_names_its_ports_and_ends_clean(tmp_path: Path, end: str) -> None:
    process = outpost("simulate", "--modems", "2", "--link", tmp_path / "net", "--radio", "0", "--until-eof")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    port = os.open(tmp_path / "net" / "modem1", os.O_RDWR | os.O_NOCTTY)
    os.write(port, b"AT+CNUM\r")
    answer = b""
    while b"OK\r\n" not in answer:
        answer += os.read(port, 100)
    os.close(port)

    if end == "signal":
        process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)

    assert said[0] == f"{tmp_path}/net/modem0  {BOX}  generic\n"
    assert said[2] == f"{tmp_path}/net/control.sock  control\n"
    assert b"+251911000002" in answer
    assert (code, err) == (0, "")
    assert not (tmp_path / "net" / "modem0").is_symlink()
