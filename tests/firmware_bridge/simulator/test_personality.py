"""Families as data: each file is read, and what it says shows on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge.pdu import submits
from firmware_bridge.pdu.alphabet import encode_gsm7
from firmware_bridge.pdu.septets import pack_septets
from firmware_bridge.simulator import ModemSpec
from firmware_bridge.simulator.personality import load_personality, personality_names

BOX, PHONE = "+251911000001", "+251922000001"


@pytest.fixture
def family(make_bench: Callable[..., Any]) -> Callable[[str], Any]:
    """A modem of a family that has been up for 30 s, echo off."""

    def make(name: str, **spec: Any) -> Any:
        bench = make_bench([ModemSpec(personality=name, **spec)], quiet=False)
        bench.wait(30.0)
        bench.at("modem0", "E0")
        return bench

    return make


@pytest.mark.parametrize("name", personality_names())
def test_personality_cites_its_origin_and_sends(name: str, family: Callable[..., Any]) -> None:
    bench = family(name)
    bench.phone(PHONE)

    said = bench.send("modem0", PHONE, "from any family")
    bench.wait(0.0)

    assert load_personality(name).origin
    assert any(line.startswith("+CMGS:") for line in said)
    assert bench.texts() == ["from any family"]


@pytest.mark.parametrize("name", [name for name in personality_names() if name != "nokia_s60"])
def test_personality_receives_lists_and_deletes(name: str, family: Callable[..., Any]) -> None:
    bench = family(name)
    bench.world.network.deliver(PHONE, BOX, "to any family")
    bench.wait(0.0)
    listed = [line for line in bench.at("modem0", "+CMGL=4") if line.startswith("+CMGL")]
    index = int(listed[0].partition(":")[2].partition(",")[0])

    assert index == load_personality(name).index_base
    assert bench.at("modem0", f"+CMGD={index}") == ["OK"]
    assert [line for line in bench.at("modem0", "+CMGL=4") if line.startswith("+CMGL")] == []


def test_personality_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="generic"):
        load_personality("nokia_3310")


@pytest.mark.parametrize(
    ("name", "command", "answer"),
    [
        ("huawei_e1752", "+NONSENSE", ["COMMAND NOT SUPPORT"]),
        ("huawei_e3531", "+CLAC", []),
        ("zte_mf180", "+CFUN?", ["+CFUN: (0-1,4-7),(0-1)", "OK"]),
        ("sim800", "+CMGR=3", ["OK"]),
        ("wavecom", "+CPIN?", ["+CPIN: READY"]),
        ("wavecom", "+CGMR", ["ERROR"]),
        ("wavecom", '+CPMS="SM","SM","SM"', ["+CMS ERROR: 302"]),
        ("wavecom", "+CPMS=?", ['+CPMS: (("SM","BM","SR"),("SM"))', "OK"]),
        ("nokia_s60", "+CNMI=2,1", ["ERROR"]),
        ("nokia_s60", "+CPMS=?", ["+CPMS: (),(),()", "OK"]),
        ("cinterion_mc75", "+CNMI=2,1,0,2,0", ["+CMS ERROR: 303"]),
        ("cinterion_mc75", "+CNMI=2,1,0,2,1", ["OK"]),
        ("quectel_m95", "+CNMI=2,1,0,2,0", ["+CMS ERROR: 303"]),
    ],
)
def test_personality_trait_shows(
    family: Callable[..., Any], name: str, command: str, answer: list[str]
) -> None:
    assert family(name).at("modem0", command) == answer


def test_personality_chatter_stops_at_its_command(family: Callable[..., Any]) -> None:
    bench = family("zte_mf180")
    bench.lines("modem0")
    bench.wait(10.0)
    before = bench.lines("modem0").count("+ZUSIMR:2")
    bench.at("modem0", "+CPMS?")
    bench.wait(10.0)

    assert before == 4
    assert bench.lines("modem0").count("+ZUSIMR:2") == 0


def test_personality_sim800_refuses_messages_until_sms_ready(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([ModemSpec(personality="sim800")], quiet=False)
    bench.wait(2.0)
    early = bench.at("modem0", "+CPMS?")
    bench.wait(2.0)
    banner = bench.lines("modem0")

    assert early[-1] == "+CMS ERROR: 302"
    assert banner == ["Call Ready", "SMS Ready"]
    assert bench.at("modem0", "+CPMS?")[-1] == "OK"


def test_personality_zte_csmp_clears_the_smsc(family: Callable[..., Any]) -> None:
    bench = family("zte_mf180")
    bench.at("modem0", "+CSMP=17,167,0,0")

    assert bench.send("modem0", PHONE, "x")[-1] == "+CMS ERROR: 330"


def test_personality_ec25_announces_reports_at_the_wrong_place(family: Callable[..., Any]) -> None:
    bench = family("quectel_ec25")
    bench.phone(PHONE)
    bench.at("modem0", "+CNMI=2,1,0,2,0")

    said = bench.submit("modem0", submits(PHONE, "x", status_report=True)[0])

    assert '+CDSI: "SM",0' in said
    assert len(bench.world.modems["modem0"].memories["SR"]) == 1


def test_personality_huawei_ussd_is_packed(family: Callable[..., Any]) -> None:
    bench = family("huawei_e173")
    bench.world.settings.ussd["*1#"] = "hellohello"

    code = pack_septets(encode_gsm7("*1#")).hex()
    bench.at("modem0", f'+CUSD=1,"{code}",15')
    bench.wait(0.0)

    assert '+CUSD: 0,"E8329BFD4697D9EC37",15' in bench.lines("modem0")


def test_personality_huawei_says_when_the_store_is_full(family: Callable[..., Any]) -> None:
    bench = family("huawei_e1752", capacity=1)
    for text in ("one", "two"):
        bench.world.network.deliver(PHONE, BOX, text)
    bench.wait(0.0)

    assert '^SMMEMFULL: "SM"' in bench.lines("modem0")
