"""A pty for one simulated modem: what `serial.Serial(port)` opens, under a name that stays.

The client may close the port and open it again: the modem goes on as it was, and what it says while
nobody has the port open is lost, as behind a USB driver. A pty tells of its client only by hanging up
(POLLHUP, EIO), so an idle wire is looked at now and then: see `Carrier`.
"""

from __future__ import annotations

import asyncio
import os
import select
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Carrier", "Wire"]

_LOOK_EVERY_S: Final = 0.02  # how long an opening client may go unnoticed; its bytes wait in the pty
_READ_AT_MOST: Final = 65_536
_MAX_BACKLOG: Final = 1_048_576  # bytes for a client that does not read; beyond it they are lost


class Carrier:
    """Looks at all wires without a client with one system call, as long as there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._poll = select.poll()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, fd: int, opened: Callable[[], None]) -> None:
        """Call `opened` once a client has the other end of `fd`."""
        self._waiting[fd] = opened
        self._poll.register(fd, select.POLLIN)
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed."""
        if self._waiting.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for fd in list(self._waiting):
            self.forget(fd)

    def _look(self) -> None:
        events = dict(self._poll.poll(0))
        for fd in list(self._waiting):
            found = events.get(fd, 0)
            if (
                not found & select.POLLHUP or found & select.POLLIN
            ):  # data before the hang-up: opened and closed
                opened = self._waiting[fd]
                self.forget(fd)
                opened()
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look) if self._waiting else None


class Wire:
    """One pty and its link. on_data: bytes from the client."""

    def __init__(self, link: Path, carrier: Carrier, on_data: Callable[[bytes], None]) -> None:
        self.link = link
        self.connected = False
        self._carrier = carrier
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._master: int | None = None
        self._device = ""
        self._backlog = bytearray()

    @property
    def device(self) -> str:
        """The pty behind the link, "" while it is unplugged."""
        return self._device

    def plug_in(self) -> None:
        """Make the pty and point the link at it."""
        if self._master is not None:
            return
        master, slave = os.openpty()
        tty.setraw(slave)  # no echo and no CR translation in the moment before the client sets its own
        self._device = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        self.link.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._device)
        fresh.replace(self.link)
        self._carrier.watch(master, self._opened)

    def unplug(self) -> None:
        """Take the pty away under the client's hands; it reads a hang-up."""
        if self._master is None:
            return
        master, self._master = self._master, None
        if self.connected:
            self._loop.remove_reader(master)
            if self._backlog:
                self._loop.remove_writer(master)
        else:
            self._carrier.forget(master)
        self.connected = False
        self._backlog.clear()
        # Only the own link: after a rename another modem may have this name.
        if self.link.is_symlink() and os.readlink(self.link) == self._device:
            self.link.unlink()
        self._device = ""
        os.close(master)

    def write(self, data: bytes) -> None:
        """Say bytes to the client, if there is one."""
        if self._master is None or not self.connected:
            return
        if self._backlog:
            if len(self._backlog) < _MAX_BACKLOG:
                self._backlog += data
            return
        sent = self._write_some(data)
        if sent < len(data):
            self._backlog += data[sent:]
            self._loop.add_writer(self._master, self._write_on)

    def _write_some(self, data: bytes | bytearray) -> int:
        assert self._master is not None
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0
        except OSError:  # hung up; the reader notices too
            return len(data)

    def _write_on(self) -> None:
        del self._backlog[: self._write_some(self._backlog)]
        if not self._backlog and self._master is not None:
            self._loop.remove_writer(self._master)

    def _opened(self) -> None:
        assert self._master is not None
        self.connected = True
        self._loop.add_reader(self._master, self._readable)

    def _readable(self) -> None:
        if self._master is None:
            return
        try:
            data = os.read(self._master, _READ_AT_MOST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
            return
        self._loop.remove_reader(self._master)
        if self._backlog:
            self._loop.remove_writer(self._master)
            self._backlog.clear()
        self.connected = False
        self._carrier.watch(self._master, self._opened)
