"""Whatever a vendor answers or calls back, it is read as something; nothing but CallbackRefused is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.channel import Doubt, NotSent, Refused, Sent
from appliance.channels.geezsms import GeezSms
from appliance.channels.provider import Callback, CallbackRefused, HttpAnswer, Provider
from appliance.channels.template import Template
from appliance.channels.template_description import Description, ReportFields, Success
from appliance.channels.twilio import Twilio
from tests.appliance.channels.conftest import claim
from tests.emulators.twilio import sign

URL = "https://box.example/callbacks/x/y/report"
TEMPLATE = Description(
    url="https://sms.example/",
    success=Success(path="status", value="ok"),
    id_path="data[0].id",
    error_path="code",
    errors={"11": "stop"},
    report=ReportFields(message="ref"),
)
PROVIDERS: dict[str, Callable[[], Provider]] = {
    "at": lambda: AfricasTalking(username="u", api_key="k"),
    "tw": lambda: Twilio(account_sid="AC1", auth_token="t", sender="X"),
    "geez": lambda: GeezSms(token="t"),
    "template": lambda: Template(TEMPLATE, variables={}, sender=""),
}
# Field names that the readers look for, so that the trees get past the first look.
NAMES = [
    "SMSMessageData", "Recipients", "Message", "statusCode", "status", "number", "messageId", "sid", "code",
    "error_code", "message", "message_status", "api_log_id", "data", "id", "ref",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1000, 40_000), st.floats(allow_nan=False), st.text(max_size=8),
    st.sampled_from(["success", "ok", "101", "None", "failed", "+251911234567"]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
# What Africa's Talking nests deep: random trees seldom get that far.
ENTRY = st.fixed_dictionaries(
    {"statusCode": TREES}, optional={"number": st.just("+251911234567"), "status": TREES, "messageId": TREES}
)
NESTED = st.fixed_dictionaries(
    {"SMSMessageData": st.fixed_dictionaries({"Message": TREES, "Recipients": st.lists(ENTRY, max_size=2)})}
)
STATUSES = st.sampled_from([200, 201, 204, 302, 400, 401, 404, 408, 418, 429, 500, 504, 599])


@pytest.mark.parametrize("name", PROVIDERS)
@given(STATUSES, TREES | NESTED, st.dictionaries(st.just("retry-after"), st.text(max_size=6), max_size=1))
def test_any_json_answer_is_an_outcome(name: str, status: int, tree: Any, headers: dict[str, str]) -> None:
    answer = HttpAnswer(status, headers, msgspec.json.encode(tree))
    outcome = PROVIDERS[name]().outcome(claim(), answer)
    assert isinstance(outcome, Sent | Refused | Doubt)
    assert not (isinstance(outcome, Sent) and status >= 300)


@pytest.mark.parametrize("name", PROVIDERS)
@given(STATUSES, st.binary(max_size=40))
def test_any_octets_are_an_outcome(name: str, status: int, body: bytes) -> None:
    outcome = PROVIDERS[name]().outcome(claim(), HttpAnswer(status, {}, body))
    assert not isinstance(outcome, NotSent)


FIELDS = st.dictionaries(
    st.sampled_from(
        ["id", "status", "phoneNumber", "failureReason", "from", "to", "text", "date", "MessageSid",
         "message", "MessageStatus", "ErrorCode", "To", "From", "Body", "phone", "msg", "api_log_id", "ref"]
    ),
    st.text(max_size=12) | st.sampled_from(["Success", "delivered", "+251911234567", "21610", "²", "9" * 40]),
    max_size=8,
)  # fmt: skip


@pytest.mark.parametrize("name", PROVIDERS)
@given(FIELDS, st.sampled_from(["report", "inbound", "sent", "delivered", "failed", "stopped"]))
def test_any_callback_is_read_or_refused(name: str, fields: dict[str, str], kind: str) -> None:
    headers = {"x-twilio-signature": sign("t", URL, fields)}
    call = Callback(kind, "POST", URL, headers, tuple(fields.items()), fields)
    provider = PROVIDERS[name]()
    try:
        said = provider.inbound(call, 0) if kind == "inbound" else provider.report(call)
    except CallbackRefused as refused:
        assert 400 <= refused.status < 500
    else:
        assert said is None or said
