"""Message memories of a modem and its SIM: numbered slots, and a status per message (3GPP TS 27.005 3.1)."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MessageMemory", "Status", "Stored"]


class Status(enum.IntEnum):
    """<stat> of TS 27.005 3.1; the number is the one PDU mode prints."""

    UNREAD = 0
    READ = 1
    UNSENT = 2
    SENT = 3

    @property
    def words(self) -> str:
        """The form that text mode prints."""
        return ("REC UNREAD", "REC READ", "STO UNSENT", "STO SENT")[self]


@dataclass(slots=True)
class Stored:
    """One message in a slot. pdu: with the SMSC octets in front, as AT+CMGR prints it."""

    status: Status
    pdu: bytes
    length: int  # octets of the TPDU alone, the <length> of +CMGR and +CMGL


class MessageMemory:
    """One storage ("SM", "ME", "SR"): the lowest free slot is filled first, as SIMs do."""

    def __init__(self, name: str, *, capacity: int, base: int = 1) -> None:
        """base: index of the first slot; 0 on Huawei and ZTE, 1 elsewhere."""
        self.name = name
        self.capacity = capacity
        self.base = base
        self.changes = 0  # how often it was written to
        self._slots: dict[int, Stored] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[tuple[int, Stored]]:
        """Slots in use, by index."""
        return iter(sorted(self._slots.items()))

    @property
    def full(self) -> bool:
        """No slot is free."""
        return len(self._slots) >= self.capacity

    @property
    def last_index(self) -> int:
        """The highest index there can be."""
        return self.base + self.capacity - 1

    def get(self, index: int) -> Stored | None:
        """The message in a slot, or None when the slot is empty. Raises IndexError beyond the capacity."""
        if not self.base <= index <= self.last_index:
            raise IndexError(index)
        return self._slots.get(index)

    def add(self, message: Stored) -> int | None:
        """Put a message into the lowest free slot; its index, or None when there is none."""
        for index in range(self.base, self.base + self.capacity):
            if index not in self._slots:
                self._slots[index] = message
                self.changes += 1
                return index
        return None

    def put(self, index: int, message: Stored) -> None:
        """Put a message into a slot of one's own choice, as a restored SIM has it."""
        if self.base <= index <= self.last_index:
            self._slots[index] = message

    def delete(self, index: int) -> bool:
        """Empty a slot; False when it was empty. Raises IndexError beyond the capacity."""
        if not self.base <= index <= self.last_index:
            raise IndexError(index)
        self.changes += 1
        return self._slots.pop(index, None) is not None

    def clear(self) -> None:
        """Empty all slots."""
        self.changes += 1
        self._slots.clear()
