from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.pdu import (
    Address,
    Deliver,
    Scts,
    Submit,
    UsageError,
    assemble,
    delivers,
    segment,
    submits,
)
from firmware_bridge.pdu.alphabet import BASIC, EXTENSION

GSM7 = "".join(char for char in BASIC if char != "\x1b") + "".join(EXTENSION.values()) * 5
gsm7_texts = st.text(alphabet=GSM7, max_size=600)
any_texts = st.text(
    alphabet=st.one_of(st.sampled_from("aé€ሰ😀\u200d"), st.characters(exclude_categories=["Cs"])),
    max_size=400,
)
bits = st.sampled_from([8, 16])


@pytest.mark.parametrize(
    ("text", "reference_bits", "lengths"),
    [
        ("", 8, [0]),
        ("a" * 160, 8, [160]),
        ("a" * 161, 8, [153, 8]),
        ("a" * 161, 16, [152, 9]),
        ("€" * 80, 8, [80]),
        ("€" * 81, 8, [76, 5]),
        ("a" * 159 + "€", 8, [153, 7]),
        ("ሰ" * 70, 8, [70]),
        ("ሰ" * 71, 8, [67, 4]),
        ("ሰ" * 71, 16, [66, 5]),
        ("😀" * 35, 8, [35]),
        ("😀" * 36, 8, [33, 3]),
        ("ሰ" + "😀" * 35, 8, [34, 2]),
        ("ሰ" + "😀" * 35, 16, [33, 3]),
    ],
)
def test_segment_fills_each_part_to_its_limit(text: str, reference_bits: int, lengths: list[int]) -> None:
    assert [len(part) for part in segment(text, reference_bits=reference_bits).parts] == lengths


def test_segment_names_the_character_that_forces_ucs2() -> None:
    segments = segment("seat 4 – Hawassa ✓")
    assert (segments.encoding, segments.forced_by) == ("ucs2", "–")
    assert segment("seat 4 - Hawassa").forced_by is None


def test_segment_counts_units_used_and_left() -> None:
    assert (segment("a€").units, segment("a€").units_left) == (3, 157)
    assert (segment("ሰ😀").units, segment("ሰ😀").units_left) == (3, 67)


def test_segment_encoding_can_be_forced_and_refused() -> None:
    assert segment("plain", encoding="ucs2").encoding == "ucs2"
    with pytest.raises(UsageError, match=r"U\+1230"):
        segment("ሰ", encoding="gsm7")
    with pytest.raises(UsageError, match="8bit"):
        segment("x", encoding="8bit")


def test_segment_more_than_255_parts_raises() -> None:
    assert len(segment("a" * 153 * 255).parts) == 255
    with pytest.raises(UsageError, match="256 parts"):
        segment("a" * (153 * 255 + 1))


@given(any_texts, bits)
def test_segment_loses_nothing_and_cuts_no_character(text: str, reference_bits: int) -> None:
    segments = segment(text, reference_bits=reference_bits)
    assert "".join(segments.parts) == text
    assert (segments.encoding == "gsm7") == (segments.forced_by is None)
    assert all(segments.parts) or segments.parts == ("",)
    assert all(not 0xD800 <= ord(char) <= 0xDFFF for part in segments.parts for char in part)


@given(st.one_of(gsm7_texts, any_texts), bits, st.integers(0, 70_000))
def test_submits_every_part_fits_and_together_they_are_the_text(
    text: str, reference_bits: int, reference: int
) -> None:
    parts = submits("+251911234567", text, reference=reference, reference_bits=reference_bits)
    for sequence, part in enumerate(parts, 1):
        again = Submit.decode(part.encode())
        assert again == part
        assert again.tpdu_length == len(part.encode()) - 1  # no SCA: one octet before the TPDU
        assert again.text is not None
        if len(parts) > 1:
            concat = again.concat
            assert concat is not None
            assert (concat.total, concat.sequence) == (len(parts), sequence)
            assert concat.reference == reference % (1 << reference_bits)
        else:
            assert again.concat is None
    assert assemble(parts[0].encoding, [part.data for part in parts]) == text
    assert "".join(part.text or "" for part in parts) == text


@given(st.one_of(gsm7_texts, any_texts))
def test_delivers_carry_the_text_and_say_that_more_comes(text: str) -> None:
    stamp = Scts.from_iso("2026-03-01T12:30:00+03:00")
    parts = delivers("Zemen.com", text, stamp, reference=7)
    assert [Deliver.decode(part.encode()) for part in parts] == list(parts)
    assert [part.more_to_send for part in parts] == [True] * (len(parts) - 1) + [False]
    assert assemble(parts[0].encoding, [part.data for part in parts]) == text


def test_submits_options_reach_every_part() -> None:
    parts = submits(
        Address("8400", 3, 1),
        "ሰ" * 100,
        reference=300,
        status_report=True,
        validity_s=3600,
        message_class=0,
        reject_duplicates=True,
        sca=Address.parse("+251911299708"),
    )
    assert len(parts) == 2
    for part in parts:
        again = Submit.decode(part.encode())
        assert again.status_report and again.reject_duplicates
        assert (again.validity, again.message_class, again.dcs) == (3600, 0, 0x18)
        assert again.recipient == Address("8400", 3, 1)
        assert again.sca == Address("+251911299708", 1, 1)


def test_submits_count_tp_mr_up_and_around() -> None:
    assert [part.mr for part in submits("8400", "a" * 400, mr=254)] == [254, 255, 0]


def test_assemble_joins_a_surrogate_pair_cut_between_parts() -> None:
    octets = "ok 😀!".encode("utf-16-be")
    assert assemble("ucs2", [octets[:8], octets[8:]]) == "ok 😀!"


def test_assemble_joins_an_escape_cut_from_its_follower() -> None:
    assert assemble("gsm7", [b"5\x1b", b"e"]) == "5€"


def test_assemble_with_a_part_missing_shows_what_is_there() -> None:
    octets = "ok 😀!".encode("utf-16-be")
    assert assemble("ucs2", [octets[8:]]) == "\ufffd!"
