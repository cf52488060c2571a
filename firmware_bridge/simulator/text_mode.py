"""Text mode (AT+CMGF=1) of TS 27.005: messages as lines for people, numbers and times as text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from firmware_bridge.pdu import (
    Address,
    Deliver,
    PduDecodeError,
    Scts,
    StatusReport,
    Submit,
    UsageError,
    submits,
)
from firmware_bridge.simulator.answers import Cms
from firmware_bridge.simulator.memory import Status, Stored

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

__all__ = ["body", "cmt_header", "compose", "listing", "reading", "report_fields", "time_text"]

_VPF_RELATIVE = 0x10
_STATUS_REPORT_REQUEST = 0x20


def time_text(scts: Scts) -> str:
    """`yy/MM/dd,hh:mm:ss+zz`, zone in quarters of an hour."""
    moment = scts.moment
    if moment is None:
        return "00/00/00,00:00:00+00"
    return f"{moment:%y/%m/%d,%H:%M:%S}{(scts.zone_minutes or 0) // 15:+03d}"


def _kind(address: Address) -> int:
    return address.type_of_address


def _show(modem: GsmModem, text: str) -> str:
    """Text in the character set that AT+CSCS chose."""
    if modem.settings.cscs == "UCS2":
        return text.encode("utf-16-be", "replace").hex().upper()
    if modem.settings.cscs == "HEX":
        return text.encode("latin-1", "replace").hex().upper()
    return text.encode("latin-1", "replace").decode("latin-1")


def body(modem: GsmModem, tpdu: Deliver | Submit) -> str:
    """<data> of TS 27.005 3.1: text for the default alphabet without a header, hex octets for the rest."""
    if tpdu.encoding == "gsm7" and not tpdu.udh:
        return _show(modem, tpdu.text or "")
    return (tpdu.udh + tpdu.data).hex().upper()


def _number(modem: GsmModem, address: Address) -> str:
    """Numbers are converted to the chosen character set too (TS 27.005 3.1, <da>, <oa>)."""
    return _show(modem, address.digits) if modem.settings.cscs == "UCS2" else address.digits


def cmt_header(modem: GsmModem, deliver: Deliver) -> str:
    """The first line of +CMT in text mode."""
    head = f'+CMT: "{_number(modem, deliver.sender)}",,"{time_text(deliver.scts)}"'
    if not modem.settings.csdh:
        return head
    return (
        f"{head},{_kind(deliver.sender)},{_first_octet(deliver)},{deliver.pid},{deliver.dcs},{_tail(deliver)}"
    )


def _first_octet(tpdu: Deliver | Submit | StatusReport) -> int:
    return tpdu.encode_tpdu()[0]


def _tail(tpdu: Deliver | Submit) -> str:
    """<sca>,<tosca>,<length>."""
    sca = f'"{tpdu.sca.digits}",{_kind(tpdu.sca)}' if tpdu.sca else ","
    return f"{sca},{len(tpdu.data)}"


def report_fields(report: StatusReport) -> str:
    """<fo>,<mr>,[<ra>],[<tora>],<scts>,<dt>,<st>."""
    return (
        f'{_first_octet(report)},{report.mr},"{report.recipient.digits}",{_kind(report.recipient)},'
        f'"{time_text(report.scts)}","{time_text(report.discharge_time)}",{report.status}'
    )


def _decode(stored: Stored) -> Deliver | Submit | StatusReport:
    """A stored PDU by its TP-MTI; a stored message is either received or written here."""
    tpdu_at = 1 + stored.pdu[0]
    try:
        if stored.status in (Status.UNSENT, Status.SENT):
            return Submit.decode(stored.pdu)
        if stored.pdu[tpdu_at] & 0x03 == 0x02:
            return StatusReport.decode(stored.pdu)
        return Deliver.decode(stored.pdu)
    except PduDecodeError:
        raise Cms(320) from None


def reading(modem: GsmModem, stored: Stored) -> list[str]:
    """What AT+CMGR says after its colon, and the body."""
    tpdu, words = _decode(stored), stored.status.words
    if isinstance(tpdu, StatusReport):
        return [f'"{words}",{report_fields(tpdu)}']
    if isinstance(tpdu, Submit):
        head = f'"{words}","{_number(modem, tpdu.recipient)}",'
        if modem.settings.csdh:
            head += f",{_kind(tpdu.recipient)},{_first_octet(tpdu)},{tpdu.pid},{tpdu.dcs},,{_tail(tpdu)}"
    else:
        head = f'"{words}","{_number(modem, tpdu.sender)}",,"{time_text(tpdu.scts)}"'
        if modem.settings.csdh:
            head += f",{_kind(tpdu.sender)},{_first_octet(tpdu)},{tpdu.pid},{tpdu.dcs},{_tail(tpdu)}"
    return [head, body(modem, tpdu)]


def listing(modem: GsmModem, index: int, stored: Stored) -> list[str]:
    """One entry of AT+CMGL, without the "+CMGL: "."""
    tpdu, words = _decode(stored), stored.status.words
    if isinstance(tpdu, StatusReport):
        return [f'{index},"{words}",{report_fields(tpdu)}']
    if isinstance(tpdu, Submit):
        head, address = f'{index},"{words}","{_number(modem, tpdu.recipient)}",,', tpdu.recipient
    else:
        head = f'{index},"{words}","{_number(modem, tpdu.sender)}",,"{time_text(tpdu.scts)}"'
        address = tpdu.sender
    if modem.settings.csdh:
        head += f",{_kind(address)},{len(tpdu.data)}"
    return [head, body(modem, tpdu)]


def compose(modem: GsmModem, number: str, typed: bytes) -> Submit:
    """The SUBMIT of AT+CMGS in text mode: AT+CSMP says how, AT+CSCS in which alphabet it was typed.

    Raises +CMS ERROR 305 for what does not fit one message.
    """
    settings, csmp = modem.settings, modem.settings.csmp
    text = typed.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    try:
        if settings.cscs == "UCS2":
            number = (
                bytes.fromhex(number).decode("utf-16-be")
                if len(number) % 4 == 0 and number[:2] == "00"
                else number
            )
            text = bytes.fromhex(text).decode("utf-16-be")
        elif settings.cscs == "HEX":
            text = bytes.fromhex(text).decode("latin-1")
        elif csmp.dcs & 0x0C == 0x08:
            text = bytes.fromhex(text).decode("utf-16-be")
        parts = submits(number, text, encoding="ucs2" if csmp.dcs & 0x0C == 0x08 else "gsm7")
    except (ValueError, UsageError):
        raise Cms(305) from None
    if len(parts) != 1:
        raise Cms(305)
    validity = Submit.decode(b"\x00\x11\x00\x02\x81\x21\x00\x00" + bytes([csmp.vp, 0])).validity
    return replace(
        parts[0],
        pid=csmp.pid,
        validity=validity if csmp.fo & 0x18 == _VPF_RELATIVE else None,
        status_report=bool(csmp.fo & _STATUS_REPORT_REQUEST),
    )
