"""Cutting a text into parts and joining parts again (TS 23.040 9.2.3.24.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import UsageError
from firmware_bridge.pdu.address import Address
from firmware_bridge.pdu.alphabet import encode_gsm7, first_outside_gsm7, septet_cost, septets_of
from firmware_bridge.pdu.deliver import Deliver
from firmware_bridge.pdu.submit import Submit
from firmware_bridge.pdu.tp_dcs import Encoding, dcs_for
from firmware_bridge.pdu.tp_scts import Scts
from firmware_bridge.pdu.tp_vp import Validity
from firmware_bridge.pdu.user_data import decode_text, encode_ucs2
from firmware_bridge.pdu.user_data_header import concat_header

__all__ = ["Segments", "assemble", "delivers", "segment", "submits"]

# Units in one part: alone, with an 8-bit reference, with a 16-bit reference
_ROOM: Final[dict[Encoding, tuple[int, int, int]]] = {"gsm7": (160, 153, 152), "ucs2": (70, 67, 66)}
MAX_PARTS: Final = 255


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text travels.

    parts: the text of each part. units: septets (gsm7) or UTF-16 units (ucs2) of the whole text.
    forced_by: the first character that made it UCS-2, None when it fits the GSM alphabet.
    units_left: how many more fit into the last part.
    """

    encoding: Encoding
    parts: tuple[str, ...]
    units: int
    units_left: int
    forced_by: str | None = None


def _utf16_cost(char: str) -> int:
    return 2 if ord(char) > 0xFFFF else 1


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


def _cut(text: str, room: int, cost: Callable[[str], int]) -> Iterator[str]:
    """Parts of at most `room` units. A character is never cut: no half escape, no half surrogate."""
    start = used = 0
    for position, char in enumerate(text):
        units = cost(char)
        if used + units > room:
            yield text[start:position]
            start, used = position, 0
        used += units
    yield text[start:]


def segment(text: str, *, reference_bits: int = 8, encoding: Encoding | None = None) -> Segments:
    """Cut a text into the parts that it is sent in; an empty text is one empty part.

    reference_bits: 8 or 16, of the concatenation header. encoding: `ucs2` forces it, `gsm7` refuses
    a text that does not fit the alphabet. Raises UsageError for that and for more than 255 parts.
    """
    if reference_bits not in (8, 16):
        raise UsageError(f"reference of {reference_bits} bits; want 8 or 16")
    if encoding == "8bit":
        raise UsageError("text is sent as gsm7 or ucs2; 8bit is for data")
    forced_by = first_outside_gsm7(text)
    if encoding == "gsm7" and forced_by is not None:
        raise UsageError(f"U+{ord(forced_by):04X} is not in the GSM 7 bit default alphabet")
    chosen: Encoding = encoding or ("gsm7" if forced_by is None else "ucs2")
    cost = septet_cost if chosen == "gsm7" else _utf16_cost
    count = septets_of if chosen == "gsm7" else _utf16_units
    units = count(text)
    alone, joined_8, joined_16 = _ROOM[chosen]
    if units <= alone:
        return Segments(chosen, (text,), units, alone - units, forced_by)
    room = joined_8 if reference_bits == 8 else joined_16
    parts = tuple(_cut(text, room, cost))
    if len(parts) > MAX_PARTS:
        raise UsageError(f"text of {len(parts)} parts; at most {MAX_PARTS} can be joined")
    return Segments(chosen, parts, units, room - count(parts[-1]), forced_by)


def _encode_parts(segments: Segments, reference: int, reference_bits: int) -> Iterator[tuple[bytes, bytes]]:
    """(udh, data) of each part."""
    total = len(segments.parts)
    encode = encode_gsm7 if segments.encoding == "gsm7" else encode_ucs2
    for sequence, part in enumerate(segments.parts, 1):
        udh = b"" if total == 1 else concat_header(reference, total, sequence, reference_bits)
        yield udh, encode(part)


def submits(
    recipient: str | Address,
    text: str,
    *,
    reference: int = 0,
    reference_bits: int = 8,
    status_report: bool = False,
    validity_s: Validity = None,
    message_class: int | None = None,
    encoding: Encoding | None = None,
    mr: int = 0,
    reject_duplicates: bool = False,
    sca: Address | None = None,
) -> tuple[Submit, ...]:
    """The SUBMITs that carry a text, in order.

    recipient: `+251911234567`, a short code, or an Address. reference: shared by the parts, taken
    modulo its bits; unused for a single part. validity_s: seconds, rounded up to what TP-VP can
    say. message_class: 0 (flash) to 3. encoding: see `segment`. mr: TP-MR of the first part, one more
    for each part after it, modulo 256. reject_duplicates: TP-RD, to repeat what may have been sent.
    Raises UsageError for what cannot
    be sent.
    """
    address = recipient if isinstance(recipient, Address) else Address.parse(recipient)
    segments = segment(text, reference_bits=reference_bits, encoding=encoding)
    dcs = dcs_for(segments.encoding, message_class)
    return tuple(
        Submit(
            recipient=address,
            data=data,
            sca=sca,
            mr=(mr + index) % 256,
            dcs=dcs,
            udh=udh,
            validity=validity_s,
            status_report=status_report,
            reject_duplicates=reject_duplicates,
        )
        for index, (udh, data) in enumerate(
            _encode_parts(segments, reference % (1 << reference_bits), reference_bits)
        )
    )


def delivers(
    sender: str | Address,
    text: str,
    scts: Scts,
    *,
    reference: int = 0,
    reference_bits: int = 8,
    message_class: int | None = None,
    encoding: Encoding | None = None,
    sca: Address | None = None,
) -> tuple[Deliver, ...]:
    """The DELIVERs by which a service centre hands a text over, in order (for the simulator)."""
    address = sender if isinstance(sender, Address) else Address.parse(sender)
    segments = segment(text, reference_bits=reference_bits, encoding=encoding)
    dcs = dcs_for(segments.encoding, message_class)
    total = len(segments.parts)
    return tuple(
        Deliver(
            sender=address,
            scts=scts,
            data=data,
            sca=sca,
            dcs=dcs,
            udh=udh,
            more_to_send=sequence < total,
        )
        for sequence, (udh, data) in enumerate(
            _encode_parts(segments, reference % (1 << reference_bits), reference_bits), 1
        )
    )


def assemble(encoding: Encoding, parts_data: Sequence[bytes], *, udh: bytes = b"") -> str:
    """Join the user data of parts, in order, and decode it after: pairs may be cut between parts.

    parts_data: `Deliver.data` of each part. udh: the header of one of them, of use only for the
    national language tables that it may name. A surrogate that stays alone becomes U+FFFD, and 8-bit
    data reads as Latin-1, since some text must be shown.
    """
    joined = b"".join(parts_data)
    if encoding == "gsm7":
        return decode_text("gsm7", joined, udh) or ""
    if encoding == "ucs2":
        return joined.decode("utf-16-be", "replace")
    return joined.decode("latin-1")
