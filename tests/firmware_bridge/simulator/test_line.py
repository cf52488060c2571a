from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.simulator.line import Call, Kind, LineError, parse_line, split_arguments


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("", []),
        ("E0V1", [Call("E", Kind.EXECUTE, "0"), Call("V", Kind.EXECUTE, "1")]),
        ("&F", [Call("&F", Kind.EXECUTE)]),
        ("s0=1", [Call("S0", Kind.SET, "1")]),
        ("+CREG?", [Call("+CREG", Kind.READ)]),
        ("+cnmi=?", [Call("+CNMI", Kind.TEST)]),
        ("E0+CMEE=1;+CREG=2", [
            Call("E", Kind.EXECUTE, "0"), Call("+CMEE", Kind.SET, "1"), Call("+CREG", Kind.SET, "2"),
        ]),
        ('+CUSD=1,"*1#;";^CURC=0', [Call("+CUSD", Kind.SET, '1,"*1#;"'), Call("^CURC", Kind.SET, "0")]),
        ("D+251911000001;", [Call("D", Kind.EXECUTE, "+251911000001;")]),
        ("\\Q3", [Call("\\Q", Kind.EXECUTE, "3")]),
    ],
)  # fmt: skip
def test_parse_line_splits_into_calls(line: str, calls: list[Call]) -> None:
    assert parse_line(line) == calls


@pytest.mark.parametrize("line", ["=1", "?", "+CREG!", "'"])
def test_parse_line_no_command_raises(line: str) -> None:
    with pytest.raises(LineError):
        parse_line(line)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("1,,2", ["1", None, "2"]),
        ('"a,b",3', ["a,b", "3"]),
        ('"",1', ["", "1"]),
        (" 1 , 2 ", ["1", "2"]),
        ('"SM,2', ["SM,2"]),
    ],
)
def test_split_arguments_respects_quotes(text: str, values: list[str | None]) -> None:
    assert split_arguments(text) == values


@given(st.text(max_size=200))
def test_parse_line_any_text_gives_calls_or_line_error(line: str) -> None:
    try:
        calls = parse_line(line)
    except LineError:
        return
    for call in calls:
        split_arguments(call.text)
