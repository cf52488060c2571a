"""systemd's notify protocol (sd_notify(3)): one datagram to the socket that systemd named.

Without NOTIFY_SOCKET, outside systemd, nothing happens. A socket that refuses is ignored: that the
supervisor cannot be reached is no reason to stop serving, and it will act by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["notify", "watchdog_interval_s"]


def notify(state: str) -> None:
    """Tell systemd `state`: "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...". Never blocks or raises."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


def watchdog_interval_s() -> float | None:
    """How often to send WATCHDOG=1, half of what systemd allows; None when it does not watch us."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
