"""Many bookings, every fault, kills and a clock that runs: in the end every santim is where it belongs."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from appliance.payments.telebirr.emulator import FAULTS, Fault
from appliance.store import ledger
from appliance.store.effects import EffectRefused

CODES = [f"AB3D{letter}{digit}" for letter in "FGHJ" for digit in "34567"]
AGENT = "+251911000099"
DAY_S = 86_400.0


async def one_thing(box: Any, chance: random.Random, held: list[str]) -> None:
    """Something that happens to a box: a passenger, an agent, telebirr, the network, the power."""
    what = chance.random()
    if what < 0.25 and len(held) < len(CODES):
        code = CODES[len(held)]
        try:
            await box.hold(code, chance.randint(1, 2), f"+2519{len(held):08}")
        except EffectRefused:
            return  # the bus is full
        held.append(code)
    elif what < 0.5 and box.telebirr.orders:
        number = chance.choice(list(box.telebirr.orders))
        order = box.telebirr.orders[number]
        if not order.paid_santim:
            await box.telebirr.pay(number, hidden=chance.choice((0, 0, 2)))
    elif what < 0.6:
        kinds = [kind for kind in FAULTS if not kind.startswith("silence")]
        call = chance.choice(("token", "preOrder", "queryOrder", "refund"))
        box.telebirr.faults.append(Fault(call, chance.choice(kinds)))
    elif what < 0.7 and held:
        code = chance.choice(held)
        query = "SELECT price_santim, numbers FROM booking WHERE code = ?"
        price, numbers = await box.read(lambda db: db.execute(query, (code,)).fetchone())
        seats = [int(number) for number in numbers.split(",")]
        with contextlib.suppress(EffectRefused):  # paid already, or its seats are gone
            await box.effect(
                "booking.pay", AGENT, code=code, method="cash", amount_santim=price, numbers=seats
            )
    elif what < 0.8 and held:
        code = chance.choice(held)
        query = "SELECT holder, price_santim FROM booking WHERE code = ?"
        holder, price = await box.read(lambda db: db.execute(query, (code,)).fetchone())
        try:
            await box.effect("booking.cancel", holder, code=code, refund_santim=price * 80 // 100)
        except EffectRefused:
            await box.effect("booking.release", holder, code=code, reason="cancel")
    elif what < 0.9:
        await box.way.run_due()  # a power cut in the middle of whatever that began
        await box.restart()
    else:
        await box.step(chance.choice((1, 30, 600, 1800)))
    await box.step(chance.choice((0, 1, 5, 20)))


@pytest.mark.parametrize("seed", range(8))
async def test_storm_leaves_the_books_right_and_nobody_paid_twice(box: Any, seed: int) -> None:
    chance = random.Random(seed)
    held: list[str] = []
    for _ in range(60):
        await one_thing(box, chance, held)
        assert await box.read(ledger.check) == []
    box.telebirr.faults.clear()
    for _ in range(30):
        await box.step(3600)
    await box.step(2 * DAY_S)
    await box.books_are_right()

    # What telebirr holds is what our book of the wallet says, but for refunds that a person has to decide.
    taken = sum(order.paid_santim for order in box.telebirr.orders.values())
    back = sum(sum(order.refunds.values()) for order in box.telebirr.orders.values())
    unclear = "SELECT coalesce(sum(amount_santim), 0) FROM refund WHERE state = 'unclear'"
    assert taken - back <= await box.balance("wallet:telebirr") <= taken - back + await box.one(unclear)
    open_orders = "SELECT count(*) FROM telebirr_order WHERE state NOT IN ('paid', 'closed', 'refused')"
    assert await box.one(open_orders) == 0
    pending = "SELECT count(*) FROM refund WHERE state IN ('asking', 'doubt')"
    assert await box.one(pending) == 0
    owed = "SELECT count(*) FROM refund WHERE state = 'owed' AND next_ms IS NULL"
    assert await box.one(owed) == 0
    for order in box.telebirr.orders.values():
        assert sum(order.refunds.values()) <= order.paid_santim
