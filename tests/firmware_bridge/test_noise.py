"""A line full of noise: nothing but the package's own errors, and health as soon as the noise ends."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest

from firmware_bridge.errors import BridgeError, UsageError
from firmware_bridge.modem import ModemSettings
from firmware_bridge.pdu import Scts, delivers, submits


def spoil(rng: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(spoilt) + 1)
        what = rng.randrange(4)
        if what == 0 and spoilt:
            spoilt[at % len(spoilt)] = rng.randrange(256)
        elif what == 1:
            spoilt[at:at] = rng.randbytes(rng.randrange(30))
        elif what == 2:
            del spoilt[at : at + rng.randrange(6)]
        else:
            spoilt[at:at] = rng.choice(
                [b'\r\n+CMTI: "SM",1\r\n', b"\r\nRING\r\n", b"\r\nERROR\r\n", b"\r\n> ", b'"']
            )
    return bytes(spoilt)


@pytest.mark.parametrize("seed", range(3))
async def test_modem_in_noise_raises_nothing_foreign_and_recovers(
    seed: int, fake: Any, harness: Any, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.at.dialogue.SYNC_ANSWER_S", 0.02)
    monkeypatch.setattr("firmware_bridge.at.dialogue.SYNC_SILENCE_S", 0.005)
    monkeypatch.setattr("firmware_bridge.at.dialogue.GATE_S", 0.1)
    monkeypatch.setattr("firmware_bridge.startup.RETRY_S", 0.005)
    monkeypatch.setattr("firmware_bridge.inbox.RETRY_S", 0.05)
    monkeypatch.setattr("firmware_bridge.modem.STARTING_RETRY_S", 0.01)
    monkeypatch.setattr("firmware_bridge.driver.SIM_RETRY_S", 0.05)
    monkeypatch.setattr("firmware_bridge.driver.PARKED_RETRY_S", 0.05)
    monkeypatch.setattr("firmware_bridge.steps.RADIO_OFF_S", 0.0)
    monkeypatch.setattr("firmware_bridge.driver.RESET_LEAVES_S", 0.01)
    monkeypatch.setattr("firmware_bridge.ladder.Ladder._free", lambda self, rung, now: True)
    _hasten(monkeypatch)
    rng = random.Random(seed)
    clean_write = fake.write
    noisy = True

    def write(data: bytes) -> None:
        clean_write(spoil(rng, data) if noisy and rng.random() < 0.2 else data)

    fake.write = write
    modem = harness.start(fake.path, poll_s=0.02, sweep_s=0.05)
    outcomes: list[str] = []
    submit = submits("+251911222333", "x", reference=1)[0]
    pdu = delivers("+251911222333", "hello", Scts.from_utc_ms(1_790_000_000_000))[0].encode().hex().upper()
    for number in range(40):
        fake.store[number % 10] = pdu
        try:
            async with asyncio.timeout(0.2):
                await modem.wait_ready()
                await asyncio.shield(modem.send(submit))
            outcomes.append("sent")
        except TimeoutError:
            outcomes.append("late")
        except BridgeError as e:
            outcomes.append(type(e).__name__)
    noisy = False
    fake.rules.clear()
    fake.store.clear()
    async with asyncio.timeout(20):
        while True:
            await modem.wait_ready()
            try:
                await modem.send(submit)
                break
            except BridgeError:
                await asyncio.sleep(0.01)
    assert "sent" in outcomes
    assert len(set(outcomes)) > 1
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR and "driver failed" in r.getMessage()]


def _hasten(monkeypatch: Any) -> None:
    """Every command's patience, a hundredth of itself: what is tested is what happens when it ends."""
    from firmware_bridge.at import command

    original = command.AtCommand.__post_init__

    def hasty(self: Any) -> None:
        object.__setattr__(self, "timeout_s", min(self.timeout_s, 0.05))
        object.__setattr__(self, "prompt_s", min(self.prompt_s, 0.05))
        original(self)

    monkeypatch.setattr(command.AtCommand, "__post_init__", hasty)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smsc", '+251",145;+CMGD=1,4;"'),
        ("smsc", "+251\r"),
        ("name", "m0\nfake log line"),
        ("imei", "1"),
        ("iccid", "89; rm"),
        ("canary_number", "abc"),
    ],
)
def test_modem_settings_refuse_what_could_reach_an_at_line(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=key):
        ModemSettings(**{key: value})
