"""Packing of 7-bit characters into octets (TS 23.038 6.1.2.1)."""

from __future__ import annotations

from typing import Final

from firmware_bridge.errors import PduDecodeError

__all__ = ["pack_septets", "packed_length", "unpack_septets"]

# One number from a string of bits is twice as fast as shifting septet by septet into a long one.
_BITS: Final = [f"{septet:07b}" for septet in range(128)]


def packed_length(count: int, skip_bits: int = 0) -> int:
    """Octets that `count` septets take after `skip_bits` fill bits."""
    return (skip_bits + 7 * count + 7) // 8


def pack_septets(septets: bytes, *, skip_bits: int = 0) -> bytes:
    """Pack septets (one per byte, 0x00 to 0x7F) into octets, least significant bit first.

    skip_bits: zero bits before the first septet, 0 to 6, which bring the text behind a user data
    header to a septet boundary (TS 23.040 9.2.3.24). Spare bits at the end are zero.
    """
    bits = "".join([_BITS[septet & 0x7F] for septet in reversed(septets)])
    packed = int(bits or "0", 2) << skip_bits
    return packed.to_bytes(packed_length(len(septets), skip_bits), "little")


def unpack_septets(octets: bytes, *, count: int, skip_bits: int = 0) -> bytes:
    """Unpack GSM 7 bit characters from TP-UD octets (TS 23.038 6.1.2.1).

    octets: packed, least significant bit first; at least ceil((skip_bits + 7 * count) / 8) octets.
    count: septets, 0 to 160. It alone says where the text ends: 7 spare bits look like an `@`.
    skip_bits: fill bits after a header, 0 to 6 (TS 23.040 9.2.3.24).
    Returns `count` bytes, each 0x00 to 0x7F, not yet mapped to characters.
    Raises PduDecodeError if the octets end before `count` septets.
    """
    if skip_bits + 7 * count > 8 * len(octets):
        raise PduDecodeError(f"TP-UD: {count} septets announced, {len(octets)} octets present")
    packed = int.from_bytes(octets, "little") >> skip_bits
    return bytes((packed >> 7 * i) & 0x7F for i in range(count))
