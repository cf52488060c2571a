"""The operator: who gets what, when, and what the sender hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge.pdu import StatusReport, submits
from firmware_bridge.simulator.faults import Rule

BOX, PHONE = "+251911000001", "+251922000001"


def reports(lines: list[str]) -> list[StatusReport]:
    bodies = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("+CDS:")]
    return [StatusReport.decode(bytes.fromhex(body)) for body in bodies]


@pytest.mark.parametrize("dialled", ["+251922000001", "0922000001", "251922000001", "00251922000001"])
def test_network_every_form_of_a_number_reaches_the_phone(bench: Any, dialled: str) -> None:
    bench.phone(PHONE)

    bench.send("modem0", dialled, "hi")
    bench.wait(0.0)

    assert bench.texts() == ["hi"]


def test_network_holds_for_an_unattached_number_until_it_attaches(bench: Any) -> None:
    said = bench.send("modem0", PHONE, "waiting", report=True)
    bench.wait(3600.0)
    before = bench.lines("modem0")

    bench.phone(PHONE)
    bench.wait(0.0)

    assert said == ["+CMGS: 0", "OK"]
    assert before == []
    assert bench.texts() == ["waiting"]
    assert [report.status for report in reports(bench.lines("modem0"))] == [0]


def test_network_unattached_delivered_pretends(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(unattached="delivered")

    said = bench.send("modem0", PHONE, "anybody", report=True)

    assert [report.status for report in reports(said)] == [0]


def test_network_validity_over_reports_expired(bench: Any) -> None:
    (submit,) = submits(PHONE, "short-lived", status_report=True, validity_s=300)
    bench.submit("modem0", submit)

    bench.wait(299.0)
    before = bench.lines("modem0")
    bench.wait(1.0)

    assert before == []
    assert [report.status for report in reports(bench.lines("modem0"))] == [0x46]
    bench.phone(PHONE)
    bench.wait(10.0)
    assert bench.texts() == []


def test_network_switched_off_modem_gets_its_messages_later_in_order(bench: Any) -> None:
    bench.at("modem0", "+CFUN=4")
    for text in ("first", "second"):
        bench.world.network.deliver(PHONE, BOX, text)
    bench.wait(5.0)
    held = bench.world.network.held(BOX)

    bench.at("modem0", "+CFUN=1")
    bench.wait(0.0)

    assert held == 2
    assert bench.lines("modem0") == ['+CMTI: "SM",1', '+CMTI: "SM",2']


def test_network_air_time_is_kept_per_part(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=3.0)
    bench.at("modem0", "+CMGS=15")
    bench.write("modem0", b"0001000C915291220000100000024834\x1a")

    bench.wait(2.999)
    early = bench.lines("modem0")
    bench.wait(0.001)

    assert early == []
    assert bench.lines("modem0") == ["+CMGS: 0", "OK"]


def test_network_same_seed_same_story_other_seed_another(make_bench: Callable[..., Any]) -> None:
    def story(seed: int) -> list[float]:
        bench = make_bench(seed=seed, radio_s=3.0, radio_jitter_s=1.0)
        return [bench.world.network.radio_time() for _ in range(5)]

    assert story(1) == story(1)
    assert story(1) != story(2)


@pytest.mark.parametrize(
    ("do", "seconds", "heard"),
    [("lose", 0.0, [0, 0, 0]), ("delay", 60.0, [0, 1, 1]), ("double", 60.0, [1, 2, 2])],
)
def test_network_report_faults(bench: Any, do: str, seconds: float, heard: list[int]) -> None:
    bench.phone(PHONE)
    bench.world.faults.add(Rule(point="report", do=do, seconds=seconds))
    seen = [len(reports(bench.send("modem0", PHONE, "hi", report=True)))]

    for _ in range(2):
        bench.wait(60.0)
        seen.append(seen[-1] + len(reports(bench.lines("modem0"))))

    assert seen == heard


def test_network_refusal_by_number_spares_the_others(bench: Any) -> None:
    bench.world.faults.add(Rule(point="submit", do="refuse", code=38, match=r"^\+25190", times=1))

    assert bench.send("modem0", "+251900000000", "x") == ["+CMS ERROR: 38"]
    assert bench.send("modem0", PHONE, "x")[-1] == "OK"
    assert bench.send("modem0", "+251900000000", "x")[-1] == "OK"


def test_network_lie_says_ok_and_delivers_nothing(bench: Any) -> None:
    bench.phone(PHONE)
    bench.world.faults.add(Rule(point="submit", do="lie"))

    assert bench.send("modem0", PHONE, "x") == ["+CMGS: 0", "OK"]
    bench.wait(86_400.0)
    assert bench.texts() == []


def test_network_number_taken_is_refused(bench: Any) -> None:
    bench.phone(PHONE)

    with pytest.raises(ValueError, match="already"):
        bench.phone(PHONE)


def test_phone_long_text_is_joined_and_ticked_once(bench: Any) -> None:
    other = bench.phone(PHONE)
    bench.phone("+251922000002")
    text = "ሰላም 😀 " * 40

    sending = other.send("+251922000002", text)
    bench.wait(0.0)

    assert sending["segments"] > 1
    assert bench.texts() == [text]
    assert bench.states() == ["sent", "delivered"]


def test_phone_refused_part_is_told(bench: Any) -> None:
    phone = bench.phone(PHONE)
    bench.world.faults.add(Rule(point="submit", do="refuse", code=21))

    phone.send(BOX, "no")
    bench.wait(0.0)

    assert bench.states() == ["failed"]


def test_phone_sends_one_after_the_other(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=1.0)
    phone = bench.phone(PHONE)

    for text in ("a", "b", "c"):
        phone.send(BOX, text)
    bench.wait(2.5)

    assert len(bench.world.modems["modem0"].sim.messages) == 2


def test_phone_parts_in_any_order_are_one_text(bench: Any) -> None:
    bench.phone(PHONE)
    parts = submits(PHONE, "w" * 200 + "x" * 200, reference=9)

    for part in reversed(parts):
        bench.world.network.submit("+251922000005", part, 0)
    bench.wait(0.0)

    assert bench.texts() == ["w" * 200 + "x" * 200]


def test_network_tp_rd_refuses_what_it_still_holds(bench: Any) -> None:
    sim = bench.world.modems["modem0"].sim
    (submit,) = submits(PHONE, "once", reject_duplicates=True)
    first = bench.submit("modem0", submit)
    sim.last_mr = -1
    again = bench.submit("modem0", submit)
    bench.phone(PHONE)
    bench.wait(0.0)
    sim.last_mr = -1
    afterwards = bench.submit("modem0", submit)

    assert (first[-1], again, afterwards[-1]) == ("OK", ["+CMS ERROR: 197"], "OK")


def test_world_outputs_name_the_modem_and_keep_the_pieces(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(2)
    bench.write("modem1", b"AT+CSQ\r")

    assert list(bench.world.outputs()) == [
        ("modem1", b"\r\n+CSQ: 20,99\r\n"),
        ("modem1", b"\r\nOK\r\n"),
    ]
