"""Final result codes: which lines end a command, what their numbers mean, and what to do about each.

Texts of +CMS ERROR: TS 27.005 3.2.5 with the RP and TP causes of TS 24.011 8.2.5.4 and TS 23.040 9.2.3.22;
of +CME ERROR: TS 27.007 9.2. What to do is field experience, best remedy first.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CME_TEXT",
    "CMS_MEANING",
    "CallResult",
    "CmsMeaning",
    "FinalKind",
    "Final_",
    "Remedy",
    "cms_meaning",
    "final_result",
]


class Remedy(enum.Enum):
    RETRY_LATER = "R"  # the same message, the same modem, after a pause
    OTHER_MODEM = "O"  # another modem or operator may carry it
    PERMANENT = "P"  # this message will never go
    NEEDS_ATTENTION = "M"  # the modem or SIM is unfit; stop using it
    OUR_BUG = "B"  # what we sent was wrong; never repeat it unchanged
    AMBIGUOUS = "A"  # after the PDU: it may have gone out
    SET_SMSC = "C"  # set the service centre's number, then retry
    FREE_STORAGE = "D"  # delete from the store, then retry
    IGNORE = "I"  # nothing went wrong
    ACCEPTED = "S"  # the SC has had this message before: count it as sent


@dataclass(frozen=True, slots=True)
class CmsMeaning:
    """text: by the standard. remedies: best first, never empty. retries: how often R makes sense; None: until
    the message expires."""

    text: str
    remedies: tuple[Remedy, ...]
    retries: int | None = None


_R, _O, _P, _M, _B, _A = (
    Remedy.RETRY_LATER,
    Remedy.OTHER_MODEM,
    Remedy.PERMANENT,
    Remedy.NEEDS_ATTENTION,
    Remedy.OUR_BUG,
    Remedy.AMBIGUOUS,
)
_FEW: Final = 3

CMS_MEANING: Final[dict[int, CmsMeaning]] = {
    1: CmsMeaning("unassigned number", (_P,)),
    8: CmsMeaning("operator determined barring", (_M, _O)),
    10: CmsMeaning("call barred", (_O, _P)),
    17: CmsMeaning("network failure", (_R,)),
    21: CmsMeaning("short message transfer rejected", (_R, _O), _FEW),
    22: CmsMeaning("congestion", (_R,)),
    27: CmsMeaning("destination out of service", (_R,)),
    28: CmsMeaning("unidentified subscriber", (_M, _P)),
    29: CmsMeaning("facility rejected", (_M, _O)),
    30: CmsMeaning("unknown subscriber", (_P, _M)),
    38: CmsMeaning("network out of order", (_R, _O)),
    41: CmsMeaning("temporary failure", (_R,)),
    42: CmsMeaning("congestion", (_R,)),
    47: CmsMeaning("resources unavailable", (_R,)),
    50: CmsMeaning("requested facility not subscribed", (_M, _O)),
    69: CmsMeaning("requested facility not implemented", (_M, _O)),
    81: CmsMeaning("invalid short message transfer reference", (_B,)),
    95: CmsMeaning("invalid message", (_B,)),
    96: CmsMeaning("invalid mandatory information", (_B,)),
    97: CmsMeaning("message type not implemented", (_B,)),
    98: CmsMeaning("message not compatible with the protocol state", (_B,)),
    99: CmsMeaning("information element not implemented", (_B,)),
    111: CmsMeaning("protocol error", (_R, _B), 1),
    127: CmsMeaning("interworking, unspecified", (_R,), _FEW),
    128: CmsMeaning("telematic interworking not supported", (_B,)),
    129: CmsMeaning("short message type 0 not supported", (_B,)),
    130: CmsMeaning("cannot replace short message", (_B,)),
    143: CmsMeaning("unspecified TP-PID error", (_B,)),
    144: CmsMeaning("data coding scheme not supported", (_B,)),
    145: CmsMeaning("message class not supported", (_B,)),
    159: CmsMeaning("unspecified TP-DCS error", (_B,)),
    160: CmsMeaning("command cannot be acted upon", (_B,)),
    161: CmsMeaning("command unsupported", (_B,)),
    175: CmsMeaning("unspecified TP-Command error", (_B,)),
    176: CmsMeaning("TPDU not supported", (_B,)),
    192: CmsMeaning("SC busy", (_R,)),
    193: CmsMeaning("no SC subscription", (_P,)),
    194: CmsMeaning("SC system failure", (_R,)),
    195: CmsMeaning("invalid SME address", (_P,)),
    196: CmsMeaning("destination SME barred", (_P,)),
    197: CmsMeaning("SM rejected, duplicate", (Remedy.ACCEPTED,)),
    198: CmsMeaning("TP-VPF not supported", (_B,)),
    199: CmsMeaning("TP-VP not supported", (_B,)),
    208: CmsMeaning("SIM SMS storage full", (_M,)),
    209: CmsMeaning("no SMS storage capability in SIM", (_M,)),
    210: CmsMeaning("error in MS", (_M,)),
    211: CmsMeaning("memory capacity exceeded", (_M,)),
    212: CmsMeaning("SIM application toolkit busy", (_R,)),
    213: CmsMeaning("SIM data download error", (_M,)),
    255: CmsMeaning("unspecified error cause", (_R,), _FEW),
    300: CmsMeaning("ME failure", (_R, _M, _A), 1),
    301: CmsMeaning("SMS service of ME reserved", (_R,)),
    302: CmsMeaning("operation not allowed", (_R, _M)),
    303: CmsMeaning("operation not supported", (_R, _B), 1),
    304: CmsMeaning("invalid PDU mode parameter", (_B,)),
    305: CmsMeaning("invalid text mode parameter", (_B,)),
    310: CmsMeaning("SIM not inserted", (_M,)),
    311: CmsMeaning("SIM PIN required", (_M,)),
    312: CmsMeaning("PH-SIM PIN required", (_M,)),
    313: CmsMeaning("SIM failure", (_M,)),
    314: CmsMeaning("SIM busy", (_R,)),
    315: CmsMeaning("SIM wrong", (_M,)),
    316: CmsMeaning("SIM PUK required", (_M,)),
    317: CmsMeaning("SIM PIN2 required", (_M,)),
    318: CmsMeaning("SIM PUK2 required", (_M,)),
    320: CmsMeaning("memory failure", (_M,)),
    321: CmsMeaning("invalid memory index", (_B,)),
    322: CmsMeaning("memory full", (Remedy.FREE_STORAGE, _R)),
    330: CmsMeaning("SMSC address unknown", (Remedy.SET_SMSC, _R)),
    331: CmsMeaning("no network service", (_R, _A)),
    332: CmsMeaning("network timeout", (_R, _A)),
    340: CmsMeaning("no +CNMA acknowledgement expected", (Remedy.IGNORE,)),
    500: CmsMeaning("unknown error", (_R, _A), _FEW),
}

_VENDOR: Final = CmsMeaning("vendor's own code", (_R, _A), _FEW)
_UNLISTED: Final = CmsMeaning("not in TS 27.005", (_R, _A), _FEW)


def cms_meaning(code: int | None) -> CmsMeaning:
    """What is known of a code; every number, and None for an unknown text, has an answer."""
    if code is None:
        return _UNLISTED
    return CMS_MEANING.get(code) or (_VENDOR if code >= 512 else _UNLISTED)


CME_TEXT: Final[dict[int, str]] = {
    0: "phone failure",
    1: "no connection to phone",
    2: "phone-adaptor link reserved",
    3: "operation not allowed",
    4: "operation not supported",
    5: "PH-SIM PIN required",
    6: "PH-FSIM PIN required",
    7: "PH-FSIM PUK required",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    14: "SIM busy",
    15: "SIM wrong",
    16: "incorrect password",
    17: "SIM PIN2 required",
    18: "SIM PUK2 required",
    20: "memory full",
    21: "invalid index",
    22: "not found",
    23: "memory failure",
    24: "text string too long",
    25: "invalid characters in text string",
    26: "dial string too long",
    27: "invalid characters in dial string",
    30: "no network service",
    31: "network timeout",
    32: "network not allowed - emergency calls only",
    40: "network personalization PIN required",
    41: "network personalization PUK required",
    42: "network subset personalization PIN required",
    43: "network subset personalization PUK required",
    44: "service provider personalization PIN required",
    45: "service provider personalization PUK required",
    46: "corporate personalization PIN required",
    47: "corporate personalization PUK required",
    50: "incorrect parameters",
    51: "command implemented but currently disabled",
    52: "command aborted by user",
    100: "unknown",
    103: "illegal MS",
    106: "illegal ME",
    107: "GPRS services not allowed",
    111: "PLMN not allowed",
    112: "location area not allowed",
    113: "roaming not allowed in this location area",
    132: "service option not supported",
    148: "unspecified GPRS error",
    515: "please wait, initialisation or command in progress",  # Wavecom
}


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


# With AT+CMEE=2, and on firmwares that never leave text, the code is its text. Spellings seen beside the
# standard's.
_CME_BY_TEXT: Final = {_fold(t): c for c, t in CME_TEXT.items()} | {
    "operation not allowed error": 3,
    "unknown error": 100,
    "sim not ready": 14,
    "sim blocked": 12,
}
_CMS_BY_TEXT: Final = {
    _fold(m.text): c for c, m in CMS_MEANING.items() if c >= 300 or _fold(m.text) != "congestion"
} | {
    "invalid text mode parameter": 305,
    "invalid memory index": 321,
    "no network": 331,
    "sim pin necessary": 311,
    "sim not ready": 314,
    "memory capacity exceeded": 211,
    "cnma not expected": 340,
}


class FinalKind(enum.Enum):
    OK = "OK"
    ERROR = "ERROR"  # no number: ERROR, COMMAND NOT SUPPORT, TOO MANY PARAMETERS, MODEM ERROR
    CME = "+CME ERROR"
    CMS = "+CMS ERROR"
    CALL = "call"  # NO CARRIER and its like: the end of a call, or of a command that opened one


CallResult: Final = frozenset({"NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "NO DIAL TONE"})


@dataclass(frozen=True, slots=True)
class Final_:
    """The line that ends a command. code: its number, None if it had none we know. text: the words given."""

    kind: FinalKind
    line: str
    code: int | None = None
    text: str = ""


_NUMBERED: Final = re.compile(r"\+?(CME|CMS) ERROR\s*:?\s*(.*)\Z", re.IGNORECASE)
# Huawei, Motorola and others say in words what 27.007 says with ERROR.
_WORDY: Final = re.compile(
    r"COMMAND NOT SUPPORT|TOO MANY PARAMETERS|MODEM ERROR\b|COMMAND NOT IMPLEMENTED", re.IGNORECASE
)


def final_result(line: str) -> Final_ | None:
    """Return what `line` ends a command with, or None if it is no final result.

    CONNECT counts as OK: it ends the command, and no command of ours opens a data call.
    """
    if line == "OK":
        return Final_(FinalKind.OK, line)
    if line == "ERROR":
        return Final_(FinalKind.ERROR, line)
    upper = line.upper()
    if upper in CallResult:
        return Final_(FinalKind.CALL, line)
    if "ERROR" in upper and (match := _NUMBERED.match(line)):
        kind = FinalKind.CME if match[1].upper() == "CME" else FinalKind.CMS
        return _numbered(kind, line, match[2].strip().strip('"'))
    if _WORDY.match(line):
        return Final_(FinalKind.ERROR, line)
    if upper == "CONNECT" or upper.startswith("CONNECT "):
        return Final_(FinalKind.OK, line)
    return None


def _numbered(kind: FinalKind, line: str, rest: str) -> Final_:
    if match := re.match(r"(\d{1,5})\b", rest):
        return Final_(kind, line, int(match[1]))
    table = _CME_BY_TEXT if kind is FinalKind.CME else _CMS_BY_TEXT
    return Final_(kind, line, table.get(_fold(rest)), rest)
