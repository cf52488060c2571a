from __future__ import annotations

import pytest

from appliance.channels.channel import Doubt, Refused, Sent
from appliance.channels.http import HttpChannel
from appliance.channels.provider import CallbackRefused, HttpAnswer
from appliance.channels.twilio import Twilio, signature
from appliance.message import OutboundState
from appliance.outbound.policy import Action
from tests.emulators.twilio import TwilioEmulator, sign

SID = "AC00000000000000000000000000000001"
TOKEN = "token-of-a-test"
NUMBER = "+251911234567"
PUBLIC = "https://box.example/callbacks/twilio/secret/report"


@pytest.fixture
async def vendor():
    async with TwilioEmulator(SID, TOKEN) as running:
        yield running


def provider(**more: str) -> Twilio:
    return Twilio(**({"account_sid": SID, "auth_token": TOKEN, "sender": "OUTPOST"} | more))


@pytest.fixture
def channel(vendor, session) -> HttpChannel:
    return HttpChannel("twilio", provider(url=vendor.url, report_url=PUBLIC), session)


async def test_send_gives_the_sid_and_asks_for_reports_with_our_id(vendor, channel, send, make_claim) -> None:
    assert await send(channel, make_claim("ሰላም")) == Sent(provider_ref=vendor.accepted[0]["sid"])
    sent = vendor.accepted[0]
    assert (sent["To"], sent["From"], sent["Body"]) == (NUMBER, "OUTPOST", "ሰላም")
    assert sent["StatusCallback"] == PUBLIC + "?message=7"


async def test_send_by_a_messaging_service_names_no_sender(vendor, session, send, make_claim) -> None:
    service = provider(url=vendor.url, messaging_service="MG1")
    await send(HttpChannel("twilio", service, session), make_claim())
    assert vendor.accepted[0]["MessagingServiceSid"] == "MG1"
    assert "From" not in vendor.accepted[0]


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (20003, Action.ROUTE_DOWN),
        (20429, Action.RETRY_LATER),
        (21211, Action.PERMANENT),
        (21408, Action.OTHER_ROUTE),
        (21606, Action.OTHER_ROUTE),
        (21610, Action.PERMANENT),
        (21611, Action.RETRY_LATER),
        (21612, Action.OTHER_ROUTE),
        (21614, Action.PERMANENT),
        (30001, Action.RETRY_LATER),
        (30003, Action.RETRY_LATER),
        (30004, Action.PERMANENT),
        (30007, Action.PERMANENT),
        (30008, Action.RETRY_LATER),
        (99999, Action.OTHER_ROUTE),
    ],
)
async def test_refusal_keeps_the_number_and_has_its_class(
    vendor, channel, send, make_claim, code: int, action: Action
) -> None:
    vendor.errors[NUMBER] = code
    outcome = await send(channel, make_claim())
    assert isinstance(outcome, Refused)
    assert outcome.action is action
    assert f"error {code}" in outcome.reason
    assert outcome.opted_out is (code == 21610)
    assert outcome.retries == (1 if code == 30008 else None)


async def test_text_longer_than_a_body_is_left_to_another_route(vendor, channel, send, make_claim) -> None:
    outcome = await send(channel, make_claim("x" * 1601))
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.OTHER_ROUTE
    assert vendor.requests == []


def test_answer_201_that_failed_is_a_refusal(make_claim) -> None:
    body = b'{"sid": "SM1", "status": "failed", "error_code": 30007, "error_message": "filtered"}'
    outcome = provider().outcome(make_claim(), HttpAnswer(201, {}, body))
    assert isinstance(outcome, Refused)
    assert outcome.action is Action.PERMANENT


def test_answer_201_without_a_sid_is_a_doubt(make_claim) -> None:
    assert isinstance(provider().outcome(make_claim(), HttpAnswer(201, {}, b"{}")), Doubt)


def test_signature_matches_the_vendors_own_example() -> None:
    """The worked example of Twilio's security page: token 12345."""
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    assert signature("12345", url, tuple(form.items())) == "L/OH5YylLD5NRKLltdqwSvS0BnU="


FORM = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": NUMBER, "ErrorCode": ""}


@pytest.mark.parametrize(
    "url", [PUBLIC + "?message=7", PUBLIC.replace("box.example", "box.example:443") + "?message=7"]
)
def test_report_signed_for_either_form_of_the_port_is_believed(callback, url: str) -> None:
    call = callback(
        FORM | {"message": "7"},
        url=PUBLIC + "?message=7",
        x_twilio_signature=sign(TOKEN, url, FORM | {"message": "7"}),
    )
    said = provider().report(call)
    assert said is not None
    assert (said.provider_ref, said.state, said.outbound_id) == ("SM1", OutboundState.DELIVERED, 7)


@pytest.mark.parametrize(
    "wrong", ["", "AAAA", sign("other-token", PUBLIC, FORM), sign(TOKEN, "http://x", FORM)]
)
def test_callback_with_a_wrong_signature_is_refused(callback, wrong: str) -> None:
    for kind in ("report", "inbound"):
        call = callback(FORM, url=PUBLIC, kind=kind, x_twilio_signature=wrong)
        with pytest.raises(CallbackRefused) as caught:
            _ = provider().report(call) if kind == "report" else provider().inbound(call, 0)
        assert caught.value.status == 403


def test_callback_with_a_changed_field_is_refused(callback) -> None:
    signed = sign(TOKEN, PUBLIC, FORM)
    call = callback(FORM | {"MessageStatus": "failed"}, url=PUBLIC, x_twilio_signature=signed)
    with pytest.raises(CallbackRefused):
        provider().report(call)


@pytest.mark.parametrize(
    ("status", "code", "state", "opted_out"),
    [
        ("accepted", "", OutboundState.SENT, False),
        ("read", "", OutboundState.DELIVERED, False),
        ("undelivered", "30005", OutboundState.FAILED, False),
        ("failed", "21610", OutboundState.FAILED, True),
    ],
)
def test_report_of_each_status_keeps_the_code(
    callback, status: str, code: str, state: OutboundState, opted_out: bool
) -> None:
    form = FORM | {"MessageStatus": status, "ErrorCode": code}
    said = provider().report(callback(form, url=PUBLIC, x_twilio_signature=sign(TOKEN, PUBLIC, form)))
    assert said is not None
    assert (said.state, bool(said.opted_out)) == (state, opted_out)
    assert code in said.reason


def test_inbound_is_read_and_answered_by_empty_twiml(callback) -> None:
    form = {"From": NUMBER, "To": "+15005550006", "Body": "BOOK", "MessageSid": "SM9", "NumMedia": "0"}
    call = callback(form, url=PUBLIC, kind="inbound", x_twilio_signature=sign(TOKEN, PUBLIC, form))
    inbound = provider().inbound(call, 5)
    assert inbound is not None
    assert (inbound.sender, inbound.text, inbound.natural_key) == (NUMBER, "BOOK", "twilio:SM9")
    assert provider().reply[1].endswith("<Response></Response>")
