"""Unsolicited result codes: lines that nobody asked for, told from answers by data.

A prefix that is also the name of a command (`+CREG`, `+CPIN`, `+CFUN`) is an answer exactly while that
command is pending, unless its fields have the unsolicited form.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["TWO_LINE", "Urc", "UrcKind", "classify", "is_hex"]


class UrcKind(enum.Enum):
    STORED = "message stored"  # +CMTI: "SM",3
    REPORT_STORED = "status report stored"  # +CDSI: "SR",1
    DELIVER = "message"  # +CMT, with its PDU
    REPORT = "status report"  # +CDS, with its PDU
    BROADCAST = "cell broadcast"  # +CBM, with its PDU
    REGISTRATION = "registration"  # +CREG, +CGREG, +CEREG
    SIGNAL = "signal"  # ^RSSI and its like
    USSD = "USSD"  # +CUSD
    CALL = "call"  # RING, +CLIP
    RESTART = "restart banner"  # every volatile setting is gone
    READY = "part of the modem is ready"  # SMS Ready: after a restart, or in the course of one
    SIM = "SIM state"
    STORAGE_FULL = "storage full"
    TIME = "network time"
    POWER = "power"
    CHATTER = "chatter"  # known, and of no use to us
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Urc:
    """line: as received, or the header of a two-line code. pdu: its second line, upper-case hex."""

    kind: UrcKind
    line: str
    pdu: str | None = None

    @property
    def prefix(self) -> str:
        return self.line.partition(":")[0]

    @property
    def rest(self) -> str:
        return self.line.partition(":")[2].strip()


# Header prefix -> kind; the hex line that follows belongs to it (TS 27.005 3.4.1).
TWO_LINE: Final[dict[str, UrcKind]] = {
    "+CMT": UrcKind.DELIVER,
    "+CDS": UrcKind.REPORT,
    "+CBM": UrcKind.BROADCAST,
}

_WHOLE: Final[dict[str, UrcKind]] = {
    "RDY": UrcKind.RESTART,  # SIMCom, Quectel
    "^SYSSTART": UrcKind.RESTART,  # Cinterion, Huawei
    "^SYSSTART AIRPLANE MODE": UrcKind.RESTART,
    "+PACSP1": UrcKind.CHATTER,
    "+PACSP0": UrcKind.CHATTER,
    "SMS READY": UrcKind.READY,  # SIMCom
    "SMS DONE": UrcKind.READY,
    "CALL READY": UrcKind.CHATTER,
    "PB DONE": UrcKind.CHATTER,
    "RING": UrcKind.CALL,
    "NORMAL POWER DOWN": UrcKind.POWER,
    "POWERED DOWN": UrcKind.POWER,
    "+ZEND": UrcKind.CHATTER,
}

_PREFIX: Final[dict[str, UrcKind]] = {
    "+CMTI": UrcKind.STORED,
    "+CDSI": UrcKind.REPORT_STORED,
    "+CREG": UrcKind.REGISTRATION,
    "+CGREG": UrcKind.REGISTRATION,
    "+CEREG": UrcKind.REGISTRATION,
    "+C5GREG": UrcKind.REGISTRATION,
    "+CUSD": UrcKind.USSD,
    "+CUSATP": UrcKind.CHATTER,
    "+CRING": UrcKind.CALL,
    "+CLIP": UrcKind.CALL,
    "+CCWA": UrcKind.CALL,
    "+COLP": UrcKind.CALL,
    "^ORIG": UrcKind.CALL,
    "^CONF": UrcKind.CALL,
    "^CONN": UrcKind.CALL,
    "^CEND": UrcKind.CALL,
    "+CTZV": UrcKind.TIME,
    "+CTZE": UrcKind.TIME,
    "+CTZDST": UrcKind.TIME,
    "+NITZ": UrcKind.TIME,
    "*PSUTTZ": UrcKind.TIME,
    "DST": UrcKind.TIME,
    "^NWTIME": UrcKind.TIME,
    "^TIME": UrcKind.TIME,
    "+CPIN": UrcKind.SIM,
    "+QUSIM": UrcKind.SIM,
    "+QSIMSTAT": UrcKind.SIM,
    "+CSIM": UrcKind.SIM,
    "^SIMST": UrcKind.SIM,
    "#QSS": UrcKind.SIM,
    "+ZUSIMR": UrcKind.SIM,
    "^SMMEMFULL": UrcKind.STORAGE_FULL,
    "^SMGO": UrcKind.STORAGE_FULL,
    "+SMSFULL": UrcKind.STORAGE_FULL,
    "^RSSI": UrcKind.SIGNAL,
    "^HCSQ": UrcKind.CHATTER,
    "^RSSILVL": UrcKind.CHATTER,
    "^HRSSILVL": UrcKind.CHATTER,
    "+QCSQ": UrcKind.CHATTER,
    "+CFUN": UrcKind.RESTART,  # unsolicited `+CFUN: 1` is SIMCom starting up
    "+QIND": UrcKind.CHATTER,  # `+QIND: SMS DONE` is told apart below
    "+WIND": UrcKind.CHATTER,  # `+WIND: 3` and 16 are told apart below
    "UNDER-VOLTAGE WARNNING": UrcKind.POWER,
    "UNDER-VOLTAGE": UrcKind.POWER,
    "OVER-VOLTAGE": UrcKind.POWER,
    **dict.fromkeys(
        (
            "^BOOT", "^MODE", "^DSFLOWRPT", "^SRVST", "^STIN", "^LTERSRP", "^CSNR", "^NDISSTAT",
            "^EONS", "^LWURC", "^CERSSI", "^ANLEVEL", "^SIND", "^SBC", "^SCKS", "^SLED",
            "^DATACONNECT", "^STSF", "+ZDONR", "+ZPASR", "+ZPSTM", "+ZEND", "+CIEV", "+CNSMOD",
            "+QLWURC", "+QGPSURC", "+CGEV", "+CSSI", "+CSSU", "+CALA", "+CMWI", "+CGEREP",
            "$QCRSRP", "#STN", "^THERM", "^DSDORMANT", "^HWNAT", "+PSBEARER", "+CPIEV", "+CPOSR",
            "+SIMCARD", "+QPINC", "*MGSMREG", "*COPN", "^PBREADY", "^CARDMODE",
        ),
        UrcKind.CHATTER,
    ),
}  # fmt: skip

# Same prefix, but what the value says decides.
_TOLD_BY_VALUE: Final[tuple[tuple[re.Pattern[str], UrcKind], ...]] = (
    (re.compile(r"\+WIND:\s*3\Z"), UrcKind.RESTART),
    (re.compile(r"\+WIND:\s*(4|16)\Z"), UrcKind.READY),
    (re.compile(r"\+QIND:\s*\"?SMS DONE"), UrcKind.READY),
    (re.compile(r"\+CFUN:\s*(?!1\b)\S"), UrcKind.CHATTER),
    (re.compile(r"UNDER-VOLTAGE|OVER-VOLTAGE"), UrcKind.POWER),
)

_SHAPE: Final = re.compile(r"[+^#*$%&][A-Z0-9_]+\s*:", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
# A read answer is `n,stat[,...]`; the code itself is `stat[,"lac","ci"[,AcT]]`: an unquoted second field
# that is a plausible stat makes it an answer.
_READ_REGISTRATION: Final = re.compile(r"\s*\d{1,3}\s*,\s*(\d{0,3})\s*(?:,|\Z)")


def is_hex(text: str, *, least: int = 2) -> bool:
    """Whole octets of hex, at least `least` of them."""
    return len(text) >= 2 * least and _HEX.match(text) is not None


def classify(line: str, *, pending: str | None = None, pending_read: bool = False) -> Urc | None:
    """Return the code that `line` is, or None if it is (or may be) part of the answer to `pending`.

    pending: name of the command awaited (`+CREG`), None when nothing is. pending_read: it was `AT+X?`.
    With nothing pending every line is unsolicited, at least UNKNOWN.
    """
    prefix, colon, rest = line.partition(":")
    prefix = prefix.rstrip().upper()
    kind = _WHOLE.get(line.upper())
    if kind is None:
        kind = next((k for pattern, k in _TOLD_BY_VALUE if pattern.match(line)), None) or _PREFIX.get(prefix)
        if kind is not None and not colon and kind is not UrcKind.POWER:
            kind = None  # `+CREG` without a colon is no code
    if kind is None:
        return Urc(UrcKind.UNKNOWN, line) if pending is None else None
    if pending is not None and prefix == pending.upper() and _answers(kind, rest, pending_read):
        return None
    return Urc(kind, line)


def _answers(kind: UrcKind, rest: str, pending_read: bool) -> bool:
    if kind is UrcKind.USSD:
        return False  # the network's answer to AT+CUSD=1 is always unsolicited; AT+CUSD? is never asked
    if kind is UrcKind.REGISTRATION:
        return not pending_read or _READ_REGISTRATION.match(rest) is not None
    return True


def unknown(line: str) -> bool:
    """True for a line with the shape of a code (`^FOO: 1`) that no table lists."""
    prefix = line.partition(":")[0].rstrip().upper()
    return _SHAPE.match(line) is not None and prefix not in _PREFIX and prefix not in TWO_LINE
