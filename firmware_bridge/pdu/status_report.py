"""SMS-STATUS-REPORT: what became of a message that we sent (TS 23.040 9.2.2.3)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.errors import PduDecodeError
from firmware_bridge.pdu.address import Address, decode_address, decode_sca, encode_address, encode_sca
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.tp_dcs import data_coding
from firmware_bridge.pdu.tp_scts import SCTS_OCTETS, Scts
from firmware_bridge.pdu.tp_status import StatusClass, status_class, status_text
from firmware_bridge.pdu.user_data import CarriesUserData, decode_user_data

__all__ = ["ReportParameters", "StatusReport"]

MTI_STATUS_REPORT = 0b10


@dataclass(frozen=True, slots=True)
class ReportParameters(CarriesUserData):
    """The optional fields that TP-PI announces (9.2.3.27); a field left out reads as zero or empty."""

    pid: int = 0
    dcs: int = 0
    udh: bytes = b""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A report on the message with TP-MR `mr` to `recipient`.

    scts: when the service centre took the message. discharge_time: when the status came about.
    of_command: it answers an SMS-COMMAND rather than a SUBMIT (TP-SRQ). extra: the octets behind
    TP-ST, kept as they came, since service centres differ in what they put there; `parameters`
    reads them. udhi: TP-UDHI, of use for `parameters` only.
    """

    recipient: Address
    scts: Scts
    discharge_time: Scts
    status: int
    mr: int = 0
    sca: Address | None = None
    more_to_send: bool = False
    loop_prevention: bool = False
    of_command: bool = False
    udhi: bool = False
    extra: bytes = b""

    @property
    def status_class(self) -> StatusClass:
        """`delivered`, `pending` (another report may follow) or `failed`."""
        return status_class(self.status)

    @property
    def status_text(self) -> str:
        """The status in words."""
        return status_text(self.status)

    @property
    def parameters(self) -> ReportParameters | None:
        """The optional fields, or None if there are none or they cannot be read.

        They never decide about the report: a service centre that garbles them has still told us
        what became of the message.
        """
        if not self.extra:
            return None
        reader = OctetReader(self.extra)
        try:
            indicator = octet = reader.octet("TP-PI")
            while octet & 0x80:
                octet = reader.octet("TP-PI")
            pid = reader.octet("TP-PID") if indicator & 0x01 else 0
            dcs = reader.octet("TP-DCS") if indicator & 0x02 else 0
            if not indicator & 0x04:
                return ReportParameters(pid, dcs)
            encoding = data_coding(dcs).encoding
            return ReportParameters(pid, dcs, *decode_user_data(reader, encoding, udhi=self.udhi))
        except PduDecodeError:
            return None

    @classmethod
    def decode(cls, pdu: bytes, *, has_sca: bool = True) -> StatusReport:
        """Read a PDU, by default with the service centre address before it.

        Raises PduDecodeError, and nothing else, for octets that are no SMS-STATUS-REPORT.
        """
        reader = OctetReader(pdu)
        sca = decode_sca(reader) if has_sca else None
        first = reader.octet("first octet")
        if first & 0x03 != MTI_STATUS_REPORT:
            raise PduDecodeError(f"TP-MTI {first & 0x03} is not SMS-STATUS-REPORT")
        mr = reader.octet("TP-MR")
        recipient = decode_address(reader, "TP-RA")
        scts = Scts(reader.take(SCTS_OCTETS, "TP-SCTS"))
        discharge_time = Scts(reader.take(SCTS_OCTETS, "TP-DT"))
        status = reader.octet("TP-ST")
        return cls(
            recipient=recipient,
            scts=scts,
            discharge_time=discharge_time,
            status=status,
            mr=mr,
            sca=sca,
            more_to_send=not first & 0x04,
            loop_prevention=bool(first & 0x08),
            of_command=bool(first & 0x20),
            udhi=bool(first & 0x40),
            extra=reader.take(reader.remaining, "TP-PI"),
        )

    def encode_tpdu(self) -> bytes:
        """The TPDU alone. Raises UsageError if a field does not fit."""
        first = (
            MTI_STATUS_REPORT
            | (not self.more_to_send) << 2
            | self.loop_prevention << 3
            | self.of_command << 5
            | self.udhi << 6
        )
        return b"".join(
            (
                bytes([first, self.mr]),
                encode_address(self.recipient),
                self.scts.octets,
                self.discharge_time.octets,
                bytes([self.status]),
                self.extra,
            )
        )

    def encode(self) -> bytes:
        """The PDU as a modem shows it: service centre address, then the TPDU."""
        return encode_sca(self.sca) + self.encode_tpdu()

    @property
    def tpdu_length(self) -> int:
        """Octets without the service centre address: the length in `+CDS`."""
        return len(self.encode_tpdu())
