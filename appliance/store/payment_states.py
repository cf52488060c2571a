"""The states of an order at telebirr and of a refund, what is owed in each, and the functions that move."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = [
    "ORDER_TRANSITIONS",
    "REFUND_TRANSITIONS",
    "IllegalStep",
    "OrderState",
    "OrderStep",
    "RefundState",
    "RefundStep",
    "move_order",
    "move_refund",
]


class OrderState(enum.StrEnum):
    WANTED = "wanted"  # seats are held; nothing was sent, we owe telebirr the order
    ASKING = "asking"  # on disk before preOrder is sent: from here on telebirr may know the order
    DOUBT = "doubt"  # no clear answer came; we owe a query before anything else
    OPEN = "open"  # telebirr has it, we know how it is paid; the person owes the money
    LOST = (
        "lost"  # telebirr may have it, but its prepay_id never reached us; watched, another takes its place
    )
    PAID = "paid"  # the money came and was booked; whatever it was good for has its own row
    CLOSED = "closed"  # no money came while we looked; a callback may still say otherwise
    REFUSED = "refused"  # telebirr did not take it; the person pays another way
    UNCLEAR = "unclear"  # another amount, or nobody could ever ask: a person has to look at telebirr's page


class OrderStep(enum.StrEnum):
    ASK = "ask"  # the intent is written, preOrder goes out after the commit
    OPENED = "opened"  # answered with a prepay_id
    TURNED_DOWN = "turned_down"  # answered with a refusal
    NOT_SENT = "not_sent"  # no connection, so it certainly was not received
    UNSURE = "unsure"  # timeout, 5xx, an answer that cannot be read, or a crash on our side
    UNPAID = "unpaid"  # a query was answered: no money is on it
    MONEY = "money"  # a query or a verified callback says that it was paid as asked
    ODD = "odd"  # paid, but not what was asked for
    OVER = "over"  # its time is over and no money came
    NEVER_SEEN = "never_seen"  # its time is over and no query was ever answered


_S, _T = OrderState, OrderStep
ORDER_TRANSITIONS: Final[Mapping[tuple[OrderState, OrderStep], OrderState]] = {
    (_S.WANTED, _T.ASK): _S.ASKING,
    (_S.WANTED, _T.OVER): _S.CLOSED,  # the seats were paid another way or given back before we asked
    (_S.ASKING, _T.OPENED): _S.OPEN,
    (_S.ASKING, _T.TURNED_DOWN): _S.REFUSED,
    (_S.ASKING, _T.UNSURE): _S.DOUBT,
    (_S.ASKING, _T.NOT_SENT): _S.WANTED,
    # Whether or not telebirr knows the order: without its prepay_id nobody can be told how to pay it, and the
    # same number must not be asked for twice. So another order takes its place and this one is only watched.
    (_S.DOUBT, _T.UNPAID): _S.LOST,
    (_S.DOUBT, _T.NEVER_SEEN): _S.UNCLEAR,
    (_S.OPEN, _T.OVER): _S.CLOSED,
    (_S.OPEN, _T.NEVER_SEEN): _S.UNCLEAR,
    (_S.LOST, _T.OVER): _S.CLOSED,
    (_S.LOST, _T.NEVER_SEEN): _S.CLOSED,  # a query was answered once, and nobody could pay it
    # Money is money, whatever we thought of the order.
    **{(state, _T.MONEY): _S.PAID for state in OrderState if state is not _S.PAID},
    **{(state, _T.ODD): _S.UNCLEAR for state in OrderState if state is not _S.PAID},
}


class RefundState(enum.StrEnum):
    OWED = "owed"  # by cash: an agent owes it to who comes; by telebirr: we owe the request
    ASKING = "asking"  # on disk before the request is sent: telebirr may have it
    DOUBT = "doubt"  # no clear answer; queried, never asked for again
    UNCLEAR = "unclear"  # the queries said nothing either: a person has to look at telebirr's page
    PAID = "paid"  # the passenger has it
    UNCLAIMED = "unclaimed"  # nobody came for it in time; an agent may still hand it out


class RefundStep(enum.StrEnum):
    ASK = "ask"  # the intent is written, the request goes out after the commit
    DONE = "done"  # telebirr says so, or the operator
    TURNED_DOWN = "turned_down"  # telebirr will not: cash, and the passenger is told
    NOT_SENT = "not_sent"  # no connection, so it certainly was not received
    UNSURE = "unsure"  # timeout, 5xx, or a crash on our side
    GIVEN_UP = "given_up"  # the deadline of a doubt
    HANDED = "handed"  # an agent paid it out
    LAPSED = "lapsed"  # the deadline of cash


_R, _U = RefundState, RefundStep
REFUND_TRANSITIONS: Final[Mapping[tuple[RefundState, RefundStep], RefundState]] = {
    (_R.OWED, _U.ASK): _R.ASKING,
    (_R.OWED, _U.TURNED_DOWN): _R.OWED,  # telebirr was switched off: by cash from now on
    (_R.OWED, _U.HANDED): _R.PAID,
    (_R.OWED, _U.LAPSED): _R.UNCLAIMED,
    (_R.ASKING, _U.DONE): _R.PAID,
    (_R.ASKING, _U.TURNED_DOWN): _R.OWED,
    (_R.ASKING, _U.UNSURE): _R.DOUBT,
    (_R.ASKING, _U.NOT_SENT): _R.OWED,
    (_R.DOUBT, _U.DONE): _R.PAID,
    (_R.DOUBT, _U.TURNED_DOWN): _R.OWED,
    (_R.DOUBT, _U.GIVEN_UP): _R.UNCLEAR,
    (_R.UNCLEAR, _U.DONE): _R.PAID,
    (_R.UNCLEAR, _U.TURNED_DOWN): _R.OWED,
    (_R.UNCLAIMED, _U.HANDED): _R.PAID,
}


class IllegalStep(Exception):
    """A step that the state does not allow: a bug of ours."""


def move_order(state: str, step: OrderStep) -> OrderState:
    """The state after a step. Raises IllegalStep and changes nothing when there is none."""
    try:
        return ORDER_TRANSITIONS[OrderState(state), step]
    except KeyError:
        raise IllegalStep(f"order: {step} in {state}") from None


def move_refund(state: str, step: RefundStep) -> RefundState:
    """The state after a step. Raises IllegalStep and changes nothing when there is none."""
    try:
        return REFUND_TRANSITIONS[RefundState(state), step]
    except KeyError:
        raise IllegalStep(f"refund: {step} in {state}") from None
