"""Answers in the forms that modems were seen to give them."""

from __future__ import annotations

import pytest

from firmware_bridge.at import response


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"SM",3,20', ["SM", "3", "20"]),
        (' "SM" , 3 ', ["SM", "3"]),
        ('1,"a,b",2', ["1", "a,b", "2"]),
        ('"0B,"0100701"', ["0B", "0100701"]),
        ('("SM","ME"),("SM")', ["(SM,ME)", "(SM)"]),
        ("", [""]),
        ("1,,25", ["1", "", "25"]),
    ],
)
def test_fields_split_outside_quotes_and_brackets(text: str, found: list[str]) -> None:
    assert response.fields(text) == found


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ('("SM","ME"),("SM","ME"),("SM")', [("SM", "ME"), ("SM", "ME"), ("SM",)]),
        ('"SM","SM","SM"', [("SM",), ("SM",), ("SM",)]),
        ('("ME" , "MT"),("ME")', [("ME", "MT"), ("ME",)]),
        ('(("SM","BM","SR"),("SM"))', [("SM", "BM", "SR"), ("SM",)]),
        ('("SM,"ME"),("SM")', [("SM", "ME"), ("SM",)]),
        ("(),(),()", [(), (), ()]),
        ("", []),
        ('("SM_P","ME_P","MT"),"SM"', [("SM_P", "ME_P", "MT"), ("SM",)]),
    ],
)
def test_memory_lists_read_every_form(text: str, lists: list[tuple[str, ...]]) -> None:
    assert response.memory_lists(text) == lists


@pytest.mark.parametrize(
    ("text", "read", "stat"),
    [
        ("0,1", True, 1),
        ("002,001,00A1,0001", True, 1),
        ("2,0,00,0", True, 0),
        ("2,,", True, None),
        ('0,1,"5E25","605F",2', True, 1),
        ("1", False, 1),
        ('5,"00C3","BEEF"', False, 5),
        ('5,"00C3","BEEF",2', False, 5),
        ('2,5,"00C3","BEEF"', False, 5),
        ("11", False, 11),
        ("", False, None),
    ],
)
def test_registration_finds_the_stat(text: str, read: bool, stat: int | None) -> None:
    assert response.registration(text, read=read) == stat


def test_range_lists_read_ranges_lists_and_bare_numbers() -> None:
    assert response.range_lists("(0-2),(0,1,3),(0),1,()") == [{0, 1, 2}, {0, 1, 3}, {0}, {1}, set()]


PDU = "07915219010000F0040B915219112233F300006211223173012104D3E6B03B"


@pytest.mark.parametrize(
    ("lines", "index", "stat"),
    [
        (["+CMGL: 3,1,,25", PDU], 3, 1),
        (["+CMGL: 3,1,25", PDU], 3, 1),
        (['+CMGL: 3,1,"alpha, beta",25', PDU], 3, 1),
        ([f"+CMGL: 3,1,,25,{PDU}"], 3, 1),
        (["+CMGL:003,001,,025", PDU.lower()], 3, 1),
        (['+CMGL: 3,"REC READ",,25', PDU], 3, 1),
        (["^FOO: 1", "+CMGL: 3,1,,25", "junk", PDU], 3, 1),
    ],
)
def test_stored_messages_read_every_header(lines: list[str], index: int, stat: int) -> None:
    (entry,) = response.stored_messages(lines, "+CMGL")
    assert (entry.index, entry.stat, entry.length, entry.pdu) == (index, stat, 25, PDU)


def test_stored_messages_drop_a_header_without_its_pdu() -> None:
    found = response.stored_messages(["+CMGL: 1,1,,25", PDU, "+CMGL: 2,1,,25"], "+CMGL")
    assert [e.index for e in found] == [1]


def test_stored_messages_of_cmgr_have_no_index() -> None:
    (entry,) = response.stored_messages(["+CMGR: 0,,25", PDU], "+CMGR")
    assert (entry.index, entry.stat, entry.length) == (None, 0, 25)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["huawei"], "huawei"),
        ([" WAVECOM MODEM"], "WAVECOM MODEM"),
        (['+CGMI: "Quectel"'], "Quectel"),
        (["Manufacturer: ZTE INCORPORATED"], "ZTE INCORPORATED"),
        (["V 05.56", "14-10-06", "(c) Nokia"], "V 05.56"),
        (["^FOO: 1", "SIMCOM_Ltd"], "SIMCOM_Ltd"),
        ([], ""),
    ],
)
def test_identity_line_finds_the_name(lines: list[str], text: str) -> None:
    assert response.identity_line(lines, "+CGMI") == text


@pytest.mark.parametrize(
    ("line", "digits"),
    [
        ('+CCID: "8925101234567890123F"', "8925101234567890123"),
        ("89251012345678901234", "89251012345678901234"),
        ("^ICCID: 98520121436587092143", "98520121436587092143"),
        ("OKAY", None),
    ],
)
def test_first_digits_finds_an_iccid(line: str, digits: str | None) -> None:
    assert response.first_digits([line], 18, 20) == digits


@pytest.mark.parametrize(
    ("text", "utc_ms"),
    [
        ("26/11/22,17:31:00+12", 1_795_357_860_000),
        ("26/11/22,14:31:00+00", 1_795_357_860_000),
        ("2026/11/22,14:31:00", 1_795_357_860_000),
        ("80/01/06,00:00:00+00", None),
        ("04/01/01,00:00:00+08", None),
        ("26/13/22,17:31:00+12", None),
        ("", None),
    ],
)
def test_clock_is_utc_and_an_unset_clock_is_none(text: str, utc_ms: int | None) -> None:
    assert response.clock_ms(text) == utc_ms
