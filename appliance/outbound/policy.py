"""What to do with a message that was refused: when it may be tried again, and when not any more."""

from __future__ import annotations

import enum
import random
from typing import Final

__all__ = ["Action", "next_attempt_ms"]


class Action(enum.Enum):
    """What a refusal asks for (the classes of MODEMS' +CMS ERROR table and of the HTTP providers)."""

    RETRY_NOW = "retry now"  # a passing state of the modem: seconds
    RETRY_LATER = "retry later"  # the network or the handset: minutes, growing
    OTHER_ROUTE = "other route"  # this SIM or provider will not carry it; another may
    PERMANENT = "permanent"  # nobody will: the number, the content
    ROUTE_DOWN = "route down"  # the route is ill, the message is not: it waits or goes elsewhere
    OUR_BUG = "our bug"  # we built something the standard forbids; repeating cannot help


_FIRST_MS: Final = {
    Action.RETRY_NOW: 2_000,
    Action.RETRY_LATER: 30_000,
    Action.OTHER_ROUTE: 15_000,
    Action.ROUTE_DOWN: 5_000,
}
_LONGEST_MS: Final = 30 * 60_000
_ATTEMPTS: Final = {
    Action.RETRY_NOW: 12,
    Action.RETRY_LATER: 12,
    Action.OTHER_ROUTE: 6,
    Action.ROUTE_DOWN: 1_000,  # its validity ends it
}


def next_attempt_ms(
    action: Action,
    attempt: int,
    now_ms: int,
    chance: random.Random,
    *,
    retries: int | None = None,
    after_s: float | None = None,
) -> int | None:
    """When to try again after attempt number `attempt` (from 1), or None to give the message up.

    retries: how many repetitions the refusal's own code makes sense for, where it says. after_s: how long
    the other side asked to be left alone.

    Doubles from the class's first pause up to half an hour, with a fifth of jitter so that what failed
    together does not come back together.
    """
    if action in (Action.PERMANENT, Action.OUR_BUG) or attempt >= _ATTEMPTS[action]:
        return None
    if retries is not None and attempt > retries:
        return None
    pause = min(_LONGEST_MS, _FIRST_MS[action] << min(attempt - 1, 12))
    asked = round(min(after_s or 0.0, 3_600.0) * 1000)
    return now_ms + max(asked, round(pause * chance.uniform(0.8, 1.2)))
