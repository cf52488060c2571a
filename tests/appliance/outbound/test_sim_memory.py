"""How a SIM fares is known after a restart, and belongs to the SIM, not to the modem it is in."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from appliance.outbound.sim_health import FIRST_REST_S, SimHealth
from appliance.outbound.sim_memory import SimMemory
from appliance.store.store import Store


@contextlib.asynccontextmanager
async def one_life(folder: Path) -> AsyncIterator[SimMemory]:
    store = await Store.open(folder)
    memory = SimMemory(store)
    try:
        await memory.load()
        yield memory
    finally:
        await store.close()


def bar(health: SimHealth) -> None:
    for index in range(5):
        health.refused(f"+25191100000{index}", 8, "+CMS ERROR: 8", 0.0)


async def test_sim_set_aside_is_so_in_the_next_life_and_tried_after_the_first_rest(tmp_path: Path) -> None:
    async with one_life(tmp_path) as memory:
        bar(memory.of("8925", 0.0))
        memory.note("8925")
    async with one_life(tmp_path) as memory:
        health = memory.of("8925", 1_000.0)
        assert "messages in a row refused" in health.trouble(1_000.0)
        assert "top it up" in health.to_do(1_000.0)
        assert not health.acquire(1, "+251911000001", 1_000.0)
        assert health.acquire(1, "+251911000001", 1_000.0 + FIRST_REST_S)
        health.sent(1_000.0 + FIRST_REST_S)
        memory.note("8925")
    async with one_life(tmp_path) as memory:
        assert memory.of("8925", 2_000.0).trouble(2_000.0) == ""


async def test_sim_that_fails_on_has_its_rest_doubled_over_a_restart(tmp_path: Path) -> None:
    async with one_life(tmp_path) as memory:
        bar(memory.of("8925", 0.0))
        memory.note("8925")
    async with one_life(tmp_path) as memory:
        health, now = memory.of("8925", 0.0), FIRST_REST_S
        assert health.acquire(1, "+251911000009", now)
        health.refused("+251911000009", 8, "+CMS ERROR: 8", now)
        assert health.wait_s(now) == 2 * FIRST_REST_S


async def test_sim_that_had_delivered_needs_no_new_proof_to_be_seen_falling_silent(tmp_path: Path) -> None:
    async with one_life(tmp_path) as memory:
        memory.of("8925", 0.0).reported("+251911000001", delivered=True, now=0.0)
        memory.note("8925")
    async with one_life(tmp_path) as memory:
        health = memory.of("8925", 0.0)
        for index in range(10):
            health.reported(f"+25191100000{index}", delivered=False, now=0.0)
        assert "taken but not delivered" in health.trouble(0.0)
        assert "swallows" in health.to_do(0.0)


def test_another_sim_in_the_same_modem_starts_afresh() -> None:
    memory = SimMemory()
    bar(memory.of("one", 0.0))
    assert memory.of("two", 0.0).trouble(0.0) == ""
    assert memory.of("one", 0.0).trouble(0.0) != ""
