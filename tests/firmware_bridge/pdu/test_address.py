from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import Address, PduDecodeError, UsageError
from firmware_bridge.pdu.address import decode_address, decode_sca, encode_address, encode_sca
from firmware_bridge.pdu.octets import OctetReader


def decoded(octets_hex: str) -> Address:
    return decode_address(OctetReader(bytes.fromhex(octets_hex)), "TP-OA")


@pytest.mark.parametrize(
    ("octets", "address"),
    [
        ("0C91529181326547", Address("+251918235674", 1, 1)),
        ("04814800", Address("8400", 0, 1)),
        ("03B188F5", Address("885", 3, 1)),
        ("05811A97FB", Address("*179#", 0, 1)),
        ("0681DCAE1B", Address("abc*#1", 0, 1)),
        ("0081", Address("", 0, 1)),
        ("0DD049B7F93D6D4E01", Address("InfoSMS", 5, 0)),
        ("0ED041E19058341E91", Address("ABCDEFGH", 5, 0)),
        ("14D041E19058341E9149E512", Address("ABCDEFGHIJK", 5, 0)),
    ],
)
def test_address_octets_and_address_are_each_other(octets: str, address: Address) -> None:
    assert decoded(octets) == address
    assert encode_address(address).hex().upper() == octets


def test_address_seven_characters_with_length_fourteen_lose_the_padding() -> None:
    assert decoded("0ED049B7F93D6D4E01").digits == "InfoSMS"


def test_address_length_that_counts_its_filler_loses_the_filler() -> None:
    assert decoded("0481 88F5").digits == "885"


def test_address_filler_before_the_last_digit_raises() -> None:
    with pytest.raises(PduDecodeError, match="TP-OA: filler F"):
        decoded("0481F815")


def test_address_longer_than_the_standard_allows_raises() -> None:
    with pytest.raises(PduDecodeError, match="21 semi-octets"):
        decoded("1591" + "11" * 11)


def test_address_cut_short_raises() -> None:
    with pytest.raises(PduDecodeError, match="TP-OA"):
        decoded("0C9152")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("+251911234567", Address("+251911234567", 1, 1)),
        ("0911234567", Address("0911234567", 0, 1)),
        ("*804#", Address("*804#", 0, 1)),
        ("Zemen.com", Address("Zemen.com", 5, 0)),
        ("cab", Address("cab", 5, 0)),
    ],
)
def test_address_parse_tells_number_from_name(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "+" + "1" * 21, "twelve chars", "ሰላም", "€€€€€€"])
def test_address_parse_of_what_does_not_fit_raises(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


@given(
    st.text(alphabet="0123456789*#abc", max_size=20), st.sampled_from([0, 2, 3, 4, 6, 7]), st.integers(0, 15)
)
def test_address_number_encoded_and_decoded_is_the_same(digits: str, ton: int, npi: int) -> None:
    address = Address(digits, ton, npi)
    reader = OctetReader(encode_address(address))
    assert decode_address(reader, "TP-DA") == address
    assert not reader.remaining


@given(st.text(alphabet="ABCdefghi 0123.-_äöñ", min_size=1, max_size=11))
def test_address_name_encoded_and_decoded_is_the_same(name: str) -> None:
    address = Address(name, 5, 0)
    assert decode_address(OctetReader(encode_address(address)), "TP-OA") == address


@pytest.mark.parametrize(
    ("octets", "address"),
    [
        ("00", None),
        ("07915291119279F4", Address("+25191129974", 1, 1)),
        ("0791529111927904", Address("+251911299740", 1, 1)),
        ("07815291119279F4", Address("25191129974", 0, 1)),
    ],
)
def test_sca_length_counts_octets(octets: str, address: Address | None) -> None:
    assert decode_sca(OctetReader(bytes.fromhex(octets))) == address
    assert encode_sca(address).hex().upper() == octets


def test_sca_longer_than_its_field_raises() -> None:
    with pytest.raises(PduDecodeError, match="SCA: length 12"):
        decode_sca(OctetReader(bytes([12]) + bytes(12)))


def test_sca_that_is_a_name_raises() -> None:
    with pytest.raises(UsageError):
        encode_sca(Address("Zemen", 5, 0))
