"""A PDU taken apart octet by octet, for people, under the names of TS 23.040."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from firmware_bridge.errors import PduDecodeError
from firmware_bridge.pdu.address import TON_ALPHANUMERIC, decode_address, decode_sca
from firmware_bridge.pdu.fields import Direction, decode_message
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.tp_dcs import data_coding
from firmware_bridge.pdu.tp_scts import SCTS_OCTETS, Scts
from firmware_bridge.pdu.tp_status import status_class, status_text
from firmware_bridge.pdu.tp_vp import EnhancedValidity, Validity, decode_vp
from firmware_bridge.pdu.user_data import decode_text, decode_user_data
from firmware_bridge.pdu.user_data_header import parse_header

__all__ = ["Annotation", "annotate", "direction_of", "format_annotations"]

MTI_NAMES: Final = ("SMS-DELIVER", "SMS-SUBMIT", "SMS-STATUS-REPORT", "reserved")
TON_NAMES: Final = (
    "unknown",
    "international",
    "national",
    "network specific",
    "subscriber",
    "alphanumeric",
    "abbreviated",
    "reserved",
)
NPI_NAMES: Final = {0: "unknown", 1: "ISDN/E.164", 3: "data/X.121", 4: "telex", 8: "national", 9: "private"}
VPF_NAMES: Final = ("no TP-VP", "enhanced", "relative", "absolute")
IEI_NAMES: Final = {
    0x00: "concatenation, 8-bit reference",
    0x01: "special SMS message indication",
    0x04: "application ports, 8 bits",
    0x05: "application ports, 16 bits",
    0x08: "concatenation, 16-bit reference",
    0x24: "national language single shift",
    0x25: "national language locking shift",
}
# Bits of the first octet besides TP-MTI: (bit, name, meaning when 0, meaning when 1)
FLAGS: Final[dict[Direction, tuple[tuple[int, str, str, str], ...]]] = {
    "deliver": (
        (2, "TP-MMS", "more messages are waiting", "no more messages are waiting"),
        (3, "TP-LP", "not forwarded", "forwarded or spawned"),
        (5, "TP-SRI", "no status report wanted", "status report wanted by the sender"),
        (6, "TP-UDHI", "no header", "user data begins with a header"),
        (7, "TP-RP", "no reply path", "reply path set"),
    ),
    "submit": (
        (2, "TP-RD", "duplicates accepted", "duplicates rejected"),
        (5, "TP-SRR", "no status report requested", "status report requested"),
        (6, "TP-UDHI", "no header", "user data begins with a header"),
        (7, "TP-RP", "no reply path", "reply path set"),
    ),
    "status_report": (
        (2, "TP-MMS", "more messages are waiting", "no more messages are waiting"),
        (3, "TP-LP", "not forwarded", "forwarded or spawned"),
        (5, "TP-SRQ", "result of an SMS-SUBMIT", "result of an SMS-COMMAND"),
        (6, "TP-UDHI", "no header", "user data begins with a header"),
    ),
}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line: where (octet from 0), which octets, the field's name, what it says.

    Lines about single bits carry no octets.
    """

    offset: int
    octets: bytes
    name: str
    meaning: str


def direction_of(pdu: bytes, *, has_sca: bool = True) -> Direction:
    """The kind of message by TP-MTI, as the network and we send them (9.2.3.1).

    Raises PduDecodeError when the octets end before it.
    """
    reader = OctetReader(pdu)
    if has_sca:
        decode_sca(reader)
    directions: tuple[Direction, ...] = ("deliver", "submit", "status_report", "deliver")
    return directions[reader.peek("first octet") & 0x03]


class _Walk:
    """Reads a PDU from front to back and notes each field as it goes."""

    def __init__(self, pdu: bytes, direction: Direction, has_sca: bool) -> None:
        self.reader = OctetReader(pdu)
        self.direction = direction
        self.has_sca = has_sca
        self.notes: list[Annotation] = []

    def note(self, count: int, name: str, meaning: str) -> bytes:
        start = self.reader.position
        octets = self.reader.take(count, name)
        self.notes.append(Annotation(start, octets, name, meaning))
        return octets

    def octet(self, name: str, meaning: str = "") -> int:
        value = self.reader.peek(name)
        self.note(1, name, meaning or str(value))
        return value

    def bit(self, name: str, meaning: str) -> None:
        self.notes.append(Annotation(self.reader.position - 1, b"", name, meaning))

    def scts(self, name: str) -> None:
        stamp = Scts(self.reader.octets[self.reader.position : self.reader.position + SCTS_OCTETS])
        readable = len(stamp.octets) == SCTS_OCTETS
        self.note(SCTS_OCTETS, name, (readable and stamp.isoformat()) or "not a time")

    def type_of_address(self, name: str) -> None:
        value = self.reader.peek(name)
        ton, npi = value >> 4 & 0x07, value & 0x0F
        self.octet(name, f"TON {ton} {TON_NAMES[ton]}, NPI {npi} {NPI_NAMES.get(npi, 'reserved')}")

    def sca(self) -> None:
        probe = OctetReader(self.reader.octets)
        address = decode_sca(probe)
        if address is None:
            self.octet("SCA length", "0: the service centre that the SIM names")
            return
        count = self.octet("SCA length", f"{self.reader.octets[0]} octets follow")
        self.type_of_address("SCA type")
        self.note(count - 1, "SCA value", address.digits)

    def address(self, name: str) -> None:
        probe = OctetReader(self.reader.octets)
        probe.position = self.reader.position
        address = decode_address(probe, name)
        length = self.octet(f"{name} length", f"{self.reader.peek(name)} semi-octets")
        self.type_of_address(f"{name} type")
        kind = "name" if address.ton == TON_ALPHANUMERIC else "number"
        if length:
            self.note((length + 1) // 2, f"{name} value", f"{kind} {address.digits}")

    def first_octet(self) -> int:
        value = self.octet("first octet", f"{self.reader.peek('first octet'):08b}")
        self.bit("  TP-MTI", f"{value & 3:02b} {MTI_NAMES[value & 3]}")
        if self.direction == "submit":
            self.bit("  TP-VPF", f"{value >> 3 & 3:02b} {VPF_NAMES[value >> 3 & 3]}")
        for bit, name, off, on in FLAGS[self.direction]:
            is_set = bool(value & 1 << bit)
            self.bit(f"  {name}", f"{is_set:d} {on if is_set else off}")
        return value

    def dcs(self) -> int:
        value = self.reader.peek("TP-DCS")
        coding = data_coding(value)
        words: list[str] = [coding.encoding]
        words += [] if coding.message_class is None else [f"class {coding.message_class}"]
        words += ["message waiting"] if coding.message_waiting else []
        words += ["discard"] if coding.discard else []
        words += ["delete after reading"] if coding.automatic_deletion else []
        words += ["compressed"] if coding.compressed else []
        return self.octet("TP-DCS", f"0x{value:02X} {', '.join(words)}")

    def validity(self, vpf: int) -> None:
        probe = OctetReader(self.reader.octets)
        probe.position = self.reader.position
        validity: Validity = decode_vp(probe, vpf)
        if validity is not None:
            self.note(probe.position - self.reader.position, "TP-VP", _say_validity(validity))

    def user_data(self, dcs: int, udhi: bool) -> None:
        encoding = data_coding(dcs).encoding
        probe = OctetReader(self.reader.octets)
        probe.position = self.reader.position
        unit = "septets" if encoding == "gsm7" else "octets"
        length = self.octet("TP-UDL", f"{self.reader.peek('TP-UDL')} {unit}")
        udh, data = decode_user_data(probe, encoding, udhi=udhi)
        if udh:
            self.octet("TP-UDHL", f"{udh[0]} octets of header")
            elements = parse_header(udh)
            for element in elements:
                self.octet("  IEI", IEI_NAMES.get(element.identifier, "not known here"))
                self.octet("  IEDL", f"{len(element.data)} octets")
                if element.data:
                    self.note(len(element.data), "  IED", _say_element(element.identifier, element.data))
            if not elements and udh[0]:
                self.note(udh[0], "  header", "elements and length contradict each other: ignored")
        rest = probe.position - self.reader.position
        text = decode_text(encoding, data, udh)
        fill = f"{_fill_bits(len(udh))} fill bits, " if encoding == "gsm7" and _fill_bits(len(udh)) else ""
        shown = repr(text) if text is not None else "data" if encoding == "8bit" else "half a surrogate pair"
        if rest or length:
            self.note(rest, "TP-UD", fill + shown)

    def run(self) -> None:
        if self.has_sca:
            self.sca()
        first = self.first_octet()
        if self.direction == "status_report":
            self.octet("TP-MR")
            self.address("TP-RA")
            self.scts("TP-SCTS")
            self.scts("TP-DT")
            status = self.reader.peek("TP-ST")
            self.octet("TP-ST", f"0x{status:02X} {status_class(status)}: {status_text(status)}")
            if self.reader.remaining:
                self.note(self.reader.remaining, "TP-PI ...", "optional fields")
            return
        if self.direction == "submit":
            self.octet("TP-MR")
        self.address("TP-DA" if self.direction == "submit" else "TP-OA")
        self.octet("TP-PID", f"0x{self.reader.peek('TP-PID'):02X}")
        dcs = self.dcs()
        if self.direction == "submit":
            self.validity(first >> 3 & 0x03)
        else:
            self.scts("TP-SCTS")
        self.user_data(dcs, bool(first & 0x40))
        if self.reader.remaining:
            self.note(self.reader.remaining, "left over", "padding of a SIM record")


def _fill_bits(header_octets: int) -> int:
    return -8 * header_octets % 7


def _say_validity(validity: Validity) -> str:
    match validity:
        case Scts():
            return f"until {validity.isoformat() or 'what is not a time'}"
        case EnhancedValidity():
            return (
                f"enhanced, {validity.seconds} s" if validity.seconds is not None else "enhanced, no period"
            )
    return f"{validity} s"


def _say_element(identifier: int, data: bytes) -> str:
    if identifier in (0x00, 0x08) and len(data) in (3, 4):
        return f"reference {int.from_bytes(data[:-2], 'big')}, part {data[-1]} of {data[-2]}"
    if identifier in (0x04, 0x05) and len(data) in (2, 4):
        half = len(data) // 2
        return f"to port {int.from_bytes(data[:half], 'big')} from {int.from_bytes(data[half:], 'big')}"
    return ""


def annotate(
    pdu: bytes, direction: Direction | None = None, *, has_sca: bool = True
) -> tuple[list[Annotation], str | None]:
    """Take a PDU apart. Returns (lines, error): all lines up to the fault, and None or the fault.

    direction: by TP-MTI when None. Never raises for what the octets hold.
    """
    notes: list[Annotation] = []
    try:
        kind = direction or direction_of(pdu, has_sca=has_sca)
        walk = _Walk(pdu, kind, has_sca)
        notes = walk.notes
        walk.run()
        decode_message(pdu, kind, has_sca=has_sca)  # what the decoder refuses, the reader must hear of
    except PduDecodeError as error:
        return notes, str(error)
    return notes, None


OCTETS_PER_LINE: Final = 10


def format_annotations(notes: list[Annotation]) -> Iterator[str]:
    """Lines for a terminal: offset, octets in hex, name, meaning."""
    for note in notes:
        chunks = [
            note.octets[at : at + OCTETS_PER_LINE].hex(" ").upper()
            for at in range(0, len(note.octets), OCTETS_PER_LINE)
        ] or [""]
        where = f"{note.offset:3d}" if note.octets else "   "
        yield f"{where}  {chunks[0]:29}  {note.name:15} {note.meaning}".rstrip()
        for number, chunk in enumerate(chunks[1:], 1):
            yield f"{note.offset + number * OCTETS_PER_LINE:3d}  {chunk}"
