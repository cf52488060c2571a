"""USSD: answers in every alphabet, the allow-list, and never during a send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from firmware_bridge.errors import UssdError
from firmware_bridge.pdu import alphabet, septets, submits
from firmware_bridge.ussd import UssdState, allowed, read_answer

AMHARIC = "ቀሪ ሂሳብ 12.50 ብር"


def packed(text: str) -> str:
    digits = alphabet.encode_gsm7(text)
    if len(digits) % 8 == 7:
        digits += b"\r"
    return septets.pack_septets(digits).hex().upper()


def ucs2(text: str) -> str:
    return text.encode("utf-16-be").hex().upper()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('+CUSD: 0,"Your balance is 12.50 Birr",15', "Your balance is 12.50 Birr"),
        ("+CUSD:0,Your balance is 12.50 Birr,15", "Your balance is 12.50 Birr"),
        ('+CUSD: 0,"No dcs here"', "No dcs here"),
        ('+CUSD: 1,"Menu\n1) Birr\n2) Data",15', "Menu\n1) Birr\n2) Data"),
        (f'+CUSD: 0,"{ucs2(AMHARIC)}",72', AMHARIC),
        (f'+CUSD: 0,"{ucs2(AMHARIC)}",17', AMHARIC),
        (f'+CUSD: 0,"{ucs2(AMHARIC)}",15', AMHARIC),
        (f'+CUSD: 0,"{ucs2("Balance 5 Birr")}",15', "Balance 5 Birr"),
        (f'+CUSD: 0,"{ucs2("Решение 12")}",72', "Решение 12"),
        (f'+CUSD: 0,"{packed("Your balance is 12.50 Birr")}",15', "Your balance is 12.50 Birr"),
        (f'+CUSD: 0,"{packed("Balance")}",15', "Balance"),
        (f'+CUSD: 0,"{packed("Dial *999# now, [ok] {yes}")}",0', "Dial *999# now, [ok] {yes}"),
        ('+CUSD: 0,"1000",15', "1000"),
        ('+CUSD: 0,"Balance: 1000",15', "Balance: 1000"),
        (f'+CUSD: 0,"{b"Balance 5".hex()}",15', "Balance 5"),
        (f'+CUSD: 0,"{AMHARIC.encode().decode("latin-1")}",15', AMHARIC),
        ("+CUSD: 2", None),
        ('+CUSD: 4,"",15', None),
    ],
)
def test_ussd_answer_is_read_in_every_alphabet(line: str, text: str | None) -> None:
    assert read_answer(line).text == text


def test_ussd_answer_of_a_packed_modem_is_packed_first() -> None:
    line = f'+CUSD: 0,"{packed("Balance 12 Birr")}",15'
    assert read_answer(line, packed=True).text == "Balance 12 Birr"


@pytest.mark.parametrize(
    ("number", "state"), [(0, UssdState.DONE), (1, UssdState.REPLY_WANTED), (5, UssdState.TIMEOUT)]
)
def test_ussd_answer_names_its_state(number: int, state: UssdState) -> None:
    assert read_answer(f'+CUSD: {number},"x",15').state is state


@pytest.mark.parametrize(
    ("code", "patterns", "yes"),
    [
        ("*804#", ["*804#"], True),
        ("*8041#", ["*804#"], False),
        ("*805*12345678#", ["*805*..."], True),
        ("*806*0911#", ["*805*..."], False),
        ("*805*1234;+CMGD", ["*805*..."], False),
        ("*80?#", ["*80?#"], True),
        ("*804#", ["*80?#"], True),
        ("*804#", [], False),
        ("804", ["*"], False),
    ],
)
def test_ussd_allow_list_matches_stars_literally(code: str, patterns: list[str], yes: bool) -> None:
    assert allowed(code, patterns) is yes


async def test_ussd_code_not_on_the_list_is_refused_unsent(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path, ussd_allow=("*804#",))
    await harness.ready()
    with pytest.raises(UssdError, match="allow"):
        await modem.ussd("*806*0911222333*100#")
    assert fake.asked(r"AT\+CUSD.*") == 0


async def test_ussd_menu_is_walked_with_the_replies_given(fake: Any, harness: Any) -> None:
    fake.on(r'AT\+CUSD=1,"\*999#",15', 'OK\n+CUSD: 1,"1 Data",15')
    fake.on(r'AT\+CUSD=1,"1",15', 'OK\n+CUSD: 0,"Done",15')
    modem = harness.start(fake.path, ussd_allow=("*999#",))
    await harness.ready()
    answers = await modem.ussd("*999#", "1")
    assert [(a.state, a.text) for a in answers] == [
        (UssdState.REPLY_WANTED, "1 Data"),
        (UssdState.DONE, "Done"),
    ]


async def test_ussd_menu_left_open_is_hung_up(fake: Any, harness: Any) -> None:
    fake.on(r'AT\+CUSD=1,"\*999#",15', 'OK\n+CUSD: 1,"1 Data",15')
    modem = harness.start(fake.path, ussd_allow=("*999#",))
    await harness.ready()
    await modem.ussd("*999#")
    assert fake.asked(r"AT\+CUSD=2") == 1


async def test_ussd_waits_for_the_send_and_the_send_for_it(fake: Any, harness: Any) -> None:
    order: list[str] = []

    def dialled(f: Any, line: str) -> str:
        order.append("ussd")
        return 'OK\n+CUSD: 0,"ok",15'

    fake.on(r"AT\+CUSD=1.*", dialled)
    fake.sent_answer = lambda f, line: order.append("sent") or "+CMGS: 1\nOK"
    modem = harness.start(fake.path, ussd_allow=("*804#",))
    await harness.ready()
    submit = submits("+251911222333", "x", reference=1)[0]
    await asyncio.gather(modem.send(submit), modem.ussd("*804#"), modem.send(submit))
    assert order == ["sent", "ussd", "sent"]


async def test_ussd_without_an_answer_is_an_error_and_hangs_up(fake: Any, harness: Any) -> None:
    modem = harness.start(fake.path, ussd_allow=("*804#",))
    await harness.ready()
    with pytest.raises(UssdError, match="did not answer"):
        await modem.ussd("*804#", timeout_s=0.1)
    assert fake.asked(r"AT\+CUSD=2") == 1


@pytest.mark.parametrize("code", ["*804#\r", '*804#"', "*804#;+CMGD=1", ""])
async def test_ussd_code_with_anything_else_in_it_is_refused(fake: Any, harness: Any, code: str) -> None:
    modem = harness.start(fake.path)
    await harness.ready()
    with pytest.raises(UssdError):
        await modem.ussd(code, any_code=True)
    assert fake.asked(r"AT\+CUSD.*") == 0
