"""USSD by +CUSD (TS 27.007 7.15): a code goes to the network, its answer comes unsolicited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.pdu.alphabet import decode_gsm7, encode_gsm7
from firmware_bridge.pdu.septets import pack_septets, unpack_septets
from firmware_bridge.simulator.answers import Cme
from firmware_bridge.simulator.at_commands.table import Answer, command, number
from firmware_bridge.simulator.line import Call, Kind

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem


@command("^USSDMODE")
def ussd_mode(modem: GsmModem, call: Call) -> Answer:
    """Huawei: 1 packs USSD into septets, 0 leaves it as text (MODEMS.md section 5)."""
    if call.kind is Kind.READ:
        return [f"^USSDMODE: {int(modem.ussd_packed)}"]
    modem.ussd_packed = number(call.arguments, 0, 1) == 1
    return []


def _read(modem: GsmModem, text: str) -> str:
    if modem.ussd_packed:
        try:
            octets = bytes.fromhex(text)
        except ValueError:
            raise Cme(50) from None
        unpacked = decode_gsm7(unpack_septets(octets, count=len(octets) * 8 // 7))
        return unpacked.rstrip("\r@")  # fill bits at the end read as one of these
    if modem.settings.cscs == "UCS2":
        try:
            return bytes.fromhex(text).decode("utf-16-be")
        except ValueError:
            raise Cme(50) from None
    return text


def _show(modem: GsmModem, text: str) -> str:
    if modem.ussd_packed and text.isascii():
        return pack_septets(encode_gsm7(text)).hex().upper()
    if modem.settings.cscs == "UCS2" or not text.isascii():
        return text.encode("utf-16-be").hex().upper()
    return text


@command("+CUSD", sim=True)
def ussd(modem: GsmModem, call: Call) -> Answer:
    if call.kind is Kind.READ:
        return [f"+CUSD: {modem.settings.cusd}"]
    if call.kind is Kind.TEST:
        return ["+CUSD: (0,1,2)"]
    arguments = call.arguments
    mode = number(arguments, 0)
    if mode == 2:
        modem.ussd_session = None
        return []
    if mode > 2:
        raise Cme(50)
    modem.settings.cusd = mode
    code = arguments[1] if len(arguments) > 1 else None
    if code is None:
        return []
    if not modem.radio.in_service:
        raise Cme(30)
    dialled = _read(modem, code)
    key = f"{modem.ussd_session}>{dialled}" if modem.ussd_session else dialled
    modem.schedule(modem.network.radio_time(), lambda: _answered(modem, key))
    return []


def _answered(modem: GsmModem, key: str) -> None:
    """Say what the network has for a code, or for an answer inside its session ("*999#>1")."""
    answers = modem.network.settings.ussd
    text = answers.get(key)
    if text is None:
        modem.ussd_session = None
        modem.urc("+CUSD: 4")  # operation not supported
        return
    more = any(other.startswith(f"{key}>") for other in answers)
    modem.ussd_session = key if more else None
    dcs = 15 if text.isascii() else 72  # TS 23.038 clause 5: default alphabet, UCS-2
    modem.urc(f'+CUSD: {int(more)},"{_show(modem, text)}",{dcs}')
