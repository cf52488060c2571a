from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import PduDecodeError
from firmware_bridge.pdu.septets import pack_septets, packed_length, unpack_septets

septets = st.binary(max_size=160).map(lambda data: bytes(b & 0x7F for b in data))


@given(data=septets, skip_bits=st.integers(0, 6))
def test_septets_packed_and_unpacked_are_the_same(data: bytes, skip_bits: int) -> None:
    octets = pack_septets(data, skip_bits=skip_bits)
    assert len(octets) == packed_length(len(data), skip_bits)
    assert unpack_septets(octets, count=len(data), skip_bits=skip_bits) == data


def test_septets_hellohello_packs_as_in_every_textbook() -> None:
    assert pack_septets(b"hellohello").hex().upper() == "E8329BFD4697D9EC37"


def test_septets_eight_septets_ending_in_zero_keep_it() -> None:
    octets = pack_septets(b"1234567\x00")
    assert len(octets) == 7
    assert unpack_septets(octets, count=8) == b"1234567\x00"


def test_septets_seven_spare_bits_are_not_read_as_a_character() -> None:
    octets = pack_septets(b"1234567")
    assert len(octets) == 7  # room for an eighth, which the count leaves out
    assert unpack_septets(octets, count=7) == b"1234567"


def test_septets_too_few_octets_raises() -> None:
    with pytest.raises(PduDecodeError, match="9 septets announced, 7 octets present"):
        unpack_septets(bytes(7), count=9)
