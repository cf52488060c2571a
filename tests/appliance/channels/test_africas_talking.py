from __future__ import annotations

import msgspec
import pytest

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.channel import Doubt, Refused, Sent
from appliance.channels.http import HttpChannel
from appliance.channels.provider import CallbackRefused, HttpAnswer
from appliance.message import OutboundState
from appliance.outbound.policy import Action
from tests.emulators.africas_talking import STATUSES, AfricasTalkingEmulator

KEY = "key-of-a-test"
NUMBER = "+251911234567"
CLASSES = {
    Action.RETRY_LATER: {500, 501},
    Action.OTHER_ROUTE: {401, 402, 405, 407, 502},
    Action.PERMANENT: {403, 404, 406, 409},
}


@pytest.fixture
async def vendor():
    async with AfricasTalkingEmulator(KEY) as running:
        yield running


@pytest.fixture
def channel(vendor, session) -> HttpChannel:
    provider = AfricasTalking(username="outpost", api_key=KEY, sender="OUTPOST", url=vendor.url)
    return HttpChannel("at", provider, session)


async def test_request_is_a_form_with_the_plus_and_the_text_whole(vendor, channel, send, make_claim) -> None:
    text = "ሰላም & 100% + [x]=ü\nline"
    await send(channel, make_claim(text))
    sent = vendor.accepted[0]
    assert (sent["to"], sent["message"], sent["from"], sent["username"]) == (
        NUMBER,
        text,
        "OUTPOST",
        "outpost",
    )


async def test_bulk_call_is_given_json_with_one_number(vendor, session, send, make_claim) -> None:
    vendor.path += "/bulk"
    provider = AfricasTalking(username="outpost", api_key=KEY, sender="OUTPOST", url=vendor.url)
    outcome = await send(HttpChannel("at", provider, session), make_claim("ሰላም"))
    sent = vendor.accepted[0]
    assert outcome == Sent(provider_ref=sent["id"])
    assert (sent["to"], sent["message"], sent["from"]) == (NUMBER, "ሰላም", "OUTPOST")
    vendor.codes[NUMBER] = 405
    outcome = await send(HttpChannel("at", provider, session), make_claim())
    assert isinstance(outcome, Refused) and 405 in CLASSES[outcome.action]


@pytest.mark.parametrize("code", sorted(STATUSES))
async def test_outcome_of_each_status_is_the_documents(vendor, channel, send, make_claim, code: int) -> None:
    vendor.codes[NUMBER] = code
    outcome = await send(channel, make_claim())
    if code < 200:
        assert outcome == Sent(provider_ref=vendor.accepted[0]["id"])
        return
    assert isinstance(outcome, Refused)
    assert code in CLASSES[outcome.action]
    assert f"status {code} ({STATUSES[code]})" in outcome.reason
    assert outcome.opted_out is (code == 406)


@pytest.mark.parametrize(
    ("message", "code"),
    [("InvalidSenderId", 402), ("Insufficient Balance", 405), ("Something new", None)],
)
async def test_outcome_without_recipients_is_told_by_the_message(
    vendor, channel, send, make_claim, message: str, code: int | None
) -> None:
    vendor.nobody = message
    outcome = await send(channel, make_claim())
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.OTHER_ROUTE
    assert message in outcome.reason
    assert code is None or f"status {code}" in outcome.reason


async def test_outcome_among_several_recipients_is_that_of_ours(vendor, channel, send, make_claim) -> None:
    vendor.others = [{"statusCode": 403, "number": "+251911999999", "status": "x", "messageId": "None"}]
    assert isinstance(await send(channel, make_claim()), Sent)


async def test_outcome_naming_only_others_is_a_doubt(make_claim) -> None:
    provider = AfricasTalking(username="u", api_key=KEY)
    body = b'{"SMSMessageData": {"Recipients": [{"statusCode": 101, "number": "+251911999999"}]}}'
    assert isinstance(provider.outcome(make_claim(), HttpAnswer(201, {}, body)), Doubt)


@pytest.mark.parametrize("code", [None, [], "", "x", 103])
def test_outcome_of_a_status_nobody_knows_is_a_doubt(make_claim, code: object) -> None:
    entry = {"statusCode": code, "number": NUMBER, "status": "Scheduled"}
    body = msgspec.json.encode({"SMSMessageData": {"Recipients": [entry]}})
    outcome = AfricasTalking(username="u", api_key=KEY).outcome(make_claim(), HttpAnswer(201, {}, body))
    assert isinstance(outcome, Doubt)


async def test_wrong_key_rests_the_route(vendor, channel, send, make_claim) -> None:
    vendor.api_key = "another"
    outcome = await send(channel, make_claim())
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.ROUTE_DOWN
    assert not channel.ready


def test_sandbox_username_goes_to_the_sandbox(make_claim) -> None:
    def host(username: str) -> str:
        request = AfricasTalking(username=username, api_key=KEY).request(make_claim())
        assert not isinstance(request, Refused)
        return request.url.split("/")[2]

    assert host("sandbox") == "api.sandbox.africastalking.com"
    assert host("outpost") == "api.africastalking.com"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("Sent", OutboundState.SENT),
        ("Submitted", OutboundState.SENT),
        ("Buffered", OutboundState.SENT),
        ("Rejected", OutboundState.FAILED),
        ("Success", OutboundState.DELIVERED),
        ("Failed", OutboundState.FAILED),
        ("Expired", OutboundState.FAILED),
    ],
)
def test_report_of_each_status_is_the_documents(callback, status: str, state: OutboundState) -> None:
    provider = AfricasTalking(username="u", api_key=KEY)
    said = provider.report(callback({"id": "ATXid_1", "status": status, "phoneNumber": NUMBER}))
    assert said is not None
    assert (said.provider_ref, said.state, said.recipient) == ("ATXid_1", state, NUMBER)


def test_report_of_a_blacklisted_person_is_an_opt_out_too(callback) -> None:
    provider = AfricasTalking(username="u", api_key=KEY)
    form = {"id": "A", "status": "Failed", "phoneNumber": NUMBER, "failureReason": "UserInBlacklist"}
    said = provider.report(callback(form))
    assert said is not None
    assert said.opted_out
    assert said.reason == "Failed UserInBlacklist"


def test_report_of_an_unknown_status_changes_nothing(callback) -> None:
    provider = AfricasTalking(username="u", api_key=KEY)
    assert provider.report(callback({"id": "A", "status": "AbsentSubscriber"})) is None


def test_report_that_names_no_message_is_refused(callback) -> None:
    with pytest.raises(CallbackRefused):
        AfricasTalking(username="u", api_key=KEY).report(callback({"status": "Success"}))


def test_inbound_is_read_with_its_own_id_and_east_african_time(callback) -> None:
    provider = AfricasTalking(username="u", api_key=KEY)
    form = {
        "id": "57b2",
        "from": "0911 234567",
        "to": "8400",
        "text": "BOOK",
        "date": "2026-11-22 13:05:07",
        "linkId": "x",
    }
    inbound = provider.inbound(callback(form, kind="inbound"), 5)
    assert inbound is not None
    assert (inbound.sender, inbound.recipient, inbound.text) == (NUMBER, "8400", "BOOK")
    assert inbound.natural_key == "at:57b2"
    assert inbound.sent_at_ms == 1_795_341_907_000
