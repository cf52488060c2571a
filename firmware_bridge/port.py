"""A serial port on the running event loop: pyserial opens it, the loop reads and writes its descriptor.

Works the same on uvloop and stock asyncio. The lock is advisory (flock), so that two Outposts, or Outpost
and any other pyserial program, cannot share a port; lock files of older programs are honoured too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import stat
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

import serial

from firmware_bridge.errors import PortBusy, PortLost, PortUnusable

__all__ = ["Port", "holder_of", "open_serial"]

READ_SIZE: Final = 4096
# A command and a PDU are below 1 kB; more than this unwritten means that the modem has stopped reading.
MAX_UNWRITTEN: Final = 64 * 1024
# Where gammu, smstools, minicom and pppd leave LCK..ttyUSB0 with a process id in it (FHS 5.9).
LOCK_DIRECTORIES: Final = (Path("/var/lock"), Path("/run/lock"))


def holder_of(path: str, *, directories: tuple[Path, ...] = LOCK_DIRECTORIES) -> int | None:
    """Process id in a live lock file for `path`, or None. Stale files, and our own, count as none."""
    name = os.path.basename(os.path.realpath(path))
    for directory in directories:
        try:
            text = (directory / f"LCK..{name}").read_bytes()[:64]
        except OSError:
            continue
        # HDB form is ASCII; the older form is the number itself, four octets, some of which may look like
        # digits.
        if len(text) == 4 and not text.strip().isdigit():
            pid = int.from_bytes(text, "little")
        else:
            match = re.search(rb"\d+", text)
            pid = int(match[0]) if match else 0
        if pid <= 0 or pid == os.getpid():
            continue
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        except PermissionError:
            pass
        return pid
    return None


def open_serial(path: str, baud: int, *, rtscts: bool = False) -> serial.Serial:
    """Open and lock a serial port. Blocks for some milliseconds; call it in a thread.

    Raises PortBusy when another process holds it, PortUnusable for every other reason, with what to do.
    """
    pid = holder_of(path)
    if pid is not None:
        raise PortBusy(f"{path}: held by process {pid} (lock file); stop that program first")
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            raise PortUnusable(f"{path}: not a serial port")
        return serial.Serial(
            path, baudrate=baud, timeout=0, write_timeout=0, exclusive=True, rtscts=rtscts, dsrdtr=False
        )
    except FileNotFoundError as e:
        raise PortUnusable(f"{path}: no such port; is the modem plugged in?") from e
    except PermissionError as e:
        raise PortUnusable(f"{path}: no permission; the user must be in the group dialout") from e
    except ValueError as e:
        raise PortUnusable(f"{path}: {e}") from e
    except (OSError, termios.error) as e:  # SerialException is an OSError
        raise _unusable(path, e) from e


def _unusable(path: str, error: OSError | termios.error) -> PortUnusable:
    number = getattr(error, "errno", None)
    text = str(error)
    if "exclusively lock" in text or number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return PortBusy(f"{path}: another process holds it; stop that program first")
    if number == errno.EACCES or "Permission denied" in text:
        return PortUnusable(f"{path}: no permission; the user must be in the group dialout")
    if number == errno.ENOENT or "No such file" in text:
        return PortUnusable(f"{path}: no such port; is the modem plugged in?")
    return PortUnusable(f"{path}: {text}")


class Port:
    """An open port. on_bytes gets what was read, on_lost is called once when the other end is gone."""

    def __init__(
        self,
        line: serial.Serial,
        *,
        on_bytes: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._line: serial.Serial | None = line  # kept alive: it owns the descriptor
        self.path = str(line.port)
        self._fd: int = line.fileno()
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._unwritten = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)

    @classmethod
    async def open(
        cls,
        path: str,
        baud: int = 115200,
        *,
        on_bytes: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        rtscts: bool = False,
    ) -> Port:
        """Open `path`. Raises PortBusy or PortUnusable."""
        opening = asyncio.ensure_future(asyncio.to_thread(open_serial, path, baud, rtscts=rtscts))
        try:
            line = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread goes on; what it opens must not stay locked.
            opening.add_done_callback(_close_unwanted)
            raise
        return cls(line, on_bytes=on_bytes, on_lost=on_lost)

    @property
    def closed(self) -> bool:
        return self._line is None

    def write(self, data: bytes) -> None:
        """Queue bytes and write what the descriptor takes now. Raises PortLost if it is gone or stuck."""
        if self._line is None:
            raise PortLost(f"{self.path}: closed")
        if len(self._unwritten) + len(data) > MAX_UNWRITTEN:
            raise PortLost(f"{self.path}: {len(self._unwritten)} octets unwritten, the modem does not read")
        waiting = bool(self._unwritten)
        self._unwritten += data
        if not waiting:
            self._flush()
            if self._unwritten and self._line is not None:
                self._loop.add_writer(self._fd, self._flush)

    def close(self) -> None:
        """Let go of the port; safe to call twice. on_lost is not called."""
        line, self._line = self._line, None
        if line is None:
            return
        # Before close: the kernel hands the number out again, and stale callbacks would be another port's.
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        # Unsent bytes would keep close() waiting for up to 30 s (the driver's closing_wait).
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self._fd, termios.TCOFLUSH)
        with contextlib.suppress(OSError, termios.error, serial.SerialException):
            line.close()

    def _lose(self, why: str) -> None:
        if self._line is not None:
            self.close()
            self._on_lost(f"{self.path}: {why}")

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._lose(os.strerror(e.errno) if e.errno else str(e))
            return
        if not data:
            self._lose("hung up")
            return
        self._on_bytes(data)

    def _flush(self) -> None:
        try:
            written = os.write(self._fd, self._unwritten)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._lose(os.strerror(e.errno) if e.errno else str(e))
            return
        del self._unwritten[:written]
        if not self._unwritten:
            self._loop.remove_writer(self._fd)


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
