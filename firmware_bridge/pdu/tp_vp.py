"""TP-VP, how long the service centre keeps trying (TS 23.040 9.2.3.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import UsageError
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.tp_scts import SCTS_OCTETS, Scts

__all__ = ["EnhancedValidity", "Validity", "decode_vp", "encode_vp", "relative_octet", "relative_seconds"]

# TP-VPF, bits 4 and 3 of the first octet (9.2.3.3)
VPF_NONE: Final = 0
VPF_ENHANCED: Final = 1
VPF_RELATIVE: Final = 2
VPF_ABSOLUTE: Final = 3

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400
_WEEK: Final = 7 * _DAY


def relative_seconds(octet: int) -> int:
    """Seconds that a relative TP-VP octet stands for: 5 minutes to 63 weeks (9.2.3.12.1)."""
    if octet <= 143:
        return (octet + 1) * 5 * _MINUTE
    if octet <= 167:
        return 12 * _HOUR + (octet - 143) * 30 * _MINUTE
    if octet <= 196:
        return (octet - 166) * _DAY
    return (octet - 192) * _WEEK


_RELATIVE: Final = tuple(relative_seconds(octet) for octet in range(256))


def relative_octet(seconds: int) -> int:
    """The shortest period that is not shorter than `seconds`; the longest for more than 63 weeks."""
    if seconds < 0:
        raise UsageError(f"validity of {seconds} s; want 0 or more")
    return next((octet for octet, period in enumerate(_RELATIVE) if period >= seconds), 255)


@dataclass(frozen=True, slots=True)
class EnhancedValidity:
    """The seven octets of the enhanced format (9.2.3.12.3), kept as they are."""

    octets: bytes

    @property
    def seconds(self) -> int | None:
        """The period in seconds, None when it names none or uses a reserved form."""
        indicator = self.octets[0]
        form, value = indicator & 0x07, self.octets[1:]
        if indicator & 0x80:  # an extension octet follows that no release defines
            value = value[1:]
        if form == 1:
            return relative_seconds(value[0])
        if form == 2:
            return value[0]
        if form == 3:
            tens_units = [(octet & 0x0F, octet >> 4) for octet in value[:3]]
            if all(tens <= 9 and units <= 9 for tens, units in tens_units):
                hours, minutes, seconds = (10 * tens + units for tens, units in tens_units)
                return hours * _HOUR + minutes * _MINUTE + seconds
        return None

    @property
    def single_shot(self) -> bool:
        """True when the service centre is to try once only."""
        return bool(self.octets[0] & 0x40)


# An int is seconds, relative; a Scts is a moment; None leaves it to the service centre.
Validity = int | Scts | EnhancedValidity | None


def decode_vp(reader: OctetReader, vpf: int) -> Validity:
    """Take the TP-VP that TP-VPF announces."""
    if vpf == VPF_RELATIVE:
        return relative_seconds(reader.octet("TP-VP"))
    if vpf == VPF_ABSOLUTE:
        return Scts(reader.take(SCTS_OCTETS, "TP-VP"))
    if vpf == VPF_ENHANCED:
        return EnhancedValidity(reader.take(SCTS_OCTETS, "TP-VP"))
    return None


def encode_vp(validity: Validity) -> tuple[int, bytes]:
    """TP-VPF and the TP-VP octets. Seconds are rounded up to a period that the octet can say."""
    match validity:
        case None:
            return VPF_NONE, b""
        case int():
            return VPF_RELATIVE, bytes([relative_octet(validity)])
        case Scts():
            return VPF_ABSOLUTE, validity.octets
        case EnhancedValidity():
            return VPF_ENHANCED, validity.octets
