from __future__ import annotations

import pytest

from appliance.channels.channel import Doubt, Refused, Sent
from appliance.channels.geezsms import GeezSms
from appliance.channels.http import HttpChannel
from appliance.channels.provider import HttpAnswer
from appliance.message import OutboundState
from appliance.outbound.policy import Action
from tests.emulators.geezsms import GeezSmsEmulator

TOKEN = "token-of-a-test"


@pytest.fixture
async def vendor():
    async with GeezSmsEmulator(TOKEN) as running:
        yield running


@pytest.fixture
def channel(vendor, session) -> HttpChannel:
    return HttpChannel("geez", GeezSms(token=TOKEN, shortcode_id="12", url=vendor.url), session)


async def test_send_has_no_plus_and_keeps_the_token_out_of_the_url(vendor, channel, send, make_claim) -> None:
    assert await send(channel, make_claim("ሰላም")) == Sent(provider_ref="1000")
    assert vendor.accepted[0] == {
        "token": TOKEN,
        "shortcode_id": "12",
        "phone": "251911234567",
        "msg": "ሰላም",
        "id": "1000",
    }
    assert TOKEN not in str(vendor.requests[0].rel_url)


async def test_answer_200_without_success_is_a_refusal_by_this_provider(
    vendor, channel, send, make_claim
) -> None:
    outcome = await send(channel, make_claim(to="+14155550100"))
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.OTHER_ROUTE
    assert "failed" in outcome.reason


async def test_text_longer_than_its_limit_is_left_to_another_route(vendor, channel, send, make_claim) -> None:
    outcome = await send(channel, make_claim("x" * 336))
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.OTHER_ROUTE
    assert vendor.requests == []


def test_answer_in_a_nested_object_is_found(make_claim) -> None:
    body = b'{"data": {"message_status": "success", "api_log_id": "a1"}}'
    assert GeezSms(token=TOKEN).outcome(make_claim(), HttpAnswer(200, {}, body)) == Sent(provider_ref="a1")


def test_answer_200_that_is_no_json_is_a_doubt(make_claim) -> None:
    assert isinstance(GeezSms(token=TOKEN).outcome(make_claim(), HttpAnswer(200, {}, b"<html>")), Doubt)


def test_report_is_read_under_any_of_its_names(callback) -> None:
    said = GeezSms(token=TOKEN).report(
        callback({"api_log_id": "9", "status": "DELIVERED", "phone": "0911234567"})
    )
    assert said is not None
    assert (said.provider_ref, said.state, said.recipient) == ("9", OutboundState.DELIVERED, "+251911234567")
