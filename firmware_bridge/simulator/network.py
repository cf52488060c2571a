"""One operator: its SMSC, its subscribers, the air between them, and status reports (3GPP TS 23.040).

Messages cross it as TPDUs, part by part; nothing here joins parts or reads a text. A mailbox per
subscriber is worked off first in, first out, one delivery at a time, as an SMSC does it.
"""

from __future__ import annotations

import enum
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from firmware_bridge.pdu import Address, Deliver, StatusReport, Submit, delivers
from firmware_bridge.simulator import relay
from firmware_bridge.simulator.faults import Faults
from firmware_bridge.simulator.timeline import Timeline, Timer

__all__ = ["Message", "Network", "NetworkSettings", "Outcome", "Refused", "Subscriber", "TpStatus"]

# TS 23.040 9.2.3.12: without TP-VP the SC chooses; three days is what operators do.
_DEFAULT_VALIDITY_S: Final = 3 * 24 * 3600.0
# How soon an SC tries again after the handset had no room or did not answer. Real ones begin at minutes.
RETRY_S: Final = (30.0, 60.0, 300.0, 900.0, 3600.0)
_DUPLICATE: Final = 197  # TP-FCS 0xC5, "duplicate SM", as +CMS ERROR shows it (TS 23.040 9.2.3.22)
_MAX_HELD_PER_NUMBER: Final = 100_000  # a subscriber's mailbox; the bound is there so that a loop shows


class Outcome(enum.Enum):
    """How an attempt to deliver ended at the subscriber's side."""

    ACCEPTED = "accepted"  # RP-ACK
    MEMORY_FULL = "memory full"  # RP-ERROR 22: held until RP-SMMA or the next attempt
    NO_ANSWER = "no answer"  # paging failed, or the RP-ACK was lost: tried again later


class TpStatus(enum.IntEnum):
    """TP-Status values that this SC gives (TS 23.040 9.2.3.15)."""

    DELIVERED = 0x00
    STILL_TRYING = 0x22
    REJECTED = 0x42
    NOT_OBTAINABLE = 0x43
    EXPIRED = 0x46


class Refused(Exception):
    """The SC refuses a SUBMIT with an RP cause (TS 24.011 8.2.5.4), which modems show as +CMS ERROR."""

    def __init__(self, cause: int) -> None:
        super().__init__(cause)
        self.cause = cause


class Subscriber(Protocol):
    """A modem or a phone: something with a number that can be reached over the air."""

    @property
    def number(self) -> str:
        """E.164, or a short code."""

    @property
    def attached(self) -> bool:
        """Reachable now."""

    def take(self, tpdu: Deliver | StatusReport, done: Callable[[Outcome], None]) -> None:
        """Take one TPDU; `done` is called once, then or later."""


class NetworkSettings:
    """What an operator is like. Times in seconds."""

    def __init__(
        self,
        *,
        name: str = "Outpost Telecom",
        mcc_mnc: str = "63601",
        smsc: str = "+251911299000",
        country_code: str = "251",
        zone_quarters: int = 12,
        radio_s: float = 0.0,
        radio_jitter_s: float = 0.0,
        cmms_saves_s: float = 0.0,
        downlink_s: float = 0.0,
        unattached: str = "hold",
        retry_s: tuple[float, ...] = RETRY_S,
        acknowledge_s: float = 15.0,
        ussd: dict[str, str] | None = None,
    ) -> None:
        """radio_s: from Ctrl-Z to the SC's answer, per part; cmms_saves_s: less of it on a link kept open.

        downlink_s: from the SC to the handset. unattached: "hold" keeps a message for a number that nobody
        has switched on, "delivered" pretends that somebody has. retry_s: pauses before the next attempts
        to deliver. acknowledge_s: how long a +CMT or +CDS may wait for +CNMA. ussd: code to answer.
        """
        if unattached not in ("hold", "delivered"):
            raise ValueError(f"unattached: {unattached!r}; want 'hold' or 'delivered'")
        self.name = name
        self.mcc_mnc = mcc_mnc
        self.smsc = smsc
        self.country_code = country_code
        self.zone_quarters = zone_quarters
        self.radio_s = radio_s
        self.radio_jitter_s = radio_jitter_s
        self.cmms_saves_s = cmms_saves_s
        self.downlink_s = downlink_s
        self.unattached = unattached
        self.retry_s = retry_s
        self.acknowledge_s = acknowledge_s  # TS 27.005 3.4.4: "the network's time", some 15 s
        self.ussd = {
            "*804#": "Your balance is 125.40 Birr, valid until 31/12/2026.",
            "*999#": "1. Balance\n2. Packages\n0. Exit",
        }
        self.ussd.update(ussd or {})


@dataclass(slots=True)
class Message:
    """One part at the SC. on_state: told of "delivered", "expired" or "failed" (phones show it as ticks)."""

    id: int
    sender: str
    recipient: str
    submit: Submit
    mr: int
    accepted_ms: int
    expires_at: float
    wants_report: bool
    on_state: Callable[[str], None] | None = None
    expiry: Timer | None = None


@dataclass(slots=True)
class _Mailbox:
    """What waits for one number. delivering: an attempt is on the air."""

    items: deque[Message | StatusReport] = field(default_factory=deque)
    delivering: bool = False
    attempts: int = 0
    retry: Timer | None = None


class Network:
    """The operator. Subscribers join it; they submit and are delivered to."""

    def __init__(
        self, timeline: Timeline, *, rng: random.Random, settings: NetworkSettings, faults: Faults
    ) -> None:
        self.timeline = timeline
        self.settings = settings
        self.faults = faults
        self.rng = rng
        self.subscribers: dict[str, Subscriber] = {}
        self.counts: Counter[str] = Counter()
        self.on_event: Callable[[str, Message], None] | None = None
        self._mailboxes: dict[str, _Mailbox] = {}
        self._next_id = 1
        self._next_reference = 0

    # --- subscribers

    def join(self, subscriber: Subscriber) -> None:
        """Make a number known. Raises ValueError when another subscriber has it."""
        if subscriber.number in self.subscribers:
            raise ValueError(f"{subscriber.number} is on the network already")
        self.subscribers[subscriber.number] = subscriber
        self.reachable(subscriber.number)

    def leave(self, number: str) -> None:
        """Take a number off the network; what waits for it goes on waiting."""
        self.subscribers.pop(number, None)

    def reachable(self, number: str) -> None:
        """A subscriber attached, or has room again (RP-SMMA): try what waits for it at once."""
        mailbox = self._mailboxes.get(number)
        if mailbox is not None:
            mailbox.attempts = 0
            self._work(number)

    def held(self, number: str) -> int:
        """How many TPDUs wait for a number."""
        mailbox = self._mailboxes.get(number)
        return len(mailbox.items) if mailbox else 0

    @property
    def held_total(self) -> int:
        """How many TPDUs wait for anybody."""
        return sum(len(mailbox.items) for mailbox in self._mailboxes.values())

    def canonical(self, digits: str) -> str:
        """A dialled number as the network writes it: international; short codes and names as they are."""
        if re.fullmatch(r"00[1-9]\d{6,14}", digits):
            return "+" + digits[2:]
        if re.fullmatch(r"0[1-9]\d{7,9}", digits):
            return f"+{self.settings.country_code}{digits[1:]}"
        if re.fullmatch(rf"{self.settings.country_code}[1-9]\d{{7,9}}", digits):
            return "+" + digits
        return digits

    # --- what a restart must not lose

    def waiting(self) -> Iterator[tuple[str, Message | StatusReport]]:
        """All that waits for anybody, in order for each: (number, item)."""
        for number, mailbox in self._mailboxes.items():
            for item in mailbox.items:
                yield number, item

    def put_back(self, sender: str, submit: Submit, mr: int, *, accepted_ms: int, expires_ms: int) -> None:
        """A message of before the restart; accepted already, so no fault strikes it again."""
        left_s = (expires_ms - self.timeline.utc_ms) / 1000
        self._hold(sender, submit, mr, accepted_ms, self.timeline.now + max(0.0, left_s))

    def put_back_report(self, number: str, report: StatusReport) -> None:
        """A status report of before the restart."""
        self._post(number, report)

    # --- submitting

    def radio_time(self, *, link_open: bool = False) -> float:
        """How long one part takes from Ctrl-Z to the SC's answer."""
        time_s = self.settings.radio_s
        if self.settings.radio_jitter_s:
            time_s += self.rng.uniform(-1, 1) * self.settings.radio_jitter_s
        if link_open:
            time_s -= self.settings.cmms_saves_s
        return max(0.0, time_s)

    def submit(
        self,
        sender: str,
        submit: Submit,
        mr: int,
        *,
        by: str = "",
        on_state: Callable[[str], None] | None = None,
    ) -> Message | None:
        """Take one part from a subscriber. by: the modem's name, for faults.

        Returns the message, or None when a fault made it vanish although the sender hears "accepted".
        Raises Refused.
        """
        recipient = self.canonical(submit.recipient.digits)
        fault = self.faults.strikes("submit", by, recipient)
        if fault is not None and fault.do == "refuse":
            self.counts["refused"] += 1
            raise Refused(fault.code)
        if submit.reject_duplicates and self._holds_already(sender, recipient, mr):
            raise Refused(_DUPLICATE)
        self.counts["accepted"] += 1
        if fault is not None and fault.do == "lie":
            self.counts["lost"] += 1
            return None
        expires_at = self.timeline.now + self._validity_s(submit)
        message = self._hold(sender, submit, mr, self.timeline.utc_ms, expires_at, on_state)
        self._tell("accepted", message)
        return message

    def _holds_already(self, sender: str, recipient: str, mr: int) -> bool:
        """TP-RD (TS 23.040 9.2.3.25): the SC still holds one with the same TP-MR from and for the same."""
        mailbox = self._mailboxes.get(recipient)
        return mailbox is not None and any(
            isinstance(item, Message) and (item.sender, item.mr) == (sender, mr) for item in mailbox.items
        )

    def _hold(
        self,
        sender: str,
        submit: Submit,
        mr: int,
        accepted_ms: int,
        expires_at: float,
        on_state: Callable[[str], None] | None = None,
    ) -> Message:
        message = Message(
            id=self._next_id,
            sender=sender,
            recipient=self.canonical(submit.recipient.digits),
            submit=submit,
            mr=mr,
            accepted_ms=accepted_ms,
            expires_at=expires_at,
            wants_report=submit.status_report,
            on_state=on_state,
        )
        self._next_id += 1
        message.expiry = self.timeline.at(expires_at, lambda: self._expire(message))
        self._post(message.recipient, message)
        return message

    def deliver(self, sender: str, recipient: str, text: str) -> list[Message]:
        """A text from any number or name at all, without a phone and past all faults. Returns its parts."""
        self._next_reference = self._next_reference % 255 + 1
        parts = relay.compose(recipient, text, reference=self._next_reference)
        self.counts["accepted"] += len(parts)
        clock = self.timeline
        return [
            self._hold(sender, part, 0, clock.utc_ms, clock.now + self._validity_s(part)) for part in parts
        ]

    def specimens(self, sender: str, text: str) -> list[Deliver]:
        """The DELIVERs of a text, stamped now, without sending them: for filling stores."""
        stamp = relay.stamp(self.timeline.utc_ms, self.settings)
        return list(delivers(sender, text, stamp, sca=Address.parse(self.settings.smsc)))

    def _validity_s(self, submit: Submit) -> float:
        validity = relay.validity_seconds(submit, now_ms=self.timeline.utc_ms)
        return _DEFAULT_VALIDITY_S if validity is None else validity

    # --- delivering

    def _post(self, number: str, item: Message | StatusReport) -> None:
        mailbox = self._mailboxes.setdefault(number, _Mailbox())
        if len(mailbox.items) >= _MAX_HELD_PER_NUMBER:
            raise RuntimeError(f"simulated network: {_MAX_HELD_PER_NUMBER} messages wait for {number}")
        mailbox.items.append(item)
        self._work(number)

    def _work(self, number: str) -> None:
        """Put the next item of a mailbox on the air, if the subscriber can be reached and is not busy."""
        mailbox = self._mailboxes[number]
        if mailbox.delivering or not mailbox.items:
            return
        subscriber = self.subscribers.get(number)
        if subscriber is None and self.settings.unattached == "delivered":
            while mailbox.items:
                self._finish(mailbox.items.popleft(), TpStatus.DELIVERED)
            return
        if subscriber is None or not subscriber.attached:
            return
        if mailbox.retry is not None:
            mailbox.retry.cancel()
        mailbox.delivering = True
        item = mailbox.items[0]
        self.timeline.after(self.settings.downlink_s, lambda: self._attempt(number, item))

    def _attempt(self, number: str, item: Message | StatusReport) -> None:
        mailbox = self._mailboxes[number]
        subscriber = self.subscribers.get(number)
        if subscriber is None or not subscriber.attached:
            mailbox.delivering = False
            return
        answered = False

        def done(outcome: Outcome) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._answered(number, item, outcome)

        if isinstance(item, StatusReport):
            subscriber.take(item, done)
        else:
            waiting = len(mailbox.items) > 1
            subscriber.take(relay.to_deliver(item, self.settings, more_to_send=waiting), done)

    def _answered(self, number: str, item: Message | StatusReport, outcome: Outcome) -> None:
        mailbox = self._mailboxes[number]
        mailbox.delivering = False
        if outcome is Outcome.ACCEPTED:
            mailbox.attempts = 0
            if mailbox.items and mailbox.items[0] is item:
                mailbox.items.popleft()
            self._finish(item, TpStatus.DELIVERED)
            self._work(number)
            return
        self.counts[f"held: {outcome.value}"] += 1
        pauses = self.settings.retry_s
        pause_s = pauses[min(mailbox.attempts, len(pauses) - 1)]
        mailbox.attempts += 1
        mailbox.retry = self.timeline.after(pause_s, lambda: self._work(number))

    def _expire(self, message: Message) -> None:
        mailbox = self._mailboxes[message.recipient]
        on_air = mailbox.delivering and mailbox.items and mailbox.items[0] is message
        if message in mailbox.items and not on_air:
            mailbox.items.remove(message)
            self._finish(message, TpStatus.EXPIRED)

    def _finish(self, item: Message | StatusReport, status: TpStatus) -> None:
        """A message came to its end: tell the sender's side, by report where one was asked for."""
        if isinstance(item, StatusReport):
            self.counts["reports"] += 1
            return
        if item.expiry is not None:
            item.expiry.cancel()
        state = (
            "delivered"
            if status is TpStatus.DELIVERED
            else "expired"
            if status is TpStatus.EXPIRED
            else "failed"
        )
        self.counts[state] += 1
        self._tell(state, item)
        if item.on_state is not None:
            item.on_state(state)
        if item.wants_report:
            self._report(item, status)

    def _report(self, message: Message, status: TpStatus) -> None:
        """Send a status report, unless a fault loses, delays or doubles it."""
        report = relay.to_report(message, self.settings, status=status, discharged_ms=self.timeline.utc_ms)
        subscriber = self.subscribers.get(message.sender)
        fault = self.faults.strikes("report", getattr(subscriber, "name", ""), message.recipient)
        delays_s = [0.0]
        if fault is not None:
            match fault.do:
                case "lose":
                    delays_s = []
                case "delay":
                    delays_s = [fault.seconds]
                case "double":
                    delays_s = [0.0, fault.seconds]
                case "shuffle":  # each its own delay, so that later ones overtake
                    delays_s = [self.rng.uniform(0.0, fault.seconds)]
                case "fail":  # the message got lost behind the SC; code: its TP-Status
                    report = relay.to_report(
                        message,
                        self.settings,
                        status=fault.code or TpStatus.NOT_OBTAINABLE,
                        discharged_ms=self.timeline.utc_ms,
                    )
        for delay_s in delays_s:
            if delay_s > 0:
                self.timeline.after(delay_s, lambda: self._post(message.sender, report))
            else:
                self._post(message.sender, report)

    def _tell(self, what: str, message: Message) -> None:
        if self.on_event is not None:
            self.on_event(what, message)
