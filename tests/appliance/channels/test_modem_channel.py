"""A modem's channel, with a modem that answers as told: what closes it besides the modem."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from appliance.channels.channel import NotSent, Refused, Sent
from appliance.channels.forms import Form, data_form
from appliance.channels.modem import ModemChannel
from appliance.message import Lane, Outbound
from appliance.outbound.allowance import Limits
from appliance.outbound.balance import BalanceRule
from appliance.outbound.service import OutboundService
from appliance.store.outbound import Claim
from appliance.store.store import Store
from firmware_bridge.errors import CmsError
from firmware_bridge.modem import Modem, ModemHealth
from firmware_bridge.pdu import Address, Submit
from firmware_bridge.ussd import UssdAnswer, UssdState


class ToldModem:
    """Refuses everything with `code`, or takes it when that is None."""

    def __init__(self) -> None:
        self.name = "gsm0"
        self.health = ModemHealth(name="gsm0", state="ready", imei="1", iccid="2")
        self.ready = True
        self.code: int | None = None
        self.says = ["Your balance is 3.20 Birr", "Your balance is 50 Birr"]
        self.sent = 0
        self.submits: list[Submit] = []

    async def ussd(self, code: str, *, any_code: bool) -> tuple[UssdAnswer, ...]:
        return (UssdAnswer(UssdState.DONE, self.says.pop(0), ""),)

    async def wait_ready(self) -> None:
        return

    async def send(self, submit: Submit, gate: Any) -> int:
        await gate()
        if self.code is not None:
            raise CmsError(self.code)
        self.sent += 1
        self.submits.append(submit)
        return self.sent


async def no_gate() -> None:
    return


def claim(number: int) -> Claim:
    return Claim(
        outbound_id=number,
        recipient=f"+2519110000{number:02d}",
        text="hello",
        lane=Lane.NORMAL,
        client_id=0,
        route="",
        attempt=1,
        doubted=False,
        want_report=True,
        expires_at_ms=None,
        done=frozenset(),
        refused_by=frozenset(),
    )


def made() -> tuple[ToldModem, ModemChannel]:
    modem = ToldModem()
    return modem, ModemChannel(cast(Modem, modem), lambda: 0)


async def test_barred_sim_closes_the_channel_and_nothing_more_is_written() -> None:
    modem, channel = made()
    modem.code = 8
    for number in range(3):
        assert isinstance(await channel.send(claim(number), 1, no_gate), Refused)
    assert not channel.ready
    assert "set aside: 3 messages in a row refused" in channel.trouble
    assert "+CMS ERROR: 8" in channel.snapshot()["hold"]
    modem.code = None  # would be taken
    assert isinstance(await channel.send(claim(6), 1, no_gate), NotSent)


async def test_channel_of_a_silent_sim_opens_when_its_probe_is_delivered() -> None:
    _, channel = made()
    channel.sim.breaker._first_rest_s = 0.0
    channel.reported("+251911000001", delivered=True)
    for number in range(10):
        channel.reported(f"+2519110000{number:02d}", delivered=False)
    assert isinstance(await channel.send(claim(7), 1, no_gate), Sent)
    waiting = asyncio.create_task(channel.wait_ready())
    await asyncio.sleep(0)
    assert channel.trouble != ""
    assert not waiting.done()
    channel.reported("+251911000007", delivered=True)
    await waiting
    assert channel.ready
    assert channel.trouble == ""


async def test_sim_under_the_floor_sends_nothing_until_it_is_asked_again(tmp_path: Path) -> None:
    modem, channel = made()
    store = await Store.open(tmp_path)
    service = OutboundService(store, lambda: 1_795_000_000_000, seed=1)
    await service.start()
    service.add(channel, limits=Limits(balance=BalanceRule("*804#", floor=500)))
    async with asyncio.timeout(10):
        while not channel.trouble:
            await asyncio.sleep(0)
        await service.send(Outbound(recipient="+251911000001", text="hello", lane=Lane.REPLY))
        assert "under the floor of 5.00 birr" in service.routing.snapshot()[0]["reason"]
        assert isinstance(await channel.send(claim(2), 1, no_gate), NotSent)
        assert modem.sent == 0
        assert await service.ask_balance("modem:gsm0") == ""
        while modem.sent == 0:
            await asyncio.sleep(0)
    await service.stop(0.5)
    await store.close()


async def test_flash_and_data_go_out_as_their_form_says() -> None:
    modem, channel = made()
    tone = data_form("8bit", b"\x30\x00", bytes.fromhex("06050415810000"), None, 0)
    for number, form in ((1, Form(message_class=0)), (2, tone), (3, Form())):
        sent = msgspec.structs.replace(claim(number), form=form.dumps() if form != Form() else "")
        assert isinstance(await channel.send(sent, 1, no_gate), Sent)
    flash, data, plain = modem.submits
    assert (flash.dcs, flash.udh, flash.data) == (0x10, b"", plain.data)
    assert (data.dcs, data.udh, data.data) == (0x04, bytes.fromhex("06050415810000"), b"\x30\x00")
    assert data.recipient == Address.parse("+251911000002") and data.status_report
    assert (plain.dcs, plain.udh) == (0x00, b"")


@pytest.mark.parametrize(
    ("coding", "content", "udh", "words"),
    [
        ("8bit", bytes(141), b"", "141 octets; one SMS holds 140"),
        ("8bit", bytes(138), b"\x02\x70\x00", "holds 137"),
        ("8bit", b"", b"\x05\x00", "not its length"),
        ("gsm7", "x" * 161, b"", "161 septets; one SMS holds 160"),
        ("ucs2", "x" * 71, b"", "142 octets"),
        ("gsm7", "ሰ", b"", "GSM 7 bit"),
    ],
)
def test_data_that_no_sms_holds_is_refused(coding: Any, content: Any, udh: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        data_form(coding, content, udh, None, 0)
