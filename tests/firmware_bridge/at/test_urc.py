"""Which lines nobody asked for, and what they mean."""

from __future__ import annotations

import pytest

from firmware_bridge.at.urc import UrcKind, classify, is_hex


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("RDY", UrcKind.RESTART),
        ("^SYSSTART", UrcKind.RESTART),
        ("+CFUN: 1", UrcKind.RESTART),
        ("+CFUN:1", UrcKind.RESTART),
        ("+CFUN: 0", UrcKind.CHATTER),
        ("+CFUN: 4", UrcKind.CHATTER),
        ("+WIND: 3", UrcKind.RESTART),
        ("+WIND: 4", UrcKind.READY),
        ("+WIND: 16", UrcKind.READY),
        ("+WIND: 7", UrcKind.CHATTER),
        ("+WIND: 30", UrcKind.CHATTER),
        ("SMS Ready", UrcKind.READY),
        ("SMS DONE", UrcKind.READY),
        ("+QIND: SMS DONE", UrcKind.READY),
        ("+QIND: PB DONE", UrcKind.CHATTER),
        ('+CMTI: "SM",3', UrcKind.STORED),
        ('+CDSI: "SR",1', UrcKind.REPORT_STORED),
        ("+CREG:1", UrcKind.REGISTRATION),
        ('^SMMEMFULL:"SM"', UrcKind.STORAGE_FULL),
        ("^SMGO: 2", UrcKind.STORAGE_FULL),
        ("UNDER-VOLTAGE WARNNING", UrcKind.POWER),
        ("NORMAL POWER DOWN", UrcKind.POWER),
        ("^SIMST:1", UrcKind.SIM),
        ("+NOBODY: 1", UrcKind.UNKNOWN),
        ("random noise", UrcKind.UNKNOWN),
    ],
)
def test_classify_idle_names_the_kind(line: str, kind: UrcKind) -> None:
    code = classify(line)
    assert code is not None
    assert code.kind is kind


@pytest.mark.parametrize(
    ("line", "pending"),
    [("+CPIN: READY", "+CPIN"), ("+CFUN: 1", "+CFUN"), ("+CCLK: 1", "+CCLK"), ("anything", "+CGMI")],
)
def test_classify_answer_of_the_pending_command_is_no_code(line: str, pending: str) -> None:
    assert classify(line, pending=pending, pending_read=True) is None


def test_classify_ussd_answer_is_a_code_even_while_dialling() -> None:
    code = classify('+CUSD: 0,"x",15', pending="+CUSD")
    assert code is not None
    assert code.kind is UrcKind.USSD


@pytest.mark.parametrize(
    ("text", "yes"), [("00AA", True), ("00A", False), ("00AG", False), ("", False), ("00", False)]
)
def test_is_hex_wants_whole_octets(text: str, yes: bool) -> None:
    assert is_hex(text) is yes
