"""The appliance as a process, for tests of how it starts and ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
START_S: Final = 30.0  # a busy machine; it takes about one second


class Box:
    """A data directory with a configuration, and at most one `outpost run` on it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.config = folder / "outpost.toml"
        self.config.write_text('data_dir = "data"\n[http]\nlisten = "127.0.0.1:0"\n')
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.settimeout(START_S)
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("OUTPOST")}
        self._env["NOTIFY_SOCKET"] = str(folder / "notify")
        self.processes: list[subprocess.Popen[str]] = []

    def run(self, **env: str) -> subprocess.Popen[str]:
        """Start it, without waiting."""
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "run", "--config", str(self.config)],
            cwd=ROOT,
            env=self._env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def told(self) -> str:
        """The next thing that it tells systemd."""
        return self._notify.recv(4096).decode()

    def started(self, **env: str) -> subprocess.Popen[str]:
        """Start it and wait until it says that it is ready, or has ended instead."""
        process = self.run(**env)
        limit = time.monotonic() + START_S
        while not select.select([self._notify], [], [], 0.1)[0]:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < limit, f"not ready within {START_S:g} s"
        assert self.told().startswith("READY=1")
        return process

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        self._notify.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.close()
