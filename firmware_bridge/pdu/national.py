"""National language shift tables (TS 23.038 annex A), for reading; we never send with them.

Turkish, Spanish and Portuguese are here. The Indic languages of annex A are not: phones of those
networks send UCS-2, and a header that names another language falls back to the default tables, as
a receiver without the table must do (6.2.1.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from firmware_bridge.pdu.alphabet import BASIC, EXTENSION
from firmware_bridge.pdu.user_data_header import IEI_LOCKING_SHIFT, IEI_SINGLE_SHIFT, find_language

__all__ = ["language_tables"]

# National language identifiers (TS 23.038 6.2.1.2.4)
TURKISH: Final = 1
SPANISH: Final = 2
PORTUGUESE: Final = 3


def _with(changes: Mapping[int, str]) -> str:
    """The default alphabet with some of its places taken by other characters."""
    return "".join([changes.get(septet, char) for septet, char in enumerate(BASIC)])


# A.3.1 and A.3.3; Spanish has a single shift table only
LOCKING_SHIFT: Final[Mapping[int, str]] = {
    TURKISH: _with(
        {0x04: "€", 0x07: "ı", 0x0B: "Ğ", 0x0C: "ğ", 0x1C: "Ş", 0x1D: "ş", 0x40: "İ", 0x60: "ç"},
    ),
    PORTUGUESE: _with(
        dict(zip(range(0x04, 0x0A), "êéúíóç", strict=True))
        | {0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á"}
        | dict(zip(range(0x12, 0x1B), "ªÇÀ∞^\\€Ó|", strict=True))
        | {0x1C: "Â", 0x1D: "â", 0x1E: "Ê", 0x24: "º", 0x40: "Í", 0x60: "~"}
        | {0x5B: "Ã", 0x5C: "Õ", 0x5D: "Ú", 0x7B: "ã", 0x7C: "õ", 0x7D: "`"}
    ),
}

# A.2.1 to A.2.3: the default extension table with more in it
SINGLE_SHIFT: Final[Mapping[int, Mapping[int, str]]] = {
    TURKISH: {
        **EXTENSION,
        **{0x47: "Ğ", 0x49: "İ", 0x53: "Ş", 0x63: "ç", 0x67: "ğ", 0x69: "ı", 0x73: "ş"},
    },
    SPANISH: {
        **EXTENSION,
        **{0x09: "ç", 0x41: "Á", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú"},
        **{0x61: "á", 0x69: "í", 0x6F: "ó", 0x75: "ú"},
    },
    PORTUGUESE: {
        **EXTENSION,
        **{0x05: "ê", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "Φ", 0x13: "Γ"},
        **{0x15: "Ω", 0x16: "Π", 0x17: "Ψ", 0x18: "Σ", 0x19: "Θ", 0x1F: "Ê"},
        **{0x41: "À", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x5B: "Ã", 0x5C: "Õ"},
        **{0x61: "Â", 0x69: "í", 0x6F: "ó", 0x75: "ú", 0x7B: "ã", 0x7C: "õ", 0x7F: "â"},
    },
}


def language_tables(udh: bytes) -> tuple[str, Mapping[int, str]]:
    """The basic and the extension table that the header's language elements choose."""
    locking = find_language(udh, IEI_LOCKING_SHIFT)
    single = find_language(udh, IEI_SINGLE_SHIFT)
    basic = BASIC if locking is None else LOCKING_SHIFT.get(locking, BASIC)
    extension = EXTENSION if single is None else SINGLE_SHIFT.get(single, EXTENSION)
    return basic, extension
