from __future__ import annotations

import pytest

from firmware_bridge.pdu import Address, Deliver, InformationElement, Scts, assemble
from firmware_bridge.pdu.user_data_header import make_header


def deliver(data: bytes, *elements: InformationElement) -> Deliver:
    return Deliver(
        sender=Address.parse("+905551234567"),
        scts=Scts.from_iso("2026-03-01T12:30:00+03:00"),
        data=data,
        udh=make_header(*elements),
    )


@pytest.mark.parametrize(
    ("identifier", "language", "septets", "text"),
    [
        (0x24, 1, b"\x1bS\x1bi\x1be", "Şı€"),
        (0x25, 1, b"\x07\x1d\x40", "ışİ"),
        (0x24, 2, b"d\x1bi\x1ba", "díá"),
        (0x24, 3, b"\x1b{\x1ba", "ãÂ"),
        (0x25, 3, b"n\x7bo\x1b\x3c", "não["),
        (0x24, 6, b"\x1beA", "€A"),  # Hindi: no table here, so the default ones
        (0x25, 2, b"\x04", "è"),  # Spanish has no locking table
    ],
)
def test_national_shift_named_in_the_header_is_read(
    identifier: int, language: int, septets: bytes, text: str
) -> None:
    element = InformationElement(identifier, bytes([language]))
    message = Deliver.decode(deliver(septets, element).encode())
    assert message.text == text
    assert assemble("gsm7", [message.data], udh=message.udh) == text
