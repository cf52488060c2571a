from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import UsageError
from firmware_bridge.pdu.alphabet import (
    BASIC,
    ESCAPE,
    EXTENSION,
    decode_gsm7,
    encode_gsm7,
    first_outside_gsm7,
    septet_cost,
)

GSM7 = "".join(char for char in BASIC if char != "\x1b") + "".join(EXTENSION.values())


def test_alphabet_has_128_places_and_no_character_twice() -> None:
    assert len(BASIC) == 128
    assert len(set(BASIC)) == 128


@given(st.text(alphabet=GSM7, max_size=200))
def test_alphabet_text_encoded_and_decoded_is_the_same(text: str) -> None:
    septets = encode_gsm7(text)
    assert decode_gsm7(septets) == text
    assert len(septets) == sum(map(septet_cost, text))


@given(st.binary(max_size=200).map(lambda data: bytes(b & 0x7F for b in data)))
def test_alphabet_any_septets_decode_to_text_within_the_alphabet(septets: bytes) -> None:
    assert first_outside_gsm7(decode_gsm7(septets)) is None


@pytest.mark.parametrize("char", "^{}\\[~]|€\f")
def test_alphabet_extension_character_costs_two_septets(char: str) -> None:
    assert septet_cost(char) == 2
    assert encode_gsm7(char)[0] == ESCAPE


def test_alphabet_unknown_extension_code_shows_the_basic_character() -> None:
    assert decode_gsm7(b"a\x1bAb") == "aAb"


def test_alphabet_escape_behind_escape_shows_a_space() -> None:
    assert decode_gsm7(b"a\x1b\x1bb") == "a b"


def test_alphabet_escape_with_nothing_behind_shows_a_space() -> None:
    assert decode_gsm7(b"a\x1b") == "a "


@pytest.mark.parametrize("char", ["ሰ", "😀", "’", "\u00a0", "\t", "\x1b", "\ud83d"])
def test_alphabet_character_outside_is_named(char: str) -> None:
    assert first_outside_gsm7("ok" + char) == char
    with pytest.raises(UsageError, match=f"U\\+{ord(char):04X}"):
        encode_gsm7("ok" + char)
