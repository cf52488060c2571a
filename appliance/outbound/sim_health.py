"""A SIM that the operator has stopped: noticed by what becomes of its messages, and tried by single ones.

Pure: time is an argument, `now`, in monotonic seconds. Two things tell such a SIM: the network refuses one
message after the other with codes that speak of the subscriber, or it takes them all and none arrives any
more. One bad number must not look like either, so different recipients are counted.
"""

from __future__ import annotations

import math
from typing import Any, Final

from appliance.outbound.breaker import Breaker, BreakerState
from appliance.store.sim_health import Kept

__all__ = ["SimHealth", "same_person"]

# +CMS causes that an operator gives for a SIM that is barred or has no credit: MODEMS.md section 7.
STOPPED_CODES: Final = frozenset({8, 21, 28, 29, 38, 50, 69})
MAY_BE_THE_TEXT: Final = frozenset({21, 38})  # operators give these for a text they take for spam, too
REFUSED_PEOPLE: Final = 3  # different recipients, one after the other
REFUSED_IN_ROW: Final = 5  # where it may be the text; else each of REFUSED_PEOPLE once is enough
UNDELIVERED_IN_ROW: Final = 10
UNDELIVERED_PEOPLE: Final = 5
FIRST_REST_S: Final = 300.0
LONGEST_REST_S: Final = 4 * 3600.0
REPORT_WAIT_S: Final = 900.0  # for the report of the one message; then another one is tried
_MATCH_DIGITS: Final = 8


def same_person(number: str) -> str:
    """A number as far as a report in national form and ours in international form agree."""
    return number.lstrip("+")[-_MATCH_DIGITS:]


class SimHealth:
    """One SIM's. `acquire` before each part, then one of `sent`, `refused`, `unknown`; and `reported`.

    `kept` is what a restart must not forget, `take_up` begins with it.
    """

    def __init__(self, *, first_rest_s: float = FIRST_REST_S, longest_rest_s: float = LONGEST_REST_S) -> None:
        self.breaker = Breaker(first_rest_s=first_rest_s, longest_rest_s=longest_rest_s)
        self._refused: list[str] = []  # whom, since the last that was taken
        self._undelivered: list[str] = []  # whom, since the last that arrived
        self._has_delivered = False
        self._silent = False  # set aside for its reports: being taken is no proof then
        self._probe: int | None = None  # the message that is out to try it ...
        self._probe_to = ""
        self._probe_until: float | None = None  # ... and how long its report is waited for

    def kept(self) -> Kept:
        """What to begin the next life with."""
        aside = self.breaker.state is not BreakerState.CLOSED
        return Kept(
            reason=self._cause if aside else "",
            silent=aside and self._silent,
            trips=self.breaker.trips if aside else 0,
            has_delivered=self._has_delivered,
        )

    def take_up(self, kept: Kept, now: float) -> None:
        """Begin as it was left. One set aside is tried after the first rest: the box may have been off for
        a day, or for a second."""
        self._has_delivered = kept.has_delivered
        if kept.reason:
            self._silent = kept.silent
            self.breaker.take_up(now, kept.reason, kept.trips)

    def to_do(self, now: float) -> str:
        """What happens next and what a person can do, "" if nothing is wrong."""
        if not self.trouble(now):
            return ""
        if self.breaker.state is BreakerState.OPEN:
            next_step = f"one message tries it in {math.ceil(self.wait_s(now) / 60)} min"
        else:
            next_step = "one message tries it now"
        if self._silent:
            return f"{next_step}; ask the operator whether it swallows this SIM's messages, or put another in"
        return f"{next_step}; top it up, or ask the operator whether it is barred, or put another in"

    def trouble(self, now: float) -> str:
        """Why it may send nothing, "" if it may."""
        self._give_up_waiting(now)
        if self.breaker.allows(now):
            return ""
        if self.breaker.state is BreakerState.HALF_OPEN:
            return f"set aside, one message tries it: {self._cause}"
        return f"set aside: {self._cause}"

    def wait_s(self, now: float) -> float:
        """How long until `trouble` may be over by time alone."""
        self._give_up_waiting(now)
        if self.breaker.state is BreakerState.OPEN:
            return max(0.0, (self.breaker.retry_at or now) - now)
        if self.breaker.state is BreakerState.HALF_OPEN and self._probe_until is not None:
            return max(0.0, self._probe_until - now)
        return REPORT_WAIT_S

    def acquire(self, message: int, recipient: str, now: float) -> bool:
        """Ask to send a part; all parts of the message that tries it pass."""
        self._give_up_waiting(now)
        if self.breaker.state is BreakerState.HALF_OPEN and message == self._probe:
            return True
        if not self.breaker.acquire(now):
            return False
        if self.breaker.state is BreakerState.HALF_OPEN:
            self._probe, self._probe_to, self._probe_until = message, same_person(recipient), None
        return True

    def sent(self, now: float) -> None:
        """The network took the part."""
        self._refused.clear()
        if self.breaker.state is not BreakerState.HALF_OPEN:
            return
        if self._silent:
            self._probe_until = now + REPORT_WAIT_S
        else:
            self._proved(now)

    def refused(self, recipient: str, code: int | None, reason: str, now: float) -> None:
        """The network refused the part. code: of +CMS ERROR, None where it gave none."""
        if code not in STOPPED_CODES:
            # It speaks of this one message: that the SIM is heard at all ends a row, but delivers nothing.
            self._refused.clear()
            if self.breaker.state is BreakerState.HALF_OPEN and not self._silent:
                self._proved(now)
            else:
                self.unknown(now)
            return
        self._refused.append(same_person(recipient))
        enough = REFUSED_IN_ROW if code in MAY_BE_THE_TEXT else REFUSED_PEOPLE
        many = len(self._refused) >= enough and len(set(self._refused)) >= REFUSED_PEOPLE
        if self.breaker.state is BreakerState.HALF_OPEN:
            self._set_aside(now, reason)
        elif many and self.breaker.state is BreakerState.CLOSED:
            self._silent = False
            self._set_aside(now, f"{len(self._refused)} messages in a row refused, the last: {reason}")

    def unknown(self, now: float) -> None:
        """The part was not sent, or nobody knows: another message may try."""
        if self.breaker.state is BreakerState.HALF_OPEN:
            self.breaker.abandoned(now)

    def reported(self, recipient: str, *, delivered: bool, now: float) -> None:
        """A final delivery report. One of an older message to somebody else proves nothing once set aside."""
        person = same_person(recipient)
        state = self.breaker.state
        if state is BreakerState.HALF_OPEN and person == self._probe_to and self._silent:
            if delivered:
                self._proved(now)
            else:
                self._set_aside(now, "the message that tried it was not delivered")
        elif state is BreakerState.CLOSED:
            if delivered:
                self._has_delivered = True
                self._undelivered.clear()
                return
            self._undelivered = [*self._undelivered, person][-UNDELIVERED_IN_ROW:]
            many = len(self._undelivered) >= UNDELIVERED_IN_ROW
            if self._has_delivered and many and len(set(self._undelivered)) >= UNDELIVERED_PEOPLE:
                self._silent = True
                self._set_aside(now, f"the last {UNDELIVERED_IN_ROW} messages were taken but not delivered")

    def snapshot(self, now: float) -> dict[str, Any]:
        """For the page."""
        return self.breaker.snapshot(now)

    @property
    def _cause(self) -> str:
        """The newest failure among the moves: what the present state says is that a message is tried."""
        opened = (m.reason for m in reversed(self.breaker.history) if m.after is BreakerState.OPEN)
        return next((r for r in opened if not r.startswith("the message that was to try")), "")

    def _set_aside(self, now: float, reason: str) -> None:
        self._refused.clear()
        self._undelivered.clear()
        self._probe_until = None
        self.breaker.failed(now, reason, at_once=True)

    def _proved(self, now: float) -> None:
        self._probe_until = None
        self._undelivered.clear()
        self.breaker.succeeded(now)

    def _give_up_waiting(self, now: float) -> None:
        if self._probe_until is not None and now >= self._probe_until:
            self._probe_until = None
            self.unknown(now)
