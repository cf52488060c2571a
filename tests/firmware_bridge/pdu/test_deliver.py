from __future__ import annotations

import pytest

from firmware_bridge.pdu import Address, Deliver, PduDecodeError, Scts, UsageError

SCTS = Scts.from_iso("2026-03-01T12:30:00+03:00")
PLAIN = Deliver(Address("+251911234567", 1, 1), SCTS, b"hello")


def test_deliver_text_of_eight_septets_keeps_its_last_at_sign() -> None:
    message = Deliver.decode(Deliver(PLAIN.sender, SCTS, b"1234567\x00").encode())
    assert message.text == "1234567@"


def test_deliver_text_of_seven_septets_gains_no_at_sign() -> None:
    assert Deliver.decode(Deliver(PLAIN.sender, SCTS, b"1234567").encode()).text == "1234567"


def test_deliver_without_service_centre_octets_is_read_when_told() -> None:
    assert Deliver.decode(PLAIN.encode_tpdu(), has_sca=False) == PLAIN


def test_deliver_padding_of_a_sim_record_is_left_out() -> None:
    assert Deliver.decode(PLAIN.encode() + b"\xff" * 20) == PLAIN


def test_deliver_other_octets_behind_its_end_raise() -> None:
    with pytest.raises(PduDecodeError, match="2 octets left over"):
        Deliver.decode(PLAIN.encode() + b"\x00\xff")


def test_deliver_reserved_message_type_is_read_as_deliver() -> None:
    octets = bytearray(PLAIN.encode())
    octets[1] |= 0x03
    assert Deliver.decode(bytes(octets)).text == "hello"


def test_deliver_of_a_submit_raises() -> None:
    octets = bytearray(PLAIN.encode())
    octets[1] = octets[1] & ~0x03 | 0x01
    with pytest.raises(PduDecodeError, match="TP-MTI 1"):
        Deliver.decode(bytes(octets))


def test_deliver_broken_time_stamp_keeps_the_message() -> None:
    message = Deliver.decode(Deliver(PLAIN.sender, Scts(bytes(7)), b"hello").encode())
    assert (message.text, message.scts.utc_ms) == ("hello", None)


@pytest.mark.parametrize(
    ("dcs", "data", "udh"),
    [(0, b"a" * 161, b""), (8, bytes(142), b""), (0, b"a" * 154, bytes.fromhex("0500030F0201"))],
    ids=["septets", "octets", "septets with header"],
)
def test_deliver_that_is_too_long_is_not_encoded(dcs: int, data: bytes, udh: bytes) -> None:
    with pytest.raises(UsageError, match="at most"):
        Deliver(PLAIN.sender, SCTS, data, dcs=dcs, udh=udh).encode()


def test_deliver_length_beyond_the_standard_raises() -> None:
    octets = PLAIN.encode()[:-6] + bytes([161]) + bytes(141)
    with pytest.raises(PduDecodeError, match="161 septets announced"):
        Deliver.decode(octets)


def test_deliver_header_longer_than_its_user_data_raises() -> None:
    octets = bytearray(Deliver(PLAIN.sender, SCTS, b"hi", udh=bytes.fromhex("0500030F0201")).encode())
    octets[octets.index(bytes.fromhex("0500030F0201"))] = 0x50
    with pytest.raises(PduDecodeError, match="TP-UDHL"):
        Deliver.decode(bytes(octets))


def test_deliver_odd_octet_at_the_end_of_ucs2_is_left_out_of_the_text() -> None:
    message = Deliver.decode(Deliver(PLAIN.sender, SCTS, bytes.fromhex("123012"), dcs=8).encode())
    assert (message.text, message.data.hex()) == ("ሰ", "123012")
