"""The Modem against a scripted modem on a pty: what it does, in which order, and what it never does."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from firmware_bridge.errors import (
    Ambiguous,
    CmsError,
    NotReady,
    PortLost,
    PromptLost,
    SendAction,
)
from firmware_bridge.pdu import Scts, Submit, delivers, submits
from firmware_bridge.profiles import DEFAULT

WHEN = Scts.from_utc_ms(1_790_000_000_000, zone_minutes=180)


def deliver_pdu(text: str, sender: str = "+251911222333") -> str:
    return delivers(sender, text, WHEN)[0].encode().hex().upper()


def one(text: str = "hello", to: str = "+251911222333") -> Submit:
    return submits(to, text, reference=1, status_report=True)[0]


async def test_modem_starts_and_reports_who_it_is(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path)
    await harness.ready()
    await harness.until(lambda: modem.health.own_number)
    health = modem.health
    assert (health.state, health.manufacturer, health.imei) == ("ready", "Acme", "490154203237518")
    assert health.signal_dbm == -73
    assert health.operator == "Ethio telecom"
    assert health.smsc == "+251911000000"
    assert health.storage_total == 20
    assert health.own_number == "+251911000001"
    assert health.iccid == "8925101234567890123"


async def test_modem_send_returns_the_modems_reference(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path)
    await harness.ready()
    submit = one()
    assert await modem.send(submit) == 1
    assert fake.pdus == [submit.encode().hex().upper()]
    assert f"AT+CMGS={submit.tpdu_length}" in fake.seen
    assert modem.health.sent == 1


async def test_modem_sends_in_order_of_call(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path)
    await harness.ready()
    wanted = [one(f"n{i}") for i in range(20)]
    assert await asyncio.gather(*(modem.send(s) for s in wanted)) == list(range(1, 21))
    assert fake.pdus == [s.encode().hex().upper() for s in wanted]


async def test_modem_message_is_deleted_only_after_it_was_taken(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.store[7] = deliver_pdu("Selam")
    stored_at_hand_over = []
    harness.before_accept = lambda: stored_at_hand_over.append(7 in fake.store)
    fake.say('+CMTI: "SM",7')
    await fake.until(lambda: 7 not in fake.store)
    assert stored_at_hand_over == [True]
    assert [r.deliver.text for r in harness.received] == ["Selam"]
    assert (harness.received[0].memory, harness.received[0].index) == ("SM", 7)


async def test_modem_refused_message_stays_on_the_sim_and_comes_again(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    harness.refuse = OSError("disk full")
    fake.store[1] = deliver_pdu("keep me")
    fake.say('+CMTI: "SM",1')
    await fake.until(lambda: fake.asked(r"AT\+CMGR=1"))
    await harness.modem.send(one())
    assert 1 in fake.store
    harness.refuse = None
    harness.modem.sweep_soon()
    await fake.until(lambda: not fake.store)
    assert [r.deliver.text for r in harness.received] == ["keep me"]


async def test_modem_start_sweeps_what_came_while_it_was_away(fake: Any, harness: Any) -> None:
    fake.store.update({1: deliver_pdu("one"), 4: deliver_pdu("two"), 9: "0011FF"})
    harness.start(fake.path)
    await fake.until(lambda: not fake.store)
    assert [r.deliver.text for r in harness.received] == ["one", "two"]
    assert len(harness.undecodable) == 1


async def test_modem_direct_deliver_inside_another_answer_is_taken_and_acknowledged(
    fake: Any, harness: Any
) -> None:
    harness.start(fake.path)
    await harness.ready()
    pdu = deliver_pdu("direct")
    fake.sent_answer = f"+CMT: ,{len(pdu) // 2 - 1}\n{pdu}\n+CMGS: 9\nOK"
    assert await harness.modem.send(one()) == 9
    await harness.until(lambda: harness.received)
    assert harness.received[0].deliver.text == "direct"
    await fake.until(lambda: "AT+CNMA" in fake.seen)


async def test_modem_undeletable_message_is_handed_over_once(fake: Any, harness: Any) -> None:
    fake.on(r"AT\+CMGD=\d+", "OK")  # and nothing happens
    fake.store[3] = deliver_pdu("again?")
    harness.start(fake.path)
    await harness.ready()
    for _ in range(3):
        before = fake.asked(r"AT\+CMGL=4")
        harness.modem.sweep_soon()
        await fake.until(lambda before=before: fake.asked(r"AT\+CMGL=4") > before)
    await fake.until(lambda: fake.asked(r"AT\+CMGD=3") >= 3)
    assert len(harness.received) == 1


async def test_modem_refusal_before_prompt_is_not_ambiguous(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.on(r"AT\+CMGS=.*", "+CMS ERROR: 38")
    with pytest.raises(CmsError) as caught:
        await harness.modem.send(one())
    assert (caught.value.code, caught.value.ambiguous) == (38, False)
    assert caught.value.action is SendAction.RETRY_LATER


@pytest.mark.parametrize(
    ("answer", "kind", "ambiguous"),
    [
        ("+CMS ERROR: 500", CmsError, True),
        ("+CMS ERROR: 304", CmsError, False),
        ("ERROR", Ambiguous, True),
        ("OK", Ambiguous, True),
    ],
)
async def test_modem_refusal_after_pdu_says_whether_it_may_have_gone(
    fake: Any, harness: Any, answer: str, kind: type[Exception], ambiguous: bool
) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.sent_answer = answer
    with pytest.raises(kind) as caught:
        await harness.modem.send(one())
    assert caught.value.ambiguous is ambiguous


async def test_modem_gone_after_pdu_is_port_lost_after_pdu(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.sent_answer = lambda f, line: f.close()
    with pytest.raises(PortLost) as caught:
        await harness.modem.send(one())
    assert caught.value.after_pdu
    assert caught.value.ambiguous


async def test_modem_not_started_refuses_to_send(fake: Any, harness: Any) -> None:
    fake.on(r"AT\+CREG\?", "+CREG: 1,2\nOK")
    modem = harness.start(fake.path)
    await harness.until(lambda: "searching" in modem.health.reason)
    assert modem.health.state == "starting"
    with pytest.raises(NotReady):
        await modem.send(one())
    fake.say("+CREG: 5")
    await harness.ready()
    assert modem.health.registration == 5


async def test_modem_gate_runs_between_prompt_and_pdu(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    seen: list[tuple[int, int]] = []

    async def gate() -> None:
        seen.append((fake.asked(r"AT\+CMGS=\d+"), len(fake.pdus)))

    assert await harness.modem.send(one(), gate=gate) == 1
    assert seen == [(1, 0)]


async def test_modem_gate_that_raises_sends_nothing_and_line_recovers(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()

    async def gate() -> None:
        raise KeyError("intent not stored")

    with pytest.raises(KeyError):
        await harness.modem.send(one(), gate=gate)
    assert fake.pdus == []
    assert await harness.modem.send(one("next")) == 1


async def test_modem_without_prompt_sends_nothing_and_goes_on(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    impatient = dataclasses.replace(DEFAULT, prompt_timeout_s=0.1)
    harness.modem._driver.facts.profile = impatient
    fake.on(r"AT\+CMGS=.*", None)
    with pytest.raises(PromptLost):
        await harness.modem.send(one())
    fake.rules.clear()
    assert await harness.modem.send(one()) == 1


async def test_modem_restart_banner_initialises_again(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.echo = True
    fake.say("RDY")
    await fake.until(lambda: fake.asked(r"AT\+CMGF=0") == 2)
    await harness.ready()
    assert await harness.modem.send(one()) == 1


async def test_modem_cancelled_while_waiting_writes_nothing(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    release = asyncio.Event()

    async def gate() -> None:
        await release.wait()

    first = asyncio.create_task(harness.modem.send(one("first"), gate=gate))
    await fake.until(lambda: fake.asked(r"AT\+CMGS=\d+") == 1)
    second = asyncio.create_task(harness.modem.send(one("second")))
    await asyncio.sleep(0)
    second.cancel()
    release.set()
    assert await first == 1
    assert await harness.modem.send(one("third")) == 2
    assert len(fake.pdus) == 2


async def test_modem_cancelled_after_pdu_does_not_disturb_the_next(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    fake.sent_answer = lambda f, line: None
    first = asyncio.create_task(harness.modem.send(one("first")))
    await fake.until(lambda: fake.pdus)
    first.cancel()
    second = asyncio.create_task(harness.modem.send(one("second")))
    await asyncio.sleep(0)
    fake.sent_answer = None
    fake.say("+CMGS: 77\nOK")
    assert await second == 1


async def test_modem_wire_log_shows_no_number_and_no_text(fake: Any, harness: Any) -> None:
    harness.start(fake.path, smsc="+251911999888")
    await harness.ready()
    fake.store[1] = deliver_pdu("secret words")
    fake.say('+CMTI: "SM",1')
    await fake.until(lambda: not fake.store)
    await harness.modem.send(one("more secrets"))
    text = "\n".join(harness.wire)
    assert "m0 > AT+CMGS=" in text
    assert "m0 < OK" in text
    for hidden in (
        "251911999888",
        "636011234567890",
        deliver_pdu("secret words")[10:],
        one("more secrets").encode().hex(),
    ):
        assert hidden not in text


async def test_inbox_one_lost_answer_to_the_list_does_not_end_listing(
    fake: Any, harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in a thousand simulated hours of lost commands: every slot was then read one by one, for ever."""
    monkeypatch.setattr("firmware_bridge.inbox.LIST_TIMEOUT_S", 0.1)
    monkeypatch.setattr("firmware_bridge.inbox.RETRY_S", 0.01)
    monkeypatch.setattr("firmware_bridge.at.dialogue.SYNC_ANSWER_S", 0.05)
    modem = harness.start(fake.path)
    await harness.ready()
    await fake.until(lambda: fake.asked(r"AT\+CMGL=4") == 1)
    silences = iter([None])
    fake.on(r"AT\+CMGL=4", lambda fake, line: next(silences, "OK"))
    modem.sweep_soon()
    await fake.until(lambda: fake.asked(r"AT\+CMGL=4") >= 3)
    assert fake.asked(r"AT\+CMGR=\d+") == 0


async def test_inbox_modem_that_hangs_on_the_list_has_its_slots_read_one_by_one(
    fake: Any, harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.inbox.LIST_TIMEOUT_S", 0.1)
    monkeypatch.setattr("firmware_bridge.at.dialogue.SYNC_ANSWER_S", 0.05)
    fake.on(r"AT\+CMGL=4", None)
    harness.start(fake.path)
    await harness.ready()
    await fake.until(lambda: fake.asked(r"AT\+CMGR=20") == 1)
    assert fake.asked(r"AT\+CMGL=4") == 1
