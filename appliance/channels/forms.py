"""Messages that are more than text: shown at once ("flash"), data of eight bits, a user data header.

`outbound.form` says it as JSON; the row's text then says for people what is sent. Only a modem can: a
provider's API has no place for it. A message of data is one SMS.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from firmware_bridge.pdu import Address, Submit, UsageError, Validity, dcs_for
from firmware_bridge.pdu.alphabet import encode_gsm7

__all__ = ["Form", "data_form", "read_form"]

_MOST_OCTETS: Final = 140  # of TP-UD, header included (TS 23.040 9.2.3.24)
_Coding = Literal["gsm7", "8bit", "ucs2"]


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """message_class: 0 (flash) to 3. data: octets, or septets one per octet, of one SMS, and then the text
    of the message is not sent; udh: its header, with the length octet. pid: TP-PID."""

    message_class: int | None = None
    coding: _Coding = "gsm7"
    data: bytes | None = None
    udh: bytes = b""
    pid: int = 0

    def dumps(self) -> str:
        return msgspec.json.encode(self).decode()

    def submit(
        self,
        recipient: str,
        *,
        mr: int,
        status_report: bool,
        reject_duplicates: bool,
        validity_s: Validity,
    ) -> Submit:
        """The one SMS-SUBMIT of a message of data."""
        assert self.data is not None
        return Submit(
            recipient=Address.parse(recipient),
            data=self.data,
            mr=mr,
            pid=self.pid,
            dcs=dcs_for(self.coding, self.message_class),
            udh=self.udh,
            validity=validity_s,
            status_report=status_report,
            reject_duplicates=reject_duplicates,
        )


def read_form(text: str) -> Form:
    """What `Form.dumps` wrote; "" is plain text."""
    return msgspec.json.decode(text, type=Form) if text else Form()


def data_form(coding: _Coding, content: bytes | str, udh: bytes, message_class: int | None, pid: int) -> Form:
    """The form of a message of data, checked: one header of its own length, and room for both in one SMS.

    Raises ValueError with what is wrong.
    """
    if udh and len(udh) != udh[0] + 1:
        raise ValueError("the header's first octet is not its length")
    room = _MOST_OCTETS - len(udh)
    if isinstance(content, bytes):
        data = content
    elif coding == "ucs2":
        data = content.encode("utf-16-be")
    else:
        try:
            data = encode_gsm7(content)
        except UsageError as error:
            raise ValueError(str(error)) from error
        room = room * 8 // 7
    if len(data) > room:
        raise ValueError(f"{len(data)} {'septets' if coding == 'gsm7' else 'octets'}; one SMS holds {room}")
    return Form(message_class=message_class, coding=coding, data=data, udh=udh, pid=pid)
