"""The terminal adaptor: line editor, echo, result codes, prompts, unsolicited lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.simulator import ModemSpec, World


def test_modem_echo_on_after_power_up_and_off_by_ate0(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(quiet=False)

    bench.write("modem0", b"ATE0\r")
    first = bench.read("modem0")
    bench.write("modem0", b"AT\r")

    assert first == b"ATE0\r\r\nOK\r\n"
    assert bench.read("modem0") == b"\r\nOK\r\n"


def test_modem_bytes_one_at_a_time_same_answer(bench: Any) -> None:
    for byte in b"AT+CSQ\r":
        bench.write("modem0", bytes([byte]))

    assert bench.read("modem0") == b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n"


def test_modem_v0_gives_numbers(bench: Any) -> None:
    bench.at("modem0", "V0")
    bench.write("modem0", b"AT+CSQ\r")
    answered = bench.read("modem0")
    bench.write("modem0", b"AT+NONSENSE\r")

    assert answered == b"+CSQ: 20,99\r\n0\r"
    assert bench.read("modem0") == b"4\r"


@pytest.mark.parametrize(
    ("cmee", "answer"), [(0, "ERROR"), (1, "+CME ERROR: 3"), (2, "+CME ERROR: operation not allowed")]
)
def test_modem_cmee_decides_the_form_of_errors(bench: Any, cmee: int, answer: str) -> None:
    bench.at("modem0", f"+CMEE={cmee}")

    assert bench.at("modem0", '+CPIN="1234"') == [answer]


def test_modem_line_without_at_is_not_answered(bench: Any) -> None:
    bench.write("modem0", b"+CSQ\r\n\r\x1a\x1b")

    assert bench.read("modem0") == b""
    assert bench.at("modem0", "") == ["OK"]


def test_modem_garbage_before_at_is_skipped(bench: Any) -> None:
    bench.write("modem0", b"\x00\xffzzAT+CSQ\r")

    assert bench.lines("modem0")[-1] == "OK"


def test_modem_backspace_takes_a_character_back(bench: Any) -> None:
    bench.write("modem0", b"AT+CSX\x08Q\r")

    assert bench.lines("modem0") == ["+CSQ: 20,99", "OK"]


def test_modem_error_ends_the_line(bench: Any) -> None:
    assert bench.at("modem0", "+CSQ;+NONSENSE;+CSQ") == ["+CSQ: 20,99", "ERROR"]


def test_modem_input_during_a_command_waits_its_turn(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=2.0)
    bench.at("modem0", "+CMGS=15")
    bench.write("modem0", b"0001000C915291220000100000024834\x1aAT+CSQ\r")

    during = bench.lines("modem0")
    bench.wait(2.0)

    assert during == []
    assert bench.lines("modem0") == ["+CMGS: 0", "OK", "+CSQ: 20,99", "OK"]


def test_modem_escape_at_the_prompt_sends_nothing(bench: Any) -> None:
    assert bench.at("modem0", "+CMGS=15") == ["> "]

    bench.write("modem0", b"0001\x1b")

    assert bench.lines("modem0") == ["OK"]
    assert bench.world.network.counts["accepted"] == 0


def test_modem_urc_waits_for_the_prompt_to_close(bench: Any) -> None:
    bench.at("modem0", "+CMGS=15")
    bench.world.network.deliver("+251922000001", "+251911000001", "hello")

    meanwhile = bench.lines("modem0")
    bench.write("modem0", b"\x1b")

    assert meanwhile == []
    assert bench.lines("modem0") == ["OK", '+CMTI: "SM",1']


def test_modem_urc_waits_while_a_line_is_typed(bench: Any) -> None:
    bench.write("modem0", b"AT+C")
    bench.world.network.deliver("+251922000001", "+251911000001", "hello")
    meanwhile = bench.lines("modem0")
    bench.write("modem0", b"SQ\r")

    assert meanwhile == []
    assert bench.lines("modem0") == ["+CSQ: 20,99", "OK", '+CMTI: "SM",1']


def test_modem_restart_forgets_settings_and_keeps_messages(bench: Any) -> None:
    bench.world.network.deliver("+251922000001", "+251911000001", "kept")
    bench.wait(0.0)

    assert bench.at("modem0", "+CFUN=1,1") == ["OK"]
    bench.wait(1.0)
    bench.read("modem0")

    assert bench.at("modem0", "+CNMI?") == ["AT+CNMI?", "+CNMI: 0,0,0,0,0", "OK"]
    assert len(bench.at("modem0", "+CMGL=4")) == 4


def test_modem_factory_settings_by_at_and_f(bench: Any) -> None:
    bench.at("modem0", "&F")

    assert bench.at("modem0", "+CMEE?") == ["AT+CMEE?", "+CMEE: 0", "OK"]


def test_modem_radio_off_and_on_tells_registration(bench: Any) -> None:
    bench.at("modem0", "+CREG=2")

    off = bench.at("modem0", "+CFUN=0")
    on = bench.at("modem0", "+CFUN=1")

    assert off == ["+CREG: 0", "OK"]
    assert on == ['+CREG: 1,"00C8","1A2B"', "OK"]


def test_modem_clock_needs_ctzu(bench: Any) -> None:
    bench.wait(61.0)
    before = bench.at("modem0", "+CCLK?")
    bench.at("modem0", "+CTZU=1")

    assert before == ['+CCLK: "80/01/06,00:01:01+00"', "OK"]
    assert bench.at("modem0", "+CCLK?") == ['+CCLK: "23/11/15,01:14:21+12"', "OK"]


def test_modem_ussd_answers_unsolicited(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=1.0, ussd={"*1#": "pick 1", "*1#>1": "picked"})

    first = bench.at("modem0", '+CUSD=1,"*1#",15')
    bench.wait(1.0)
    menu = bench.lines("modem0")
    bench.at("modem0", '+CUSD=1,"1",15')
    bench.wait(1.0)

    assert first == ["OK"]
    assert menu == ['+CUSD: 1,"pick 1",15']
    assert bench.lines("modem0") == ['+CUSD: 0,"picked",15']


@pytest.mark.parametrize(
    ("tries", "answers", "state"),
    [
        (["1234"], ["OK"], "READY"),
        (["1111"], ["+CME ERROR: 16"], "SIM PIN"),
        (["1", "2", "3"], ["+CME ERROR: 16", "+CME ERROR: 16", "+CME ERROR: 12"], "SIM PUK"),
    ],
)
def test_modem_pin_counts_tries(
    make_bench: Callable[..., Any], tries: list[str], answers: list[str], state: str
) -> None:
    bench = make_bench([ModemSpec(pin="1234")])

    assert [bench.at("modem0", f'+CPIN="{pin}"')[0] for pin in tries] == answers
    assert bench.at("modem0", "+CPIN?")[0] == f"+CPIN: {state}"


def test_modem_locked_sim_refuses_messages_and_service(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([ModemSpec(pin="1234")])

    assert bench.at("modem0", "+CMGL=4") == ["+CMS ERROR: 311"]
    assert bench.at("modem0", "+CREG?") == ["+CREG: 0,0", "OK"]

    bench.at("modem0", '+CPIN="1234"')

    assert bench.at("modem0", "+CMGL=4") == ["OK"]
    assert bench.at("modem0", "+CREG?") == ["+CREG: 0,1", "OK"]


def test_modem_puk_sets_a_new_pin(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([ModemSpec(pin="1234")])
    for _ in range(3):
        bench.at("modem0", '+CPIN="9999"')

    assert bench.at("modem0", '+CPIN="12345678","4321"') == ["OK"]
    assert bench.world.modems["modem0"].sim.pin == "4321"


KNOWN = [b"AT+CMGS=15\r", b"\x1a", b"AT+CMGF=1\r", b"AT+CFUN=1,1\r", b'AT+CMGS="1"\r']


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([b"AT+CMGS=15\r", b"\x1a", b"AT+CMGF=1\r"]), max_size=12
    )
)
def test_modem_any_bytes_never_raise_and_a_program_gets_through_after(chunks: list[bytes]) -> None:
    world = World()
    modem = world.add_modem(ModemSpec())
    for at, chunk in enumerate(chunks):
        world.receive("modem0", chunk, now=float(at))
    world.advance(1000.0)
    modem.take_output()

    for text in (b"\x1b\r", b"ATE0V1Q0\r", b"AT\r"):
        world.receive("modem0", text, now=1000.0)
        world.advance(1000.0)

    assert b"".join(modem.take_output()).endswith(b"\r\nOK\r\n")
