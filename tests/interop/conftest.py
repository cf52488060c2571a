"""Debian's SMS programs on simulated modems. `make interop` runs these; a plain `pytest` leaves them out."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from firmware_bridge.simulator import ModemSpec, SimulatorThread

HERE = Path(__file__).parent
T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.interop)
        if os.environ.get("OUTPOST_INTEROP") != "1":
            item.add_marker(pytest.mark.skip(reason="drives programs from Debian: make interop"))


@pytest.fixture
def simulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SimulatorThread]:
    """Two modems by the book; `@pytest.mark.parametrize("simulator", [specs], indirect=True)` for others."""
    specs: list[ModemSpec] | int = getattr(request, "param", 2)
    with SimulatorThread(specs, link_dir=tmp_path / "net", radio_s=0.05) as thread:
        yield thread


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a daemon that is stopped after the test, however it ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str | Path, **more: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([str(word) for word in command], **more)
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find(name: str) -> str:
    """A program's path; some of them live in sbin."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert found is not None, f"{name} is not installed"
    return found


def until(probe: Callable[[], T], *, seconds: float = 60.0, what: str) -> T:
    """Ask until the answer is true; these programs tell nobody when they are done."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return answer


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until


@pytest.fixture
def which() -> Callable[[str], str]:
    return find
