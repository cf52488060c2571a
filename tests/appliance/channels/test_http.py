"""What is known of a message after a request went well, badly or not at all."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.channel import Doubt, NotSent, Refused, Sent
from appliance.channels.forms import Form
from appliance.channels.http import HttpChannel
from appliance.channels.template import Template
from appliance.channels.template_description import Description
from appliance.outbound.breaker import Breaker, BreakerState
from appliance.outbound.policy import Action
from tests.emulators.africas_talking import AfricasTalkingEmulator
from tests.emulators.vendor import Fault

KEY = "key-of-a-test"


@pytest.fixture
async def vendor() -> AsyncIterator[AfricasTalkingEmulator]:
    async with AfricasTalkingEmulator(KEY) as running:
        yield running


def channel_to(url: str, session: aiohttp.ClientSession, **more: Any) -> HttpChannel:
    provider = AfricasTalking(username="sandbox", api_key=KEY, url=url)
    return HttpChannel("at", provider, session, **more)


async def test_send_accepted_is_sent_with_the_vendors_id(vendor, session, send, make_claim) -> None:
    outcome = await send(channel_to(vendor.url, session), make_claim())
    assert outcome == Sent(provider_ref=vendor.accepted[0]["id"])


async def test_send_of_data_is_refused_for_another_route(vendor, session, send, make_claim) -> None:
    claim = msgspec.structs.replace(make_claim(), form=Form(coding="8bit", data=b"\x00").dumps())
    outcome = await send(channel_to(vendor.url, session), claim)
    assert isinstance(outcome, Refused) and outcome.action is Action.OTHER_ROUTE
    assert vendor.accepted == []


async def test_send_connection_refused_is_certainly_not_sent(session, send, make_claim) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = await send(channel_to(f"http://127.0.0.1:{port}/", session), make_claim())
    assert isinstance(outcome, NotSent)


async def test_send_unknown_host_is_certainly_not_sent(session, send, make_claim) -> None:
    outcome = await send(channel_to("http://no-such-host.invalid/", session), make_claim())
    assert isinstance(outcome, NotSent)


async def test_send_no_answer_in_time_is_a_doubt(vendor, session, send, make_claim) -> None:
    vendor.faults.append(Fault("silence"))
    outcome = await send(channel_to(vendor.url, session, timeout_s=0.2), make_claim())
    assert outcome == Doubt("at: no answer in 0.2 s")
    assert len(vendor.accepted) == 1


@pytest.mark.parametrize("kind", ["reset", "garbage", "huge", "reset_before"])
async def test_send_answer_lost_after_the_request_is_a_doubt(
    vendor, session, send, make_claim, kind: str
) -> None:
    vendor.faults.append(Fault(kind))
    assert isinstance(await send(channel_to(vendor.url, session), make_claim()), Doubt)
    assert len(vendor.requests) == 1


async def test_send_get_that_breaks_is_not_repeated(vendor, session, send, make_claim) -> None:
    """aiohttp repeats a GET by itself when the connection breaks, which would send the text twice."""
    described = Description(url=vendor.base + "/send?to={{to}}&text={{text}}", method="GET")
    channel = HttpChannel("get", Template(described, variables={}, sender=""), session)
    vendor.faults.extend([Fault("reset_before"), Fault("status", 200)])
    assert isinstance(await send(channel, make_claim()), Doubt)
    assert len(vendor.requests) == 1


async def test_send_redirect_is_not_followed_and_rests_the_route(vendor, session, send, make_claim) -> None:
    vendor.faults.append(Fault("redirect"))
    outcome = await send(channel_to(vendor.url, session), make_claim())
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.ROUTE_DOWN
    assert [request.path for request in vendor.requests] == [vendor.path]


async def test_send_429_waits_as_long_as_the_vendor_says(vendor, session, send, make_claim) -> None:
    vendor.faults.append(Fault("status", 429, {"Retry-After": "7"}))
    now = [100.0]
    channel = channel_to(vendor.url, session, clock=lambda: now[0])
    assert await send(channel, make_claim()) == Refused(Action.RETRY_LATER, "at: HTTP 429", after_s=7.0)
    assert not channel.ready
    now[0] += 7.0
    assert channel.ready
    assert isinstance(await send(channel, make_claim()), Sent)


async def test_send_5xx_is_retried_and_opens_the_breaker_in_the_end(
    vendor, session, send, make_claim
) -> None:
    vendor.faults.extend([Fault("status", 503)] * 3)
    now = [0.0]
    channel = channel_to(vendor.url, session, clock=lambda: now[0], breaker=Breaker(threshold=3))
    for _ in range(3):
        outcome = await send(channel, make_claim())
        assert isinstance(outcome, Refused)
        assert outcome.action is Action.RETRY_LATER
    assert channel.breaker.state is BreakerState.OPEN
    assert isinstance(await send(channel, make_claim()), NotSent)
    assert len(vendor.requests) == 3


async def test_wait_ready_ends_when_the_rest_is_over(session) -> None:
    channel = channel_to("http://127.0.0.1:1/", session, breaker=Breaker(first_rest_s=0.01))
    channel.breaker.failed(channel._clock(), "ill", at_once=True)
    assert not channel.ready
    async with asyncio.timeout(5):
        await channel.wait_ready()
    assert channel.ready


async def test_send_probe_lets_only_one_message_through(vendor, session, send, make_claim) -> None:
    now = [0.0]
    channel = channel_to(vendor.url, session, clock=lambda: now[0])
    channel.breaker.failed(0.0, "ill", at_once=True)
    now[0] = 1_000.0
    vendor.faults.append(Fault("silence"))
    probe = asyncio.create_task(send(channel, make_claim()))
    while not vendor.accepted:
        await asyncio.sleep(0)
    assert not channel.ready
    assert isinstance(await send(channel, make_claim()), NotSent)
    vendor.release.set()
    await probe


async def test_gate_that_raises_sends_nothing_and_frees_the_probe(vendor, session, make_claim) -> None:
    async def gate() -> None:
        raise TimeoutError

    channel = channel_to(vendor.url, session)
    channel.breaker.failed(channel._clock() - 1_000, "ill", at_once=True)
    with pytest.raises(TimeoutError):
        await channel.send(make_claim(), 1, gate)
    assert vendor.requests == []
    assert channel.ready


async def test_answer_that_breaks_our_reading_is_a_doubt(
    vendor, session, send, make_claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = channel_to(vendor.url, session)

    def broken(*_: Any) -> Any:
        raise TypeError("unhashable")

    monkeypatch.setattr(channel.provider, "outcome", broken)
    assert isinstance(await send(channel, make_claim()), Doubt)


async def test_credentials_reach_no_log_and_no_reason(
    vendor, session, send, make_claim, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.faults.extend(Fault(kind) for kind in ("reset", "garbage", "redirect"))
    secret = "very-secret-4711"
    described = Description(url=vendor.base + "/{{token}}", body="{{text}}", headers={"X-Key": "{{token}}"})
    provider = Template(described, variables={"token": secret}, sender="")
    channel = HttpChannel("t", provider, session, breaker=Breaker(threshold=1))
    outcomes = [await send(channel, make_claim()) for _ in range(3)]
    assert secret not in caplog.text + repr(outcomes) + repr(provider.request(make_claim()))
