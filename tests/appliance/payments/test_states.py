from __future__ import annotations

import itertools

import pytest

from appliance.payments.diagram import PAGE, redrawn
from appliance.store.payment_states import (
    ORDER_TRANSITIONS,
    REFUND_TRANSITIONS,
    IllegalStep,
    OrderState,
    OrderStep,
    RefundState,
    RefundStep,
    move_order,
    move_refund,
)


@pytest.mark.parametrize(("state", "step"), list(itertools.product(OrderState, OrderStep)))
def test_order_moves_as_the_table_says_and_no_other_way(state: OrderState, step: OrderStep) -> None:
    if (state, step) in ORDER_TRANSITIONS:
        assert move_order(state, step) is ORDER_TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalStep):
            move_order(state, step)


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RefundState, RefundStep)))
def test_refund_moves_as_the_table_says_and_no_other_way(state: RefundState, step: RefundStep) -> None:
    if (state, step) in REFUND_TRANSITIONS:
        assert move_refund(state, step) is REFUND_TRANSITIONS[state, step]
    else:
        with pytest.raises(IllegalStep):
            move_refund(state, step)


def test_order_that_is_paid_never_moves_again() -> None:
    assert not [step for step in OrderStep if (OrderState.PAID, step) in ORDER_TRANSITIONS]


def test_every_order_ends_and_every_refund_ends() -> None:
    """No state but the ends is without a way on: nothing is pending for ever."""
    orders = {state for state, _ in ORDER_TRANSITIONS}
    refunds = {state for state, _ in REFUND_TRANSITIONS}
    assert set(OrderState) - orders == {OrderState.PAID}
    assert set(RefundState) - refunds == {RefundState.PAID}


def test_docs_diagrams_are_drawn_from_the_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert redrawn(page) == page, "run: python -m appliance.payments.diagram"
