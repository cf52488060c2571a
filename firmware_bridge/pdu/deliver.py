"""SMS-DELIVER: a message from the network to us (TS 23.040 9.2.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.errors import PduDecodeError
from firmware_bridge.pdu.address import Address, decode_address, decode_sca, encode_address, encode_sca
from firmware_bridge.pdu.octets import OctetReader
from firmware_bridge.pdu.tp_dcs import data_coding
from firmware_bridge.pdu.tp_scts import SCTS_OCTETS, Scts
from firmware_bridge.pdu.user_data import CarriesUserData, decode_user_data, encode_user_data

__all__ = ["Deliver"]

MTI_DELIVER = 0b00
MTI_RESERVED = 0b11  # to be handled as a DELIVER by the receiver (9.2.3.1)


@dataclass(frozen=True, slots=True)
class Deliver(CarriesUserData):
    """A message as the modem hands it over.

    sca: service centre, None when the modem left it out. pid, dcs: octets as they came. data: the
    user data after the header, one septet per byte for gsm7. udh: the header with its length octet,
    empty if there is none. sri: the sender wants a status report. more_to_send: the service centre
    has more for us.
    """

    sender: Address
    scts: Scts
    data: bytes
    sca: Address | None = None
    pid: int = 0
    dcs: int = 0
    udh: bytes = b""
    more_to_send: bool = False
    reply_path: bool = False
    sri: bool = False
    loop_prevention: bool = False

    @classmethod
    def decode(cls, pdu: bytes, *, has_sca: bool = True) -> Deliver:
        """Read a PDU, by default with the service centre address that modems put before it.

        Raises PduDecodeError, and nothing else, for octets that are no SMS-DELIVER.
        """
        reader = OctetReader(pdu)
        sca = decode_sca(reader) if has_sca else None
        first = reader.octet("first octet")
        if first & 0x03 not in (MTI_DELIVER, MTI_RESERVED):
            raise PduDecodeError(f"TP-MTI {first & 0x03} is not SMS-DELIVER")
        sender = decode_address(reader, "TP-OA")
        pid = reader.octet("TP-PID")
        dcs = reader.octet("TP-DCS")
        scts = Scts(reader.take(SCTS_OCTETS, "TP-SCTS"))
        udh, data = decode_user_data(reader, data_coding(dcs).encoding, udhi=bool(first & 0x40))
        reader.finish("SMS-DELIVER")
        return cls(
            sender=sender,
            scts=scts,
            data=data,
            sca=sca,
            pid=pid,
            dcs=dcs,
            udh=udh,
            more_to_send=not first & 0x04,  # TP-MMS: 0 means that more are waiting (9.2.3.2)
            reply_path=bool(first & 0x80),
            sri=bool(first & 0x20),
            loop_prevention=bool(first & 0x08),
        )

    def encode_tpdu(self) -> bytes:
        """The TPDU alone. Raises UsageError if a field does not fit."""
        first = (
            MTI_DELIVER
            | (not self.more_to_send) << 2
            | self.loop_prevention << 3
            | self.sri << 5
            | bool(self.udh) << 6
            | self.reply_path << 7
        )
        return b"".join(
            (
                bytes([first]),
                encode_address(self.sender),
                bytes([self.pid, self.dcs]),
                self.scts.octets,
                encode_user_data(self.encoding, self.udh, self.data),
            )
        )

    def encode(self) -> bytes:
        """The PDU as a modem shows it: service centre address, then the TPDU."""
        return encode_sca(self.sca) + self.encode_tpdu()

    @property
    def tpdu_length(self) -> int:
        """Octets without the service centre address: the length in `+CMGR` and `+CMT`."""
        return len(self.encode_tpdu())
