"""A simulated world on a stepped clock, and a way to talk to its modems as a program would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge.pdu import Submit, submits
from firmware_bridge.simulator import ModemSpec, NetworkSettings, World


class Bench:
    """A world, its time, and what was said. `at("modem0", "+CSQ")` gives the answer as lines."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 0.0
        self.events: list[dict[str, Any]] = []

    def wait(self, seconds: float) -> None:
        """Let time go on."""
        self.now += seconds
        self.world.advance(self.now)

    def write(self, modem: str, data: bytes) -> None:
        """Bytes from the client."""
        self.world.receive(modem, data, now=self.now)

    def read(self, modem: str) -> bytes:
        """All that a modem has said since it was last read."""
        return b"".join(self.world.modems[modem].take_output())

    def lines(self, modem: str) -> list[str]:
        """The same as lines, empty ones left out."""
        return [line for line in self.read(modem).decode("latin-1").replace("\r", "\n").split("\n") if line]

    def at(self, modem: str, command: str) -> list[str]:
        """Send "AT" and a command; the lines of the answer."""
        self.read(modem)
        self.write(modem, f"AT{command}\r".encode())
        return self.lines(modem)

    def quiet(self, modem: str) -> None:
        """Echo off, numeric errors, indications as most programs set them."""
        for command in ("E0", "+CMEE=1", "+CNMI=2,1,0,1,0"):
            assert self.at(modem, command)[-1] == "OK"

    def send(self, modem: str, to: str, text: str, *, report: bool = False) -> list[str]:
        """Send a text of one part in PDU mode; the lines of the answer."""
        (submit,) = submits(to, text, status_report=report)
        return self.submit(modem, submit)

    def submit(self, modem: str, submit: Submit) -> list[str]:
        """Send a SUBMIT; the lines said by the time its air time is over."""
        answer = self.at(modem, f"+CMGS={submit.tpdu_length}")
        if answer[-1:] != ["> "]:
            return answer
        self.write(modem, submit.encode().hex().upper().encode() + b"\x1a")
        self.wait(self.world.settings.radio_s)
        return self.lines(modem)

    def phone(self, number: str | None = None) -> Any:
        """Switch a phone on; its events go to `events`."""
        return self.world.add_phone(self.events.append, number)

    def texts(self) -> list[str]:
        """The texts that phones got."""
        return [event["text"] for event in self.events if event["event"] == "sms"]

    def states(self) -> list[str]:
        """The ticks that phones got."""
        return [event["state"] for event in self.events if event["event"] == "report"]


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    """Make a bench of modems by the book, or of the specs given, with echo off."""

    def make(
        specs: int | list[ModemSpec] = 1, *, seed: int = 0, quiet: bool = True, **settings: Any
    ) -> Bench:
        bench = Bench(World(seed=seed, settings=NetworkSettings(**settings)))
        bench.world.add_modems([ModemSpec()] * specs if isinstance(specs, int) else specs)
        if quiet:
            for name in bench.world.modems:
                bench.quiet(name)
        return bench

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """One modem by the book, no air time."""
    return make_bench()
