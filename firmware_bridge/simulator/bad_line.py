"""What a bad cable does to what the modem says: bytes one by one, late, or hit by noise."""

from __future__ import annotations

import random
from collections.abc import Callable

from firmware_bridge.simulator.timeline import Timeline, Timer

__all__ = ["BadLine"]

KINDS = ("", "split", "slow", "noisy")


class BadLine:
    """Stands between the modem and the wire; nothing overtakes what it still holds."""

    def __init__(self, timeline: Timeline, rng: random.Random, put: Callable[[bytes], None]) -> None:
        self._timeline = timeline
        self._rng = rng
        self._put = put
        self._kind = ""
        self._delay_s = 0.0
        self._noise = 0.0
        self._free_at = 0.0
        self._held: list[Timer] = []

    def become(self, kind: str, *, delay_s: float = 0.0, noise: float = 0.0) -> None:
        """ "" good, "split" (bytes `delay_s` apart), "slow" (pieces so late), "noisy" (share of bytes hit).

        Raises ValueError for another kind.
        """
        if kind not in KINDS:
            raise ValueError(f"line {kind!r}; want split, slow, noisy or nothing")
        self._kind, self._delay_s, self._noise = kind, delay_s, noise

    def carry(self, data: bytes) -> None:
        """Bytes from the modem."""
        if self._kind == "noisy":
            data = bytes(map(self._noisy, data))
        pieces = [data]
        if self._kind == "split":
            pieces = [data[at : at + 1] for at in range(len(data))]
        self._held = [timer for timer in self._held if timer.waiting]
        late = self._kind in ("split", "slow")
        for piece in pieces:
            if late or self._held:
                self._later(piece)
            else:
                self._put(piece)

    def _later(self, data: bytes) -> None:
        self._free_at = max(self._free_at, self._timeline.now) + self._delay_s
        self._held.append(self._timeline.at(self._free_at, lambda: self._put(data)))

    def _noisy(self, byte: int) -> int:
        return byte if self._rng.random() >= self._noise else self._rng.randrange(256)

    def cut(self) -> None:
        """Power is gone: what the line holds is lost."""
        for timer in self._held:
            timer.cancel()
        self._held.clear()
