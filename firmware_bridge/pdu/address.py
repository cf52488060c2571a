"""Addresses: TP-OA, TP-DA, TP-RA and the service centre's (TS 23.040 9.1.2.5, TS 24.011 8.2.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import PduDecodeError, UsageError
from firmware_bridge.pdu.alphabet import decode_gsm7, encode_gsm7
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.septets import pack_septets, unpack_septets

__all__ = [
    "NPI_ISDN",
    "NPI_UNKNOWN",
    "TON_ALPHANUMERIC",
    "TON_INTERNATIONAL",
    "TON_UNKNOWN",
    "Address",
    "decode_address",
    "decode_sca",
    "encode_address",
    "encode_sca",
]

TON_UNKNOWN: Final = 0
TON_INTERNATIONAL: Final = 1
TON_ALPHANUMERIC: Final = 5
NPI_UNKNOWN: Final = 0
NPI_ISDN: Final = 1

MAX_SEMI_OCTETS: Final = 20  # TS 23.040 9.1.2.5: the value field is at most 10 octets
MAX_SCA_OCTETS: Final = 11  # TS 24.011 8.2.5.1: type of number and 20 digits

_SEMI_OCTETS: Final = "0123456789*#abc"  # TS 23.040 9.1.2.3; 0xF is the filler
_SEMI_OCTET_OF: Final = {char: value for value, char in enumerate(_SEMI_OCTETS)}
_DIALLABLE: Final = re.compile(r"\+?[0-9*#][0-9*#abc]*")


@dataclass(frozen=True, slots=True)
class Address:
    """A number or a name that a message comes from or goes to.

    digits: `+251911234567` when international, `8400` or `*179#` otherwise, or the name itself when
    alphanumeric. ton: type of number, 0 to 7. npi: numbering plan identification, 0 to 15.
    """

    digits: str
    ton: int = TON_UNKNOWN
    npi: int = NPI_ISDN

    @property
    def is_alphanumeric(self) -> bool:
        """True when `digits` is a name: such a sender cannot be answered."""
        return self.ton == TON_ALPHANUMERIC

    @property
    def type_of_address(self) -> int:
        """The type-of-address octet: 0x80 | TON << 4 | NPI."""
        return 0x80 | self.ton << 4 | self.npi

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address as people write it: `+251…` international, digits unknown, else a name.

        Raises UsageError if it is empty, too long, or a name outside the GSM alphabet.
        """
        if _DIALLABLE.fullmatch(text):
            if len(text.lstrip("+")) > MAX_SEMI_OCTETS:
                raise UsageError(f"address of {len(text)} digits; at most {MAX_SEMI_OCTETS} are possible")
            return cls(text, TON_INTERNATIONAL if text.startswith("+") else TON_UNKNOWN, NPI_ISDN)
        if not text:
            raise UsageError("address is empty")
        name = cls(text, TON_ALPHANUMERIC, NPI_UNKNOWN)
        encode_address(name)  # refuses what does not fit
        return name

    def __str__(self) -> str:
        return self.digits


def _decode_semi_octets(octets: bytes, count: int, field: str) -> str:
    """Digits from swapped semi-octets; fillers are allowed at the end only."""
    values = [value for octet in octets for value in (octet & 0x0F, octet >> 4)][:count]
    while values and values[-1] == 0x0F:
        values.pop()
    if 0x0F in values:
        raise PduDecodeError(f"{field}: filler F before the last digit in {octets.hex().upper()}")
    return "".join([_SEMI_OCTETS[value] for value in values])


def _encode_semi_octets(digits: str) -> bytes:
    try:
        values = [_SEMI_OCTET_OF[char] for char in digits]
    except KeyError as error:
        raise UsageError(f"{error.args[0]!r} is not an address digit; want 0-9 * # a b c") from None
    if len(values) % 2:
        values.append(0x0F)
    return bytes([values[i] | values[i + 1] << 4 for i in range(0, len(values), 2)])


def decode_address(reader: OctetReader, field: str) -> Address:
    """Take an address field: its length in semi-octets, type, value.

    An alphanumeric length counts semi-octets too: 7 characters are 13 of them, 8 are 14. Some
    senders write 14 for 7 characters, so the `@` that then seems to be the eighth is padding.
    """
    length = reader.octet(field)
    if length > MAX_SEMI_OCTETS:
        raise PduDecodeError(f"{field}: length {length} semi-octets; at most {MAX_SEMI_OCTETS} are possible")
    kind = reader.octet(field)
    ton, npi = kind >> 4 & 0x07, kind & 0x0F
    value = reader.take((length + 1) // 2, field)
    if ton == TON_ALPHANUMERIC:
        count = length * 4 // 7
        name = decode_gsm7(unpack_septets(value, count=count))
        return Address(name[:-1] if length == 14 and name.endswith("@") else name, ton, npi)
    digits = _decode_semi_octets(value, length, field)
    return Address("+" + digits if ton == TON_INTERNATIONAL else digits, ton, npi)


def encode_address(address: Address) -> bytes:
    """Length, type and value. Raises UsageError when it does not fit the field."""
    if address.is_alphanumeric:
        septets = encode_gsm7(address.digits)
        length, value = (len(septets) * 7 + 3) // 4, pack_septets(septets)
    else:
        digits = address.digits.removeprefix("+")
        length, value = len(digits), _encode_semi_octets(digits)
    if length > MAX_SEMI_OCTETS:
        raise UsageError(f"address {address.digits!r} takes {length} semi-octets of {MAX_SEMI_OCTETS}")
    return bytes([length, address.type_of_address]) + value


def decode_sca(reader: OctetReader) -> Address | None:
    """Take the service centre address that modems put before the TPDU (TS 27.005 3.1, PDU mode).

    Its length counts octets, type included, unlike TP addresses. Zero: the modem's own setting.
    """
    length = reader.octet("SCA")
    if not length:
        return None
    if length > MAX_SCA_OCTETS:
        raise PduDecodeError(f"SCA: length {length} octets; at most {MAX_SCA_OCTETS} are possible")
    kind = reader.octet("SCA")
    ton = kind >> 4 & 0x07
    digits = _decode_semi_octets(reader.take(length - 1, "SCA"), 2 * (length - 1), "SCA")
    return Address("+" + digits if ton == TON_INTERNATIONAL else digits, ton, kind & 0x0F)


def encode_sca(address: Address | None) -> bytes:
    """The octets before the TPDU; one zero octet for "as the modem is set"."""
    if address is None:
        return b"\x00"
    value = _encode_semi_octets(address.digits.removeprefix("+"))
    if len(value) + 1 > MAX_SCA_OCTETS:
        raise UsageError(f"service centre address {address.digits!r} is too long")
    return bytes([len(value) + 1, address.type_of_address]) + value
