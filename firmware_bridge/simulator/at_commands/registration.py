"""The network as the modem shows it: +CREG and its kin, +COPS, +CSQ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_bridge.simulator.answers import Cme
from firmware_bridge.simulator.at_commands.table import Answer, command, number
from firmware_bridge.simulator.line import Call, Kind

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem


@command("+CREG", "+CGREG", "+CEREG")
def registration(modem: GsmModem, call: Call) -> Answer:
    """TS 27.007 7.2, 10.1.20, 10.1.22: circuit, packet and EPS registration go together here."""
    name, colon = call.name, modem.personality.colon
    if call.kind is Kind.READ:
        mode = modem.settings.registration[name]
        return [f"{name}{colon}{mode},{modem.radio.describe(mode)}"]
    if call.kind is Kind.TEST:
        return [f"{name}{colon}(0-2)"]
    mode = number(call.arguments, 0, 0)
    if mode > 2:
        raise Cme(50)
    modem.settings.registration[name] = mode
    return []


@command("+COPS")
def operator(modem: GsmModem, call: Call) -> Answer:
    settings = modem.network.settings
    if call.kind is Kind.TEST:
        names = f'(2,"{settings.name}","{settings.name[:8]}","{settings.mcc_mnc}")'
        return modem.later(
            modem.network.radio_time(), lambda: [f"+COPS{modem.personality.colon}{names},,(0-4),(0,2)"]
        )
    if call.kind is Kind.READ:
        if not modem.radio.in_service:
            return [f"+COPS{modem.personality.colon}0"]
        shape = modem.settings.cops_format
        shown = settings.mcc_mnc if shape == 2 else settings.name[:8] if shape == 1 else settings.name
        return [f'+COPS{modem.personality.colon}0,{shape},"{shown}"']
    mode = number(call.arguments, 0)
    if mode == 3:
        shape = number(call.arguments, 1)
        if shape > 2:
            raise Cme(50)
        modem.settings.cops_format = shape
    elif mode == 2:
        modem.radio.deregister()
    elif mode in (0, 1, 4):
        modem.radio.choose_operator()
    else:
        raise Cme(50)
    return []


@command("+CSQ")
def signal(modem: GsmModem, call: Call) -> Answer:
    if call.kind is Kind.TEST:
        return ["+CSQ: (0-31,99),(0-7,99)"]
    value = modem.radio.signal if modem.radio.functionality == 1 else 99
    return [f"+CSQ{modem.personality.colon}{value},99"]


@command("+CGATT")
def packet_attach(modem: GsmModem, call: Call) -> Answer:
    return [f"+CGATT: {int(modem.radio.in_service)}"] if call.kind is Kind.READ else []
