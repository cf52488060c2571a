"""What passes between the dispatcher and a worker: length-prefixed msgpack, never a pickle.

A frame is four octets of length, most significant first, then one msgpack value. To a worker go `Frame`s
(jobs, or the recall of jobs it has not begun); from a worker come `Results`. Structs travel as arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

__all__ = [
    "FrameError",
    "FrameReader",
    "Job",
    "Outcome",
    "Results",
    "ToWorker",
    "encode",
    "from_worker",
    "to_worker",
]

MAX_FRAME_OCTETS: Final = 16 * 1024 * 1024  # 64 jobs of 64 KiB of text, four times over: more is a fault
_PREFIX: Final = 4


class FrameError(Exception):
    """The other side sent what no frame can be; the connection is of no more use."""


class Job(msgspec.Struct, array_like=True, frozen=True):
    """One turn to run. token: this run's own number; the rest is what `Event` needs.

    kind: "text", "timer", "event" or "effect"; effect, reason, detail and attempt tell of a refused effect.
    """

    token: int
    message_id: int
    kind: str
    sender: str
    channel: str
    text: str
    at_ms: int
    now_ms: int
    entropy: int
    attempt: int = 0
    effect: str = ""
    reason: str = ""
    detail: dict[str, Any] = {}


class ToWorker(msgspec.Struct, array_like=True, frozen=True):
    """jobs: to be run in this order. recalled: tokens sent before that need not be begun any more."""

    jobs: list[Job] = []
    recalled: list[int] = []


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """What one turn gave. error: "" or why there is no answer, without any text of the person's.

    body: the new session as JSON, b"" to leave the session alone. replies: (text, to or "", lane).
    transient: the fault is not the message's (the database could not be read); try again later.
    """

    token: int
    error: str = ""
    transient: bool = False
    app: str = ""
    state: str = ""
    body: bytes = b""
    expires_at_ms: int = 0
    wake_at_ms: int | None = None
    replies: list[tuple[str, str, str]] = []
    effects: list[tuple[str, dict[str, Any]]] = []


class Results(msgspec.Struct, array_like=True, frozen=True):
    """Outcomes so far. busy_us: time spent in them. rss_kib: 0 when not measured this time.

    pid: sent alone, with no outcomes, when the worker is ready.
    """

    outcomes: list[Outcome] = []
    busy_us: int = 0
    rss_kib: int = 0
    pid: int = 0


T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()
to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
from_worker: Final = msgspec.msgpack.Decoder(Results)


def encode(message: ToWorker | Results) -> bytes:
    """Write one frame. Raises FrameError when it is over the bound."""
    frame = bytearray(_PREFIX)
    _encoder.encode_into(message, frame, _PREFIX)
    length = len(frame) - _PREFIX
    if length > MAX_FRAME_OCTETS:
        raise FrameError(f"a frame of {length} octets; at most {MAX_FRAME_OCTETS} may pass")
    frame[:_PREFIX] = length.to_bytes(_PREFIX, "big")
    return bytes(frame)


class FrameReader(Generic[T]):
    """Cuts a stream into messages, whatever pieces it arrives in."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield each message that is now whole. Raises FrameError on what is none."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _PREFIX:
                length = int.from_bytes(buffer[start : start + _PREFIX], "big")
                if length > MAX_FRAME_OCTETS:
                    raise FrameError(
                        f"a frame announces {length} octets; at most {MAX_FRAME_OCTETS} may pass"
                    )
                end = start + _PREFIX + length
                if len(buffer) < end:
                    break
                piece = bytes(buffer[start + _PREFIX : end])
                start = end
                try:
                    message = self._decoder.decode(piece)
                except msgspec.MsgspecError as error:
                    raise FrameError(f"a frame of {length} octets does not decode: {error}") from error
                yield message
        finally:
            if start:
                del buffer[:start]
