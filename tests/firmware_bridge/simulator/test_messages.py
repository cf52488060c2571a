"""Reading, listing, deleting and routing of messages; sending from PDU and text mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge.pdu import Deliver, StatusReport, submits
from firmware_bridge.simulator import ModemSpec

BOX, PHONE = "+251911000001", "+251922000001"


def arrive(bench: Any, *texts: str, sender: str = PHONE) -> None:
    for text in texts:
        bench.world.network.deliver(sender, BOX, text)
    bench.wait(0.0)


def test_cmti_then_cmgr_gives_what_was_sent(bench: Any) -> None:
    arrive(bench, "hello ሰላም")
    assert bench.lines("modem0") == ['+CMTI: "SM",1']

    header, pdu, final = bench.at("modem0", "+CMGR=1")
    deliver = Deliver.decode(bytes.fromhex(pdu))

    assert header == f"+CMGR: 0,,{deliver.tpdu_length}"
    assert (deliver.sender.digits, deliver.text, final) == (PHONE, "hello ሰላም", "OK")


def test_cmgr_flips_unread_to_read(bench: Any) -> None:
    arrive(bench, "once")

    first, second = bench.at("modem0", "+CMGR=1")[0], bench.at("modem0", "+CMGR=1")[0]

    assert (first[:8], second[:8]) == ("+CMGR: 0", "+CMGR: 1")


def test_cmgl_filters_by_status(bench: Any) -> None:
    arrive(bench, "one", "two")
    bench.at("modem0", "+CMGR=1")

    unread = bench.at("modem0", "+CMGL=0")
    everything = bench.at("modem0", "+CMGL=4")

    assert [line[:10] for line in unread if line.startswith("+")] == ["+CMGL: 2,0"]
    assert [line[:10] for line in everything if line.startswith("+")] == ["+CMGL: 1,1", "+CMGL: 2,1"]


@pytest.mark.parametrize(("flag", "left"), [("1", [2]), ("2,0", [1]), ("0,1", [2]), ("0,4", []), ("1,4", [])])
def test_cmgd_deletes_what_the_flag_says(bench: Any, flag: str, left: list[int]) -> None:
    arrive(bench, "one", "two")
    bench.at("modem0", "+CMGR=1")

    assert bench.at("modem0", f"+CMGD={flag}") == ["OK"]
    assert [index for index, _ in bench.world.modems["modem0"].sim.messages] == left


@pytest.mark.parametrize("command", ["+CMGR=7", "+CMGR=0", "+CMGR=51", "+CMGD=51"])
def test_wrong_index_is_321(bench: Any, command: str) -> None:
    assert bench.at("modem0", command) == ["+CMS ERROR: 321"]


def test_full_store_holds_the_message_back_until_a_delete(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([ModemSpec(capacity=2)])
    arrive(bench, "one", "two", "three")
    assert bench.lines("modem0") == ['+CMTI: "SM",1', '+CMTI: "SM",2']
    assert bench.world.network.held(BOX) == 1

    assert bench.at("modem0", "+CMGD=1") == ["OK"]
    bench.wait(0.0)

    assert bench.lines("modem0") == ['+CMTI: "SM",1']
    assert bench.world.network.held(BOX) == 0


def test_cnmi_mode_2_mt_2_hands_over_at_once_and_stores_nothing(bench: Any) -> None:
    bench.at("modem0", "+CNMI=2,2,0,0,0")
    arrive(bench, "direct")

    header, pdu = bench.lines("modem0")

    assert header == f"+CMT: ,{Deliver.decode(bytes.fromhex(pdu)).tpdu_length}"
    assert len(bench.world.modems["modem0"].sim.messages) == 0


def test_csms_1_without_cnma_repeats_and_switches_indications_off(bench: Any) -> None:
    bench.at("modem0", "+CSMS=1")
    bench.at("modem0", "+CNMI=2,2,0,0,0")
    arrive(bench, "direct")
    first = bench.lines("modem0")

    bench.wait(60.0)

    assert first[0].startswith("+CMT:")
    assert bench.at("modem0", "+CNMI?")[0] == "+CNMI: 2,0,0,0,0"
    assert len(bench.world.modems["modem0"].sim.messages) == 1  # repeated, now into the store


def test_csms_1_with_cnma_is_acknowledged_once(bench: Any) -> None:
    bench.at("modem0", "+CSMS=1")
    bench.at("modem0", "+CNMI=2,2,0,0,0")
    arrive(bench, "direct")

    assert bench.at("modem0", "+CNMA") == ["OK"]
    assert bench.at("modem0", "+CNMA") == ["+CMS ERROR: 340"]
    bench.wait(60.0)
    assert bench.lines("modem0") == []


def test_cnmi_mode_0_keeps_indications_until_it_is_left(bench: Any) -> None:
    bench.at("modem0", "+CNMI=0,1,0,0,0")
    arrive(bench, "kept")
    silent = bench.lines("modem0")

    bench.write("modem0", b"AT+CNMI=2,1,0,0,0\r")

    assert silent == []
    assert bench.lines("modem0") == ['+CMTI: "SM",1', "OK"]


def test_cpms_counts_and_switches(bench: Any) -> None:
    arrive(bench, "one")

    assert bench.at("modem0", "+CPMS?")[0] == '+CPMS: "SM",1,50,"SM",1,50,"SM",1,50'
    assert bench.at("modem0", '+CPMS="ME","SM"')[0] == "+CPMS: 0,255,1,50,1,50"
    assert bench.at("modem0", '+CPMS="XX"') == ["+CMS ERROR: 302"]


def test_status_report_by_cds_names_the_message(bench: Any) -> None:
    bench.phone(PHONE)

    said = bench.send("modem0", PHONE, "hi", report=True)

    assert said[:3] == ["+CMGS: 0", "OK", "+CDS: 25"]
    report = StatusReport.decode(bytes.fromhex(said[3]))
    assert (report.mr, report.recipient.digits, report.status) == (0, PHONE, 0)


def test_status_report_by_cdsi_is_read_from_sr(bench: Any) -> None:
    bench.phone(PHONE)
    bench.at("modem0", "+CNMI=2,1,0,2,0")

    said = bench.send("modem0", PHONE, "hi", report=True)
    bench.at("modem0", '+CPMS="SR"')
    report = StatusReport.decode(bytes.fromhex(bench.at("modem0", "+CMGR=1")[1]))

    assert said == ["+CMGS: 0", "OK", '+CDSI: "SR",1']
    assert report.status == 0


@pytest.mark.parametrize(
    ("typed", "length"),
    [
        ("zz", 15),  # no hex
        ("0001000C9152912200001000000248", 15),  # an octet short
        ("0001000C91529122000010000002483400", 15),  # one too many
        ("0000000C915291220000100000024834", 15),  # no SUBMIT
        ("", 15),
    ],
)
def test_cmgs_wrong_pdu_is_304(bench: Any, typed: str, length: int) -> None:
    assert bench.at("modem0", f"+CMGS={length}") == ["> "]

    bench.write("modem0", typed.encode() + b"\x1a")

    assert bench.lines("modem0") == ["+CMS ERROR: 304"]


def test_cmgs_counts_mr_modulo_256(bench: Any) -> None:
    bench.world.modems["modem0"].sim.last_mr = 254

    assert [bench.send("modem0", PHONE, "x")[0] for _ in range(3)] == ["+CMGS: 255", "+CMGS: 0", "+CMGS: 1"]


def test_cmgs_without_smsc_is_330(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([ModemSpec(smsc="")])

    assert bench.send("modem0", PHONE, "x") == ["+CMS ERROR: 330"]

    assert bench.at("modem0", '+CSCA="+251911299000",145') == ["OK"]
    assert bench.send("modem0", PHONE, "x")[-1] == "OK"


def test_cmms_saves_air_time(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=3.0, cmms_saves_s=1.0)
    bench.at("modem0", "+CMMS=2")
    bench.send("modem0", PHONE, "first")
    bench.at("modem0", "+CMGS=15")
    bench.write("modem0", b"0001000C915291220000100000024834\x1a")

    bench.wait(2.0)

    assert bench.lines("modem0") == ["+CMGS: 1", "OK"]


def test_cmgw_and_cmss_send_what_was_stored(bench: Any) -> None:
    bench.phone(PHONE)
    (submit,) = submits("+251922000009", "stored")
    bench.at("modem0", f"+CMGW={submit.tpdu_length}")
    bench.write("modem0", submit.encode().hex().encode() + b"\x1a")

    assert bench.lines("modem0") == ["+CMGW: 1", "OK"]
    assert bench.at("modem0", f'+CMSS=1,"{PHONE}"') == []
    bench.wait(0.0)
    assert bench.lines("modem0") == ["+CMSS: 0", "OK"]
    bench.wait(0.0)
    assert bench.texts() == ["stored"]


def test_text_mode_sends_and_lists(bench: Any) -> None:
    bench.phone(PHONE)
    bench.at("modem0", "+CMGF=1")
    bench.at("modem0", f'+CMGS="{PHONE}"')
    bench.write("modem0", b"by text mode\x1a")
    bench.wait(0.0)
    arrive(bench, "back")
    bench.read("modem0")

    listed = bench.at("modem0", '+CMGL="REC UNREAD"')

    assert bench.texts() == ["by text mode"]
    assert listed == [f'+CMGL: 1,"REC UNREAD","{PHONE}",,"23/11/15,01:13:20+12"', "back", "OK"]


def test_text_mode_ucs2_goes_as_hex(bench: Any) -> None:
    bench.phone(PHONE)
    bench.at("modem0", '+CMGF=1;+CSCS="UCS2";+CSMP=17,167,0,8')
    bench.at("modem0", f'+CMGS="{PHONE.encode("utf-16-be").hex()}"')
    bench.write("modem0", "ሰላም".encode("utf-16-be").hex().encode() + b"\x1a")
    bench.wait(0.0)

    assert bench.texts() == ["ሰላም"]
