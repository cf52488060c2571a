"""`outpost run` as a process: how it starts, how it stops, and what its exit codes say."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.commands import main
from appliance.exits import Exit

if TYPE_CHECKING:
    from tests.appliance.commands.conftest import Box

STOP_S = 3.0  # what is promised


def end_of(process: subprocess.Popen[str], limit_s: float = 30.0) -> tuple[int, list[str]]:
    """Exit code, and what it printed for a person: log lines begin with their priority."""
    _, err = process.communicate(timeout=limit_s)
    return process.returncode, [line for line in err.splitlines() if not line.startswith("<")]


def workers_of(pid: int) -> list[str]:
    """Ids of its child processes, once there are any: a worker may start just after the page."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        if children := [child for each in lists for child in each]:
            return children
        os.sched_yield()
    raise AssertionError("no worker was started")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_signal_stops_it_cleanly_within_three_seconds(box: Box, number: signal.Signals) -> None:
    process = box.started()
    begun = time.monotonic()
    process.send_signal(number)
    code, _ = end_of(process)
    assert code == Exit.STOPPED
    assert time.monotonic() - begun < STOP_S
    assert box.told() == "STOPPING=1"
    assert not (box.data / "outpost.sock").exists()


def test_run_stopped_leaves_a_database_without_a_wal(box: Box) -> None:
    process = box.started()
    process.terminate()
    assert end_of(process)[0] == Exit.STOPPED
    assert (box.data / "outpost.db").exists()
    wal = box.data / "outpost.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0


def test_run_signal_repeated_at_once_is_one_wish(box: Box) -> None:
    process = box.started()
    process.terminate()
    process.terminate()
    assert end_of(process)[0] == Exit.STOPPED


def test_run_leaves_no_process_behind_when_killed(box: Box) -> None:
    process = box.started()
    children = workers_of(process.pid)
    process.kill()
    process.wait()
    limit = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/exe").exists() for pid in children):
        assert time.monotonic() < limit, "a worker outlived the appliance"
        os.sched_yield()


def test_run_starts_again_after_a_kill(box: Box) -> None:
    box.started().kill()
    box.started().terminate()
    assert end_of(box.processes[-1])[0] == Exit.STOPPED


def test_run_data_directory_is_for_its_owner_only(box: Box) -> None:
    box.started()
    assert box.data.stat().st_mode & 0o777 == 0o700
    assert (box.data / "outpost.sock").stat().st_mode & 0o077 == 0


def test_run_watchdog_is_fed_while_there_is_progress(box: Box) -> None:
    box.started(WATCHDOG_USEC="200000")
    assert [box.told(), box.told()] == ["WATCHDOG=1", "WATCHDOG=1"]


def test_run_second_on_the_same_data_is_refused(box: Box) -> None:
    box.started()
    code, lines = end_of(box.run())
    assert code == Exit.ALREADY_RUNNING
    assert len(lines) == 1 and str(box.data) in lines[0]


def test_run_port_taken_is_told_with_the_address(box: Box) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        code, lines = end_of(box.run(OUTPOST__HTTP__LISTEN=f"127.0.0.1:{port}"))
    assert code == Exit.PORT_BUSY
    assert lines[-1] == f"http.listen 127.0.0.1:{port}: Address already in use"


def test_run_database_of_a_newer_version_is_refused_and_untouched(box: Box) -> None:
    box.data.mkdir()
    db = sqlite3.connect(box.data / "outpost.db")
    db.execute("PRAGMA user_version=9999")
    db.close()
    before = (box.data / "outpost.db").read_bytes()
    code, lines = end_of(box.run())
    assert code == Exit.DATA
    assert "9999" in lines[-1]
    assert (box.data / "outpost.db").read_bytes() == before


def test_run_data_directory_that_is_a_file_is_refused(box: Box) -> None:
    box.data.touch()
    code, lines = end_of(box.run())
    assert code == Exit.DATA
    assert len(lines) == 1 and lines[0].startswith(f"data_dir {box.data}: ")


def test_run_broken_configuration_starts_nothing(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.config.write_text("data_dir = 3\n[http]\nlisten = 'x'\n")
    assert main(["run", "--config", str(box.config)]) == Exit.USAGE
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not box.data.exists()
