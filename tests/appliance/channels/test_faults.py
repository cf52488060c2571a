"""Two real channels against two vendors that fail at random: nothing lost, nothing twice without a mark."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.http import HttpChannel
from appliance.channels.twilio import Twilio
from appliance.message import Lane, Outbound
from appliance.outbound.allowance import Limits
from appliance.outbound.breaker import Breaker
from appliance.outbound.router import RouteRule
from appliance.outbound.service import OutboundService
from appliance.store.store import Store
from tests.emulators.africas_talking import AfricasTalkingEmulator
from tests.emulators.twilio import TwilioEmulator
from tests.emulators.vendor import Fault

NOW = 1_800_000_000_000
MESSAGES = 80
FAULTS = [
    Fault("status", 503),
    Fault("status", 429, {"Retry-After": "1"}),
    Fault("reset"),
    Fault("reset_before"),
    Fault("garbage"),
    Fault("silence"),
    Fault("redirect"),
]
SID, TOKEN = "AC00000000000000000000000000000001", "token-of-a-test"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    yield store
    await store.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_vendors_that_fail_at_random_lose_and_double_nothing_unmarked(
    store: Store, session: aiohttp.ClientSession, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.outbound.service.SWEEP_S", 0.02)
    monkeypatch.setattr("appliance.outbound.routing.PROVIDER_PATIENCE_S", 0.0)
    monkeypatch.setattr("appliance.outbound.whole.NOT_SENT_PAUSE_S", 0.01)
    chance, at = random.Random(seed), [NOW]
    service = OutboundService(store, lambda: at[0], seed=seed)
    await service.start()
    async with AfricasTalkingEmulator("k") as first, TwilioEmulator(SID, TOKEN) as second:
        for vendor in (first, second):
            vendor.faults.extend(chance.choice(FAULTS) for _ in range(20))
        providers = {
            "at": AfricasTalking(username="u", api_key="k", url=first.url),
            "tw": Twilio(account_sid=SID, auth_token=TOKEN, sender="X", url=second.url),
        }
        for name, provider in providers.items():
            breaker = Breaker(first_rest_s=0.02, longest_rest_s=0.1)
            service.add(HttpChannel(name, provider, session, breaker=breaker, timeout_s=0.3), parallel=4)
        service.set_routes([RouteRule("at", {"": 1}), RouteRule("tw", {"": 2})])
        for number in range(MESSAGES):
            lane = chance.choice([Lane.NORMAL, Lane.BULK])
            to = f"+2519{number:08d}"
            await service.send(Outbound(recipient=to, text=f"m{number}", lane=lane, want_report=False))
        async with asyncio.timeout(60):
            while await _open(store):
                at[0] += 60_000
                await asyncio.sleep(0.02)
        rows = await _rows(store)
        taken = Counter(each["message"] for each in first.accepted)
        taken.update(each["Body"] for each in second.accepted)
    await service.stop(1.0)
    assert len(rows) == MESSAGES
    for text, state, doubted in rows:
        # `unknown` is the end of a doubt in these lanes: it may or may not have gone out, and says so.
        assert state in ("sent", "unknown")
        assert taken[text] <= 1
        assert state != "sent" or taken[text] == 1
        assert (state == "unknown") == (doubted > 0)
    assert sum(state == "unknown" for _, state, _ in rows) > 0


async def test_rate_of_a_route_stays_under_the_vendors_limit(
    store: Store, session: aiohttp.ClientSession
) -> None:
    service = OutboundService(store, lambda: NOW, seed=1)
    await service.start()
    async with AfricasTalkingEmulator("k") as vendor:
        vendor.limit = (40, 1.0)
        provider = AfricasTalking(username="u", api_key="k", url=vendor.url)
        # A burst of one second's worth and then the rate: 20 and 20 in the worst second.
        service.add(HttpChannel("at", provider, session), parallel=8, limits=Limits(rate=20.0))
        for number in range(30):
            to = f"+2519{number:08d}"
            await service.send(Outbound(recipient=to, text=f"m{number}", lane=Lane.NORMAL, route="at"))
        async with asyncio.timeout(20):
            while len(vendor.accepted) < 30:
                await asyncio.sleep(0.01)
        assert vendor.limited == 0
    await service.stop(1.0)


async def test_vendors_limit_that_is_met_delays_and_loses_nothing(
    store: Store, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.outbound.service.SWEEP_S", 0.02)
    at = [NOW]
    service = OutboundService(store, lambda: at[0], seed=1)
    await service.start()
    async with AfricasTalkingEmulator("k") as vendor:
        vendor.limit = (12, 1.0)
        provider = AfricasTalking(username="u", api_key="k", url=vendor.url)
        channel = HttpChannel("at", provider, session)
        service.add(channel, parallel=4)
        for number in range(20):
            to = f"+2519{number:08d}"
            await service.send(Outbound(recipient=to, text=f"m{number}", lane=Lane.NORMAL, route="at"))
        async with asyncio.timeout(20):
            while len(vendor.accepted) < 20:
                at[0] += 1_000
                await asyncio.sleep(0.01)
        assert 1 <= vendor.limited <= 8  # it stops asking when it is told to: at most what was under way
        assert Counter(each["message"] for each in vendor.accepted).most_common(1)[0][1] == 1
    await service.stop(1.0)


async def _open(store: Store) -> int:
    sql = "SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending', 'uncertain')"
    return int((await store.reader.run(lambda db: db.execute(sql).fetchone()))[0])


async def _rows(store: Store) -> list[Any]:
    return await store.reader.run(
        lambda db: db.execute("SELECT text, state, doubted FROM outbound").fetchall()
    )
