"""How messages and reports reach the client: storage, +CMTI, +CMT, +CDS, +CDSI, +CNMA (TS 27.005 3.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from firmware_bridge.pdu import Deliver, StatusReport
from firmware_bridge.simulator import text_mode
from firmware_bridge.simulator.answers import Cms
from firmware_bridge.simulator.memory import MessageMemory, Status, Stored
from firmware_bridge.simulator.network import Outcome
from firmware_bridge.simulator.timeline import Timer

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem

__all__ = ["Inbox"]

_MAX_BUFFERED: Final = 64


class Inbox:
    """The receiving half of a modem. AT+CNMI decides the way of each TPDU."""

    def __init__(self, modem: GsmModem) -> None:
        self._modem = modem
        self._unacknowledged: Callable[[Outcome], None] | None = None
        self._unacknowledged_timer: Timer | None = None
        self._buffered: deque[tuple[str, ...]] = deque()
        self._was_full = False

    def forget(self) -> None:
        """Power was lost with an acknowledgement open: the network never got its RP-ACK."""
        if self._unacknowledged_timer is not None:
            self._unacknowledged_timer.cancel()
        done, self._unacknowledged = self._unacknowledged, None
        self._buffered.clear()
        if done is not None:
            done(Outcome.NO_ANSWER)

    # --- from the network

    def take(self, tpdu: Deliver | StatusReport, done: Callable[[Outcome], None]) -> None:
        """Take one TPDU off the air; `done` is RP-ACK or RP-ERROR."""
        modem = self._modem
        if isinstance(tpdu, StatusReport):
            self._take_report(tpdu, done)
            return
        fault = modem.faults.strikes("deliver", modem.name, tpdu.sender.digits)
        if fault is not None and fault.do == "lose":  # acknowledged and gone
            done(Outcome.ACCEPTED)
            return
        repeated = fault is not None and fault.do == "double"  # kept, but the RP-ACK is lost

        def acknowledge(outcome: Outcome) -> None:
            if outcome is Outcome.ACCEPTED:
                modem.received += 1
                if repeated:
                    outcome = Outcome.NO_ANSWER
            done(outcome)

        self._take_message(tpdu, acknowledge)

    def _take_message(self, deliver: Deliver, done: Callable[[Outcome], None]) -> None:
        modem, cnmi = self._modem, self._modem.settings.cnmi
        klass = deliver.message_class
        directly = klass != 2 and (cnmi.mt == 2 or (cnmi.mt == 3 and klass == 3))
        if not directly:
            stored = Stored(Status.UNREAD, deliver.encode(), deliver.tpdu_length)
            memory = self.memory(2)
            index = memory.add(stored)
            if index is None:
                self._was_full = True
                if modem.personality.full_notice:
                    modem.urc(modem.personality.full_notice)
                done(Outcome.MEMORY_FULL)
                return
            done(Outcome.ACCEPTED)
            if cnmi.mt in (1, 2, 3):
                self._tell(f'+CMTI{modem.personality.colon}"{memory.name}",{index}')
            return
        if modem.settings.cmgf == 1:
            header = text_mode.cmt_header(modem, deliver)
            body = text_mode.body(modem, deliver)
        else:
            header, body = (
                f"+CMT{modem.personality.colon},{deliver.tpdu_length}",
                deliver.encode().hex().upper(),
            )
        self._hand_over(header, body, done)

    def _take_report(self, report: StatusReport, done: Callable[[Outcome], None]) -> None:
        modem, cnmi = self._modem, self._modem.settings.cnmi
        colon = modem.personality.colon
        if cnmi.ds == 1:
            if modem.settings.cmgf == 1:
                self._hand_over(f"+CDS{colon}{text_mode.report_fields(report)}", None, done)
            else:
                self._hand_over(f"+CDS{colon}{report.tpdu_length}", report.encode().hex().upper(), done)
            return
        if cnmi.ds == 2:
            memory = modem.memories["SR"] if "SR" in modem.memories else self.memory(2)
            index = memory.add(Stored(Status.UNREAD, report.encode(), report.tpdu_length))
            if index is None:
                done(Outcome.MEMORY_FULL)
                return
            name = memory.name
            if modem.personality.cds_index is not None:
                name, index = "SM", modem.personality.cds_index
            self._tell(f'+CDSI{colon}"{name}",{index}')
        done(Outcome.ACCEPTED)

    def _hand_over(self, header: str, body: str | None, done: Callable[[Outcome], None]) -> None:
        """Give a TPDU straight to the client; under +CSMS=1 it must be acknowledged by +CNMA."""
        modem = self._modem
        if modem.settings.csms == 0:
            self._tell(*((header,) if body is None else (header, body)))
            done(Outcome.ACCEPTED)
            return
        if self._unacknowledged is not None:
            done(Outcome.NO_ANSWER)  # one at a time; the network tries again
            return
        self._unacknowledged = done
        self._unacknowledged_timer = modem.schedule(
            modem.network.settings.acknowledge_s, self._not_acknowledged
        )
        self._tell(*((header,) if body is None else (header, body)))

    def _not_acknowledged(self) -> None:
        """TS 27.005 3.4.4: without AT+CNMA in time, mt and ds go to 0 and the network tries again."""
        cnmi = self._modem.settings.cnmi
        cnmi.mt = cnmi.ds = 0
        self._answer(Outcome.NO_ANSWER)

    def acknowledge(self, *, ok: bool) -> None:
        """AT+CNMA. Raises +CMS ERROR 340 when nothing waits for it."""
        if self._unacknowledged is None:
            raise Cms(340)
        self._answer(Outcome.ACCEPTED if ok else Outcome.NO_ANSWER)

    def _answer(self, outcome: Outcome) -> None:
        if self._unacknowledged_timer is not None:
            self._unacknowledged_timer.cancel()
        done, self._unacknowledged = self._unacknowledged, None
        if done is not None:
            done(outcome)

    # --- to the client

    def _tell(self, *lines: str) -> None:
        """Say an indication now, or keep it while AT+CNMI mode 0 buffers them."""
        if self._modem.settings.cnmi.mode == 0:
            if len(self._buffered) < _MAX_BUFFERED:
                self._buffered.append(lines)
            return
        self._modem.urc("\r\n".join(lines))

    def cnmi_changed(self) -> None:
        """AT+CNMI came with a mode other than 0: flush (bfr 0) or forget (bfr 1) what was kept."""
        cnmi = self._modem.settings.cnmi
        if cnmi.mode == 0:
            return
        kept = list(self._buffered)
        self._buffered.clear()
        if cnmi.bfr == 0:
            for lines in kept:
                self._modem.urc("\r\n".join(lines))

    # --- storage

    def memory(self, which: int) -> MessageMemory:
        """The memory that AT+CPMS chose: 0 to read and delete, 1 to write and send, 2 to receive into."""
        modem = self._modem
        name = modem.settings.memories[which]
        # "MT" and the like stand for the default; an empty memory is false, so no `or` here.
        return modem.memories[name if name in modem.memories else modem.personality.default_memory]

    def freed(self) -> None:
        """A slot became free: RP-SMMA, if the network was turned away before."""
        if self._was_full and not self.memory(2).full:
            self._was_full = False
            self._modem.network.reachable(self._modem.number)
