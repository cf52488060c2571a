"""All that firmware_bridge raises, as one tree.

The first fork is whose fault it is: `UsageError` is ours, everything else is the modem's, the
network's or the cable's. Facts are attributes; prose is in `str()`.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

from firmware_bridge.at.result_codes import CME_TEXT, CmsMeaning, Remedy, cms_meaning

__all__ = [
    "Ambiguous",
    "AtError",
    "AtTimeout",
    "BadMessage",
    "BadUssd",
    "BridgeError",
    "CmeError",
    "CmsError",
    "IllegalTransition",
    "ModemSilent",
    "NotReady",
    "PduDecodeError",
    "PinRefused",
    "PortBusy",
    "PortLost",
    "PortUnusable",
    "PromptLost",
    "SendAction",
    "SendError",
    "UnsafeArgument",
    "UsageError",
    "UssdError",
    "UssdNotAllowed",
    "UssdTimeout",
]


class BridgeError(Exception):
    """Base of all that firmware_bridge raises."""

    transient: ClassVar[bool] = False  # may the same call succeed later, unchanged?


class SendAction(enum.Enum):
    """What the caller of `Modem.send` does next with the message."""

    RETRY_NOW = "retry now"  # nothing is wrong with message or modem: it may be tried again at once
    RETRY_LATER = "retry later"  # the same modem, after a growing pause
    OTHER_ROUTE = "other route"  # another modem, operator or provider may carry it
    PERMANENT = "permanent"  # it will never go
    ATTENTION = "attention"  # the modem or SIM is unfit: take another route, and tell a person
    OUR_BUG = "our bug"  # what we sent was wrong: never repeat it
    ACCEPTED = "accepted"  # the SC has it already: count it as sent


class SendError(BridgeError):
    """Base of all that `Modem.send` raises.

    action: what to do next. ambiguous: the PDU was written and the message may have gone out all the same.
    retries: how many repetitions make sense; None: until the message expires.
    """

    retries: int | None = None

    @property
    def action(self) -> SendAction:
        return SendAction.RETRY_LATER

    @property
    def ambiguous(self) -> bool:
        return False


class UsageError(BridgeError):
    """We asked for what the standard or our own rules forbid: a bug of ours."""


class IllegalTransition(UsageError):
    """A dialogue was asked to do what its state does not allow; nothing changed."""


class UnsafeArgument(UsageError):
    """Text that must not reach an AT line: control characters, quotes, or anything not printable ASCII."""


class PduDecodeError(BridgeError):
    """The peer broke TS 23.040 or TS 23.038."""


class BadMessage(SendError):
    """The PDU cannot be sent by any modem: too long, or its length does not add up."""

    @property
    def action(self) -> SendAction:
        return SendAction.OUR_BUG


class AtError(SendError):
    """The modem answered with a final result other than OK, without a number: `ERROR`, `NO CARRIER` ...

    result: the line as received. command: what was asked. after_pdu: it came after the PDU had been written.
    """

    def __init__(self, result: str, *, command: str = "", after_pdu: bool = False) -> None:
        super().__init__(f"{command or 'command'}: modem answered {result}")
        self.result = result
        self.command = command
        self.after_pdu = after_pdu

    @property
    def ambiguous(self) -> bool:
        return self.after_pdu


_ACTION: Final = {
    Remedy.RETRY_LATER: SendAction.RETRY_LATER,
    Remedy.OTHER_MODEM: SendAction.OTHER_ROUTE,
    Remedy.PERMANENT: SendAction.PERMANENT,
    Remedy.NEEDS_ATTENTION: SendAction.ATTENTION,
    Remedy.OUR_BUG: SendAction.OUR_BUG,
    Remedy.AMBIGUOUS: SendAction.RETRY_LATER,
    Remedy.SET_SMSC: SendAction.ATTENTION,  # the driver sets it from the configuration; none is there
    Remedy.FREE_STORAGE: SendAction.RETRY_LATER,  # the driver sweeps
    Remedy.IGNORE: SendAction.RETRY_NOW,
    Remedy.ACCEPTED: SendAction.ACCEPTED,
}


class CmsError(AtError):
    """The modem answered +CMS ERROR (TS 27.005 3.2.5).

    code: the number as given, or None when the modem gave an unknown text. remedies: what to do, best first
    (`at/result_codes.py`). ambiguous: the code came after the PDU and leaves open whether the message went
    out.
    """

    def __init__(
        self, code: int | None, *, text: str = "", command: str = "", after_pdu: bool = False
    ) -> None:
        meaning = cms_meaning(code)
        shown = text or meaning.text
        super().__init__(
            f"+CMS ERROR: {text if code is None else code} ({shown})", command=command, after_pdu=after_pdu
        )
        self.code = code
        self.text = shown
        self.remedies = meaning.remedies
        self.retries = meaning.retries

    @property
    def remedy(self) -> Remedy:
        return self.remedies[0]

    @property
    def action(self) -> SendAction:
        return _ACTION[self.remedy]

    @property
    def ambiguous(self) -> bool:
        return self.after_pdu and Remedy.AMBIGUOUS in self.remedies

    def may_help(self, remedy: Remedy) -> bool:
        """True if `remedy` is among those the table names for this code."""
        return remedy in self.remedies


class CmeError(AtError):
    """The modem answered +CME ERROR (TS 27.007 9.2). code: None when it gave an unknown text.

    To AT+CMGS it is out of place but seen; SIM and network codes mean what their +CMS twins mean.
    """

    CMS_TWIN: ClassVar[dict[int, int]] = {
        3: 302, 4: 303, 10: 310, 11: 311, 12: 316, 13: 313, 14: 314, 15: 315, 17: 317, 18: 318,
        20: 322, 21: 321, 23: 320, 30: 331, 31: 332, 32: 331, 50: 304, 515: 314,
    }  # fmt: skip
    BUSY: ClassVar[frozenset[int]] = frozenset({14, 515})  # SIM busy; Wavecom "please wait"

    def __init__(
        self, code: int | None, *, text: str = "", command: str = "", after_pdu: bool = False
    ) -> None:
        shown = text or CME_TEXT.get(-1 if code is None else code, "not in TS 27.007")
        super().__init__(
            f"+CME ERROR: {text if code is None else code} ({shown})", command=command, after_pdu=after_pdu
        )
        self.code = code
        self.text = shown

    @property
    def action(self) -> SendAction:
        return _ACTION[self._meaning.remedies[0]]

    @property
    def ambiguous(self) -> bool:
        return self.after_pdu and Remedy.AMBIGUOUS in self._meaning.remedies

    @property
    def _meaning(self) -> CmsMeaning:
        return cms_meaning(self.CMS_TWIN.get(-1 if self.code is None else self.code))

    @property
    def busy(self) -> bool:
        """The same command may succeed in a moment."""
        return self.code in self.BUSY


class AtTimeout(BridgeError):
    """A final result or prompt did not come in time. after_pdu: the PDU had been written by then.

    lines: what came of the answer. why: prose, when it was not merely time that ended it.
    """

    transient = True

    def __init__(
        self,
        command: str,
        timeout_s: float,
        *,
        after_pdu: bool = False,
        lines: tuple[str, ...] = (),
        why: str = "",
    ) -> None:
        super().__init__(f"{command}: {why or f'no answer in {timeout_s:g} s'}")
        self.lines = lines
        self.command = command
        self.timeout_s = timeout_s
        self.after_pdu = after_pdu


class NotReady(SendError):
    """The modem cannot send now and no PDU was written to it; the same message may be tried again."""

    transient = True


class PromptLost(NotReady):
    """AT+CMGS was written and no prompt came: the line was recovered and nothing was sent."""

    @property
    def action(self) -> SendAction:
        return SendAction.RETRY_NOW


class Ambiguous(SendError):
    """The PDU was written and its answer lost: the message is neither sent nor unsent.

    mr: the TP-MR if `+CMGS: <mr>` was seen before the answer broke off.
    """

    def __init__(self, why: str, *, mr: int | None = None) -> None:
        super().__init__(f"handed over, answer lost: {why}")
        self.mr = mr

    @property
    def ambiguous(self) -> bool:
        return True


class PortLost(SendError):
    """The serial port went away, or nothing answers on it (silent).

    after_pdu: a PDU had been written and its answer was due.
    """

    transient = True

    def __init__(self, why: str, *, after_pdu: bool = False, silent: bool = False) -> None:
        super().__init__(why)
        self.after_pdu = after_pdu
        self.silent = silent

    @property
    def ambiguous(self) -> bool:
        return self.after_pdu


class PortUnusable(BridgeError):
    """The port cannot be opened: absent, forbidden, or no serial line."""

    transient = True


class PortBusy(PortUnusable):
    """Another process holds the port."""


class ModemSilent(BridgeError):
    """The port is open and nothing answers AT on it."""

    transient = True


class PinRefused(BridgeError):
    """The SIM wants a PIN we may not or cannot give. instructions: one line for the person beside the box."""

    def __init__(self, why: str, instructions: str) -> None:
        super().__init__(f"{why}; {instructions}")
        self.instructions = instructions


class UssdError(BridgeError):
    """A USSD request was refused by us, by the modem or by the network."""


class BadUssd(UssdError):
    """It is no USSD code, or there are too many replies: nothing was dialled."""


class UssdNotAllowed(UssdError):
    """The code is not on the modem's list: nothing was dialled."""


class UssdTimeout(UssdError):
    """It was dialled, and modem or network gave no answer in time."""

    transient = True
