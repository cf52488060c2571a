"""AtDialogue: bytes in, events out, the same whatever the split."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from firmware_bridge.at import command as commands
from firmware_bridge.at.command import AtCommand, ask, basic
from firmware_bridge.at.dialogue import (
    SYNC_TRIES,
    AtDialogue,
    AtEvent,
    Completed,
    Fault,
    Prompted,
    Silent,
    Synced,
    TimedOut,
    Write,
)
from firmware_bridge.at.result_codes import FinalKind
from firmware_bridge.at.states import AtState
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.errors import IllegalTransition

PDU = "0011000B91198011112222F30000A705E8329BFD06"
DELIVER = "07915219010000F0040B915219112233F300006211223173012104D3E6B03B"
SUBMIT = AtCommand("AT+CMGS=20", payload=PDU, timeout_s=60)


def splits(data: bytes) -> Iterable[list[bytes]]:
    """Whole, byte by byte, and cut in two at every place."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


def events_of(command: AtCommand | None, data: bytes) -> list[AtEvent]:
    """The events of every split, which must be the same."""
    outcomes = []
    for pieces in splits(data):
        dialogue = AtDialogue()
        if command is not None:
            dialogue.send(command, now=0.0)
        found: list[AtEvent] = []
        for piece in pieces:
            for event in dialogue.receive(piece, now=1.0):
                found.append(event)
                if isinstance(event, Prompted):
                    dialogue.payload(now=1.0)
        outcomes.append(found)
    assert all(o == outcomes[0] for o in outcomes)
    return outcomes[0]


def completed(events: list[AtEvent]) -> Completed:
    (one,) = [e for e in events if isinstance(e, Completed)]
    return one


def codes(events: list[AtEvent]) -> list[tuple[UrcKind, str]]:
    return [(e.kind, e.line) for e in events if isinstance(e, Urc)]


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
        b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
        b"+CSQ: 20,99\rOK\r",
        b"\r\r\n+CSQ: 20,99\r\r\nOK\r\r\n",
        b"\n+CSQ: 20,99\n\nOK\n",
        b"\x00\x00AT+CSQ\r\n+CSQ: 20,99\r\nOK\r\n",
    ],
)
def test_dialogue_line_ends_and_echo_do_not_matter(answer: bytes) -> None:
    done = completed(events_of(basic("AT+CSQ"), answer))
    assert done.ok
    assert done.lines == ("+CSQ: 20,99",)


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("OK", FinalKind.OK, None),
        ("ERROR", FinalKind.ERROR, None),
        ("+CME ERROR: 14", FinalKind.CME, 14),
        ("+CME ERROR:014", FinalKind.CME, 14),
        ("+CME ERROR: SIM busy", FinalKind.CME, 14),
        ("+CME ERROR: something new", FinalKind.CME, None),
        ("+CMS ERROR: 500", FinalKind.CMS, 500),
        ("+CMS ERROR:38", FinalKind.CMS, 38),
        ("+CMS ERROR: SIM PIN required", FinalKind.CMS, 311),
        ("+CMS ERROR: 5123", FinalKind.CMS, 5123),
        ("COMMAND NOT SUPPORT", FinalKind.ERROR, None),
        ("TOO MANY PARAMETERS", FinalKind.ERROR, None),
        ("MODEM ERROR: 7", FinalKind.ERROR, None),
        ("NO CARRIER", FinalKind.CALL, None),
        ("CONNECT 9600", FinalKind.OK, None),
    ],
)
def test_dialogue_final_results_end_a_command(line: str, kind: FinalKind, code: int | None) -> None:
    done = completed(events_of(basic("AT+X"), f"\r\n{line}\r\n".encode()))
    assert (done.final.kind, done.final.code) == (kind, code)


def test_dialogue_urc_inside_cmgl_keeps_both() -> None:
    data = (
        f'\r\n+CMGL: 1,1,,25\r\n+CMTI: "SM",9\r\n{DELIVER}\r\n^RSSI:17\r\n'
        f"+CMGL: 2,1,,25\r\n{DELIVER}\r\n\r\nOK\r\n"
    ).encode()
    events = events_of(basic("AT+CMGL=4"), data)
    assert completed(events).lines == ("+CMGL: 1,1,,25", DELIVER, "+CMGL: 2,1,,25", DELIVER)
    assert codes(events) == [(UrcKind.STORED, '+CMTI: "SM",9'), (UrcKind.SIGNAL, "^RSSI:17")]


def test_dialogue_two_line_code_between_header_and_pdu_takes_its_own_line() -> None:
    data = f"\r\n+CMGR: 0,,25\r\n+CDS: 25\r\n0006AA\r\n{PDU}\r\nOK\r\n".replace("0006AA", DELIVER).encode()
    events = events_of(basic("AT+CMGR=1"), data)
    assert completed(events).lines == ("+CMGR: 0,,25", PDU)
    assert [e.pdu for e in events if isinstance(e, Urc)] == [DELIVER]


def test_dialogue_cmt_with_header_and_pdu_on_one_line_is_taken() -> None:
    (event,) = events_of(None, f"\r\n+CMT: ,25,{DELIVER}\r\n".encode())
    assert isinstance(event, Urc)
    assert (event.kind, event.pdu) == (UrcKind.DELIVER, DELIVER)


def test_dialogue_header_without_pdu_does_not_swallow_a_later_line() -> None:
    dialogue = AtDialogue()
    dialogue.receive(b"\r\n+CDS: 25\r\n", now=0.0)
    assert dialogue.next_deadline() == 3.0
    (fault,) = dialogue.deadline_passed(now=3.0)
    assert isinstance(fault, Fault)
    dialogue.send(basic("AT+CMGR=1"), now=4.0)
    events = dialogue.receive(f"+CMGR: 0,,25\r\n{DELIVER}\r\nOK\r\n".encode(), now=4.1)
    assert completed(events).lines == ("+CMGR: 0,,25", DELIVER)


@pytest.mark.parametrize(
    "prompt",
    [b"\r\n> ", b"> ", b"\r\n>", b">\r\n", b"AT+CMGS=20\r\r\n> ", b"\r\n> \r\n", b'+CMTI: "SM",1\r\n> '],
)
@pytest.mark.parametrize("echo", [b"", PDU.encode() + b"\x1a", PDU.encode() + b"\x1a\r\n"])
def test_dialogue_submit_survives_every_kind_of_prompt(prompt: bytes, echo: bytes) -> None:
    outcomes = []
    for pieces in splits(prompt):
        dialogue = AtDialogue()
        assert dialogue.send(SUBMIT, now=0.0) == b"AT+CMGS=20\r"
        prompted = [e for p in pieces for e in dialogue.receive(p, now=0.5) if isinstance(e, Prompted)]
        assert len(prompted) == 1
        assert dialogue.state is AtState.PROMPTED
        assert dialogue.payload(now=1.0) == PDU.encode() + b"\x1a"
        assert dialogue.after_pdu
        events = dialogue.receive(echo + b"\r\n+CMGS: 7\r\n\r\nOK\r\n", now=2.0)
        outcomes.append(completed(events))
    assert all(o.lines == ("+CMGS: 7",) and o.ok and o.after_pdu for o in outcomes)


def test_dialogue_refusal_before_prompt_is_not_after_pdu() -> None:
    done = completed(events_of(SUBMIT, b"\r\n+CMS ERROR: 302\r\n"))
    assert not done.after_pdu


def test_dialogue_greater_sign_in_an_answer_is_no_prompt() -> None:
    done = completed(events_of(basic("AT+GMR"), b"\r\n> 1.0\r\n\r\nOK\r\n"))
    assert done.lines == ("> 1.0",)


@pytest.mark.parametrize(
    ("line", "is_answer"),
    [
        ("+CREG: 0,1", True),
        ("+CREG:002,001,00A1,0001", True),
        ('+CREG: 2,1,"00C3","0000BEEF",7', True),
        ("+CREG: 2,0,00,0", True),
        ("+CREG: 2,,", True),
        ('+CREG: 1,"00C3","0000BEEF"', False),
        ('+CREG: 5,"00C3","0000BEEF",2', False),
        ("+CREG: 1,5E25,605F", False),
        ("+CREG: 5", False),
        ("+CGREG: 0,1", False),
    ],
)
def test_dialogue_registration_is_answer_or_code_by_its_fields(line: str, is_answer: bool) -> None:
    events = events_of(ask("+CREG"), f"\r\n{line}\r\n\r\nOK\r\n".encode())
    assert (completed(events).lines == (line,)) is is_answer
    assert (codes(events) == [(UrcKind.REGISTRATION, line)]) is not is_answer


def test_dialogue_no_carrier_of_a_missed_call_does_not_end_a_command() -> None:
    events = events_of(basic("AT+CSQ"), b"\r\nRING\r\n\r\nNO CARRIER\r\n\r\n+CSQ: 9,0\r\n\r\nOK\r\n")
    assert completed(events).lines == ("+CSQ: 9,0",)


def test_dialogue_ussd_text_of_several_lines_is_one_code() -> None:
    data = b'\r\n+CUSD: 1,"Balance\r\n1) Birr\r\nOK?",15\r\n\r\nOK\r\n'
    events = events_of(basic("AT+CUSD=1"), data)
    assert codes(events) == [(UrcKind.USSD, '+CUSD: 1,"Balance\n1) Birr\nOK?",15')]
    assert completed(events).ok


def test_dialogue_ussd_quote_that_never_closes_is_let_go() -> None:
    dialogue = AtDialogue()
    dialogue.receive(b'\r\n+CUSD: 0,"Half\r\n', now=0.0)
    due = dialogue.next_deadline()
    assert due is not None
    (event,) = dialogue.deadline_passed(now=due)
    assert isinstance(event, Urc)
    assert event.line == '+CUSD: 0,"Half'


def test_dialogue_timeout_recovers_by_escape_and_a_silence() -> None:
    dialogue = AtDialogue()
    dialogue.send(basic("AT+COPS=?", timeout_s=5), now=0.0)
    dialogue.receive(b"\r\n+COPS: (", now=1.0)
    lost, write = dialogue.deadline_passed(now=5.0)
    assert isinstance(lost, TimedOut)
    assert not lost.after_pdu
    assert write == Write(b"\x1b\rAT\r")
    assert dialogue.state is AtState.DESYNCED
    # The late end of the lost answer, then the OK of AT: one of them must not answer the next command.
    assert dialogue.receive(b'2,"x")\r\n\r\nOK\r\n', now=5.1) == [
        Urc(UrcKind.UNKNOWN, '+COPS: (2,"x")'),
    ]
    assert dialogue.state is AtState.DRAINING
    with pytest.raises(IllegalTransition):
        dialogue.send(basic(), now=5.1)
    dialogue.receive(b"\r\nOK\r\n", now=5.2)
    due = dialogue.next_deadline()
    assert due is not None
    assert dialogue.deadline_passed(now=due) == [Synced()]
    assert dialogue.idle


def test_dialogue_timeout_after_pdu_says_so() -> None:
    dialogue = AtDialogue()
    dialogue.send(SUBMIT, now=0.0)
    dialogue.receive(b"> ", now=0.1)
    dialogue.payload(now=0.2)
    assert dialogue.next_deadline() == 60.2
    lost = dialogue.deadline_passed(now=60.2)[0]
    assert isinstance(lost, TimedOut)
    assert lost.after_pdu


def test_dialogue_prompt_after_it_was_given_up_is_no_answer() -> None:
    dialogue = AtDialogue()
    dialogue.send(SUBMIT, now=0.0)
    dialogue.deadline_passed(now=10.0)
    assert dialogue.receive(b"\r\n> \r\n", now=11.0) == []
    dialogue.receive(b"OK\r\n", now=11.1)
    assert dialogue.state is AtState.DRAINING


def test_dialogue_silence_is_reported_once_after_all_tries() -> None:
    dialogue = AtDialogue()
    dialogue.resync(now=0.0)
    found: list[AtEvent] = []
    while (due := dialogue.next_deadline()) is not None:
        found += dialogue.deadline_passed(now=due)
    assert [type(e) for e in found] == [Write] * (SYNC_TRIES - 1) + [Silent]
    assert {e.data for e in found if isinstance(e, Write)} == {b"AT\r", b"\x1b\rAT\r"}


def test_dialogue_restart_banner_ends_what_was_outstanding() -> None:
    dialogue = AtDialogue()
    dialogue.send(SUBMIT, now=0.0)
    dialogue.receive(b"> ", now=0.1)
    dialogue.payload(now=0.2)
    code, lost, write = dialogue.receive(b"\r\nRDY\r\n", now=1.0)
    assert isinstance(code, Urc)
    assert code.kind is UrcKind.RESTART
    assert isinstance(lost, TimedOut)
    assert lost.after_pdu
    assert isinstance(write, Write)


def test_dialogue_early_deadline_call_changes_nothing() -> None:
    dialogue = AtDialogue()
    dialogue.send(basic(), now=0.0)
    assert dialogue.deadline_passed(now=4.9) == []
    assert dialogue.state is AtState.AWAIT_FINAL


def test_dialogue_second_command_before_the_answer_is_our_bug() -> None:
    dialogue = AtDialogue()
    dialogue.send(basic(), now=0.0)
    with pytest.raises(IllegalTransition):
        dialogue.send(basic(), now=0.1)
    assert completed(dialogue.receive(b"OK\r\n", now=0.2)).ok


def test_dialogue_overlong_line_is_dropped_and_the_next_is_read() -> None:
    dialogue = AtDialogue()
    dialogue.send(basic("AT+CSQ"), now=0.0)
    events = dialogue.receive(b"x" * 100_000 + b"\r\n+CSQ: 1,1\r\nOK\r\n", now=0.1)
    assert isinstance(events[0], Fault)
    assert completed(events).lines == ("+CSQ: 1,1",)


def test_dialogue_endless_answer_is_bounded() -> None:
    dialogue = AtDialogue()
    dialogue.send(basic("AT+CMGL=4"), now=0.0)
    for _ in range(3000):
        dialogue.receive(b"+CMGL: 1,1,,25\r\n", now=0.1)
    assert dialogue.buffered < 600_000
    done = completed(dialogue.receive(b"OK\r\n", now=0.2))
    assert done.truncated


@pytest.mark.parametrize(
    "line",
    [
        "^BOOT:35669412,0,0,0,73", "^DSFLOWRPT:0000003E,00000000", "+ZUSIMR:2", "+QIND: PB DONE", "#QSS: 2",
        "+CIEV: 2,4", "*PSUTTZ: 26,11,22,12,30,15,12,0", "DST: 0", "UNDER-VOLTAGE WARNNING", "Call Ready",
        "+WIND: 7", "^SMMEMFULL:\"SM\"", "+QCSQ: \"LTE\",-75", "+NITZ: 26/11/22", "RING", "+CLIP: 2",
    ],
)  # fmt: skip
def test_dialogue_chatter_is_never_part_of_an_answer(line: str) -> None:
    events = events_of(basic("AT+CGMI"), f"\r\nACME\r\n\r\n{line}\r\n\r\nOK\r\n".encode())
    assert completed(events).lines == ("ACME",)
    assert [c[1] for c in codes(events)] == [line]


def test_dialogue_reset_reports_what_was_outstanding_and_starts_over() -> None:
    dialogue = AtDialogue()
    dialogue.send(commands.basic(), now=0.0)
    (lost,) = dialogue.reset()
    assert isinstance(lost, TimedOut)
    assert dialogue.idle
