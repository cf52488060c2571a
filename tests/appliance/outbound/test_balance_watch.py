"""A SIM's credit: asked for, remembered, and what follows from it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.outbound.balance import BalanceRule, load_balances
from appliance.outbound.balance_watch import BalanceWatch
from appliance.store.store import Store
from firmware_bridge.errors import UssdError

NOW = 1_795_000_000_000  # 2026-11-18
RULE = BalanceRule("*804#", low=2_000, floor=500)


class ToldSim:
    """Answers a code with the next of `answers`; keeps what was dialled."""

    def __init__(self, *answers: str) -> None:
        self.name = "modem:gsm0"
        self.iccid: str | None = "8925101"
        self.balance: BalanceWatch | None = None
        self.answers = list(answers)
        self.dialled: list[str] = []

    async def wait_modem(self) -> None:
        return

    async def dial(self, code: str) -> str:
        self.dialled.append(code)
        if not self.answers:
            raise UssdError("no answer")
        return self.answers.pop(0)

    def look_again(self) -> None:
        return


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path)
    yield opened
    await opened.close()


def watch_of(sim: ToldSim, store: Store, rule: BalanceRule = RULE) -> BalanceWatch:
    return BalanceWatch(sim, rule, load_balances(), store, lambda: NOW, timezone_minutes=180)


async def running(watch: BalanceWatch, until: Callable[[], bool]) -> None:
    """Let it run until so much has happened."""
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        while not until():
            await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_balance_under_the_floor_pauses_until_an_answer_is_above_it(store: Store) -> None:
    watch = watch_of(ToldSim("Your balance is 3.20 Birr", "Your balance is 50 Birr"), store)
    assert watch.hold() == ""
    assert await watch.ask() == ""
    assert watch.hold() == "its balance, 3.20 birr, is under the floor of 5.00 birr"
    assert await watch.ask() == ""
    assert watch.hold() == ""
    assert watch.alarms() == []


async def test_balance_under_the_low_mark_is_an_alarm_only(store: Store) -> None:
    watch = watch_of(ToldSim("Your balance is 12 Birr"), store)
    await watch.ask()
    assert watch.hold() == ""
    assert watch.alarms() == ["its balance, 12.00 birr, is under 20.00 birr"]
    assert watch.snapshot()["words"] == "12.00 birr"


@pytest.mark.parametrize(
    ("end", "want"),
    [("2026-11-17", ["its bundle has ended on 2026-11-17"]), ("2026-12-01", [])],
)
async def test_end_of_the_bundle_is_an_alarm(store: Store, end: str, want: list[str]) -> None:
    watch = watch_of(ToldSim(f"Balance 90 ETB. 950 SMS, expires on {end}"), store)
    await watch.ask()
    assert watch.alarms() == want
    assert watch.snapshot()["words"] == f"90.00 birr, 950 SMS, bundle until {end}"


async def test_answer_that_nobody_knows_is_shown_and_pauses_nothing(store: Store) -> None:
    watch = watch_of(ToldSim("1. Buy 2. Gift"), store)
    assert "no pattern" in await watch.ask()
    assert watch.hold() == ""
    assert "1. Buy 2. Gift" in watch.alarms()[0]


async def test_network_that_does_not_answer_keeps_what_was_known(store: Store) -> None:
    watch = watch_of(ToldSim("Your balance is 3.20 Birr"), store)
    await watch.ask()
    assert "no answer" in await watch.ask()
    assert watch.hold() != ""


async def test_run_asks_at_once_and_after_a_restart_only_remembers(store: Store) -> None:
    first = watch_of(ToldSim("Your balance is 3.20 Birr"), store)
    await running(first, lambda: first.hold() != "")
    sim = ToldSim("Your balance is 50 Birr")
    second = watch_of(sim, store)
    await running(second, lambda: second.hold() != "")
    assert sim.dialled == []


async def test_another_sim_in_the_modem_inherits_nothing(store: Store) -> None:
    sim = ToldSim("Your balance is 3.20 Birr", "Your balance is 50 Birr")
    watch = watch_of(sim, store)
    await watch.ask()
    sim.iccid = "8925102"
    assert watch.hold() == ""
    await running(watch, lambda: watch.snapshot()["words"] == "50.00 birr")


async def test_text_of_the_operator_makes_it_ask_and_is_not_believed(store: Store) -> None:
    sim = ToldSim("Your balance is 50 Birr")
    watch = watch_of(sim, store)
    await watch.heard("994", "Your balance is 0 Birr")
    assert watch.hold() == ""
    await running(watch, lambda: watch.snapshot()["words"] == "50.00 birr")
    assert sim.dialled == ["*804#"]


async def test_text_of_the_operator_is_believed_where_no_code_can_be_asked(store: Store) -> None:
    watch = watch_of(ToldSim(), store, BalanceRule("", low=2_000, floor=500))
    await watch.heard("+251911234567", "Your balance is 0 Birr")
    assert watch.hold() == ""
    await watch.heard("994", "Your balance is 0 Birr")
    assert watch.hold() != ""
