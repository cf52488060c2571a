"""The modem comes back by itself: lost, renamed, silent, restarted, failing, or somebody else's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import serial

from firmware_bridge.errors import NotReady, SendError
from firmware_bridge.ladder import Rung
from firmware_bridge.pdu import Submit, submits


def one(text: str = "hello") -> Submit:
    return submits("+251911222333", text, reference=1)[0]


@pytest.fixture
def quick(monkeypatch: Any) -> None:
    """The waits of a dialogue out of step, shortened: their length is not what is tested."""
    monkeypatch.setattr("firmware_bridge.at.dialogue.SYNC_ANSWER_S", 0.05)
    monkeypatch.setattr("firmware_bridge.at.command.DEFAULT_TIMEOUT_S", 0.2)
    monkeypatch.setattr("firmware_bridge.startup.RETRY_S", 0.01)
    monkeypatch.setattr("firmware_bridge.driver.ANSWERED_LATELY_S", 0.0)


async def test_modem_lost_and_back_under_the_same_name_is_bound_again(
    fake: Any, harness: Any, tmp_path: Path
) -> None:
    link = tmp_path / "modem0"
    link.symlink_to(fake.path)
    modem = harness.start(str(link))
    await harness.ready()
    link.unlink()
    fake.close()
    await harness.until(lambda: modem.health.state == "recovering")
    with pytest.raises(NotReady):
        await modem.send(one())
    fake.open()
    fake.echo = True
    link.symlink_to(fake.path)
    async with asyncio.timeout(5):
        await modem.wait_ready()
    assert await modem.send(one()) == 1
    assert any(e.step == "port lost" for e in modem.history)


async def test_modem_back_under_another_name_is_found_by_its_imei(
    fake: Any, harness: Any, tmp_path: Path
) -> None:
    link = tmp_path / "ttyUSB0"
    link.symlink_to(fake.path)
    modem = harness.start(str(link))
    await harness.ready()
    link.unlink()
    fake.close()
    await harness.until(lambda: modem.health.state == "recovering")
    fake.open()
    other = tmp_path / "ttyUSB3"
    other.symlink_to(fake.path)
    async with asyncio.timeout(5):
        await modem.wait_ready()
    assert modem.health.port == str(other)
    assert not [e for e in modem.history if e.step in [r.value for r in Rung]]


async def test_modem_port_that_is_now_another_modem_is_not_taken(
    fake: Any, fake_too: Any, harness: Any, harness_too: Any, tmp_path: Path
) -> None:
    fake_too.on(r"AT\+CGSN", "490154203237526\nOK")
    a, b = tmp_path / "ttyUSB0", tmp_path / "ttyUSB1"
    a.symlink_to(fake.path)
    b.symlink_to(fake_too.path)
    first = harness.start(str(a), name="m0")
    second = harness_too.start(str(b), name="m1")
    await harness.ready()
    await harness_too.ready()
    for modem, link in ((fake, a), (fake_too, b)):
        link.unlink()
        modem.close()
    await harness.until(lambda: first.health.state == "recovering")
    await harness_too.until(lambda: second.health.state == "recovering")
    fake.open()
    fake_too.open()
    a.symlink_to(fake_too.path)  # they came back in each other's place
    b.symlink_to(fake.path)
    async with asyncio.timeout(8):
        await first.wait_ready()
        await second.wait_ready()
    assert first.health.imei == "490154203237518"
    assert first.health.port == str(b)
    assert second.health.imei == "490154203237526"


async def test_modem_auto_finds_each_its_own_and_skips_what_is_no_modem(
    fake: Any, fake_too: Any, harness: Any, harness_too: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.discovery.PROBE_S", 0.5)
    master, slave = os.openpty()  # opens, and never answers
    fake_too.on(r"AT\+CGSN", "490154203237526\nOK")
    for name, path in (("p0", os.ttyname(slave)), ("p1", fake.path), ("p2", fake_too.path)):
        (tmp_path / name).symlink_to(path)
    first = harness.start(f"auto:{tmp_path}/p*", name="m0")
    second = harness_too.start(f"auto:{tmp_path}/p*", name="m1", imei="490154203237526")
    await harness.ready()
    await harness_too.ready()
    assert {first.health.imei, second.health.imei} == {"490154203237518", "490154203237526"}
    assert second.health.imei == "490154203237526"
    os.close(master)
    os.close(slave)


async def test_modem_port_of_another_program_is_refused_with_a_clear_line(fake: Any, harness: Any) -> None:
    held = serial.Serial(fake.path, exclusive=True)
    modem = harness.start(fake.path)
    await harness.until(lambda: "another process holds it" in modem.health.reason)
    assert modem.health.next_step.startswith("stop the other program")
    held.close()
    await harness.ready()


async def test_modem_port_named_twice_in_one_configuration_is_refused(
    fake: Any, harness: Any, harness_too: Any
) -> None:
    harness.start(fake.path, name="m0")
    await harness.ready()
    second = harness_too.start(fake.path, name="m1")
    await harness_too.until(lambda: "another modem of this configuration has it" in second.health.reason)


async def test_modem_missing_port_says_so_and_is_taken_when_it_appears(
    fake: Any, harness: Any, tmp_path: Path
) -> None:
    link = tmp_path / "modem0"
    modem = harness.start(str(link))
    await harness.until(lambda: "no such port" in modem.health.reason)
    link.symlink_to(fake.path)
    await harness.ready()


async def test_modem_gone_silent_is_reopened_and_history_says_why(
    quick: None, fake: Any, harness: Any
) -> None:
    modem = harness.start(fake.path, poll_s=0.1)
    await harness.ready()
    fake.on(".*", None)
    await harness.until(lambda: modem.health.state == "recovering")
    fake.rules.clear()
    await harness.ready()
    (entry,) = [e for e in modem.history if e.step == Rung.REOPEN.value]
    assert "no answer to AT" in entry.reason
    assert entry.outcome == "healthy"
    assert await modem.send(one()) == 1


async def test_modem_whose_sends_all_fail_climbs_the_ladder(
    quick: None, fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.steps.RADIO_OFF_S", 0.0)
    modem = harness.start(fake.path, poll_s=0.1)
    await harness.ready()
    fake.sent_answer = "+CMS ERROR: 300"

    async def fail() -> None:
        for _ in range(5):
            await modem.wait_ready()
            with pytest.raises(SendError):
                await modem.send(one())

    await fail()
    await harness.until(lambda: any(e.step == Rung.INITIALISE.value for e in modem.history))
    await harness.ready()
    await fail()
    await fake.until(lambda: "AT+CFUN=0" in fake.seen and "AT+CFUN=1" in fake.seen)
    fake.sent_answer = None
    await harness.ready()
    assert await modem.send(one()) == 1


async def test_modem_poison_message_does_not_count_against_the_modem(
    quick: None, fake: Any, harness: Any
) -> None:
    modem = harness.start(fake.path, poll_s=0.1)
    await harness.ready()
    fake.sent_answer = "+CMS ERROR: 1"
    for _ in range(12):
        with pytest.raises(SendError):
            await modem.send(one())
    fake.sent_answer = None
    assert await modem.send(one()) == 1
    assert not [e for e in modem.history if e.step == Rung.INITIALISE.value]


async def test_modem_banners_of_one_start_are_one_restart(quick: None, fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path)
    await harness.ready()
    for number, banner in enumerate(("RDY", "+CFUN: 1", "SMS Ready"), 2):
        fake.say(banner)
        await fake.until(lambda number=number: fake.asked(r"AT\+CMGF=0") == number)
        await harness.ready()
    assert [e.step for e in modem.history].count("restarted") == 1
    assert not modem.health.alarms


async def test_modem_restarting_again_and_again_raises_an_alarm(
    quick: None, fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.driver.ONE_RESTART_S", 0.0)
    modem = harness.start(fake.path)
    await harness.ready()
    for number in range(2, 5):
        fake.echo = True
        fake.say("RDY")
        await fake.until(lambda number=number: fake.asked(r"AT\+CMGF=0") == number)
        await harness.ready()
    assert modem.health.state == "degraded"
    assert "power supply" in modem.health.reason
    assert modem.ready


async def test_modem_store_at_eighty_percent_raises_an_alarm_and_is_drained(
    quick: None, fake: Any, harness: Any
) -> None:
    foreign = "0001000B91195211223233F30000A705C8329BFD06"
    fake.store.update(dict.fromkeys(range(1, 17), foreign))
    # Drafts that somebody left on the SIM: not ours to delete, but they fill it.
    fake.on(
        r"AT\+CMGL=4", lambda f, _: "\n".join([*(f"+CMGL: {i},2,,20\n{p}" for i, p in f.store.items()), "OK"])
    )
    modem = harness.start(fake.path, poll_s=0.1)
    await harness.ready()
    await harness.until(lambda: modem.health.alarms)
    assert "16 of 20" in modem.health.reason
    assert len(fake.store) == 16
    fake.store.clear()
    await harness.until(lambda: modem.health.state == "ready")


async def test_modem_denied_by_the_network_waits_instead_of_resetting(
    quick: None, fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.ladder.Ladder.proof_s", 0.05)
    fake.on(r"AT\+CREG\?", "+CREG: 1,3\nOK")
    modem = harness.start(fake.path, poll_s=0.05)
    await harness.until(lambda: "denied" in modem.health.reason)
    polls = fake.asked(r"AT\+CREG\?")
    await fake.until(lambda: fake.asked(r"AT\+CREG\?") > polls + 4)
    assert "AT+CFUN=0" not in fake.seen
    assert "operator" in modem.health.next_step


async def test_modem_unregistered_for_long_restarts_its_radio(
    quick: None, fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.ladder.Ladder.proof_s", 0.05)
    monkeypatch.setattr("firmware_bridge.steps.RADIO_OFF_S", 0.0)
    fake.on(r"AT\+CREG\?", "+CREG: 1,2\nOK")
    modem = harness.start(fake.path, poll_s=0.05)
    await fake.until(lambda: "AT+CFUN=1" in fake.seen)
    fake.rules.clear()
    await harness.ready()
    assert any(e.step == Rung.RADIO.value and e.outcome == "healthy" for e in modem.history)


async def test_modem_canary_that_does_not_come_back_starts_the_ladder(
    quick: None, fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.canary.BACK_S", 0.1)
    modem = harness.start(fake.path, poll_s=0.05, canary_number="+251911000001", canary_s=0.2)
    await fake.until(lambda: fake.pdus)
    await harness.until(lambda: any("canary" in e.reason for e in modem.history))


async def test_modem_canary_that_comes_back_is_nobodys_message(quick: None, fake: Any, harness: Any) -> None:
    from firmware_bridge.pdu import Scts, delivers

    modem = harness.start(fake.path, poll_s=0.05, canary_number="+251911000001", canary_s=0.2)
    await fake.until(lambda: fake.pdus)
    text = Submit.decode(bytes.fromhex(fake.pdus[0])).text
    pdu = delivers("+251911000001", text or "", Scts.from_utc_ms(1_790_000_000_000))[0].encode().hex().upper()
    fake.store[1] = pdu
    fake.say('+CMTI: "SM",1')
    await fake.until(lambda: not fake.store)
    assert harness.received == []
    assert modem._driver.canary.token is None


async def test_modem_stop_in_mid_send_waits_for_the_answer(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path)
    await harness.ready()

    def late(fake: Any, line: str) -> None:
        asyncio.get_running_loop().call_later(0.1, fake.say, "+CMGS: 5\nOK")

    fake.sent_answer = late
    sending = asyncio.create_task(modem.send(one()))
    await fake.until(lambda: fake.pdus)
    await harness.stop()
    assert await sending == 5
    assert modem.health.state == "parked"


async def test_modem_that_lost_its_settings_and_told_nobody_is_initialised(
    quick: None, fake: Any, harness: Any
) -> None:
    reading = "+CNMI: 2,1,0,1,0"
    fake.on(r"AT\+CNMI\?", lambda f, line: f"{reading}\nOK")
    modem = harness.start(fake.path, poll_s=0.05)
    await harness.ready()
    asked = fake.asked(r"AT\+CNMI\?")
    await fake.until(lambda: fake.asked(r"AT\+CNMI\?") > asked + 2)
    assert fake.asked(r"AT\+CMGF=0") == 1
    reading = "+CNMI: 0,0,0,0,0"
    await fake.until(lambda: fake.asked(r"AT\+CMGF=0") == 2)
    reading = "+CNMI: 2,1,0,1,0"
    await harness.until(lambda: any(e.step == "settings lost" for e in modem.history))
    await harness.ready()


async def test_modems_that_share_an_imei_both_work(
    fake: Any, fake_too: Any, harness: Any, harness_too: Any
) -> None:
    """Clones do, and emulators that nobody told apart."""
    first = harness.start(fake.path, name="m0")
    second = harness_too.start(fake_too.path, name="m1")
    await harness.ready()
    await harness_too.ready()
    assert first.health.imei == second.health.imei
    assert (await first.send(one()), await second.send(one())) == (1, 1)


@pytest.mark.parametrize("code", [8, 21, 50])
async def test_sends_refused_by_the_network_for_the_subscriber_do_not_restart_the_modem(
    fake: Any, harness: Any, quick: None, code: int
) -> None:
    """A barred SIM is no ill modem: the network was reached, and a reset would not change its mind."""
    fake.sent_answer = f"+CMS ERROR: {code}"
    modem = harness.start(fake.path, poll_s=0.05)
    await harness.ready()
    for _ in range(6):
        with pytest.raises(SendError):
            await modem.send(one())
    before = fake.asked(r"AT\+CSQ")
    await fake.until(lambda: fake.asked(r"AT\+CSQ") > before + 2)
    assert [entry.step for entry in modem.history] == ["ready"]
    assert modem.ready
