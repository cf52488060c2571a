"""Answers as users of other SMS software recorded them: each is read the same however its bytes are cut.

Numbers and texts are replaced; line ends, blanks, order and errors are as recorded.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest

from firmware_bridge.at import response
from firmware_bridge.at.command import AtCommand
from firmware_bridge.at.dialogue import AtDialogue, Completed, Prompted
from firmware_bridge.at.result_codes import FinalKind
from firmware_bridge.at.states import AtState
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.pdu import Scts, delivers
from firmware_bridge.ussd import read_answer

WHEN = Scts.from_utc_ms(1_790_000_000_000)
PDU = delivers("+251911222333", "recorded", WHEN)[0].encode().hex().upper()
SENT = "0011000C9115190122330000AA04F4F29C0E"
OK, ERROR = FinalKind.OK, FinalKind.ERROR


class Case(NamedTuple):
    """said: what the modem wrote from the command on. lines: the answer; codes: what nobody asked for.

    prompted: the PDU is written as soon as the prompt is seen; `then` is said after it.
    """

    origin: str
    command: str
    said: str
    final: FinalKind = OK
    lines: tuple[str, ...] = ()
    codes: tuple[UrcKind, ...] = ()
    then: str = ""


CASES = [
    Case(
        "gammu 1067, Huawei E220: no counts", 'AT+CPMS="SM","SM","SM"', 'AT+CPMS="SM","SM","SM"\r\r\nOK\r\n'
    ),
    Case(
        "gammu 126, Huawei E1752: echo with CR CR LF",
        'AT+CPMS="ME","ME"',
        'AT+CPMS="ME","ME"\r\r\n+CPMS: 0,23,0,23,0,50\r\n\r\nOK\r\n',
        lines=("+CPMS: 0,23,0,23,0,50",),
    ),
    Case(
        "gammu 126, Huawei E1752: no blank line before OK",
        "AT+CMGL=4",
        f"AT+CMGL=4\r\r\n+CMGL: 0,0,,23\r\n{PDU}\r\n\r\nOK\r\n",
        lines=("+CMGL: 0,0,,23", PDU),
    ),
    Case(
        "gammu 215: a store left in text mode",
        "AT+CMGR=1",
        'AT+CMGR=1\r\r\n+CMGR: "REC READ","+2519",,"16/05/10,10:33:31+08"\r\n0\r\n\r\nOK\r\n',
        lines=('+CMGR: "REC READ","+2519",,"16/05/10,10:33:31+08"', "0"),
    ),
    Case("gammu 138, after the PIN: CMMS", "AT+CMMS=2", "AT+CMMS=2\r\r\n+CMS ERROR: 500\r\n", FinalKind.CMS),
    Case(
        "gammu 138: chatter between echo and answer",
        "AT+CPIN?",
        "AT+CPIN?\r\r\n^RSSI:17\r\n\r\n+CPIN: READY\r\n\r\nOK\r\n",
        lines=("+CPIN: READY",),
        codes=(UrcKind.SIGNAL,),
    ),
    Case(
        "gammu 393, Huawei E220: BOOT in the answer",
        "AT+CSQ",
        "\r\n^BOOT:91409020,0,0,0,6\r\n\r\n+CSQ: 12,99\r\n\r\n^BOOT:91409020,0,0,0,6\r\n\r\nOK\r\n",
        lines=("+CSQ: 12,99",),
        codes=(UrcKind.CHATTER, UrcKind.CHATTER),
    ),
    Case("gammu 468, EC25", "AT+MODE=2", "AT+MODE=2\r\r\nERROR\r\n", ERROR),
    Case(
        "gammu 97, Siemens MC35i",
        "AT+CPMS=?",
        'AT+CPMS=?\r\r\n+CPMS: ("MT","SM","ME"),("MT","SM","ME"),("MT","SM")\r\n\r\nOK\r\n',
        lines=('+CPMS: ("MT","SM","ME"),("MT","SM","ME"),("MT","SM")',),
    ),
    Case(
        "gammu 242: operator without technology",
        "AT+COPS?",
        'AT+COPS?\r\r\n+COPS: 0,0,"Indosat Ooredoo"\r\n\r\nOK\r\n',
        lines=('+COPS: 0,0,"Indosat Ooredoo"',),
    ),
    Case(
        "wammu 27, GTM382: one store of several",
        'AT+CPMS="SM"',
        'AT+CPMS="SM"\r\r\n+CPMS: 1,50,0,23,1,50\r\n\r\nOK\r\n',
        lines=("+CPMS: 1,50,0,23,1,50",),
    ),
    Case(
        "gnokii 1: echo with its first octets lost",
        "AT+CMGR=11",
        "\x01\x04+CMGR=11\r\r\n+CMS ERROR: 500\r\n",
        FinalKind.CMS,
        lines=("+CMGR=11",),
    ),
    Case("python-gsmmodem 11: SIM busy", "AT+CSCA?", "\r\n+CME ERROR: 14\r\n", FinalKind.CME),
    Case(
        "python-gsmmodem 11, ZTE: limited service",
        "AT+ZPAS?",
        '\r\n+BEARTYPE: "Limited Service"\r\n\r\nOK\r\n',
        lines=('+BEARTYPE: "Limited Service"',),
    ),
    Case("python-gsmmodem 56: echoed twice", "ATE0", "ATE0\rATE0\r\r\nOK\r\n"),
    Case(
        "python-gsmmodem 105: lines with CR CR LF",
        "AT+CLAC",
        "\r\n&C\r\r\n&D\r\r\n+CLAC\r\r\n\r\nOK\r\n",
        lines=("&C", "&D", "+CLAC"),
    ),
    Case(
        "python-gsmmodem 84: one line",
        "AT+CLAC",
        "\r\n+CLAC:&C,&D,+CMGS\r\n\r\nOK\r\n",
        lines=("+CLAC:&C,&D,+CMGS",),
    ),
    Case("serialport-gsm 12, Quectel: slot of another store", "AT+CMGR=2", "\r\nOK\r\n"),
    Case(
        "serialport-gsm 124: number in quotes",
        "AT+CNUM",
        '\r\n+CNUM: "OwnNumber","+2519",145\r\n\r\nOK\r\n',
        lines=('+CNUM: "OwnNumber","+2519",145',),
    ),
    Case("chan-quectel 75, EC25: a report as of SM", "AT+CMGR=0", "\r\nOK\r\n"),
    Case(
        "gammu 1176, SIM7670G: prompt without its blank",
        "AT+CMGS=17",
        "\r\n>\r\n",
        then="\r\n+CMGS: 78\r\n\r\nOK\r\n",
        lines=("+CMGS: 78",),
    ),
    Case(
        "gammu 438: prompt with the echo",
        "AT+CMGS=17",
        "AT+CMGS=17\r\r\n> ",
        FinalKind.CMS,
        then="\r\n+CMS ERROR: 500\r\n",
    ),
    Case(
        "TinyGSM 243, A6: the PDU echoed",
        "AT+CMGS=17",
        "\r\n> ",
        then=f"{SENT}\x1a\r\n+CMGS: 7\r\n\r\nOK\r\n",
        lines=("+CMGS: 7",),
    ),
    Case(
        "EC25: report announced before the answer ends",
        "AT+CMGS=17",
        "\r\n> ",
        then='\r\n+CDSI: "SM",0\r\n\r\n+CMGS: 78\r\n\r\nOK\r\n',
        lines=("+CMGS: 78",),
        codes=(UrcKind.REPORT_STORED,),
    ),
    Case(
        "a text between prompt and answer",
        "AT+CMGS=17",
        "\r\n> ",
        then=f"\r\n+CMT: ,28\r\n{PDU}\r\n\r\n+CMGS: 9\r\nOK\r\n",
        lines=("+CMGS: 9",),
        codes=(UrcKind.DELIVER,),
    ),
    Case("refused before the prompt", "AT+CMGS=17", "\r\n+CMS ERROR: 302\r\n", FinalKind.CMS),
    Case(
        "ZTE: flood until CPMS is asked",
        "AT+CPMS?",
        '\r\n+ZUSIMR:2\r\n\r\n+CPMS: "SM",14,50,"SM",14,50,"SM",14,50\r\n\r\n+ZUSIMR:2\r\n\r\nOK\r\n',
        lines=('+CPMS: "SM",14,50,"SM",14,50,"SM",14,50',),
        codes=(UrcKind.SIM, UrcKind.SIM),
    ),
    Case(
        "Samsung: registration as a code while another answer is due",
        "AT+CSQ",
        '\r\n+CREG: 2,1,"000B","2816", B, C2816\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n',
        lines=("+CSQ: 20,99",),
        codes=(UrcKind.REGISTRATION,),
    ),
    Case("Huawei: COMMAND NOT SUPPORT", "AT+CNMI=?", "\r\nCOMMAND NOT SUPPORT\r\n", ERROR),
    Case("Huawei: TOO MANY PARAMETERS", "AT+CMGL=4", "\r\nTOO MANY PARAMETERS\r\n", ERROR),
    Case("CMEE as text", "AT+CPIN?", "\r\n+CME ERROR: SIM not inserted\r\n", FinalKind.CME),
    Case(
        "header and PDU on one line",
        "AT+CMGR=1",
        f"\r\n+CMGR: 0,,28,{PDU}\r\n\r\nOK\r\n",
        lines=(f"+CMGR: 0,,28,{PDU}",),
    ),
    Case(
        "two codes in one read, and a call",
        "AT",
        '\r\n+CMTI: "ME",3\r\n\r\nRING\r\n\r\nOK\r\n',
        codes=(UrcKind.STORED, UrcKind.CALL),
    ),
]


def play(case: Case, cut: int, seed: int) -> tuple[Completed, list[Urc]]:
    """cut: octets a read at most; 0: all at once."""
    rng, dialogue = random.Random(seed), AtDialogue()
    payload = SENT if case.command.startswith("AT+CMGS=") else None
    dialogue.send(AtCommand(case.command, payload=payload), now=0.0)
    found: list[Any] = []

    def say(text: str) -> None:
        data = text.encode("latin-1")
        while data:
            size = rng.randint(1, cut) if cut else len(data)
            found.extend(dialogue.receive(data[:size], now=0.1))
            data = data[size:]

    say(case.said)
    if case.then:
        assert any(isinstance(event, Prompted) for event in found)
        assert dialogue.state is AtState.PROMPTED
        dialogue.payload(now=0.2)
        say(case.then)
    (completed,) = [event for event in found if isinstance(event, Completed)]
    assert dialogue.idle
    return completed, [event for event in found if isinstance(event, Urc)]


@pytest.mark.parametrize("cut", [0, 1, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.origin)
def test_recorded_answer_is_read_as_it_was_meant(case: Case, cut: int) -> None:
    for seed in range(1 if cut < 2 else 20):
        completed, codes = play(case, cut, seed)
        assert completed.final.kind is case.final
        assert completed.lines == case.lines
        assert tuple(code.kind for code in codes) == case.codes


def test_recorded_stores_are_found_in_every_form() -> None:
    completed, _ = play(CASES[2], 0, 0)
    (entry,) = response.stored_messages(completed.lines, "+CMGL")
    assert (entry.index, entry.pdu) == (0, PDU)
    one_line = next(case for case in CASES if case.origin.startswith("header and PDU"))
    (entry,) = response.stored_messages(play(one_line, 1, 0)[0].lines, "+CMGR")
    assert entry.pdu == PDU
    text_mode = next(case for case in CASES if "text mode" in case.origin)
    assert response.stored_messages(play(text_mode, 1, 0)[0].lines, "+CMGR") == []


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("+CUSD: 0,\"Solde: 12,50 'F'\",15", "Solde: 12,50 'F'"),
        ("+CUSD:1,003100200044006100740061,72", "1 Data"),
        ("+CUSD: 2", None),
        ('+CUSD: 0,"D4F29C0E",15', "Test"),
        ('+CUSD: 0,"1230120B121D",72', "ሰላም"),
        ('+CUSD: 0, "Your balance is 7.50" ,15', "Your balance is 7.50"),
    ],
)
def test_recorded_ussd_answer_is_read(said: str, text: str | None) -> None:
    packed = "D4F2" in said
    assert read_answer(said, packed=packed).text == text
