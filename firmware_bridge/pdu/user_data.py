"""TP-UDL and TP-UD: the text or data of a message with the header before it (TS 23.040 9.2.3.16, 24)."""

from __future__ import annotations

from typing import Final

from firmware_bridge.errors import PduDecodeError, UsageError
from firmware_bridge.pdu.alphabet import decode_gsm7
from firmware_bridge.pdu.national import language_tables
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.septets import pack_septets, packed_length, unpack_septets
from firmware_bridge.pdu.tp_dcs import Encoding, data_coding
from firmware_bridge.pdu.user_data_header import (
    Concat,
    find_concat,
    find_ports,
)

__all__ = [
    "MAX_OCTETS",
    "MAX_SEPTETS",
    "CarriesUserData",
    "decode_text",
    "decode_user_data",
    "encode_ucs2",
    "encode_user_data",
]

MAX_OCTETS: Final = 140  # of TP-UD, header included
MAX_SEPTETS: Final = 160


def _header_septets(header_octets: int) -> tuple[int, int]:
    """Septets that a header takes up in TP-UDL, and the fill bits behind it."""
    septets = (8 * header_octets + 6) // 7
    return septets, 7 * septets - 8 * header_octets


def decode_user_data(reader: OctetReader, encoding: Encoding, *, udhi: bool) -> tuple[bytes, bytes]:
    """Take TP-UDL and TP-UD. Returns (udh, data).

    udh: the header with its length octet first, empty without TP-UDHI. data: what follows it, one
    septet per byte for gsm7. Raises PduDecodeError if lengths contradict each other.
    """
    length = reader.octet("TP-UDL")
    limit, unit = (MAX_SEPTETS, "septets") if encoding == "gsm7" else (MAX_OCTETS, "octets")
    if length > limit:
        raise PduDecodeError(f"TP-UDL: {length} {unit} announced; at most {limit} are possible")
    octets = reader.take(packed_length(length) if encoding == "gsm7" else length, "TP-UD")
    header = b""
    if udhi:
        header_octets = 1 + octets[0] if octets else 1
        if header_octets > len(octets):
            raise PduDecodeError(f"TP-UDHL: header of {header_octets} octets in {len(octets)} of TP-UD")
        header, octets = octets[:header_octets], octets[header_octets:]
    if encoding != "gsm7":
        return header, octets
    septets, fill_bits = _header_septets(len(header))
    if septets > length:
        raise PduDecodeError(f"TP-UDL: {length} septets announced; the header alone takes {septets}")
    return header, unpack_septets(octets, count=length - septets, skip_bits=fill_bits)


def encode_user_data(encoding: Encoding, udh: bytes, data: bytes) -> bytes:
    """TP-UDL and TP-UD from what `decode_user_data` returns. Raises UsageError if it does not fit."""
    if udh and udh[0] != len(udh) - 1:
        raise UsageError(f"user data header says {udh[0]} octets and has {len(udh) - 1}")
    if encoding != "gsm7":
        if len(udh) + len(data) > MAX_OCTETS:
            raise UsageError(f"user data of {len(udh) + len(data)} octets; at most {MAX_OCTETS} fit")
        return bytes([len(udh) + len(data)]) + udh + data
    septets, fill_bits = _header_septets(len(udh))
    if septets + len(data) > MAX_SEPTETS:
        raise UsageError(f"user data of {septets + len(data)} septets; at most {MAX_SEPTETS} fit")
    return bytes([septets + len(data)]) + udh + pack_septets(data, skip_bits=fill_bits)


def encode_ucs2(text: str) -> bytes:
    """UTF-16 big-endian, which is what UCS-2 means in practice; lone surrogates pass."""
    return text.encode("utf-16-be", "surrogatepass")


def decode_text(encoding: Encoding, data: bytes, udh: bytes = b"") -> str | None:
    """The text of one part, or None for 8-bit data and for half a surrogate pair.

    data, udh: as `decode_user_data` returns them. An odd octet at the end of UCS-2 is left out.
    """
    if encoding == "gsm7":
        if not udh:
            return decode_gsm7(data)
        basic, extension = language_tables(udh)
        return decode_gsm7(data, basic=basic, extension=extension)
    if encoding == "ucs2":
        try:
            return data[: len(data) & ~1].decode("utf-16-be")
        except UnicodeDecodeError:
            return None
    return None


class CarriesUserData:
    """What DELIVER and SUBMIT can say about their user data, worked out from the stored octets."""

    __slots__ = ()

    dcs: int
    udh: bytes
    data: bytes

    @property
    def encoding(self) -> Encoding:
        """How the user data is laid out: `gsm7`, `ucs2` or `8bit`."""
        return data_coding(self.dcs).encoding

    @property
    def message_class(self) -> int | None:
        """0 (flash) to 3, or None."""
        return data_coding(self.dcs).message_class

    @property
    def mwi(self) -> bool:
        """True when TP-DCS is of the message waiting groups."""
        return data_coding(self.dcs).message_waiting

    @property
    def text(self) -> str | None:
        """The text, or None for 8-bit data and for a part that holds half a surrogate pair."""
        return decode_text(self.encoding, self.data, self.udh)

    @property
    def concat(self) -> Concat | None:
        """Which part of a longer message this is, or None."""
        return find_concat(self.udh) if self.udh else None

    @property
    def ports(self) -> tuple[int, int] | None:
        """(destination, source) application ports, or None."""
        return find_ports(self.udh) if self.udh else None
