"""Reading, listing, deleting and routing of messages: TS 27.005 3.2 to 3.4 and 4.1 to 4.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_bridge.pdu import Deliver, PduDecodeError
from firmware_bridge.simulator import text_mode
from firmware_bridge.simulator.answers import Cms
from firmware_bridge.simulator.at_commands.table import LATER, Answer, command, number, ranged
from firmware_bridge.simulator.line import Call, Kind
from firmware_bridge.simulator.memory import MessageMemory, Status, Stored
from firmware_bridge.simulator.settings import Cnmi, Csmp

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

_ALL: Final = 4  # <stat> "ALL" of +CMGL
_STATUS_WORDS: Final = {"REC UNREAD": 0, "REC READ": 1, "STO UNSENT": 2, "STO SENT": 3, "ALL": _ALL}


@command("+CMGF")
def message_format(modem: GsmModem, call: Call) -> Answer:
    modem.settings.cmgf, answer = ranged(call, modem.settings.cmgf, (0, 1))
    return answer


@command("+CSDH")
def show_headers(modem: GsmModem, call: Call) -> Answer:
    modem.settings.csdh, answer = ranged(call, modem.settings.csdh, (0, 1))
    return answer


@command("+CSMS")
def service(modem: GsmModem, call: Call) -> Answer:
    """3.2.1: service 1 makes +CMT and +CDS wait for +CNMA."""
    if call.kind is Kind.TEST:
        return ["+CSMS: (0,1)"]
    if call.kind is Kind.READ:
        return [f"+CSMS: {modem.settings.csms},1,1,1"]
    value = number(call.arguments, 0, refusal=Cms(302))
    if value not in (0, 1):
        raise Cms(303)
    modem.settings.csms = value
    return ["+CSMS: 1,1,1"]


@command("+CSCA", sms=True)
def service_centre(modem: GsmModem, call: Call) -> Answer:
    if call.kind is Kind.READ:
        smsc = modem.sim.smsc
        return [f'+CSCA{modem.personality.colon}"{smsc}",{145 if smsc.startswith("+") else 129}']
    if call.kind is not Kind.SET:
        return []
    arguments = call.arguments
    value = arguments[0] if arguments else None
    if not value or not value.lstrip("+").isdecimal() or len(value) > 21:
        raise Cms(304)
    kind = number(arguments, 1, 129, refusal=Cms(304))
    modem.sim.smsc = value if value.startswith("+") or kind != 145 else f"+{value}"
    return []


@command("+CSMP")
def text_parameters(modem: GsmModem, call: Call) -> Answer:
    csmp = modem.settings.csmp
    if call.kind is Kind.READ:
        return [f"+CSMP: {csmp.fo},{csmp.vp},{csmp.pid},{csmp.dcs}"]
    if call.kind is not Kind.SET:
        return []
    given = call.arguments
    values = [
        number(given, at, now, refusal=Cms(305))
        for at, now in enumerate((csmp.fo, csmp.vp, csmp.pid, csmp.dcs))
    ]
    if any(value > 255 for value in values):
        raise Cms(305)
    modem.settings.csmp = Csmp(*values)
    if modem.personality.csmp_clears_smsc:
        modem.sim.smsc = ""
    return []


# --- memories


def _usage(memory: MessageMemory) -> str:
    return f"{len(memory)},{memory.capacity}"


@command("+CPMS", sms=True)
def memories(modem: GsmModem, call: Call) -> Answer:
    personality, settings, colon = modem.personality, modem.settings, modem.personality.colon
    if call.kind is Kind.TEST:
        if personality.cpms_test is not None:
            return [f"+CPMS{colon}{personality.cpms_test}"]
        own = ",".join(f'"{name}"' for name in personality.storages)
        write = ",".join(f'"{name}"' for name in personality.storages if name != "SR")
        third = ",".join(f'"{name}"' for name in personality.third_memory)
        return [f"+CPMS{colon}({own}),({write}),({third})"]
    if call.kind is Kind.READ:
        shown = [f'"{settings.memories[at]}",{_usage(modem.inbox.memory(at))}' for at in range(3)]
        return [f"+CPMS{colon}{','.join(shown)}"]
    wanted = [value for value in call.arguments if value is not None]
    if not wanted or len(wanted) > (3 if personality.third_memory else 2):
        raise Cms(302)
    for at, name in enumerate(wanted):
        allowed = personality.third_memory if at == 2 else (*personality.storages, *personality.third_memory)
        if name not in allowed:
            raise Cms(302)
    settings.memories[: len(wanted)] = wanted
    return [f"+CPMS{colon}{','.join(_usage(modem.inbox.memory(at)) for at in range(3))}"]


# --- routing


@command("+CNMI")
def indications(modem: GsmModem, call: Call) -> Answer:
    settings, personality = modem.settings, modem.personality
    if call.kind is Kind.TEST:
        shown = personality.cnmi_test or ",".join(
            f"({','.join(map(str, values))})" for values in personality.cnmi
        )
        return [f"+CNMI{personality.colon}{shown}"]
    if call.kind is Kind.READ:
        return [f"+CNMI{personality.colon}{','.join(map(str, settings.cnmi.values()))}"]
    given = call.arguments
    if len(given) > 5:
        raise Cms(305)
    wanted = [number(given, at, now, refusal=Cms(305)) for at, now in enumerate(settings.cnmi.values())]
    if any(value not in allowed for value, allowed in zip(wanted, personality.cnmi, strict=True)):
        raise Cms(303)
    settings.cnmi = Cnmi(*wanted)
    modem.inbox.cnmi_changed()
    return []


@command("+CNMA")
def acknowledge(modem: GsmModem, call: Call) -> Answer:
    """3.4.4 and 4.7: `+CNMA` or `=0`, `=1` say yes; `=2` says no. An error PDU may follow the number."""
    if call.kind is Kind.TEST:
        return ["+CNMA: (0-2)"]
    if call.kind is Kind.READ:
        raise Cms(303)
    answer = number(call.arguments, 0, 0, refusal=Cms(304)) if call.kind is Kind.SET else 0
    length = number(call.arguments, 1, 0, refusal=Cms(304)) if call.kind is Kind.SET else 0
    if length:

        def acknowledged(typed: bytes | None) -> None:
            if typed is not None:
                modem.inbox.acknowledge(ok=answer != 2)
            modem.resume([])

        return modem.ask(acknowledged)
    modem.inbox.acknowledge(ok=answer != 2)
    return []


# --- reading


def _index(modem: GsmModem, call: Call) -> int:
    return number(call.arguments, 0, refusal=Cms(321))


@command("+CMGR", sms=True)
def read_message(modem: GsmModem, call: Call) -> Answer:
    if call.kind is not Kind.SET:
        return [] if call.kind is Kind.TEST else _wrong()
    memory = modem.inbox.memory(0)
    try:
        stored = memory.get(_index(modem, call))
    except IndexError:
        raise Cms(321) from None
    if stored is None:
        if modem.personality.empty_slot == "ok":
            return []
        raise Cms(321)
    lines = _reading(modem, stored)
    if stored.status is Status.UNREAD:
        stored.status = Status.READ
    return lines


def _wrong() -> Answer:
    raise Cms(302)


def _reading(modem: GsmModem, stored: Stored) -> list[str]:
    colon = modem.personality.colon
    if modem.settings.cmgf == 1:
        head, *body = text_mode.reading(modem, stored)
        return ["\r\n".join([f"+CMGR{colon}{head}", *body])]
    return [f"+CMGR{colon}{int(stored.status)},,{stored.length}\r\n{stored.pdu.hex().upper()}"]


@command("+CMGL", sms=True)
def list_messages(modem: GsmModem, call: Call) -> Answer:
    text, colon = modem.settings.cmgf == 1, modem.personality.colon
    if call.kind is Kind.TEST:
        words = ",".join(f'"{word}"' for word in _STATUS_WORDS)
        return [f"+CMGL{colon}({words if text else '0-4'})"]
    if call.kind is Kind.READ:
        return _wrong()
    given = call.arguments[0] if call.arguments else None
    if text:
        status = _STATUS_WORDS.get(given or "REC UNREAD", -1)
    else:
        status = int(given) if given and given.isdecimal() else 0 if given is None else -1
    if not 0 <= status <= _ALL:
        raise Cms(305 if text else 304)
    lines = []
    for index, stored in modem.inbox.memory(0):
        if status not in (_ALL, stored.status):
            continue
        if text:
            head, *body = text_mode.listing(modem, index, stored)
            lines.append("\r\n".join([f"+CMGL{colon}{head}", *body]))
        else:
            lines.append(
                f"+CMGL{colon}{index},{int(stored.status)},,{stored.length}\r\n{stored.pdu.hex().upper()}"
            )
        if stored.status is Status.UNREAD:
            stored.status = Status.READ
    return lines


# --- deleting

# <delflag> of 3.5.4: which statuses go
_FLAGS: Final = {
    1: {Status.READ},
    2: {Status.READ, Status.SENT},
    3: {Status.READ, Status.SENT, Status.UNSENT},
    4: set(Status),
}


@command("+CMGD", sms=True)
def delete_message(modem: GsmModem, call: Call) -> Answer:
    memory = modem.inbox.memory(0)
    if call.kind is Kind.TEST:
        return [f"+CMGD{modem.personality.colon}({','.join(str(index) for index, _ in memory)}),(0-4)"]
    if call.kind is not Kind.SET:
        return _wrong()
    arguments = call.arguments
    flag = number(arguments, 1, 0, refusal=Cms(321))
    index = number(arguments, 0, 0 if flag else None, refusal=Cms(321))
    fault = modem.faults.strikes("delete", modem.name, str(index))
    if fault is not None:
        match fault.do:
            case "ignore":  # OK, and the message stays
                return []
            case "refuse":
                raise Cms(fault.code)
            case "swallow":
                modem.silent()
                return LATER
    if flag:
        if flag not in _FLAGS:
            raise Cms(321)
        doomed = [at for at, stored in memory if stored.status in _FLAGS[flag]]
    else:
        doomed = [index]
        if modem.personality.deletes_whole_group:
            doomed += _group(memory, index)
    try:
        for at in doomed:
            memory.delete(at)
    except IndexError:
        raise Cms(321) from None
    modem.inbox.freed()
    return []


def _group(memory: MessageMemory, index: int) -> list[int]:
    """The other parts of the message in a slot (SIM600 deletes them all, MODEMS.md section 4)."""

    def key(pdu: bytes) -> tuple[str, int, int] | None:
        try:
            deliver = Deliver.decode(pdu)
        except PduDecodeError:
            return None
        part = deliver.concat
        return (deliver.sender.digits, part.reference, part.total) if part else None

    slots = dict(memory)
    wanted = key(slots[index].pdu) if index in slots else None
    return [
        at for at, stored in slots.items() if at != index and wanted is not None and key(stored.pdu) == wanted
    ]
