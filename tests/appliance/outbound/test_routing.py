"""Channels that take whole messages, fail-over between routes, paces and quiet hours: with the store."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from appliance.channels.channel import Doubt, NotSent, Outcome, Refused, Sent
from appliance.message import Inbound, Lane, Outbound
from appliance.outbound.allowance import Limits, QuietHours
from appliance.outbound.policy import Action
from appliance.outbound.router import RouteRule
from appliance.outbound.routing import NoRoute
from appliance.outbound.service import OutboundService
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.store import Store
from tests.appliance.outbound.test_service import Box, ScriptedChannel

NOW = 1_800_000_000_000
EAT = timezone(timedelta(hours=3))


class Provider(ScriptedChannel):
    """A provider: whole messages, many at once, an id for each."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.routes = (name,)
        self.identity = ""

    async def send(self, claim: Any, sequence: int, gate: Any) -> Outcome:
        outcome = await super().send(claim, sequence, gate)
        return Sent(provider_ref=f"{self.name}-{claim.outbound_id}") if isinstance(outcome, Sent) else outcome

    def go(self, ready: bool, trouble: str = "") -> None:
        self.ready, self.trouble = ready, trouble
        _ = self._ready.set() if ready else self._ready.clear()


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    """A store that is closed also when the test fails: its thread would keep the run from ending."""
    store = await Store.open(folder)
    try:
        yield store
    finally:
        await store.close()


def rules(*names: str, **more: Any) -> list[RouteRule]:
    return [RouteRule(name, {"": price}, **more) for price, name in enumerate(names, 1)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as store:
        yield store


@pytest.fixture
async def box(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr("appliance.outbound.service.SWEEP_S", 0.02)
    monkeypatch.setattr("appliance.outbound.routing.PROVIDER_PATIENCE_S", 0.0)
    monkeypatch.setattr("appliance.outbound.routing.MODEM_PATIENCE_S", 0.0)
    monkeypatch.setattr("appliance.outbound.whole.NOT_SENT_PAUSE_S", 0.001)
    at = [NOW]
    service = OutboundService(store, lambda: at[0], seed=1, quiet=QuietHours())
    await service.start()
    yield Box(store, service, at)
    await service.stop(0.1)


async def row(box: Box, number: int) -> dict[str, Any]:
    def read(db: Any) -> dict[str, Any]:
        found = db.execute("SELECT * FROM outbound WHERE id = ?", (number,))
        names = [column[0] for column in found.description]
        return dict(zip(names, found.fetchone(), strict=True))

    return await box.store.reader.run(read)


async def trace(box: Box, number: int) -> list[tuple[str, str, str]]:
    return await box.store.reader.run(
        lambda db: db.execute(
            "SELECT state, actor, reason FROM trace WHERE kind = 'out' AND message = ? ORDER BY id", (number,)
        ).fetchall()
    )


async def test_provider_takes_the_message_whole_and_its_id_is_kept(box: Box) -> None:
    provider = Provider("at")
    provider.parts = 3
    box.service.add(provider, parallel=2)
    number = await box.put("long", Lane.NORMAL, route="at")
    await box.until_state(number, "sent")
    kept = await row(box, number)
    assert (kept["provider_ref"], kept["channel"], kept["segments"]) == (f"at-{number}", "at", 3)
    assert len(provider.given) == 1


async def test_parallel_pumps_send_side_by_side_and_claim_nothing_ahead(box: Box) -> None:
    provider = Provider("at")
    provider.air = asyncio.Semaphore(0)
    box.service.add(provider, parallel=3)
    for number in range(6):
        await box.put(f"m{number}", Lane.NORMAL, to=number, route="at")
    await box.until(lambda: len(provider.given) == 3)
    for _ in range(50):
        await asyncio.sleep(0)
    states = [states[-1] for states in box.states.values()]
    assert states.count("sending") == 3
    for _ in range(6):
        provider.air.release()
    await box.until(lambda: [states[-1] for states in box.states.values()] == ["sent"] * 6)


@pytest.mark.parametrize("action", [Action.OTHER_ROUTE, Action.ROUTE_DOWN])
async def test_refusal_of_a_route_goes_to_the_next_at_once(box: Box, action: Action) -> None:
    first, second = Provider("first"), Provider("second")
    first.script = [Refused(action, "first: status 405 (InsufficientBalance)")]
    box.service.add(first)
    box.service.add(second)
    box.service.set_routes(rules("first", "second"))
    number = await box.put("x", Lane.NORMAL)
    await box.until_state(number, "sent")
    assert (await row(box, number))["channel"] == "second"
    told = await trace(box, number)
    assert told[0] == (
        "routed",
        "router",
        "first: taken (for every number, 1 santim a segment); second: dearer, 2 santim a segment",
    )
    assert ("routed", "router") == told[4][:2]
    assert "first: refused it before" in told[4][2]


async def test_connection_that_was_never_made_goes_to_the_next_at_once(box: Box) -> None:
    first, second = Provider("first"), Provider("second")
    first.script = [NotSent("first: no connection")]
    box.service.add(first)
    box.service.add(second)
    box.service.set_routes(rules("first", "second"))
    number = await box.put("x", Lane.OTP)
    await box.until_state(number, "sent")
    kept = await row(box, number)
    assert (kept["channel"], kept["attempts"]) == ("second", 1)


async def test_unknown_outcome_is_never_failed_over(box: Box) -> None:
    first, second = Provider("first"), Provider("second")
    first.script = [Doubt("first: no answer in 30 s")]
    box.service.add(first)
    box.service.add(second)
    box.service.set_routes(rules("first", "second"))
    number = await box.put("x", Lane.NORMAL)
    after = await box.put("y", Lane.NORMAL, to=1)
    await box.until_state(after, "sent")
    await box.until_state(number, "uncertain")
    assert second.given == []
    box.at[0] += 31 * 60_000
    await box.until_state(number, "unknown")
    assert second.given == []


async def test_all_routes_refuse_and_it_comes_round_again_later(box: Box) -> None:
    first, second = Provider("first"), Provider("second")
    first.script = second.script = [Refused(Action.OTHER_ROUTE, "no"), Refused(Action.OTHER_ROUTE, "no")]
    box.service.add(first)
    box.service.add(second)
    box.service.set_routes(rules("first", "second"))
    number = await box.put("x", Lane.NORMAL)
    await box.until(lambda: not first.script)
    await box.until_state(number, "queued")
    box.at[0] += 3_600_000
    await box.until_state(number, "sent")


async def test_queue_of_a_route_that_went_ill_moves_to_another(box: Box) -> None:
    first, second = Provider("first"), Provider("second")
    first.go(False, "breaker open: HTTP 503")
    box.service.add(first)
    numbers = [await box.put(f"m{number}", Lane.NORMAL, to=number, route="first") for number in range(5)]
    box.service.add(second)
    box.service.set_routes(rules("first", "second"))
    for number in numbers:
        await box.until_state(number, "sent")
    assert len(second.given) == 5
    assert "first: breaker open: HTTP 503" in (await trace(box, numbers[0]))[0][2]


async def test_queues_of_many_clients_move_within_a_bound_and_all_of_them(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.outbound.routing.MOVED_AT_ONCE", 5)
    dead, alive = Provider("first"), Provider("second")
    dead.go(False, "breaker open: HTTP 503")
    box.service.add(dead)
    box.service.add(alive, parallel=4)
    numbers = [
        await box.put(f"m{number}", Lane.NORMAL, to=number, route="first", client_id=number % 7 + 1)
        for number in range(30)
    ]
    keys = [key for key, _ in await box.store.reader.run(ops.active_keys)]
    box.service.set_routes(rules("first", "second"))
    assert 1 <= len(await box.service.routing.move_stuck(keys)) <= 5
    for number in numbers:
        await box.until_state(number, "sent")
    assert len(alive.given) == 30


async def test_replies_move_from_dead_modems_only_where_a_route_allows(box: Box) -> None:
    provider = Provider("at")
    box.service.add(provider)
    box.service.set_routes([RouteRule(""), RouteRule("at", lanes=frozenset({"otp", "normal"}))])
    reply, notice = await box.put("r", Lane.REPLY), await box.put("n", Lane.NORMAL, to=1)
    await box.until_state(notice, "sent")
    assert box.states[reply][-1] == "queued"


async def test_message_nobody_may_carry_is_refused_with_the_reasons(box: Box) -> None:
    box.service.set_routes([RouteRule("at", {"+251": 1})])
    with pytest.raises(NoRoute, match="no prefix of it fits"):
        await box.service.send(Outbound(recipient="+14155550100", text="x", lane=Lane.NORMAL))


async def test_person_keeps_the_route_that_wrote_before(box: Box) -> None:
    first, second = Provider("first"), Provider("second")
    box.service.add(first)
    box.service.add(second)
    box.service.set_routes(rules("second", "first"))
    before = await box.put("x", Lane.NORMAL, route="first")
    await box.until_state(before, "sent")
    after = await box.put("y", Lane.NORMAL)
    await box.until_state(after, "sent")
    assert (await row(box, after))["channel"] == "first"
    moved = await box.put("z", Lane.NORMAL, route="second")
    await box.until_state(moved, "sent")
    again = await box.put("w", Lane.NORMAL)
    await box.until_state(again, "sent")
    assert (await row(box, again))["channel"] == "second"


async def test_opt_out_told_by_a_provider_stops_the_next_message(box: Box) -> None:
    provider = Provider("tw")
    provider.script = [Refused(Action.PERMANENT, "tw: error 21610", opted_out=True)]
    box.service.add(provider)
    first = await box.put("x", Lane.NORMAL, route="tw")
    await box.until_state(first, "failed")
    second = await box.put("y", Lane.NORMAL, route="tw")
    async with asyncio.timeout(10):
        while (kept := await row(box, second))["state"] != "failed":
            await asyncio.sleep(0)
    assert kept["reason"] == "the recipient opted out"
    assert len(provider.given) == 1


async def test_retry_after_is_kept(box: Box) -> None:
    provider = Provider("at")
    provider.script = [Refused(Action.RETRY_LATER, "at: HTTP 429", after_s=300.0)]
    box.service.add(provider)
    number = await box.put("x", Lane.NORMAL, route="at")
    await box.until(lambda: box.states[number] == ["queued", "sending", "queued"])
    assert (await row(box, number))["next_attempt_ms"] == NOW + 300_000


async def test_one_modem_that_is_refused_tries_again_itself(box: Box) -> None:
    """With nobody else on its route, avoiding the only modem would leave the message lying for ever."""
    modem = ScriptedChannel("modem:gsm0")
    modem.script = [Refused(Action.OTHER_ROUTE, "+CMS ERROR: 69")]
    box.service.add(modem)
    number = await box.put("x", Lane.NORMAL)
    await box.until(lambda: box.states[number] == ["queued", "sending", "queued"])
    box.at[0] += 120_000
    await box.until_state(number, "sent")


async def test_modem_that_is_refused_leaves_it_to_a_provider(box: Box) -> None:
    modem, provider = ScriptedChannel("modem:gsm0"), Provider("at")
    modem.script = [Refused(Action.OTHER_ROUTE, "+CMS ERROR: 69")]
    box.service.add(modem)
    box.service.add(provider)
    box.service.set_routes(rules("", "at"))
    number = await box.put("x", Lane.NORMAL)
    await box.until_state(number, "sent")
    assert (await row(box, number))["channel"] == "at"


async def test_long_message_half_sent_by_a_modem_stays_with_it(box: Box) -> None:
    modem, provider = ScriptedChannel("modem:gsm0", parts=2), Provider("at")
    modem.script = [Sent(tp_mr=1), Refused(Action.OTHER_ROUTE, "+CMS ERROR: 69")]
    box.service.add(modem)
    box.service.add(provider)
    box.service.set_routes(rules("", "at"))
    number = await box.put("x", Lane.NORMAL)
    await box.until(lambda: box.states[number] == ["queued", "sending", "queued"])
    box.at[0] += 120_000
    await box.until_state(number, "sent")
    assert provider.given == []
    assert [sequence for _, sequence, _ in modem.given] == [1, 2, 2]


async def test_quiet_hours_hold_bulk_back_and_let_the_rest_go(box: Box) -> None:
    night = datetime(2027, 1, 15, 22, 0, tzinfo=EAT)
    box.at[0] = round(night.timestamp() * 1000)
    modem = ScriptedChannel()
    box.service.add(modem)
    bulk = await box.put("sale", Lane.BULK, to=1)
    notice = await box.put("your bus", Lane.NORMAL, to=2)
    await box.until_state(notice, "sent")
    assert box.states[bulk] == ["queued"]
    morning = round(datetime(2027, 1, 16, 8, 0, tzinfo=EAT).timestamp() * 1000)
    assert box.service.held(Lane.BULK) == ("quiet hours", morning)
    assert box.service.held(Lane.NORMAL) is None
    box.at[0] += 10 * 3_600_000
    assert box.service.held(Lane.BULK) is None
    await box.until_state(bulk, "sent")


async def test_long_queue_is_counted_so_far_and_said_to_be_longer(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.outbound.service.COUNTED", 3)
    for number in range(4):
        await box.put(f"m{number}", Lane.NORMAL, to=number)
    lanes = {each["lane"]: each for each in (await box.service.snapshot())["lanes"]}
    assert (lanes["normal"]["queued"], lanes["normal"]["more"]) == (3, True)
    assert (lanes["bulk"]["queued"], lanes["bulk"]["more"]) == (0, False)


async def test_untrusted_clock_holds_bulk_back(store: Store) -> None:
    noon = round(datetime(2027, 1, 15, 12, 0, tzinfo=EAT).timestamp() * 1000)
    service = OutboundService(store, lambda: noon, quiet=QuietHours(), trusted=lambda: False)
    assert service._closed_lanes() == {"bulk"}
    assert service.held(Lane.BULK) == ("quiet hours, as the clock cannot be trusted yet", None)
    assert service.held(Lane.NORMAL) == ("no modem or route can send now", None)
    await service.stop(0)


async def test_used_up_day_stops_the_sim_until_tomorrow(box: Box) -> None:
    modem = ScriptedChannel()
    box.service.add(modem, limits=Limits(segments={"day": 3}))
    sent = [await box.put(f"m{number}", Lane.NORMAL, to=number) for number in range(3)]
    for number in sent:
        await box.until_state(number, "sent")
    held = await box.put("m3", Lane.NORMAL, to=3)
    for _ in range(50):
        await asyncio.sleep(0)
    assert box.states[held] == ["queued"]
    assert box.service.routing.snapshot()[0]["reason"] == "its day's 3 segments are used up"
    box.at[0] += 24 * 3_600_000
    await box.until_state(held, "sent")


@pytest.mark.parametrize("kind", [ScriptedChannel, Provider])
async def test_allowance_survives_a_restart(tmp_path: Path, kind: type[ScriptedChannel]) -> None:
    async with opened(tmp_path) as store:
        left = []
        for run in range(2):
            service = OutboundService(store, lambda: NOW, seed=1)
            await service.start()
            box = Box(store, service, [NOW])
            limited, free = kind("x"), Provider("y")
            service.add(limited, limits=Limits(segments={"day": 2}, recipients_per_day=2))
            service.add(free)
            for number in range(2 - run):
                message = await box.put(f"{run} {number}", Lane.NORMAL, to=number, route="x")
                if run == 0:
                    await box.until_state(message, "sent")
            for _ in range(5):  # time enough: what may go by the other route goes
                await box.until_state(await box.put("free", Lane.NORMAL, to=9, route="y"), "sent")
            left.append([text for text, _, _ in limited.given])
            await service.stop(0.1)
    assert left == [["0 0", "0 1"], []]


async def test_distinct_recipients_of_a_day_are_counted(box: Box) -> None:
    modem = ScriptedChannel()
    box.service.add(modem, limits=Limits(recipients_per_day=2))
    first = [await box.put("x", Lane.NORMAL, to=number) for number in (1, 2)]
    for number in first:
        await box.until_state(number, "sent")
    stranger = await box.put("y", Lane.NORMAL, to=3)
    known = await box.put("z", Lane.NORMAL, to=1)
    await box.until_state(known, "sent")
    assert box.states[stranger] == ["queued"]


async def test_used_up_sim_hands_its_queue_to_another_route(box: Box) -> None:
    modem, provider = ScriptedChannel(), Provider("at")
    box.service.add(modem, limits=Limits(segments={"hour": 1}))
    box.service.add(provider)
    numbers = [await box.put(f"m{number}", Lane.NORMAL, to=number) for number in range(3)]
    box.service.set_routes(rules("", "at"))
    for number in numbers:
        await box.until_state(number, "sent")
    assert (len(modem.given), len(provider.given)) == (1, 2)


async def test_what_was_not_sent_costs_no_allowance(box: Box) -> None:
    modem = ScriptedChannel()
    modem.script = [Refused(Action.PERMANENT, "+CMS ERROR: 1")]
    box.service.add(modem, limits=Limits(segments={"day": 1}))
    refused = await box.put("x", Lane.NORMAL)
    await box.until_state(refused, "failed")
    number = await box.put("y", Lane.NORMAL, to=1)
    await box.until_state(number, "sent")


@pytest.mark.parametrize("patience_s", [1.0, 0.0])
async def test_stop_leaves_nothing_sending_that_was_not_handed_over(
    tmp_path: Path, patience_s: float
) -> None:
    chance = random.Random(5)
    for round_number in range(12):
        folder = tmp_path / str(round_number)
        async with opened(folder) as store:
            service = OutboundService(store, lambda: NOW, seed=1)
            await service.start()
            provider = Provider("at")
            service.add(provider, parallel=4)
            for number in range(12):
                await service.send(
                    Outbound(
                        recipient=f"+2519110000{number:02d}", text=f"m{number}", lane=Lane.NORMAL, route="at"
                    )
                )
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            await service.stop(patience_s)
            await store.writer.run(lambda db: None)  # behind whatever was still on its way to the disk
            rows = await store.reader.run(
                lambda db: db.execute("SELECT text, state FROM outbound ORDER BY id").fetchall()
            )
            given = {text for text, _, _ in provider.given}
            assert {text for text, state in rows if state in ("sent", "sending")} == given
            assert patience_s == 0 or "sending" not in {state for _, state in rows}


async def test_crash_between_request_and_answer_leaves_a_doubt_and_no_second_request(store: Store) -> None:
    service = OutboundService(store, lambda: NOW, seed=1)
    await service.start()
    silent = Provider("at")
    silent.air = asyncio.Semaphore(0)
    service.add(silent, parallel=2)
    for number in range(4):
        to = f"+2519110000{number:02d}"
        await service.send(Outbound(recipient=to, text=f"m{number}", lane=Lane.NORMAL, route="at"))
    async with asyncio.timeout(10):
        while len(silent.given) < 2:
            await asyncio.sleep(0)
    await service.stop(0)  # as a kill would: what was asked got no answer
    again, provider = OutboundService(store, lambda: NOW, seed=1), Provider("at")
    await again.start()
    again.add(provider)
    async with asyncio.timeout(10):
        while len(provider.given) < 2:
            await asyncio.sleep(0)
    await again.stop(1.0)
    states = await store.reader.run(
        lambda db: db.execute("SELECT state FROM outbound ORDER BY id").fetchall()
    )
    assert [state for (state,) in states] == ["uncertain", "uncertain", "sent", "sent"]
    assert {text for text, _, _ in silent.given}.isdisjoint(text for text, _, _ in provider.given)


async def test_reply_leaves_by_the_number_that_was_texted(box: Box) -> None:
    for name in ("modem:gsm0", "modem:gsm1"):
        box.service.add(ScriptedChannel(name))

    def route(channel: str) -> str:
        inbound = Inbound(
            channel=channel, sender="+251911000001", recipient="", text="HI", received_at_ms=NOW
        )
        return box.service.routing.reply_route(inbound)

    assert [route(channel) for channel in ("modem:gsm1", "http", "modem:taken-away")] == [
        "modem:gsm1",
        "",
        "",
    ]


async def test_replies_of_a_dead_modem_go_by_another_even_without_a_table(box: Box) -> None:
    dead, alive = Provider("modem:gsm0"), ScriptedChannel("modem:gsm1")
    dead.identity, dead.routes = "imei", ("", "modem:gsm0")
    dead.go(False, "parked")
    box.service.add(dead)
    box.service.add(alive)
    number = await box.put("r", Lane.REPLY, route="modem:gsm0")
    await box.until_state(number, "sent")
    assert (await row(box, number))["channel"] == "modem:gsm1"


async def test_report_moves_forward_only(box: Box) -> None:
    provider = Provider("at")
    box.service.add(provider)
    number = await box.put("x", Lane.NORMAL, route="at")
    await box.until_state(number, "sent")

    async def report(state: str) -> None:
        said = provider_ops.ProviderReport(provider_ref=f"at-{number}", state=ops.OutboundState(state))
        await box.store.writer.run(provider_ops.provider_report, "at", said, NOW)

    for state, after in [
        ("sent", "sent"),
        ("failed", "failed"),
        ("sent", "failed"),
        ("delivered", "delivered"),
    ]:
        await report(state)
        assert (await row(box, number))["state"] == after
