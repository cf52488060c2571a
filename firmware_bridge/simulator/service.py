"""The shell: a World on ptys, run by the event loop's clock, with a control socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from firmware_bridge.simulator import state
from firmware_bridge.simulator.control import ControlServer
from firmware_bridge.simulator.network import Network, NetworkSettings
from firmware_bridge.simulator.phone import Phone, PhoneEvent
from firmware_bridge.simulator.scenario import Running, start
from firmware_bridge.simulator.timeline import Timeline
from firmware_bridge.simulator.virtual import MemoryWire
from firmware_bridge.simulator.wire import Carrier, Wire
from firmware_bridge.simulator.world import ModemSpec, World

__all__ = ["CONTROL_NAME", "Simulator", "SimulatorThread"]

CONTROL_NAME = "control.sock"
STATE_NAME = "state.json"
_SAVE_EVERY_S = 0.5
_WAKE_EARLY_S = 0.005

T = TypeVar("T")


class Simulator:
    """Simulated modems at `link_dir`/<name>, in the running event loop: `async with Simulator(...)`."""

    def __init__(
        self,
        modems: int | Sequence[ModemSpec] = 1,
        *,
        link_dir: Path,
        radio_s: float = 0.0,
        seed: int = 0,
        settings: NetworkSettings | None = None,
        control: bool = True,
        keep: bool = False,
        wire: Callable[[Path, Callable[[bytes], None]], MemoryWire] | None = None,
    ) -> None:
        """modems: how many by the book, or what each is like. radio_s: air time, unless `settings` says.

        control: open `link_dir`/control.sock too. keep: SIMs and held messages survive in state.json there.
        wire: what to put modems on instead of ptys.
        """
        self._specs = [ModemSpec() for _ in range(modems)] if isinstance(modems, int) else list(modems)
        self._settings = settings or NetworkSettings(radio_s=radio_s, downlink_s=radio_s / 10)
        self._seed = seed
        self._link_dir = link_dir
        self._control = ControlServer(self, link_dir / CONTROL_NAME) if control else None
        self._make_wire = wire
        self._state_file = link_dir / STATE_NAME if keep else None
        self._saver: asyncio.TimerHandle | None = None
        self._saved: object = None
        self._alarm: asyncio.TimerHandle | None = None
        self.scenarios: list[Running] = []
        self._flushing = False
        self._advancing = False

    # --- life

    async def start(self) -> None:
        """Make the modems, their ptys and the socket."""
        self._loop = asyncio.get_running_loop()
        timeline = Timeline(start=self._loop.time(), epoch_ms=time.time_ns() // 1_000_000)
        self.world = World(seed=self._seed, settings=self._settings, timeline=timeline)
        self._carrier = Carrier(self._loop)
        self.wires: dict[str, Wire | MemoryWire] = {}
        self._link_dir.mkdir(parents=True, exist_ok=True)
        timeline.on_earlier = self._set_alarm
        for spec in self._specs:
            self.add_modem(spec)
        if self._state_file is not None:
            state.load(self.world, self._state_file)
            self._save()
        if self._control is not None:
            await self._control.start()
        self._set_alarm()

    async def stop(self) -> None:
        """Hang everything up and remove the links."""
        if self._control is not None:
            await self._control.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._saver is not None:
            self._saver.cancel()
            self._save()
            self._saver.cancel()
        self.world.timeline.on_earlier = None
        self._carrier.stop()
        for wire in self.wires.values():
            wire.unplug()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- what tests and the control socket use

    def add_modem(self, spec: ModemSpec) -> None:
        """One more modem, with its pty."""
        self.catch_up()
        modem = self.world.add_modem(spec)
        name = modem.name
        wire = self._wire(self._link_dir / name, lambda data: self._received(name, data))
        self.wires[name] = wire
        modem.on_output = self._flush_soon
        modem.on_power = lambda on: self._power(name, on)
        wire.plug_in()
        self._flush_soon()

    def _wire(self, link: Path, on_data: Callable[[bytes], None]) -> Wire | MemoryWire:
        return self._make_wire(link, on_data) if self._make_wire else Wire(link, self._carrier, on_data)

    @property
    def ports(self) -> dict[str, Path]:
        """Modem name to the path a client opens."""
        return {name: wire.link for name, wire in self.wires.items()}

    @property
    def network(self) -> Network:
        """The operator, its clock at the present."""
        self.catch_up()
        return self.world.network

    def deliver(self, sender: str, recipient: str, text: str) -> None:
        """A text from any number or name."""
        self.network.deliver(sender, recipient, text)

    def scenario(self, modem: str, name: str) -> Running:
        """Start a named scenario of faults on a modem."""
        self.catch_up()
        self.scenarios.append(start(self.world, modem, name))
        return self.scenarios[-1]

    def phone(self, on_event: Callable[[PhoneEvent], None], number: str | None = None) -> Phone:
        """Switch a phone on."""
        self.catch_up()
        return self.world.add_phone(on_event, number)

    def catch_up(self) -> None:
        """Let the world's time go on to the loop's."""
        if not self._advancing:
            self._advancing = True
            try:
                self.world.advance(self._loop.time())
            finally:
                self._advancing = False

    # --- the loop's side

    def _save(self) -> None:
        """Write the state when something changed, and look again in a moment."""
        assert self._state_file is not None
        changes = self.world.changes()
        if changes != self._saved:
            state.save(self.world, self._state_file)
            self._saved = changes
        self._saver = self._loop.call_later(_SAVE_EVERY_S, self._save)

    def _received(self, name: str, data: bytes) -> None:
        self.catch_up()
        self._flushing = True  # what it says at once need not wait for a round of the loop
        self.world.modems[name].receive(data)
        self._flush()

    def _power(self, name: str, on: bool) -> None:
        wire = self.wires[name]
        if on:
            wire.link = self._link_dir / self.world.modems[name].port_name
            wire.plug_in()
        else:
            self._flush()
            wire.unplug()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        for name, modem in self.world.modems.items():
            pieces = modem.take_output()
            if pieces:
                self.wires[name].write(b"".join(pieces))

    def _set_alarm(self) -> None:
        """Wake up at the world's next deadline."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.world.next_deadline()
        if due is None:
            return
        # Linux lets a long epoll_wait end up to 0.1 % late (fs/select.c): 3 ms in 3 s, which a measurement of
        # the modem's air time would charge to the software under test. So the last stretch is a short wait.
        early = due
        if self._make_wire is None and due - self._loop.time() > 10 * _WAKE_EARLY_S:
            early -= _WAKE_EARLY_S
        self._alarm = self._loop.call_at(early, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.catch_up()
        self._set_alarm()


class SimulatorThread:
    """The same in a thread and loop of its own, for tests and programs that are not asynchronous.

    `with SimulatorThread(2, link_dir=...) as thread: thread.call(lambda simulator: ...)`.
    """

    def __init__(
        self,
        modems: int | Sequence[ModemSpec] = 1,
        *,
        link_dir: Path,
        radio_s: float = 0.0,
        seed: int = 0,
        settings: NetworkSettings | None = None,
    ) -> None:
        self._simulator = Simulator(modems, link_dir=link_dir, radio_s=radio_s, seed=seed, settings=settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._simulator.start(), self._loop).result(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._simulator.stop(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    @property
    def ports(self) -> dict[str, Path]:
        """Modem name to the path a client opens."""
        return self._simulator.ports

    def call(self, work: Callable[[Simulator], T]) -> T:
        """Run `work` inside the simulator's loop and wait for its result."""

        async def run() -> T:
            self._simulator.catch_up()
            return work(self._simulator)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=30)
