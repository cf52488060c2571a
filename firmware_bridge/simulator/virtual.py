"""Field life without waiting for it: an event loop whose clock jumps, and ports that are no devices.

`VirtualTimeLoop` never sleeps: when nothing is ready it goes straight to the next timer. With
`MemoryWire` for a Simulator and `MemoryPort` in the place of a serial port, the real modem driver lives
through weeks of faults in seconds, the same way each time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar, TypeVarTuple

from firmware_bridge.errors import PortLost, PortUnusable

__all__ = ["MemoryPort", "MemoryWire", "VirtualTimeLoop"]


_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_LOOK_EVERY: Final = 64  # rounds; the system call would else be the dearest part of most


class _JumpingSelector(selectors.SelectSelector):
    """Waits for nothing but the real thing: a descriptor, when no timer is set at all."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda seconds: None
        self._rounds = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(None)
        self._rounds += 1
        ready = super().select(0) if self._rounds % _LOOK_EVERY == 0 else []
        if timeout > 0 and not ready:
            self.jump(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for tests. `time()` is virtual: nothing that takes real time belongs in it."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        self._virtual_now = 0.0
        super().__init__(selector)
        selector.jump = self._jump

    def _jump(self, seconds: float) -> None:
        self._virtual_now += seconds

    def time(self) -> float:
        return self._virtual_now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Call it here and now: hours of virtual time would pass while a thread works a millisecond."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as e:
            done.set_exception(e)
        return done


class MemoryWire:
    """What `wire.Wire` is to a pty, without one: a plain file says that the port is there."""

    plugged: ClassVar[dict[str, MemoryWire]] = {}

    def __init__(self, link: Path, on_data: Callable[[bytes], None]) -> None:
        self.link = link
        self._on_data = on_data
        self._port: MemoryPort | None = None

    @property
    def device(self) -> str:
        return str(self.link)

    @property
    def connected(self) -> bool:
        return self._port is not None

    def plug_in(self) -> None:
        self.link.touch()
        self.plugged[str(self.link)] = self

    def unplug(self) -> None:
        self.link.unlink(missing_ok=True)
        self.plugged.pop(str(self.link), None)
        port, self._port = self._port, None
        if port is not None:
            port.lose("hung up")

    def write(self, data: bytes) -> None:
        if self._port is not None:
            self._port.arrive(data)

    # the port's side

    def open_by(self, port: MemoryPort) -> None:
        self._port = port

    def closed_by(self, port: MemoryPort) -> None:
        if self._port is port:
            self._port = None

    def take(self, data: bytes) -> None:
        self._on_data(data)


class MemoryPort:
    """The interface of `firmware_bridge.port.Port` on a MemoryWire; bytes arrive in the next round."""

    def __init__(
        self, path: str, wire: MemoryWire, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]
    ) -> None:
        self.path = path
        self._wire: MemoryWire | None = wire
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        wire.open_by(self)

    @classmethod
    async def open(
        cls,
        path: str,
        baud: int = 115200,
        *,
        on_bytes: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        rtscts: bool = False,
    ) -> MemoryPort:
        plugged: Mapping[str, MemoryWire] = MemoryWire.plugged
        if path not in plugged:
            raise PortUnusable(f"{path}: no such port; is the modem plugged in?")
        return cls(path, plugged[path], on_bytes, on_lost)

    @property
    def closed(self) -> bool:
        return self._wire is None

    def write(self, data: bytes) -> None:
        if self._wire is None:
            raise PortLost(f"{self.path}: closed")
        self._loop.call_soon(self._wire.take, bytes(data))

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.closed_by(self)

    def arrive(self, data: bytes) -> None:
        """The modem said something."""
        self._loop.call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if self._wire is not None:
            self._on_bytes(data)

    def lose(self, why: str) -> None:
        """The other end is gone."""
        if self._wire is not None:
            self._wire = None
            self._loop.call_soon(self._on_lost, f"{self.path}: {why}")
