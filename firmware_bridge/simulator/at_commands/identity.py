"""Who the modem and its SIM are: ATI, +CGMI, +CGSN, +CIMI, ICCID under its many names, PIN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_bridge.simulator.answers import Cme
from firmware_bridge.simulator.at_commands.table import Answer, command
from firmware_bridge.simulator.line import Call, Kind
from firmware_bridge.simulator.sim_card import PinState

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

# The same question in five families' words (MODEMS.md section 3); a personality names those it knows.
ICCID_NAMES: Final = ("+CCID", "+ICCID", "^ICCID", "+QCCID", "+ZGETICCID")


@command("I")
def information(modem: GsmModem, call: Call) -> Answer:
    personality = modem.personality
    return [
        f"Manufacturer: {personality.manufacturer}",
        f"Model: {personality.model}",
        f"Revision: {personality.revision}",
        f"IMEI: {modem.imei}",
    ]


@command("+CGMI", "+GMI")
def manufacturer(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [modem.personality.manufacturer]


@command("+CGMM", "+GMM")
def model(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [modem.personality.model]


@command("+CGMR", "+GMR")
def revision(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [modem.personality.revision]


@command("+CGSN", "+GSN")
def serial_number(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [modem.imei]


@command("+CIMI", sim=True)
def subscriber_identity(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [modem.sim.imsi]


@command("+CNUM", sim=True)
def own_number(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else [f'+CNUM: "","{modem.number}",145']


@command(*ICCID_NAMES)
def card_identity(modem: GsmModem, call: Call) -> Answer:
    """The ICCID can be read before the PIN; only an absent or failed SIM refuses it."""
    if modem.radio.sim_state != "present":
        modem.radio.check_sim(sms=False)
    if call.kind is Kind.TEST:
        return []
    personality = modem.personality
    value = modem.sim.iccid + ("F" if personality.iccid_filler else "")
    if personality.iccid_quoted:
        return [f'{call.name}{personality.colon}"{value}"']
    return [value if call.name == "+CCID" else f"{call.name}{personality.colon}{value}"]


@command("+CPIN")
def pin(modem: GsmModem, call: Call) -> Answer:
    """TS 27.007 8.3: the PIN, or the PUK with a new PIN."""
    if call.kind is Kind.TEST:
        return []
    try:
        modem.radio.check_sim(sms=False)
        state = PinState.READY
    except Cme as refusal:
        if refusal.code not in (11, 12):
            raise
        state = modem.sim.state
    if call.kind is Kind.READ:
        return [f"+CPIN{modem.personality.colon}{state.value}"]
    arguments = call.arguments
    given = arguments[0] if arguments else None
    if given is None:
        raise Cme(50)
    if state is PinState.READY:
        raise Cme(3)
    if state is PinState.PUK:
        new_pin = arguments[1] if len(arguments) > 1 else None
        if new_pin is None:
            raise Cme(12)
        if not modem.sim.enter_puk(given, new_pin):
            raise Cme(16)
    elif not modem.sim.enter_pin(given):
        raise Cme(12 if modem.sim.state is PinState.PUK else 16)
    modem.radio.sim_opened()
    return []


@command("+CPINR", "^CPIN")
def pin_counters(modem: GsmModem, call: Call) -> Answer:
    """Tries left: +CPINR (TS 27.007 8.65), ^CPIN? (Huawei: state, times, puk, pin, puk2, pin2)."""
    sim = modem.sim
    if call.name == "^CPIN":
        left = sim.puk_tries if sim.state is PinState.PUK else sim.pin_tries
        times = "" if sim.state is PinState.READY else str(left)
        return [f"^CPIN: {sim.state.value},{times},{sim.puk_tries},{sim.pin_tries},10,3"]
    return [f"+CPINR: SIM PIN,{sim.pin_tries},3", f"+CPINR: SIM PUK,{sim.puk_tries},10"]


@command("+CLCK", sim=True)
def facility_lock(modem: GsmModem, call: Call) -> Answer:
    """Only the question whether the SIM asks for a PIN."""
    if call.kind is Kind.TEST:
        return ['+CLCK: ("SC")']
    arguments = call.arguments
    if arguments[:2] == ["SC", "2"]:
        return [f"+CLCK: {int(modem.sim.pin is not None)}"]
    raise Cme(3)
