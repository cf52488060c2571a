"""SMS-SUBMIT: a message from us to the network (TS 23.040 9.2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.errors import PduDecodeError
from firmware_bridge.pdu.address import Address, decode_address, decode_sca, encode_address, encode_sca
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.tp_dcs import data_coding
from firmware_bridge.pdu.tp_vp import Validity, decode_vp, encode_vp
from firmware_bridge.pdu.user_data import CarriesUserData, decode_user_data, encode_user_data

__all__ = ["Submit"]

MTI_SUBMIT = 0b01


@dataclass(frozen=True, slots=True)
class Submit(CarriesUserData):
    """One part of a message on its way out.

    data: the user data after the header, one septet per byte for gsm7. udh: the header with its
    length octet, empty if there is none. mr: TP-MR; most modems put their own in its place.
    sca: None for the service centre that the SIM names. validity: seconds, a moment, or None.
    status_report: TP-SRR. reject_duplicates: TP-RD, the service centre drops a copy of a message
    with the same TP-MR and recipient that it still holds.
    """

    recipient: Address
    data: bytes
    sca: Address | None = None
    mr: int = 0
    pid: int = 0
    dcs: int = 0
    udh: bytes = b""
    validity: Validity = None
    status_report: bool = False
    reject_duplicates: bool = False
    reply_path: bool = False

    @classmethod
    def decode(cls, pdu: bytes, *, has_sca: bool = True) -> Submit:
        """Read a PDU, by default with the service centre address before it.

        Raises PduDecodeError, and nothing else, for octets that are no SMS-SUBMIT.
        """
        reader = OctetReader(pdu)
        sca = decode_sca(reader) if has_sca else None
        first = reader.octet("first octet")
        if first & 0x03 != MTI_SUBMIT:
            raise PduDecodeError(f"TP-MTI {first & 0x03} is not SMS-SUBMIT")
        mr = reader.octet("TP-MR")
        recipient = decode_address(reader, "TP-DA")
        pid = reader.octet("TP-PID")
        dcs = reader.octet("TP-DCS")
        validity = decode_vp(reader, first >> 3 & 0x03)
        udh, data = decode_user_data(reader, data_coding(dcs).encoding, udhi=bool(first & 0x40))
        reader.finish("SMS-SUBMIT")
        return cls(
            recipient=recipient,
            data=data,
            sca=sca,
            mr=mr,
            pid=pid,
            dcs=dcs,
            udh=udh,
            validity=validity,
            status_report=bool(first & 0x20),
            reject_duplicates=bool(first & 0x04),
            reply_path=bool(first & 0x80),
        )

    def encode_tpdu(self) -> bytes:
        """The TPDU alone. Raises UsageError if a field does not fit."""
        vpf, vp = encode_vp(self.validity)
        first = (
            MTI_SUBMIT
            | self.reject_duplicates << 2
            | vpf << 3
            | self.status_report << 5
            | bool(self.udh) << 6
            | self.reply_path << 7
        )
        return b"".join(
            (
                bytes([first, self.mr]),
                encode_address(self.recipient),
                bytes([self.pid, self.dcs]),
                vp,
                encode_user_data(self.encoding, self.udh, self.data),
            )
        )

    def encode(self) -> bytes:
        """The PDU as it is typed into a modem: service centre address, then the TPDU."""
        return encode_sca(self.sca) + self.encode_tpdu()

    @property
    def tpdu_length(self) -> int:
        """Octets without the service centre address: the number in `AT+CMGS=<length>`."""
        return len(self.encode_tpdu())
