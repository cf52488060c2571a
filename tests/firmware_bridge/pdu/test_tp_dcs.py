from __future__ import annotations

import pytest

from firmware_bridge.pdu import UsageError, data_coding, dcs_for


@pytest.mark.parametrize(
    ("dcs", "encoding", "message_class", "waiting"),
    [
        (0x00, "gsm7", None, False),
        (0x04, "8bit", None, False),
        (0x08, "ucs2", None, False),
        (0x0C, "gsm7", None, False),  # reserved alphabet
        (0x10, "gsm7", 0, False),
        (0x18, "ucs2", 0, False),
        (0x13, "gsm7", 3, False),
        (0x03, "gsm7", None, False),  # class bits without their flag
        (0x48, "ucs2", None, False),  # automatic deletion group
        (0x8F, "gsm7", None, False),  # reserved group
        (0xC0, "gsm7", None, True),
        (0xD8, "gsm7", None, True),
        (0xE0, "ucs2", None, True),
        (0xF0, "gsm7", 0, False),
        (0xF4, "8bit", 0, False),
        (0xF6, "8bit", 2, False),
    ],
)
def test_dcs_octet_says_encoding_class_and_waiting(
    dcs: int, encoding: str, message_class: int | None, waiting: bool
) -> None:
    coding = data_coding(dcs)
    assert (coding.encoding, coding.message_class, coding.message_waiting) == (
        encoding,
        message_class,
        waiting,
    )


def test_dcs_compressed_text_is_opaque_data() -> None:
    assert data_coding(0x20).compressed
    assert data_coding(0x20).encoding == "8bit"


def test_dcs_groups_say_what_may_be_thrown_away() -> None:
    assert data_coding(0x40).automatic_deletion
    assert data_coding(0xC8).discard
    assert not data_coding(0xD8).discard


@pytest.mark.parametrize("encoding", ["gsm7", "ucs2", "8bit"])
@pytest.mark.parametrize("message_class", [None, 0, 1, 2, 3])
def test_dcs_for_reads_back(encoding, message_class) -> None:
    coding = data_coding(dcs_for(encoding, message_class))
    assert (coding.encoding, coding.message_class) == (encoding, message_class)


def test_dcs_for_unknown_class_raises() -> None:
    with pytest.raises(UsageError, match="0 to 3"):
        dcs_for("gsm7", 4)
