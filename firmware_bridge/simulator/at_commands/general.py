"""Commands of V.250 and the general ones of TS 27.007: echo, result codes, reset, clock, power."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from firmware_bridge.simulator.answers import AtRefusal, Cme
from firmware_bridge.simulator.at_commands.table import TABLE, Answer, command, number, ranged
from firmware_bridge.simulator.line import Call, Kind

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

CHARACTER_SETS: Final = ("GSM", "IRA", "UCS2", "HEX", "8859-1")
_RESET_AFTER_S: Final = 0.05  # OK is still said before the restart


def _switch(call: Call) -> bool:
    if call.text not in ("", "0", "1"):
        raise AtRefusal
    return call.text == "1"


@command("E")
def echo(modem: GsmModem, call: Call) -> Answer:
    modem.settings.echo = _switch(call)
    return []


@command("V")
def verbose(modem: GsmModem, call: Call) -> Answer:
    modem.settings.verbose = _switch(call)
    return []


@command("Q")
def quiet(modem: GsmModem, call: Call) -> Answer:
    modem.settings.quiet = _switch(call)
    return []


@command("Z", "&F")
def reset_settings(modem: GsmModem, call: Call) -> Answer:
    """ATZ recalls the stored profile, which is the factory's: nothing here stores another."""
    modem.factory_settings()
    return []


@command(
    "&C", "&D", "&K", "&S", "&W", "X", "L", "M", "H", "O", "\\Q", "+IFC", "+ICF", "+CRC", "+CLIP", "+CLIR"
)
@command(
    "+CR",
    "+CSTA",
    "+CMOD",
    "^CURC",
    "^PORTSEL",
    "+CGEREP",
    "+CSSN",
    "+CSCB",
    "+CSAS",
    "+CRES",
)
def accepted(modem: GsmModem, call: Call) -> Answer:
    """Line and call settings that mean nothing to a simulated line: taken and forgotten."""
    return []


@command("D")
def dial(modem: GsmModem, call: Call) -> Answer:
    """Calls are not simulated; nobody answers."""

    class NoCarrier(AtRefusal):
        def line(self, cmee: int) -> str:
            return "NO CARRIER"

    raise NoCarrier


@command("S0", "S3", "S4", "S5", "S7", "S10")
def register(modem: GsmModem, call: Call) -> Answer:
    values = {"S0": "000", "S3": "013", "S4": "010", "S5": "008"}
    return [values.get(call.name, "060")] if call.kind is Kind.READ else []


@command("+IPR")
def rate(modem: GsmModem, call: Call) -> Answer:
    return ["+IPR: 115200"] if call.kind is Kind.READ else []


@command("+CMEE")
def error_form(modem: GsmModem, call: Call) -> Answer:
    value, answer = ranged(call, modem.settings.cmee, (0, 1, 2))
    if not modem.personality.cmee_text_always:
        modem.settings.cmee = value
    return answer


@command("+CSCS")
def character_set(modem: GsmModem, call: Call) -> Answer:
    if call.kind is Kind.READ:
        return [f'+CSCS: "{modem.settings.cscs}"']
    if call.kind is Kind.TEST:
        return ["+CSCS: (" + ",".join(f'"{name}"' for name in CHARACTER_SETS) + ")"]
    name = (call.arguments or [None])[0]
    if name is None or name.upper() not in CHARACTER_SETS:
        raise Cme(50)
    modem.settings.cscs = name.upper()
    return []


@command("+CLAC")
def all_commands(modem: GsmModem, call: Call) -> Answer:
    return [] if call.kind is Kind.TEST else sorted(name for name in TABLE if name.startswith("+"))


@command("+GCAP")
def capabilities(modem: GsmModem, call: Call) -> Answer:
    return ["+GCAP: +CGSM"]


@command("+CPAS")
def activity(modem: GsmModem, call: Call) -> Answer:
    return ["+CPAS: 0"]


@command("+CBC")
def battery(modem: GsmModem, call: Call) -> Answer:
    return ["+CBC: 0,100"]


@command("+CFUN")
def functionality(modem: GsmModem, call: Call) -> Answer:
    """TS 27.007 8.2: 0 radio off, 1 full, 4 flight; `1,1` restarts."""
    if call.kind is Kind.READ:
        return [f"+CFUN: {modem.radio.functionality}"]
    if call.kind is Kind.TEST:
        return ["+CFUN: (0,1,4),(0,1)"]
    arguments = call.arguments
    value = number(arguments, 0)
    if value not in (0, 1, 4):
        raise Cme(50)
    if number(arguments, 1, 0) == 1:
        modem.timeline.after(_RESET_AFTER_S, modem.reset)
        return []
    modem.radio.set_functionality(value)
    return []


def _clock_text(modem: GsmModem) -> str:
    """`yy/MM/dd,hh:mm:ss+zz`: the network's time once AT+CTZU=1 let it in, else counted from 1980."""
    settings = modem.network.settings
    if modem.settings.ctzu or modem.clock_offset_s is not None:
        utc = datetime.fromtimestamp(modem.timeline.utc_ms / 1000 + (modem.clock_offset_s or 0), UTC)
        local = utc + timedelta(minutes=15 * settings.zone_quarters)
        return f"{local:%y/%m/%d,%H:%M:%S}{settings.zone_quarters:+03d}"
    started = datetime(1980, 1, 6, tzinfo=UTC) + timedelta(seconds=modem.uptime_s)
    return f"{started:%y/%m/%d,%H:%M:%S}+00"


@command("+CCLK")
def clock(modem: GsmModem, call: Call) -> Answer:
    """TS 27.007 8.15."""
    if call.kind is Kind.READ:
        return [f'+CCLK: "{_clock_text(modem)}"']
    if call.kind is Kind.TEST:
        return []
    text = (call.arguments or [None])[0]
    found = re.fullmatch(r"(\d\d/\d\d/\d\d,\d\d:\d\d:\d\d)([+-]\d\d)", text or "")
    if not found:
        raise Cme(50)
    try:
        local = datetime.strptime(found[1], "%y/%m/%d,%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise Cme(50) from None
    asked_utc_s = local.timestamp() - 900 * int(found[2])
    modem.clock_offset_s = asked_utc_s - modem.timeline.utc_ms / 1000
    return []


@command("+CTZU")
def zone_update(modem: GsmModem, call: Call) -> Answer:
    modem.settings.ctzu, answer = ranged(call, modem.settings.ctzu, (0, 1))
    if modem.settings.ctzu:
        modem.clock_offset_s = None
    return answer


@command("+CTZR")
def zone_report(modem: GsmModem, call: Call) -> Answer:
    modem.settings.ctzr, answer = ranged(call, modem.settings.ctzr, (0, 1))
    return answer
