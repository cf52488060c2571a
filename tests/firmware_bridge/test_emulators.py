"""Habits of emulators and odd firmware that nobody here wrote: the driver gets along with each."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

from firmware_bridge.pdu import Scts, delivers, submits

PDU = delivers("+251911222333", "hi", Scts.from_utc_ms(1_790_000_000_000))[0].encode().hex().upper()


def one() -> Any:
    return submits("+251911222333", "hello", reference=1)[0]


async def test_modem_that_takes_one_read_for_one_command(fake: Any, harness: Any) -> None:
    """It compares the whole read with what it knows, and ignores the rest: ESC, CR and AT at once is
    nothing.
    """

    def readable() -> None:
        data = os.read(fake.master, 4096)
        if fake._expecting_pdu and data.endswith(b"\x1a"):
            fake._expecting_pdu = False
            fake._pdu(data[:-1].decode())
        elif re.fullmatch(rb"AT[ -~]*\r", data):
            fake._line(data.decode().strip())
        fake._changed.set()

    loop = asyncio.get_running_loop()
    loop.remove_reader(fake.master)
    loop.add_reader(fake.master, readable)
    harness.start(fake.path)
    await harness.ready()
    assert await harness.modem.send(one()) == 1


async def test_modem_that_never_stops_echoing(fake: Any, harness: Any) -> None:
    fake.echoes_always = True
    harness.start(fake.path)
    await harness.ready()
    fake.store[1] = PDU
    fake.say('+CMTI: "SM",1')
    await fake.until(lambda: not fake.store)
    assert [r.deliver.text for r in harness.received] == ["hi"]
    assert await harness.modem.send(one()) == 1


async def test_modem_that_announces_another_store_than_it_lets_select(fake: Any, harness: Any) -> None:
    fake.on(r'AT\+CPMS="MT".*', "+CMS ERROR: 302")
    harness.start(fake.path)
    await harness.ready()
    fake.store[4] = PDU
    fake.say('+CMTI: "MT",4')
    await harness.until(lambda: harness.received)


async def test_modem_that_delivers_directly_whatever_was_asked(fake: Any, harness: Any) -> None:
    fake.on(r"AT\+CNMA.*", "ERROR")
    harness.start(fake.path)
    await harness.ready()
    for _ in range(2):
        fake.say(f"+CMT: ,{len(PDU) // 2 - 8}\n{PDU}")
    await harness.until(lambda: len(harness.received) == 2)
    # Once to settle what a former life left unacknowledged, once to learn that it is not known here.
    assert fake.asked(r"AT\+CNMA") == 2


async def test_modem_without_list_command_is_read_by_its_announcements(fake: Any, harness: Any) -> None:
    fake.on(r"AT\+CMGL=4", "ERROR")
    harness.start(fake.path)
    await harness.ready()
    fake.store[2] = PDU
    fake.say('+CMTI: "SM",2')
    await fake.until(lambda: not fake.store)
    assert len(harness.received) == 1


async def test_modem_that_hangs_at_the_list_is_read_slot_by_slot(
    fake: Any, harness: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("firmware_bridge.inbox.LIST_TIMEOUT_S", 0.1)
    fake.on(r"AT\+CMGL=4", None)
    fake.store[5] = PDU
    harness.start(fake.path)
    await harness.ready()
    harness.modem.sweep_soon()
    await fake.until(lambda: not fake.store)
    assert len(harness.received) == 1


async def test_modem_whose_list_is_cut_short_is_read_by_index(fake: Any, harness: Any) -> None:
    fake.on(
        r"AT\+CMGL=4", lambda f, _: f"+CMGL: 1,1,,{len(PDU) // 2 - 8}\n{PDU[:-8]}\nOK" if f.store else "OK"
    )
    fake.store[1] = PDU
    harness.start(fake.path)
    await fake.until(lambda: not fake.store)
    assert [r.deliver.text for r in harness.received] == ["hi"]
    assert not harness.undecodable


async def test_modem_reports_stored_and_direct_both_arrive(fake: Any, harness: Any) -> None:
    from firmware_bridge.pdu import Address, StatusReport

    when = Scts.from_utc_ms(1_790_000_000_000)
    report = StatusReport(
        recipient=Address.parse("+251911222333"), scts=when, discharge_time=when, status=0, mr=7
    )
    pdu = report.encode().hex().upper()
    harness.start(fake.path)
    await harness.ready()
    fake.say(f"+CDS: {report.tpdu_length}\n{pdu}")
    fake.store[3] = pdu
    fake.say('+CDSI: "SM",3')
    await harness.until(lambda: len(harness.reports) == 2)
    assert [r.mr for r in harness.reports] == [7, 7]
    await fake.until(lambda: not fake.store)


async def test_modem_answers_in_the_middle_of_its_own_code(fake: Any, harness: Any) -> None:
    """Bytes in dribs, with codes between any two of them."""
    harness.start(fake.path)
    await harness.ready()
    whole = b'\r\n+CMTI: "SM",1\r\n^RSSI:17\r\n\r\n+CMGS: 3\r\n^BOOT:1,0,0,0,7\r\n\r\nOK\r\n'

    def dribble(f: Any, line: str) -> None:
        for at, octet in enumerate(whole):
            asyncio.get_running_loop().call_later(at * 0.001, f.write, bytes([octet]))

    fake.store[1] = PDU
    fake.sent_answer = dribble
    assert await harness.modem.send(one()) == 3
    await fake.until(lambda: not fake.store)


async def test_modem_that_announces_nothing_is_swept_at_the_next_poll(fake: Any, harness: Any) -> None:
    harness.start(fake.path, poll_s=0.1, sweep_s=3600.0)
    await harness.ready()
    await fake.until(lambda: fake.asked(r"AT\+CMGL=4"))
    fake.store[1] = PDU
    await fake.until(lambda: not fake.store)
    assert len(harness.received) == 1


async def test_modem_drafts_on_the_sim_do_not_keep_the_sweep_running(fake: Any, harness: Any) -> None:
    fake.store[1] = PDU
    fake.on(r"AT\+CMGL=4", f"+CMGL: 1,2,,{len(PDU) // 2 - 1}\n{PDU}\nOK")
    harness.start(fake.path, poll_s=0.05, sweep_s=3600.0)
    await harness.ready()
    polls = fake.asked(r"AT\+CSQ")
    await fake.until(lambda: fake.asked(r"AT\+CSQ") > polls + 8)
    assert fake.asked(r"AT\+CMGL=4") <= 3
    assert fake.store


async def test_modem_that_fell_back_to_text_mode_is_set_right_and_read(fake: Any, harness: Any) -> None:
    harness.start(fake.path)
    await harness.ready()
    shown = '+CMGR: "REC UNREAD","+251911222333",,"26/11/22,10:00:00+12"\nhi\nOK'
    fake.on(r"AT\+CMGR=1", lambda f, line: shown if f.seen[-2] != "AT+CMGF=0" else f._built_in(line))
    fake.store[1] = PDU
    fake.say('+CMTI: "SM",1')
    await fake.until(lambda: not fake.store)
    assert [r.deliver.text for r in harness.received] == ["hi"]


async def test_modem_that_announces_by_a_name_it_refuses_is_read_and_freed(fake: Any, harness: Any) -> None:
    fake.on(r"AT\+CMGL=4", "ERROR")
    fake.on(r'AT\+CPMS="MT".*', "+CMS ERROR: 302")
    harness.start(fake.path)
    await harness.ready()
    for slot in (4, 5):
        fake.store[slot] = PDU
        fake.say(f'+CMTI: "MT",{slot}')
        await fake.until(lambda: not fake.store)
    assert len(harness.received) == 2


async def test_modem_without_list_command_has_what_nobody_announced_read_slot_by_slot(
    fake: Any, harness: Any
) -> None:
    fake.on(r"AT\+CMGL=4", "ERROR")
    fake.store[7] = PDU
    harness.start(fake.path)
    await harness.ready()
    await fake.until(lambda: not fake.store)
    assert len(harness.received) == 1
