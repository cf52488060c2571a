"""What a modem answers when it refuses: +CME ERROR, +CMS ERROR, ERROR, in numbers or (AT+CMEE=2) in words."""

from __future__ import annotations

from firmware_bridge.at.result_codes import CME_TEXT, CMS_MEANING

__all__ = ["AtRefusal", "Cme", "Cms", "Unknown"]


class AtRefusal(Exception):
    """A command ends with an error; as it stands, plain ERROR."""

    def line(self, cmee: int) -> str:
        """The final result code under AT+CMEE=`cmee`."""
        return "ERROR"


class Cme(AtRefusal):
    """+CME ERROR (TS 27.007 9.2): shown as plain ERROR under AT+CMEE=0."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def line(self, cmee: int) -> str:
        if cmee == 0:
            return "ERROR"
        return f"+CME ERROR: {CME_TEXT.get(self.code, self.code) if cmee == 2 else self.code}"


class Cms(AtRefusal):
    """+CMS ERROR (TS 27.005 3.2.5): the number is shown whatever AT+CMEE says, the text under 2."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def line(self, cmee: int) -> str:
        meaning = CMS_MEANING.get(self.code)
        return f"+CMS ERROR: {meaning.text if meaning and cmee == 2 else self.code}"


class Unknown(AtRefusal):
    """A command this modem does not know, in the family's own words."""

    def __init__(self, answer: str = "ERROR") -> None:
        super().__init__(answer)
        self._answer = answer

    def line(self, cmee: int) -> str:
        return self._answer
