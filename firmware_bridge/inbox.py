"""What comes in: slots announced by +CMTI and +CDSI, PDUs by +CMT and +CDS, and the sweep that misses none.

A message is handed over and awaited before its slot is deleted or the network acknowledged, so a crash at
any point leaves it where it was. A slot whose deletion did not take is remembered with its PDU: it is
deleted again, not handed over again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from firmware_bridge.at import response
from firmware_bridge.at.command import attempt, basic
from firmware_bridge.at.response import StoredPdu
from firmware_bridge.at.urc import Urc, UrcKind
from firmware_bridge.errors import AtError, AtTimeout, CmsError, PduDecodeError, PortLost
from firmware_bridge.health import Received
from firmware_bridge.line import Line, Urgency
from firmware_bridge.pdu import Deliver, StatusReport
from firmware_bridge.startup import Facts

__all__ = ["Inbox", "OnDeliver", "OnStatusReport", "OnUndecodable"]

log = logging.getLogger(__name__)

OnDeliver = Callable[[Received], Awaitable[None]]
OnStatusReport = Callable[[StatusReport, bytes], Awaitable[None]]
OnUndecodable = Callable[[bytes, str], Awaitable[None]]

# Announcements beyond this are not kept: the sweep finds their slots. Direct PDUs are stored nowhere else,
# and a network sends the next only after the last was acknowledged, so their bound is never reached by
# honest traffic.
MAX_SLOTS: Final = 512
MAX_DIRECT: Final = 2048
# After the last deletion the store is listed once more: it proves the deletions and finds unannounced
# messages.
CONFIRM_S: Final = 2.0
RETRY_S: Final = 5.0
RETRY_MAX_S: Final = 60.0
DELETE_TRIES: Final = 3
READ_TIMEOUT_S: Final = 30.0
LIST_TIMEOUT_S: Final = 60.0
LIST_AGAIN_S: Final = 600.0  # reading up to 255 slots one by one costs seconds of the line each time
# A sweep yields to sends, but not for ever.
SWEEP_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Slot:
    memory: str
    index: int
    is_report: bool


@dataclass(slots=True)
class _Handed:
    """A PDU that was handed over from a slot which should be empty by now."""

    pdu: str
    tries: int = 1


class Inbox:
    """One per modem, for all its lines: a PDU that came by +CMT just before a loss is still handed over.

    `take` is fed codes synchronously, also before `attach`; `run` works until cancelled or the line breaks.
    """

    _line: Line

    def __init__(
        self,
        *,
        modem: str,
        on_deliver: OnDeliver,
        on_status_report: OnStatusReport,
        on_undecodable: OnUndecodable | None,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = Facts()
        self._modem = modem
        self._on_deliver = on_deliver
        self._on_status_report = on_status_report
        self._on_undecodable = on_undecodable
        self._sweep_s = 120.0
        self._on_change = on_change
        self._clock = clock
        self._slots: deque[_Slot] = deque()
        self._direct: deque[tuple[UrcKind, str]] = deque()
        self._handed: dict[tuple[str, int], _Handed] = {}
        self._kept_undecodable: set[str] = set()
        self._work = asyncio.Event()
        self._sweep_at: float = clock()  # the first sweep is due at once
        self._retry_s = RETRY_S
        self._list_again_at = float("-inf")  # +CMGL hung: until then every slot is read by itself
        self._each_again: dict[str, float] = {}  # without +CMGL: a memory is not read through sooner
        self._has_listed = False  # +CMGL has worked on this line
        self._acknowledges = True  # +CNMA is known
        self.received = 0
        self.stuck_deletes = 0  # slots that stay full whatever we ask
        self.notify_lost = False  # the modem may have stopped announcing: ask for it again
        self.left = (
            0  # entries of the receiving store that are not ours to take: drafts, and what we keep there
        )
        self.last_sweep: float | None = None

    def attach(self, line: Line, facts: Facts, *, sweep_s: float) -> None:
        """Work on this line from now on, beginning with a sweep."""
        self._line, self._facts, self._sweep_s = line, facts, sweep_s
        self._slots.clear()  # the sweep finds them, and their numbers may mean something else by now
        self._sweep_at = self._clock()
        self._acknowledges = True
        self._list_again_at = float("-inf")
        self._each_again.clear()
        self._has_listed = False
        self.notify_lost = False

    # -- fed by the line

    def take(self, code: Urc) -> None:
        """Note an announcement or a PDU; anything else is ignored."""
        if code.kind in (UrcKind.STORED, UrcKind.REPORT_STORED):
            parts = response.fields(code.rest)
            index = response.integer(parts[-1])
            if index is None or len(self._slots) >= MAX_SLOTS:
                self.sweep_soon()
                return
            memory = parts[0].upper() if len(parts) > 1 else self._facts.memory
            slot = _Slot(memory, index, code.kind is UrcKind.REPORT_STORED)
            if slot not in self._slots:
                self._slots.append(slot)
        elif code.kind in (UrcKind.DELIVER, UrcKind.REPORT) and code.pdu is not None:
            if len(self._direct) < MAX_DIRECT:
                self._direct.append((code.kind, code.pdu))
        elif code.kind is UrcKind.STORAGE_FULL:
            self.sweep_soon()
        self._work.set()

    def sweep_soon(self, after_s: float = 0.0) -> None:
        self._sweep_at = min(self._sweep_at, self._clock() + after_s)
        self._work.set()

    # -- the work

    async def run(self) -> None:
        """Raises PortLost when the line breaks."""
        while True:
            if self._direct:
                await self._one_direct()
            elif self._slots:
                await self._one_slot(self._slots.popleft())
            elif self._clock() >= self._sweep_at:
                await self.sweep()
            else:
                self._work.clear()
                if self._direct or self._slots:
                    continue
                try:
                    async with asyncio.timeout(max(0.0, self._sweep_at - self._clock())):
                        await self._work.wait()
                except TimeoutError:
                    pass

    async def _one_direct(self) -> None:
        kind, pdu = self._direct[0]
        done = await self._hand_over(pdu, "", None)
        self._direct.popleft()
        if not done:
            # Not acknowledged: the network sends it again; the modem then stops announcing (27.005 3.4.4).
            self.notify_lost = self._facts.csms == 1
            log.warning("%s: %s not stored, left to the network to repeat", self._modem, kind.value)
            return
        if self._facts.csms == 1 and self._acknowledges:
            try:
                await self._line.run(basic("AT+CNMA"), Urgency.ACKNOWLEDGE)
            except CmsError as e:
                if e.code not in (340, None):
                    self.notify_lost = True
            except AtTimeout:
                self.notify_lost = True
            except AtError:
                self._acknowledges = False  # no such command here: then none is expected either

    async def _one_slot(self, slot: _Slot) -> None:
        memories = [slot.memory]
        if slot.is_report and "SR" in self._facts.memories and slot.memory != "SR":
            memories.append("SR")  # EC25 puts the report there and says "SM"
        for memory in memories:
            entry = await self._read(memory, slot.index)
            if entry is not None:
                # Some announce by a name ("MT") that they do not let us select: what was read and is to be
                # deleted lies in the one that is.
                if await self._dispose(entry, self._facts.memory or memory, slot.index):
                    self.sweep_soon(CONFIRM_S)
                return
        # Announced and not there: read already by a sweep, or in another store than announced.
        self.sweep_soon(CONFIRM_S)

    async def sweep(self) -> None:
        """List every store the modem may hold messages in, and deal with each entry."""
        due_since = self._sweep_at
        self._sweep_at = self._clock() + self._sweep_s
        for memory in self._facts.memories or ("",):
            urgency = Urgency.SWEEP
            if self._clock() - due_since > SWEEP_PATIENCE_S:
                urgency = Urgency.INBOUND
            entries = await self._list(memory, urgency)
            if entries is None:
                continue
            present = {e.index: e.pdu for e in entries if e.index is not None}
            for key in [
                k for k in self._handed if k[0] == memory and present.get(k[1]) != self._handed[k].pdu
            ]:
                del self._handed[key]
            if memory == self._facts.receiving:
                self.left = sum(not e.is_ours or e.pdu in self._kept_undecodable for e in entries)
            again = False
            for entry in entries:
                while self._direct:
                    await self._one_direct()  # the network counts the seconds to its acknowledgement
                if entry.index is not None and entry.is_ours:
                    again |= await self._dispose(entry, memory, entry.index)
            if again:
                self.sweep_soon(CONFIRM_S)
        self.stuck_deletes = sum(h.tries > DELETE_TRIES for h in self._handed.values())
        self.last_sweep = self._clock()
        self._on_change()

    # -- one entry

    async def _dispose(self, entry: StoredPdu, memory: str, index: int) -> bool:
        """Hand over and delete. True if a deletion was asked for that the next sweep should confirm."""
        if not entry.is_ours:
            return False
        handed = self._handed.get((memory, index))
        if handed is not None and handed.pdu == entry.pdu:
            handed.tries += 1
            if handed.tries > DELETE_TRIES:
                # It is shown, and it is tried again at every ordinary sweep.
                await self._delete(memory, index)
                return False
        else:
            if entry.pdu in self._kept_undecodable:
                return False
            if not await self._hand_over(entry.pdu, memory, index):
                return False
            self._handed[memory, index] = _Handed(entry.pdu)
        await self._delete(memory, index)
        return True

    async def _hand_over(self, pdu_hex: str, memory: str, index: int | None) -> bool:
        """True when the message is safe elsewhere and may be deleted or acknowledged here."""
        try:
            await self._decode_and_give(pdu_hex, memory, index)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The store is full, locked or gone: the message stays where it is, and is tried again more
            # slowly.
            log.exception("%s: message in %s %s not taken over; it stays there", self._modem, memory, index)
            self.sweep_soon(self._retry_s)
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
            return False
        self._retry_s = RETRY_S
        return self._keeps_none(pdu_hex)

    def _keeps_none(self, pdu_hex: str) -> bool:
        return pdu_hex not in self._kept_undecodable

    async def _decode_and_give(self, pdu_hex: str, memory: str, index: int | None) -> None:
        try:
            raw = bytes.fromhex(pdu_hex)
        except ValueError:
            await self._give_undecodable(pdu_hex, pdu_hex.encode("latin-1"), "not whole octets of hex")
            return
        try:
            message = _decode(raw)
        except PduDecodeError as e:
            await self._give_undecodable(pdu_hex, raw, str(e))
            return
        if isinstance(message, StatusReport):
            await self._on_status_report(message, raw)
            return
        await self._on_deliver(
            Received(pdu=raw, deliver=message, memory=memory, index=index, modem=self._modem)
        )
        self.received += 1
        self._on_change()

    async def _give_undecodable(self, pdu_hex: str, raw: bytes, error: str) -> None:
        if self._on_undecodable is None:
            log.warning("%s: undecodable PDU left in the modem: %s", self._modem, error)
            if len(self._kept_undecodable) < MAX_SLOTS:
                self._kept_undecodable.add(pdu_hex)
        else:
            await self._on_undecodable(raw, error)

    # -- commands

    async def _select(self, memory: str) -> None:
        """Make `memory` the one that reading and deleting mean.

        Some announce by a name ("MT") that they refuse here: then it is the one they receive into.
        """
        facts = self._facts
        for wanted in (memory, facts.receiving):
            if not wanted or wanted == facts.memory:
                return
            try:
                await self._line.execute(attempt("+CPMS", wanted, timeout_s=15.0))
            except (AtError, AtTimeout):
                continue
            facts.memory = wanted
            return

    async def _read(self, memory: str, index: int) -> StoredPdu | None:
        async with self._line.turn(Urgency.INBOUND):
            await self._select(memory)
            lines = await self._show(index)
            if any(value.startswith('"') for value in response.values(lines, "+CMGR")):
                # In text mode: it restarted and told nobody, or somebody else was at the line.
                await self._line.try_execute(basic("AT+CMGF=0"))
                lines = await self._show(index)
        found = response.stored_messages(lines, "+CMGR")
        return found[0] if found else None

    async def _show(self, index: int) -> tuple[str, ...]:
        try:
            return await self._line.execute(attempt("+CMGR", index, timeout_s=READ_TIMEOUT_S))
        except AtTimeout as e:
            return e.lines  # Wavecom can lose the result code behind the PDU
        except AtError:
            return ()

    async def _list(self, memory: str, urgency: Urgency) -> list[StoredPdu] | None:
        if self._clock() < self._list_again_at:
            return await self._read_each(memory)
        async with self._line.turn(urgency):
            await self._select(memory)
            if memory and self._facts.memory != memory:
                return None
            lines: tuple[str, ...] | None
            try:
                lines = await self._line.execute(attempt("+CMGL", 4, timeout_s=LIST_TIMEOUT_S))
            except AtTimeout:
                if self._has_listed:  # an answer was lost; a modem that knows the command will know it again
                    self.sweep_soon(RETRY_S)
                    return None
                self._list_again_at = self._clock() + LIST_AGAIN_S  # Samsung hangs on it
                lines = None
            except AtError:
                if self._has_listed or self._clock() < self._each_again.get(memory, float("-inf")):
                    return None
                lines = None  # there is no such command
        if lines is None:
            self._each_again[memory] = self._clock() + self._sweep_s
            return await self._read_each(memory)
        self._has_listed = True
        entries = response.stored_messages(lines, "+CMGL")
        for at, entry in enumerate(entries):
            if entry.index is not None and entry.is_ours and not _is_whole(entry):
                entries[at] = await self._whole(memory, entry)
        return entries

    async def _whole(self, memory: str, entry: StoredPdu) -> StoredPdu:
        """Read again by index what the list showed cut short."""
        assert entry.index is not None
        again = await self._read(memory, entry.index)
        if again is None or len(again.pdu) < len(entry.pdu):
            return entry
        return StoredPdu(entry.index, again.stat, again.length, again.pdu)

    async def _read_each(self, memory: str) -> list[StoredPdu]:
        """Without +CMGL: every slot by number, as far as the store says it reaches, until all are found."""
        entries: list[StoredPdu] = []
        used = self._facts.used if memory == self._facts.receiving else None
        for index in range(min((self._facts.total or 0) + 1, 256)):
            entry = await self._read(memory, index)
            if entry is not None:
                entries.append(StoredPdu(index, entry.stat, entry.length, entry.pdu))
                if len(entries) == used:
                    break
        return entries

    async def _delete(self, memory: str, index: int) -> None:
        async with self._line.turn(Urgency.INBOUND):
            await self._select(memory)
            if memory and self._facts.memory != memory:
                return  # the index would mean another message
            try:
                await self._line.execute(attempt("+CMGD", index, timeout_s=READ_TIMEOUT_S))
            except PortLost:
                raise
            except (AtError, AtTimeout) as e:
                log.warning("%s: %s %d not deleted: %s", self._modem, memory, index, e)


def _message_type(raw: bytes) -> int | None:
    """TP-MTI behind the SCA octets (TS 23.040 9.2.3.1); None if the PDU ends before it."""
    at = 1 + raw[0] if raw else 0
    return raw[at] & 3 if at < len(raw) and raw else None


def _is_whole(entry: StoredPdu) -> bool:
    """It can be read as it is; its announced length is not always right."""
    try:
        raw = bytes.fromhex(entry.pdu)
        _decode(raw)
    except (ValueError, PduDecodeError):
        return False
    return True


def _decode(raw: bytes) -> Deliver | StatusReport:
    """Raises PduDecodeError."""
    return StatusReport.decode(raw) if _message_type(raw) == 2 else Deliver.decode(raw)
