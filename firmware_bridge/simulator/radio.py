"""The radio side of a modem: registration, signal, and sending one message at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_bridge.pdu import Submit
from firmware_bridge.simulator.answers import Cme, Cms
from firmware_bridge.simulator.network import Refused
from firmware_bridge.simulator.sim_card import PinState

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

__all__ = ["IN_SERVICE", "Radio"]

# <stat> of +CREG (TS 27.007 7.2) under which SMS goes: home, roaming, and their "SMS only" forms
IN_SERVICE: Final = frozenset({1, 5, 6, 7})
HOME: Final = 1
IDLE: Final = 0
SEARCHING: Final = 2

# AT+CMMS=1 keeps the link for 1 to 5 s after a message (TS 27.005 3.5.6)
_LINK_LINGERS_S: Final = 5.0

SIM_PRESENT: Final = "present"


class Radio:
    """What the modem knows of the network. Commands and faults change it; changes are told by +CREG."""

    def __init__(self, modem: GsmModem) -> None:
        self._modem = modem
        self.functionality = 1  # +CFUN: 0 off, 1 full, 4 flight
        self.status = IDLE
        self.granted = HOME  # what the network will say; faults make it 3 (denied), 5 (roaming), 2 (lost)
        self.signal = 20  # +CSQ, -113 + 2n dBm
        self.area = "00C8"
        self.cell = "1A2B"
        self.sim_state = SIM_PRESENT  # or "absent", "busy", "failed"
        self._sim_busy_until = 0.0
        self._sms_ready_at = 0.0
        self._link_used_at = float("-inf")

    # --- power and registration

    @property
    def in_service(self) -> bool:
        """Registered so that SMS goes both ways."""
        return self.functionality == 1 and self.status in IN_SERVICE

    def power_up(self) -> None:
        """Search begins; the personality says how long the SIM and the registration take."""
        personality, now = self._modem.personality, self._modem.timeline.now
        self.functionality = 1
        self._sim_busy_until = now + personality.sim_ready_s
        self._sms_ready_at = now + personality.sms_ready_s
        self._set_status(IDLE)
        self.search(personality.registered_s)

    def power_off(self) -> None:
        """No power, no service."""
        self.status = IDLE

    def search(self, seconds: float = 0.0) -> None:
        """Look for the network; registered after `seconds`, if the SIM is open by then."""
        if seconds > 0:
            self._set_status(SEARCHING)
            self._modem.schedule(seconds, self._register)
        else:
            self._register()

    def _register(self) -> None:
        if (
            self.functionality == 1
            and self.sim_state == SIM_PRESENT
            and self._modem.sim.state is PinState.READY
        ):
            self._set_status(self.granted)
        else:
            self._set_status(IDLE)

    def choose_operator(self) -> None:
        """AT+COPS=0: look for the network, unless it serves us already."""
        if not self.in_service and self.functionality == 1:
            self.search(self._modem.personality.registered_s)

    def set_functionality(self, value: int) -> None:
        """AT+CFUN=<value>: 0 and 4 leave the network, 1 comes back to it."""
        if value == self.functionality:
            return  # asking for what is set disturbs nothing; gammu does so at each start
        self.functionality = value
        if value == 1:
            self.search(self._modem.personality.registered_s)
        else:
            self._set_status(IDLE)

    def deregister(self) -> None:
        """AT+COPS=2."""
        self._set_status(IDLE)

    def sim_opened(self) -> None:
        """The PIN was right: register; some SIMs are busy for a while after it (ZTE, MODEMS.md section 4)."""
        self._sms_ready_at = self._modem.timeline.now + self._modem.personality.sca_busy_after_pin_s
        self.search(self._modem.personality.registered_s)

    def grant(self, status: int) -> None:
        """The network's side changes its mind about this subscriber: 1 home, 2 lost, 3 denied, 5 roaming."""
        self.granted = status
        if self.functionality == 1:
            self._set_status(status)

    def _set_status(self, status: int) -> None:
        was, self.status = self.status, status
        if was == status:
            return
        for name, mode in self._modem.settings.registration.items():
            if mode:
                self._modem.urc(f"{name}{self._modem.personality.colon}{self.describe(mode)}")
        if status in IN_SERVICE and was not in IN_SERVICE:
            self._modem.network.reachable(self._modem.number)

    def describe(self, mode: int) -> str:
        """`<stat>` or, with mode 2, `<stat>,<lac>,<ci>`."""
        if mode < 2 or self.status not in IN_SERVICE:
            return str(self.status)
        return f'{self.status},"{self.area}","{self.cell}"'

    # --- the SIM as commands see it

    def check_sim(self, *, sms: bool) -> None:
        """Raise what a command that needs the SIM is answered now. sms: in the words of +CMS ERROR."""
        now, state = self._modem.timeline.now, self._modem.sim.state
        trouble: tuple[int, int] | None = None
        if self.sim_state == "absent":
            trouble = (310, 10)
        elif self.sim_state == "failed":
            trouble = (313, 13)
        elif self.sim_state == "busy" or now < self._sim_busy_until:
            trouble = (314, 14)
        elif state is PinState.PUK:
            trouble = (316, 12)
        elif state is PinState.PIN:
            trouble = (311, 11)
        elif sms and now < self._sms_ready_at:
            trouble = (302, 14)
        if trouble is not None:
            raise Cms(trouble[0]) if sms else Cme(trouble[1])

    def set_sim(self, state: str) -> None:
        """The SIM is "present", "absent", "busy" or "failed" from now on."""
        if state not in ("present", "absent", "busy", "failed"):
            raise ValueError(f"SIM {state!r}; want present, absent, busy or failed")
        self.sim_state = state
        if state == SIM_PRESENT:
            self.search(self._modem.personality.registered_s)
        elif state in ("absent", "failed"):
            self._set_status(IDLE)

    # --- sending

    def send(self, submit: Submit, answer: str) -> None:
        """Put a SUBMIT on the air; ends the command in work. answer: "+CMGS" or "+CMSS".

        The modem's own counter replaces TP-MR, as MODEMS.md section 5 describes it.
        """
        modem = self._modem
        number = modem.network.canonical(submit.recipient.digits)
        if not self.in_service:
            raise Cms(331)
        if submit.sca is None and not modem.sim.smsc:
            raise Cms(330)
        fault = modem.faults.strikes("pdu", modem.name, number)
        extra_s = 0.0
        if fault is not None:
            match fault.do:
                case "refuse":
                    raise Cms(fault.code)
                case "error":
                    modem.fail(fault.text or "ERROR")
                    return
                case "hang":  # nothing went out and nothing is said
                    modem.hang()
                    return
                case "brownout":  # the transmit peak takes the supply down
                    modem.brown_out(fault.seconds)
                    return
                case "swallow":
                    modem.silent()
                    return
                case "delay":
                    extra_s = fault.seconds
        now = modem.timeline.now
        link_open = modem.settings.cmms > 0 and now - self._link_used_at < _LINK_LINGERS_S
        mr = modem.sim.next_mr()
        modem.schedule(
            modem.network.radio_time(link_open=link_open) + extra_s,
            lambda: self._sent(submit, mr, answer, number),
        )

    def _sent(self, submit: Submit, mr: int, answer: str, number: str) -> None:
        """The air time is over: the SC decides, and the modem says so, unless a fault eats the words."""
        modem = self._modem
        if not self.in_service:
            modem.refuse(Cms(332))
            return
        try:
            modem.network.submit(modem.number, submit, mr, by=modem.name)
        except Refused as refused:
            modem.refuse(Cms(refused.cause))
            return
        self._link_used_at = modem.timeline.now
        modem.sent += 1
        lines = [f"{answer}{modem.personality.colon}{mr}"]
        fault = modem.faults.strikes("result", modem.name, number)
        if fault is not None:  # the message is on its way, whatever is said now
            match fault.do:
                case "swallow":
                    modem.silent()
                    return
                case "error":
                    modem.fail(fault.text or "+CMS ERROR: 500")
                    return
                case "hang":
                    modem.hang()
                    return
                case "brownout":
                    modem.brown_out(fault.seconds)
                    return
                case "delay":
                    modem.schedule(fault.seconds, lambda: modem.resume(lines))
                    return
        modem.resume(lines)
