"""The fields of a message as plain JSON values, under the names of the project's corpus of PDUs.

A field is present only where it means something: `udh_hex` with a header, `concat` and `ports` with
their elements, `data_hex` for ucs2 and 8bit, `text` for gsm7 and ucs2 (null while half a surrogate
pair is missing), `vp_seconds` or `vp_until` when TP-VP is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

from firmware_bridge.errors import UsageError
from firmware_bridge.pdu.address import NPI_ISDN, Address
from firmware_bridge.pdu.alphabet import encode_gsm7
from firmware_bridge.pdu.deliver import Deliver
from firmware_bridge.pdu.status_report import StatusReport
from firmware_bridge.pdu.submit import Submit
from firmware_bridge.pdu.tp_dcs import data_coding
from firmware_bridge.pdu.tp_scts import Scts
from firmware_bridge.pdu.tp_vp import EnhancedValidity, Validity
from firmware_bridge.pdu.user_data import encode_ucs2
from firmware_bridge.pdu.user_data_header import Concat, InformationElement, make_header

__all__ = ["DIRECTIONS", "Direction", "Message", "decode_message", "from_fields", "to_fields"]

Direction = Literal["deliver", "submit", "status_report"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("deliver", "submit", "status_report")
Message = Deliver | Submit | StatusReport
Fields = dict[str, Any]
T = TypeVar("T")


def decode_message(pdu: bytes, direction: str, *, has_sca: bool = True) -> Message:
    """Read a PDU of the named direction. Raises PduDecodeError; UsageError for an unknown direction."""
    match direction:
        case "deliver":
            return Deliver.decode(pdu, has_sca=has_sca)
        case "submit":
            return Submit.decode(pdu, has_sca=has_sca)
        case "status_report":
            return StatusReport.decode(pdu, has_sca=has_sca)
    raise UsageError(f"direction {direction!r}; want {', '.join(DIRECTIONS)}")


def _number(address: Address | None) -> str | None:
    return None if address is None else address.digits


def _moment(scts: Scts) -> str | None:
    return scts.isoformat() or None


def _user_data_fields(message: Deliver | Submit) -> Fields:
    fields: Fields = {"udhi": bool(message.udh)}
    if message.udh:
        fields["udh_hex"] = message.udh.hex().upper()
    if (concat := message.concat) is not None:
        fields["concat"] = {
            "ref": concat.reference,
            "total": concat.total,
            "seq": concat.sequence,
            "ref_bits": concat.reference_bits,
        }
    if (ports := message.ports) is not None:
        fields["ports"] = {"dest": ports[0], "src": ports[1]}
    if message.encoding != "gsm7":
        fields["data_hex"] = message.data.hex().upper()
    if message.encoding != "8bit":
        fields["text"] = message.text
    return fields


def _coding_fields(message: Deliver | Submit) -> Fields:
    return {
        "reply_path": message.reply_path,
        "pid": message.pid,
        "dcs": message.dcs,
        "encoding": message.encoding,
        "class": message.message_class,
        "mwi": message.mwi,
    }


def _validity_fields(validity: Validity) -> Fields:
    match validity:
        case None:
            return {}
        case int():
            return {"vp_seconds": validity}
        case Scts():
            return {"vp_until": _moment(validity)}
        case EnhancedValidity():
            return {"vp_seconds": validity.seconds}


def to_fields(message: Message) -> Fields:
    """The fields of a message, in the order in which the corpus has them."""
    if isinstance(message, StatusReport):
        return {
            "sca": _number(message.sca),
            "more_to_send": message.more_to_send,
            "mr": message.mr,
            "recipient": message.recipient.digits,
            "ton": message.recipient.ton,
            "npi": message.recipient.npi,
            "scts": _moment(message.scts),
            "discharge_time": _moment(message.discharge_time),
            "status": message.status,
            "status_class": message.status_class,
        }
    if isinstance(message, Deliver):
        return {
            "sca": _number(message.sca),
            "more_to_send": message.more_to_send,
            "sri": message.sri,
            "sender": message.sender.digits,
            "ton": message.sender.ton,
            "npi": message.sender.npi,
            **_coding_fields(message),
            "scts": _moment(message.scts),
            **_user_data_fields(message),
        }
    return {
        "sca": _number(message.sca),
        "reject_duplicates": message.reject_duplicates,
        "srr": message.status_report,
        "mr": message.mr,
        "recipient": message.recipient.digits,
        "ton": message.recipient.ton,
        "npi": message.recipient.npi,
        **_coding_fields(message),
        **_validity_fields(message.validity),
        **_user_data_fields(message),
    }


class _Given:
    """Typed access to fields from outside; every complaint names its field."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def get(self, name: str, kind: type[T], default: T | None = None) -> T:
        value = self._fields.get(name)
        if value is None:
            if default is None:
                raise UsageError(f"{name}: missing")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UsageError(f"{name}: {value!r}; want {kind.__name__}")
        return value

    def octet(self, name: str, default: int = 0) -> int:
        value = self.get(name, int, default)
        if not 0 <= value <= 255:
            raise UsageError(f"{name}: {value}; want 0 to 255")
        return value

    def octets(self, name: str) -> bytes:
        text = self.get(name, str)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise UsageError(f"{name}: {text!r} is not hexadecimal") from None

    def address(self, name: str) -> Address:
        text = self.get(name, str)
        if "ton" not in self:
            return Address.parse(text)
        ton, npi = self.octet("ton"), self.octet("npi", NPI_ISDN)
        if ton > 7 or npi > 15:
            raise UsageError(f"ton {ton}, npi {npi}; want 0 to 7, 0 to 15")
        return Address(text, ton, npi)

    def sca(self) -> Address | None:
        if "sca" not in self:
            return None
        return Address.parse(self.get("sca", str))

    def scts(self, name: str) -> Scts:
        return Scts.from_iso(self.get(name, str))

    def nested(self, name: str, make: Callable[[_Given], T]) -> T:
        value = self._fields.get(name)
        if not isinstance(value, Mapping):
            raise UsageError(f"{name}: {value!r}; want an object")
        return make(_Given(value))


def _header_from(given: _Given) -> bytes:
    if "udh_hex" in given:
        return given.octets("udh_hex")
    elements = []
    if "concat" in given:
        elements.append(
            given.nested(
                "concat",
                lambda c: Concat(
                    c.get("ref", int), c.get("total", int), c.get("seq", int), c.get("ref_bits", int, 8)
                ),
            ).encode()
        )
    if "ports" in given:
        dest, src = given.nested("ports", lambda p: (p.get("dest", int), p.get("src", int, 0)))
        if not (0 <= dest <= 0xFFFF and 0 <= src <= 0xFFFF):
            raise UsageError(f"ports: {dest}, {src}; want 0 to 65535")
        elements.append(InformationElement(0x05, dest.to_bytes(2, "big") + src.to_bytes(2, "big")))
    return make_header(*elements)


def _data_from(given: _Given, dcs: int) -> bytes:
    if "data_hex" in given:
        return given.octets("data_hex")
    text = given.get("text", str, "")
    match data_coding(dcs).encoding:
        case "gsm7":
            return encode_gsm7(text)
        case "ucs2":
            return encode_ucs2(text)
    if text:
        raise UsageError("text: 8-bit data has none; want data_hex")
    return b""


def _validity_from(given: _Given) -> Validity:
    if "vp_until" in given:
        return given.scts("vp_until")
    return given.get("vp_seconds", int) if "vp_seconds" in given else None


def from_fields(direction: str, fields: Mapping[str, Any]) -> Message:
    """Build a message from the fields that `to_fields` gives; what is left out is zero or false.

    Raises UsageError naming the field that cannot be encoded.
    """
    given = _Given(fields)
    if direction == "status_report":
        return StatusReport(
            recipient=given.address("recipient"),
            scts=given.scts("scts"),
            discharge_time=given.scts("discharge_time"),
            status=given.octet("status"),
            mr=given.octet("mr"),
            sca=given.sca(),
            more_to_send=given.get("more_to_send", bool, False),
        )
    if direction not in DIRECTIONS:
        raise UsageError(f"direction {direction!r}; want {', '.join(DIRECTIONS)}")
    dcs = given.octet("dcs")
    udh, data = _header_from(given), _data_from(given, dcs)
    if direction == "deliver":
        return Deliver(
            sender=given.address("sender"),
            scts=given.scts("scts"),
            data=data,
            sca=given.sca(),
            pid=given.octet("pid"),
            dcs=dcs,
            udh=udh,
            more_to_send=given.get("more_to_send", bool, False),
            reply_path=given.get("reply_path", bool, False),
            sri=given.get("sri", bool, False),
        )
    return Submit(
        recipient=given.address("recipient"),
        data=data,
        sca=given.sca(),
        mr=given.octet("mr"),
        pid=given.octet("pid"),
        dcs=dcs,
        udh=udh,
        validity=_validity_from(given),
        status_report=given.get("srr", bool, False),
        reject_duplicates=given.get("reject_duplicates", bool, False),
        reply_path=given.get("reply_path", bool, False),
    )
