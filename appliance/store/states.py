"""Every state that something can wait in: who owes the next step, until when, and who looks if they forget.

The moves are where they are made (`message.OUTBOUND_MOVES`, `inbound.INBOUND_MOVES`, `webhooks`, `campaigns`,
`payments`); this table answers the other question, and a test walks it: a row in each open state, whose owner
died, is brought to an end by the sweeper named here. A state of the schema that is not named here fails it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["FINAL", "OPEN", "Owed", "as_markdown"]


class Owed(NamedTuple):
    """What is owed in a state.

    owner: who makes the next step. until: its deadline or lease, and the column that holds it. then: what the
    sweeper makes of it. sweeper: where that is. person: a person waits for nothing but a person.
    """

    owner: str
    until: str
    then: str
    sweeper: str
    person: bool = False


OPEN: Final[Mapping[str, Mapping[str, Owed]]] = {
    "inbound": {
        "accepted": Owed(
            "dispatcher", "a look every 5 s", "its turn is run", "dispatcher.backlog.restore_lost"
        ),
        "set_aside": Owed("a person", "none", "shown on the page", "inbound.release_set_aside", person=True),
    },
    "turn": {
        "ready": Owed("any free worker", "0.25 s, then one worker more", "given out", "Dispatcher._watch"),
        "in flight": Owed("its worker", "10 s a turn", "worker killed, run again alone", "Dispatcher._watch"),
        "failed": Owed("dispatcher", "2 strikes", "set aside with an apology", "Settler.strike"),
    },
    "inbound_part": {
        "open": Owed(
            "the network", "3 min after the last part", "handed over as partial", "parts.hand_over_overdue"
        ),
    },
    "outbound": {
        "queued": Owed(
            "its lane's pump, from next_attempt_ms on",
            "deadline_ms: its validity",
            "expired",
            "outbound.sweep",
        ),
        "sending": Owed(
            "the channel that has it",
            "deadline_ms: 15 min; at a start at once",
            "uncertain",
            "outbound.sweep",
        ),
        "uncertain": Owed(
            "a delivery report",
            "deadline_ms: otp 20 s, reply 2 min, others 30 min",
            "otp, reply: queued once more; others: unknown",
            "outbound.sweep",
        ),
        "sent": Owed("a delivery report", "deadline_ms: 72 h", "unknown", "outbound.sweep"),
    },
    "outbound_part": {
        "sending": Owed("the channel", "its message's", "as its message", "outbound.sweep"),
        "uncertain": Owed("a delivery report", "its message's", "kept as evidence", "outbound.sweep"),
        "sent": Owed("a delivery report", "its message's", "as its message", "outbound.sweep"),
    },
    "webhook_delivery": {
        "pending": Owed(
            "the endpoint's task, from next_attempt_ms on", "10 attempts, 7 days", "dead", "webhooks.settle"
        ),
        "waiting": Owed(
            "the delivery before it", "7 days", "pending after it; dead", "webhooks.give_up_stale"
        ),
    },
    "campaign": {
        "scheduled": Owed(
            "campaign service, from next_slice_ms on", "start_at_ms", "running", "campaigns.due_campaigns"
        ),
        "running": Owed(
            "campaign service, from next_slice_ms on", "its last contact", "done", "campaigns.due_campaigns"
        ),
        "paused": Owed("the client", "none", "told by webhook", "campaigns.change_campaign", person=True),
    },
    "kannel_report": {
        "open": Owed("its teller, from next_attempt_ms on", "its attempts", "given up", "web.kannel"),
    },
    "booking": {
        "held": Owed(
            "the passenger",
            "expires_at_ms",
            "no look counts it from then on; its seats are free",
            "booking.close_expired",
        ),
        "paid": Owed("the conductor", "the departure", "history", "none is needed", person=True),
    },
    "telebirr_order": dict.fromkeys(
        ("wanted", "asking", "doubt", "open", "lost"),
        Owed(
            "the payments service, from next_ms on", "watch_until_ms", "closed or paid", "payments.telebirr"
        ),
    ),
    "refund": dict.fromkeys(
        ("owed", "asking", "doubt", "unclear"),
        Owed("an agent or telebirr, from next_ms on", "deadline_ms", "unclaimed", "store.refunds"),
    ),
    "asking": {
        "asking": Owed("the language model", "deadline_ms", "failed", "store.asking"),
        "answered": Owed("the asker's next turn", "at once", "told", "store.asking"),
        "failed": Owed("the asker's next turn", "at once", "told", "store.asking"),
    },
}

# States that owe nobody anything, by table.
FINAL: Final[Mapping[str, frozenset[str]]] = {
    "inbound": frozenset({"handled", "guarded"}),
    "outbound": frozenset({"delivered", "failed", "expired", "cancelled", "unknown"}),
    "outbound_part": frozenset({"delivered", "failed"}),
    "webhook_delivery": frozenset({"done", "dead"}),
    "campaign": frozenset({"done", "cancelled"}),
    "booking": frozenset({"used", "released", "expired", "cancelled"}),
    "telebirr_order": frozenset({"paid", "closed", "refused", "unclear"}),
    "refund": frozenset({"paid", "unclaimed"}),
    "asking": frozenset({"told"}),
}


def as_markdown() -> str:
    """The table for docs/states.md."""
    lines = [
        "| what | state | who owes the next step | until | then | who looks |",
        "|---|---|---|---|---|---|",
    ]
    for what, states in OPEN.items():
        for state, owed in states.items():
            cells = (f"`{what}`", f"`{state}`", owed.owner, owed.until, owed.then, f"`{owed.sweeper}`")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
