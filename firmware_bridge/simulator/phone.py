"""A subscriber with a phone: texts are typed whole and read whole, the phone cuts and joins the parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypedDict

from firmware_bridge.pdu import Deliver, StatusReport, assemble, segment
from firmware_bridge.simulator import relay
from firmware_bridge.simulator.network import Message, Network, Outcome, Refused

__all__ = ["Phone", "PhoneEvent", "Sending"]

# Concatenated messages in the making; a phone gives the oldest up when more than this are open.
_MAX_OPEN: Final = 50

PhoneEvent = dict[str, Any]


class Sending(TypedDict):
    """What a phone knows of a message that it is asked to send."""

    message: int
    segments: int
    encoding: str


class Phone:
    """A handset that is switched on. on_event: told of texts, of ticks and of failures, as plain dicts."""

    def __init__(self, number: str, network: Network, on_event: Callable[[PhoneEvent], None]) -> None:
        """Joins the network; raises ValueError when the number is taken."""
        self.number = number
        self.name = number
        self._network = network
        self._on_event = on_event
        self._on = True
        self._reference = network.rng.randrange(256)
        self._next_message = 1
        self._queue: list[tuple[int, str, tuple[Any, ...]]] = []
        self._open: OrderedDict[tuple[str, int, int], dict[int, Deliver]] = OrderedDict()
        network.join(self)

    @property
    def attached(self) -> bool:
        """Switched on."""
        return self._on

    def switch_off(self) -> None:
        """Leave the network; what comes now is held by it."""
        self._on = False
        self._network.leave(self.number)

    # --- receiving

    def take(self, tpdu: Deliver | StatusReport, done: Callable[[Outcome], None]) -> None:
        """One TPDU from the network; a message is shown when its last part is there."""
        done(Outcome.ACCEPTED)
        if isinstance(tpdu, StatusReport):
            return  # ticks come by on_state, which also knows of refusals
        part = tpdu.concat
        if part is None or part.total < 2:
            self._show([tpdu])
            return
        key = (tpdu.sender.digits, part.reference, part.total)
        parts = self._open.setdefault(key, {})
        parts[part.sequence] = tpdu
        if len(parts) == part.total:
            del self._open[key]
            self._show([parts[sequence] for sequence in sorted(parts)])
        while len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)

    def _show(self, parts: list[Deliver]) -> None:
        first = parts[0]
        self._on_event(
            {
                "event": "sms",
                "from": first.sender.digits,
                "to": self.number,
                "text": assemble(first.encoding, [part.data for part in parts]),
                "segments": len(parts),
                "encoding": first.encoding,
                "class": first.message_class,
                "sent_at_ms": first.scts.utc_ms,
            }
        )

    # --- sending

    def send(self, to: str, text: str) -> Sending:
        """Type a text and press send. Returns at once; events tell the rest: "sent", then "delivered".

        Raises UsageError (firmware_bridge.errors) when the number or the text cannot be sent.
        """
        self._reference = self._reference % 255 + 1
        parts = relay.compose(to, text, reference=self._reference)
        shape = segment(text)
        message = self._next_message
        self._next_message += 1
        self._queue.append((message, to, parts))
        if len(self._queue) == 1:
            self._send_next()
        return {"message": message, "segments": len(parts), "encoding": shape.encoding}

    def _send_next(self) -> None:
        """Put the first message of the queue on the air, part by part."""
        if not self._queue:
            return
        message, to, parts = self._queue[0]
        progress = {"sent": 0, "delivered": 0}

        def told(state: str) -> None:
            progress[state] = progress.get(state, 0) + 1
            if state != "delivered" or progress[state] == len(parts):
                self._tell(state, message, to, len(parts))

        def over(at: int) -> None:
            try:
                accepted: Message | None = self._network.submit(self.number, parts[at], at, on_state=told)
            except Refused as refused:
                self._tell("failed", message, to, len(parts), cause=refused.cause)
                finish()
                return
            if accepted is not None:
                progress["sent"] += 1
            if at + 1 < len(parts):
                self._network.timeline.after(self._network.radio_time(), lambda: over(at + 1))
                return
            self._tell("sent", message, to, len(parts))
            finish()

        def finish() -> None:
            self._queue.pop(0)
            self._send_next()

        self._network.timeline.after(self._network.radio_time(), lambda: over(0))

    def _tell(self, state: str, message: int, to: str, segments: int, **more: Any) -> None:
        if self._on:
            self._on_event(
                {
                    "event": "report",
                    "number": self.number,
                    "message": message,
                    "to": to,
                    "state": state,
                    "segments": segments,
                    **more,
                }
            )
