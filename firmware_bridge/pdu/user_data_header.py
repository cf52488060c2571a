"""The user data header: concatenation, ports and what else stands before the text (TS 23.040 9.2.3.24)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import UsageError

__all__ = [
    "Concat",
    "InformationElement",
    "concat_header",
    "find_concat",
    "find_language",
    "find_ports",
    "make_header",
    "parse_header",
]

IEI_CONCAT_8: Final = 0x00
IEI_PORTS_8: Final = 0x04
IEI_PORTS_16: Final = 0x05
IEI_CONCAT_16: Final = 0x08
IEI_SINGLE_SHIFT: Final = 0x24
IEI_LOCKING_SHIFT: Final = 0x25


@dataclass(frozen=True, slots=True)
class InformationElement:
    """One element: its identifier (0 to 255) and its octets, known to us or not."""

    identifier: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Concat:
    """Which part of which message this is (9.2.3.24.1, 9.2.3.24.8).

    reference: 0 to 255 or 65535, reused by senders. total: 1 to 255. sequence: 1 to total.
    reference_bits: 8 or 16.
    """

    reference: int
    total: int
    sequence: int
    reference_bits: int = 8

    def encode(self) -> InformationElement:
        """The element. Raises UsageError if a number is out of its range."""
        if not 1 <= self.sequence <= self.total <= 255:
            raise UsageError(f"part {self.sequence} of {self.total}; want 1 to 255")
        if self.reference_bits not in (8, 16) or not 0 <= self.reference < 1 << self.reference_bits:
            raise UsageError(f"reference {self.reference} does not fit {self.reference_bits} bits")
        size = self.reference_bits // 8
        data = self.reference.to_bytes(size, "big") + bytes([self.total, self.sequence])
        return InformationElement(IEI_CONCAT_8 if size == 1 else IEI_CONCAT_16, data)


def parse_header(udh: bytes) -> tuple[InformationElement, ...]:
    """Split a header, its length octet first, into its elements.

    A header whose last element overruns or leaves octets over is ignored as a whole, as 9.2.3.24
    wants; the text behind it is still read.
    """
    elements = []
    position = 1
    while position < len(udh):
        if position + 2 > len(udh):
            return ()
        end = position + 2 + udh[position + 1]
        if end > len(udh):
            return ()
        elements.append(InformationElement(udh[position], udh[position + 2 : end]))
        position = end
    return tuple(elements)


def make_header(*elements: InformationElement) -> bytes:
    """The header's octets, length first; none at all for no elements."""
    if not elements:
        return b""
    body = b"".join([bytes([e.identifier, len(e.data)]) + e.data for e in elements])
    if len(body) > 139:
        raise UsageError(f"user data header of {len(body)} octets; at most 139 fit")
    return bytes([len(body)]) + body


def concat_header(reference: int, total: int, sequence: int, reference_bits: int = 8) -> bytes:
    """A header with nothing but the concatenation element: 6 octets, or 7 with 16 bits."""
    return make_header(Concat(reference, total, sequence, reference_bits).encode())


def find_concat(udh: bytes) -> Concat | None:
    """The concatenation element, the last one if several; None if absent or out of range."""
    found = None
    for element in parse_header(udh):
        size = {IEI_CONCAT_8: 1, IEI_CONCAT_16: 2}.get(element.identifier)
        if size is None or len(element.data) != size + 2:
            continue
        total, sequence = element.data[size:]
        if 1 <= sequence <= total:  # otherwise the receiver ignores the element (9.2.3.24.1)
            found = Concat(int.from_bytes(element.data[:size], "big"), total, sequence, 8 * size)
    return found


def find_ports(udh: bytes) -> tuple[int, int] | None:
    """(destination, source) of the application port element, the last one if several."""
    found = None
    for element in parse_header(udh):
        size = {IEI_PORTS_8: 1, IEI_PORTS_16: 2}.get(element.identifier)
        if size is not None and len(element.data) == 2 * size:
            data = element.data
            found = (int.from_bytes(data[:size], "big"), int.from_bytes(data[size:], "big"))
    return found


def find_language(udh: bytes, identifier: int) -> int | None:
    """The national language that a shift element names (9.2.3.24.15 and 16), if any."""
    found = None
    for element in parse_header(udh):
        if element.identifier == identifier and len(element.data) == 1:
            found = element.data[0]
    return found
