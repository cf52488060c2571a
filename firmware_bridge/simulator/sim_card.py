"""The SIM: who the subscriber is, its PIN, its message slots and what it remembers without power."""

from __future__ import annotations

import enum

from firmware_bridge.simulator.memory import MessageMemory

__all__ = ["PinState", "SimCard", "luhn_digit"]


class PinState(enum.Enum):
    """What AT+CPIN? answers (TS 27.007 8.3)."""

    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"


def luhn_digit(digits: str) -> str:
    """The check digit of ISO/IEC 7812-1 that ends an IMEI and an ICCID."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


class SimCard:
    """One SIM. It outlives the modem's restarts: messages, the SMSC number, the last TP-MR, PIN counters."""

    def __init__(
        self,
        *,
        number: str,
        serial: int,
        smsc: str,
        mcc_mnc: str = "63601",
        pin: str | None = None,
        puk: str = "12345678",
        capacity: int = 50,
        base: int = 1,
    ) -> None:
        """number: E.164. serial: makes IMSI and ICCID distinct. capacity: slots, 10 to 50 on real SIMs."""
        self.number = number
        self.imsi = f"{mcc_mnc}{serial:010d}"
        body = f"89251{mcc_mnc[3:]}{serial:011d}"
        self.iccid = body + luhn_digit(body)
        self.smsc = smsc
        self.pin = pin
        self.puk = puk
        self.pin_tries = 3
        self.puk_tries = 10
        self.last_mr = -1  # EF-SMSS of TS 31.102 keeps the last TP-MR used; nothing was sent yet
        self.messages = MessageMemory("SM", capacity=capacity, base=base)
        self._open = pin is None

    @property
    def state(self) -> PinState:
        """What the SIM waits for."""
        if self.pin_tries == 0:
            return PinState.PUK
        return PinState.READY if self._open else PinState.PIN

    def power_up(self) -> None:
        """Power was lost: the PIN is wanted again, the counters stay."""
        self._open = self.pin is None

    def enter_pin(self, pin: str) -> bool:
        """Try a PIN; a wrong one costs one of three tries, the last one locks the SIM."""
        if self.state is not PinState.PIN:
            return False
        if pin == self.pin:
            self._open, self.pin_tries = True, 3
            return True
        self.pin_tries -= 1
        return False

    def enter_puk(self, puk: str, new_pin: str) -> bool:
        """Try the PUK and set a new PIN; ten wrong ones end the SIM for good."""
        if self.state is not PinState.PUK or self.puk_tries == 0:
            return False
        if puk == self.puk:
            self.pin, self._open, self.pin_tries, self.puk_tries = new_pin, True, 3, 10
            return True
        self.puk_tries -= 1
        return False

    def next_mr(self) -> int:
        """The next TP-MR, 0 to 255 and round again (TS 23.040 9.2.3.6)."""
        self.last_mr = (self.last_mr + 1) % 256
        return self.last_mr
