"""The port: opened exclusively, lost loudly, closed without waiting."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.errors import PortBusy, PortLost, PortUnusable
from firmware_bridge.port import MAX_UNWRITTEN, Port, holder_of, open_serial


@pytest.fixture
def ends() -> Iterator[tuple[int, str]]:
    """The master's descriptor and the slave's path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            pass


class Ear:
    def __init__(self) -> None:
        self.data = b""
        self.lost: list[str] = []
        self.changed = asyncio.Event()

    def on_bytes(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def on_lost(self, why: str) -> None:
        self.lost.append(why)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def opened(path: str) -> tuple[Port, Ear]:
    ear = Ear()
    return await Port.open(path, on_bytes=ear.on_bytes, on_lost=ear.on_lost), ear


async def test_port_reads_and_writes(ends: tuple[int, str]) -> None:
    port, ear = await opened(ends[1])
    os.write(ends[0], b"\r\nOK\r\n")
    await ear.until(lambda: ear.data == b"\r\nOK\r\n")
    port.write(b"AT\r")
    assert await asyncio.to_thread(os.read, ends[0], 10) == b"AT\r"
    port.close()
    port.close()
    assert ear.lost == []


async def test_port_hang_up_is_told_once_and_the_port_closed(ends: tuple[int, str]) -> None:
    port, ear = await opened(ends[1])
    os.close(ends[0])
    await ear.until(lambda: ear.lost)
    assert port.closed
    with pytest.raises(PortLost):
        port.write(b"AT\r")
    await asyncio.sleep(0)
    assert len(ear.lost) == 1


async def test_port_that_is_not_read_is_given_up_at_a_bound(ends: tuple[int, str]) -> None:
    port, _ = await opened(ends[1])
    with pytest.raises(PortLost, match="does not read"):
        for _ in range(MAX_UNWRITTEN // 1024 * 4):
            port.write(b"x" * 1024)
    port.close()


async def test_port_writes_what_the_line_takes_later(ends: tuple[int, str]) -> None:
    port, _ = await opened(ends[1])
    data = bytes(range(256)) * 160
    port.write(data)

    def drain() -> bytes:
        got = b""
        while len(got) < len(data):
            got += os.read(ends[0], 65536)
        return got

    assert await asyncio.to_thread(drain) == data
    port.close()


async def test_port_of_another_process_is_busy(ends: tuple[int, str]) -> None:
    code = (
        "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True);"
        " print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, ends[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert await asyncio.to_thread(other.stdout.readline) == b"held\n"
    with pytest.raises(PortBusy, match="another process"):
        await opened(ends[1])
    other.communicate()


@pytest.mark.parametrize("text", [f"{os.getppid():>10}\n", f"     {os.getppid()} gammu root\n"])
def test_port_with_a_live_lock_file_names_its_holder(text: str, tmp_path: Path) -> None:
    (tmp_path / "LCK..ttyUSB9").write_text(text)
    assert holder_of("/dev/ttyUSB9", directories=(tmp_path,)) == os.getppid()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"    999999999\n", str(os.getpid()).encode()])
def test_port_with_a_stale_lock_file_is_free(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "LCK..ttyUSB9").write_bytes(content)
    assert holder_of("/dev/ttyUSB9", directories=(tmp_path,)) is None


@pytest.mark.parametrize("pid", [77, 14457])  # the second has an octet that looks like the digit 8
def test_port_lock_file_of_the_old_kind_is_read(pid: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.kill", lambda pid, number: None)
    (tmp_path / "LCK..ttyUSB9").write_bytes(pid.to_bytes(4, "little"))
    assert holder_of("/dev/ttyUSB9", directories=(tmp_path,)) == pid


def test_port_absent_or_no_line_at_all_says_so(tmp_path: Path) -> None:
    with pytest.raises(PortUnusable, match="no such port"):
        open_serial(str(tmp_path / "ttyUSB0"), 115200)
    plain = tmp_path / "file"
    plain.write_text("")
    with pytest.raises(PortUnusable, match="not a serial port"):
        open_serial(str(plain), 115200)
    with pytest.raises(PortUnusable):
        open_serial("/dev/null", 115200)
