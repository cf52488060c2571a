"""USSD by +CUSD (TS 27.007 7.15): a code goes to the network, its answer comes unsolicited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.simulator.answers import Cme
from firmware_bridge.simulator.at_commands.table import Answer, command, number
from firmware_bridge.simulator.line import Call, Kind

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem


def _read(modem: GsmModem, text: str) -> str:
    if modem.settings.cscs == "UCS2":
        try:
            return bytes.fromhex(text).decode("utf-16-be")
        except ValueError:
            raise Cme(50) from None
    return text


def _show(modem: GsmModem, text: str) -> str:
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
