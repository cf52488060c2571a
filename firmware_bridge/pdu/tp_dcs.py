"""TP-DCS, the data coding scheme: how the user data is laid out (TS 23.038 clause 4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from firmware_bridge.errors import UsageError

__all__ = ["DataCoding", "Encoding", "data_coding", "dcs_for"]

Encoding = Literal["gsm7", "ucs2", "8bit"]

_ALPHABETS: Final[tuple[Encoding, ...]] = ("gsm7", "8bit", "ucs2", "gsm7")  # 3 is reserved: see below
_ALPHABET_BITS: Final[dict[str, int]] = {"gsm7": 0x00, "8bit": 0x04, "ucs2": 0x08}


@dataclass(frozen=True, slots=True)
class DataCoding:
    """What one TP-DCS octet says.

    encoding: how TP-UDL counts and TP-UD reads. message_class: 0 to 3, None when none is given.
    message_waiting: the groups 0xC0 to 0xEF. discard: the text itself need not be kept.
    automatic_deletion: delete once read. compressed: the text cannot be read (TS 23.042).
    """

    encoding: Encoding
    message_class: int | None = None
    message_waiting: bool = False
    discard: bool = False
    automatic_deletion: bool = False
    compressed: bool = False


@lru_cache(maxsize=256)
def data_coding(dcs: int) -> DataCoding:
    """Read a TP-DCS octet, 0 to 255. Reserved codings read as the default alphabet (clause 4)."""
    group = dcs >> 4
    if group < 0x8:
        compressed = bool(dcs & 0x20)
        return DataCoding(
            # compressed text is octets to us, and TP-UDL counts octets of it (TS 23.040 9.2.3.16)
            encoding="8bit" if compressed else _ALPHABETS[dcs >> 2 & 0x03],
            message_class=dcs & 0x03 if dcs & 0x10 else None,
            automatic_deletion=bool(dcs & 0x40),
            compressed=compressed,
        )
    if group == 0xF:
        return DataCoding(encoding="8bit" if dcs & 0x04 else "gsm7", message_class=dcs & 0x03)
    if group >= 0xC:
        return DataCoding(
            encoding="ucs2" if group == 0xE else "gsm7", message_waiting=True, discard=group == 0xC
        )
    return DataCoding(encoding="gsm7")


def dcs_for(encoding: Encoding, message_class: int | None = None) -> int:
    """The octet of the general group for an encoding and, if given, a message class 0 to 3."""
    if message_class is None:
        return _ALPHABET_BITS[encoding]
    if not 0 <= message_class <= 3:
        raise UsageError(f"message class {message_class}; want 0 to 3")
    return 0x10 | _ALPHABET_BITS[encoding] | message_class
