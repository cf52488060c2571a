"""A cursor over the octets of a PDU: the only way in which the decoders read."""

from __future__ import annotations

from firmware_bridge.errors import PduDecodeError

__all__ = ["OctetReader"]


class OctetReader:
    """Takes octets from the front and says which field was cut short.

    One bound check for all decoders, so that no input can raise anything but PduDecodeError.
    """

    __slots__ = ("octets", "position")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.position = 0

    @property
    def remaining(self) -> int:
        """Octets not taken yet."""
        return len(self.octets) - self.position

    def take(self, count: int, field: str) -> bytes:
        """Take `count` octets of the named field. Raises PduDecodeError if fewer are left."""
        if count > self.remaining:
            raise PduDecodeError(
                f"{field}: {count} octets wanted at octet {self.position}, {self.remaining} present"
            )
        start = self.position
        self.position = start + count
        return self.octets[start : self.position]

    def octet(self, field: str) -> int:
        """Take one octet of the named field as a number, 0 to 255."""
        return self.take(1, field)[0]

    def peek(self, field: str) -> int:
        """Look at the next octet and leave it where it is."""
        if not self.remaining:
            raise PduDecodeError(f"{field}: 1 octet wanted at octet {self.position}, 0 present")
        return self.octets[self.position]

    def finish(self, what: str) -> None:
        """Raise PduDecodeError if octets are left over that are not the padding of a SIM record.

        A record of EF_SMS is filled up with FF after its TPDU (TS 51.011 10.5.3), and some modems
        hand the whole record out; anything else means that a length was wrong.
        """
        left = self.octets[self.position :]
        if left.strip(b"\xff"):
            raise PduDecodeError(f"{what}: {len(left)} octets left over after its end")
