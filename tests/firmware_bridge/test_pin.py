"""A wrong PIN is tried once in its life, and never when the SIM has fewer than three attempts left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.pin import FilePinRecord, MemoryPinRecord, PinState, pin_key


class LockedSim:
    def __init__(self, fake: Any, right: str = "1234", left: int = 3, *, counter: bool = True) -> None:
        self.locked, self.left, self.right = True, left, right
        fake.on(r"AT\+CPIN\?", lambda f, line: f"+CPIN: {self.state()}\nOK")
        fake.on(r'AT\+CPIN="\d+"', self.enter)
        fake.on(r"AT\+CPINR", (lambda f, line: f"+CPINR: SIM PIN,{self.left},3\nOK") if counter else "ERROR")
        for other in (r"AT\^CPIN\?", r"AT\+SPIC", r"AT\+QPINC\?", r"AT#PCT"):
            fake.on(other, "ERROR")

    def state(self) -> str:
        return "SIM PUK" if self.left == 0 else "SIM PIN" if self.locked else "READY"

    def enter(self, fake: Any, line: str) -> str:
        if line == f'AT+CPIN="{self.right}"':
            self.locked, self.left = False, 3
            return "OK"
        self.left -= 1
        return "+CME ERROR: 16"


async def test_pin_right_is_entered_and_the_modem_becomes_ready(fake: Any, harness: Any) -> None:
    LockedSim(fake)
    pins = MemoryPinRecord()
    harness.start(fake.path, pin="1234", extra={"pins": pins})
    await harness.ready()
    assert pins.read(pin_key("m0", "490154203237518", "1234")) is PinState.GOOD
    assert not any("1234" in line for line in harness.wire)


async def test_pin_wrong_is_tried_once_and_never_again_after_a_restart(
    fake: Any, harness: Any, harness_too: Any, tmp_path: Path
) -> None:
    sim = LockedSim(fake)
    pins = FilePinRecord(tmp_path / "pins.json")
    modem = harness.start(fake.path, pin="9999", extra={"pins": pins})
    await harness.until(lambda: modem.health.state == "parked")
    assert "refused" in modem.health.reason
    assert "configuration" in modem.health.next_step
    assert sim.left == 2
    await harness.stop()
    sim.left = 3  # even if somebody has reset the counter since
    again = harness_too.start(fake.path, pin="9999", extra={"pins": FilePinRecord(tmp_path / "pins.json")})
    await harness_too.until(lambda: again.health.state == "parked" and again.health.reason != "stopped")
    assert sim.left == 3


async def test_pin_new_in_the_configuration_is_tried(fake: Any, harness: Any, tmp_path: Path) -> None:
    LockedSim(fake)
    pins = FilePinRecord(tmp_path / "pins.json")
    pins.write(pin_key("m0", "490154203237518", "9999"), PinState.REFUSED)
    harness.start(fake.path, pin="1234", extra={"pins": pins})
    await harness.ready()


@pytest.mark.parametrize("left", [1, 2])
async def test_pin_is_not_tried_with_fewer_than_three_left(fake: Any, harness: Any, left: int) -> None:
    sim = LockedSim(fake, left=left)
    modem = harness.start(fake.path, pin="1234")
    await harness.until(lambda: modem.health.state == "parked")
    assert f"only {left}" in modem.health.reason
    assert sim.left == left


async def test_pin_whose_outcome_was_lost_is_tried_only_if_the_counter_is_full(
    fake: Any, harness: Any, harness_too: Any
) -> None:
    pins = MemoryPinRecord()
    pins.write(pin_key("m0", "490154203237518", "1234"), PinState.TRYING)
    sim = LockedSim(fake, counter=False)
    modem = harness.start(fake.path, pin="1234", extra={"pins": pins})
    await harness.until(lambda: modem.health.state == "parked")
    assert "outcome was lost" in modem.health.reason
    assert sim.locked
    await harness.stop()
    LockedSim(fake)
    harness_too.start(fake.path, pin="1234", extra={"pins": pins})
    await harness_too.ready()


async def test_puk_parks_the_modem_with_instructions(fake: Any, harness: Any) -> None:
    LockedSim(fake, left=0)
    modem = harness.start(fake.path, pin="1234")
    await harness.until(lambda: modem.health.state == "parked")
    assert "PUK" in modem.health.reason
    assert "phone" in modem.health.next_step
    assert fake.asked(r"AT\+CPIN=.*") == 0


@pytest.mark.parametrize("pin", [None, "12", 'x";+CFUN=0;"', "1234\r"])
async def test_pin_absent_or_odd_is_never_sent(fake: Any, harness: Any, pin: str | None) -> None:
    LockedSim(fake)
    modem = harness.start(fake.path, pin=pin)
    await harness.until(lambda: modem.health.state == "parked")
    assert fake.asked(r"AT\+CPIN=.*") == 0


def test_pin_record_unreadable_counts_as_tried(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    path.write_text("{half")
    assert FilePinRecord(path).read("x") is PinState.TRYING


def test_pin_key_gives_nothing_away_and_changes_with_each_part() -> None:
    keys = {
        pin_key("m0", "1", "1234"),
        pin_key("m1", "1", "1234"),
        pin_key("m0", "2", "1234"),
        pin_key("m0", "1", "1235"),
    }
    assert len(keys) == 4
    assert not any("1234" in k for k in keys)
