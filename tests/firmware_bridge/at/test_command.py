"""Nothing from outside reaches an AT line unchecked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.at.command import AtCommand, ask, attempt, operator_command, submit
from firmware_bridge.errors import UnsafeArgument

POISON = ["1\r", "1\nAT+CFUN=0", "1\x1a", "1\x1b", '1"', '",15;+CMGD=1,4;"', "ኢትዮ", "\x00", "a\x7f"]


@pytest.mark.parametrize("text", POISON)
@pytest.mark.parametrize("name", ["+CSCA", "+CUSD", "+CPIN", "+CPMS"])
def test_attempt_refuses_text_that_could_end_the_line(name: str, text: str) -> None:
    with pytest.raises(UnsafeArgument):
        attempt(name, 1, text)


@given(st.text(max_size=40))
def test_attempt_is_one_line_with_paired_quotes_or_refused(text: str) -> None:
    try:
        line = attempt("+CUSD", 1, text, 15).encoded
    except UnsafeArgument:
        return
    assert line == f'AT+CUSD=1,"{text}",15\r'.encode("ascii")
    assert line.count(b"\r") == 1
    assert not set(line[:-1]) & set(range(0x20))


@pytest.mark.parametrize("name", ["+CSCA\r", "+CSCA=1;+CMGD", "", "+", "CSCA?", "+cSCA", "+CSCA "])
def test_attempt_refuses_what_is_no_command_name(name: str) -> None:
    with pytest.raises(UnsafeArgument):
        ask(name)


@pytest.mark.parametrize("pdu", ["00 11", "0g", "001", "00\r", "", "0011\x1aAT", "aa"])
def test_command_payload_is_whole_octets_of_hex_only(pdu: str) -> None:
    with pytest.raises(UnsafeArgument):
        AtCommand("AT+CMGS=1", payload=pdu)


def test_submit_length_must_fit_the_pdu() -> None:
    assert submit(b"\x00\x11\x00", 2, timeout_s=60).line == "AT+CMGS=2"
    with pytest.raises(UnsafeArgument):
        submit(b"\x00\x11\x00", 4, timeout_s=60)


@pytest.mark.parametrize(
    "line",
    [
        "AT+CMGS=10", "at+cmgs=10", "ATD*99#", "AT+CSQ;+CMGD=1,4", "AT+CPIN=\"1234\"", "ATZ", "AT+CSQ; +CMGW",
        "AT+CSQ\rAT+CMGD=1,4", "AT+IPR=9600", "rm -rf", "AT+CMGF=1", "AT+CNMI=0", "AT+CUSD=1,\"*804#\"", "A/",
        "AT+CFUN=0", "at+cfun=4,0", "AT+COPS=2", "AT+CREG=0", "AT+CSQ;+CSMS=1", "ATE1", "AT+CMGDA=6",
    ],
)  # fmt: skip
def test_operator_command_refuses_what_would_take_the_line_away(line: str) -> None:
    with pytest.raises(UnsafeArgument):
        operator_command(line)


@pytest.mark.parametrize(
    "line",
    ["AT", "ATI", "AT+CSQ", "AT+COPS?", 'AT+COPS=4,2,"63601"', "AT^HCSQ?", "AT&V", "AT+CFUN=?", "AT+CFUN?"],
)
def test_operator_command_passes_questions(line: str) -> None:
    assert operator_command(line).line == line


def test_command_secret_names_itself_without_its_arguments() -> None:
    command: Any = attempt("+CPIN", "1234", secret=True)
    assert command.name == "+CPIN"
    assert command.secret
