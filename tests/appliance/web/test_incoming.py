"""POST /api/sms/incoming, on fakes: what is taken, what is refused, and how it is told."""

from __future__ import annotations

import io
from typing import Any

import pytest

from appliance.store.errors import StoreError, StoreOverloaded, StoreUnavailable
from appliance.web.incoming import parse_timestamp

URL = "/api/sms/incoming"
SMS = {
    "from": "+251911234567",
    "to": "+251911000001",
    "message": "HELP",
    "timestamp": "2026-11-18T10:00:00+03:00",
    "messageId": "a-1",
}


def sms(**changes: Any) -> dict[str, Any]:
    body = SMS | changes
    return {key: value for key, value in body.items() if value is not ...}


async def test_incoming_whole_message_is_stored_and_answered_202(bench: Any) -> None:
    answer = await bench.client.post(URL, json=sms())
    assert answer.status == 202
    assert await answer.json() == {"id": 1, "status": "accepted"}
    (inbound,) = bench.store.accepted
    assert (inbound.channel, inbound.sender, inbound.text) == ("http", "+251911234567", "HELP")
    assert inbound.sent_at_ms == 1_794_985_200_000


async def test_incoming_same_message_id_twice_is_one_message(bench: Any) -> None:
    await bench.client.post(URL, json=sms())
    answer = await bench.client.post(URL, json=sms())
    assert answer.status == 202
    assert await answer.json() == {"id": 1, "status": "duplicate"}
    assert len(bench.store.accepted) == 1


async def test_incoming_without_message_id_equal_texts_are_two_messages(bench: Any) -> None:
    for _ in range(2):
        await bench.client.post(URL, json=sms(messageId=...))
    assert len(bench.store.accepted) == 2


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("0911234567", "+251911234567"),
        ("251 911 23 45 67", "+251911234567"),
        ("+15551234567", "+15551234567"),
        ("8400", "8400"),
        ("CBE", "CBE"),
    ],
)
async def test_incoming_sender_is_stored_as_e164_short_code_or_name(
    bench: Any, given: str, stored: str
) -> None:
    answer = await bench.client.post(URL, json=sms(**{"from": given}))
    assert answer.status == 202
    assert bench.store.accepted[0].sender == stored


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (b"{", "bad-json", "$"),
        (b"\xff\xfe", "bad-json", "$"),
        (b'{"from":"+251911234567","message":"\xff"}', "bad-json", "$"),
        (b'[{"from":"+251911234567","message":"\xff"}', "bad-json", "$"),
        (b"[" * 100_000, "bad-json", "$"),
        (b'{"x":' + b"[" * 100_000, "unknown-field", "$.x"),
        (b'"text"', "bad-field", "$"),
        (sms(message=...), "missing-field", "$.message"),
        (sms(**{"from": ...}), "missing-field", "$.from"),
        (sms(**{"from": 911}), "bad-field", "$.from"),
        (sms(**{"from": ""}), "bad-field", "$.from"),
        (sms(**{"from": "12345678"}), "bad-field", "$.from"),
        (sms(**{"from": "not a number at all"}), "bad-field", "$.from"),
        (sms(message=["a"]), "bad-field", "$.message"),
        (sms(message="x" * 4097), "bad-field", "$.message"),
        (sms(message="a\x00b"), "bad-field", "$.message"),
        (b'{"from":"+251911234567","message":"\\ud800"}', "bad-json", "$"),
        (sms(timestamp="yesterday"), "bad-field", "$.timestamp"),
        (sms(timestamp=12), "bad-field", "$.timestamp"),
        (sms(timestamp=10**30), "bad-field", "$.timestamp"),
        (sms(messageId=""), "bad-field", "$.messageId"),
        (sms(mesage="x"), "unknown-field", "$.mesage"),
    ],
)
async def test_incoming_bad_body_is_a_problem_that_says_where(
    bench: Any, body: bytes | dict[str, Any], code: str, where: str
) -> None:
    sent = {"data": body} if isinstance(body, bytes) else {"json": body}
    headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
    answer = await bench.client.post(URL, **sent, headers=headers)
    problem = await answer.json(content_type="application/problem+json")
    assert answer.status == problem["status"] == 400
    assert problem["type"] == f"urn:outpost:problem:{code}"
    assert [error["where"] for error in problem["errors"]] == [where]
    assert all(error["expected"] for error in problem["errors"])
    assert not bench.store.accepted


async def test_incoming_other_content_type_is_415(bench: Any) -> None:
    answer = await bench.client.post(URL, data=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status == 415
    assert answer.headers["Accept-Post"] == "application/json"
    assert answer.content_type == "application/problem+json"


async def test_incoming_body_beyond_the_limit_is_413(bench: Any) -> None:
    body = io.BytesIO(b" " * 3_000_000)
    answer = await bench.client.post(URL, data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 413
    assert answer.content_type == "application/problem+json"


async def test_incoming_get_is_405_as_a_problem_with_allow(bench: Any) -> None:
    answer = await bench.client.get(URL)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert answer.content_type == "application/problem+json"


async def test_unknown_path_is_404_as_a_problem(bench: Any) -> None:
    answer = await bench.client.get("/api/nothing")
    assert answer.status == 404
    assert answer.content_type == "application/problem+json"


async def test_incoming_prefer_wait_answers_with_the_replies_and_their_segments(bench: Any) -> None:
    answer = await bench.client.post(URL, json=sms(message="x" * 200), headers={"Prefer": "wait=7"})
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "wait=7"
    assert await answer.json() == {"id": 1, "replies": [{"text": "You said " + "x" * 200, "segments": 2}]}
    assert bench.dispatcher.waited == [7]


async def test_incoming_prefer_wait_when_time_runs_out_is_202(bench: Any) -> None:
    bench.dispatcher.rule = lambda text: None
    answer = await bench.client.post(URL, json=sms(), headers={"Prefer": "wait=1"})
    assert answer.status == 202
    assert await answer.json() == {"id": 1, "status": "accepted"}


async def test_incoming_prefer_wait_of_a_repeated_message_gives_the_same_replies(bench: Any) -> None:
    first = await bench.client.post(URL, json=sms(), headers={"Prefer": "wait=5"})
    again = await bench.client.post(URL, json=sms(), headers={"Prefer": "wait=5"})
    assert await first.json() == await again.json()


async def test_incoming_full_queue_is_503_with_retry_after_and_nothing_stored(bench: Any) -> None:
    bench.dispatcher.full = True
    answer = await bench.client.post(URL, json=sms())
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "3"
    assert not bench.store.accepted


@pytest.mark.parametrize("error", [StoreUnavailable("full", "no room"), StoreOverloaded("at its bound")])
async def test_incoming_when_the_store_refuses_is_503_with_retry_after(
    bench: Any, monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    async def refuse(_inbound: Any) -> Any:
        raise error

    monkeypatch.setattr(bench.store, "accept", refuse)
    answer = await bench.client.post(URL, json=sms())
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1


async def test_incoming_batch_tells_each_item_apart(bench: Any) -> None:
    batch = [sms(), sms(messageId="a-2", message=5), sms(), sms(**{"from": "x" * 20, "messageId": "a-3"})]
    answer = await bench.client.post(URL, json=batch)
    assert answer.status == 202
    results = (await answer.json())["results"]
    assert [result["status"] for result in results] == ["accepted", "refused", "duplicate", "refused"]
    assert results[0]["id"] == results[2]["id"] == 1
    assert results[1]["problem"]["errors"][0]["where"] == "$[1].message"
    assert results[3]["problem"]["errors"][0]["where"] == "$[3].from"


async def test_incoming_batch_with_prefer_wait_carries_the_replies(bench: Any) -> None:
    batch = [sms(messageId=str(number), message=str(number)) for number in range(3)]
    answer = await bench.client.post(URL, json=batch, headers={"Prefer": "wait=5"})
    assert answer.status == 200
    results = (await answer.json())["results"]
    assert [result["replies"][0]["text"] for result in results] == ["You said 0", "You said 1", "You said 2"]


async def test_incoming_batch_of_1000_is_taken_and_of_1001_refused(bench: Any) -> None:
    batch = [sms(messageId=str(number)) for number in range(1001)]
    assert (await bench.client.post(URL, json=batch)).status == 413
    assert not bench.store.accepted
    assert (await bench.client.post(URL, json=batch[:1000])).status == 202
    assert len(bench.store.accepted) == 1000


async def test_incoming_batch_without_one_good_item_is_400_with_results(bench: Any) -> None:
    answer = await bench.client.post(URL, json=[{}, 5])
    assert answer.status == 400
    problem = await answer.json(content_type="application/problem+json")
    assert [result["status"] for result in problem["results"]] == ["refused", "refused"]
    assert (await bench.client.post(URL, json=[])).status == 400


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-18T07:00:00Z",
        "2026-11-18T10:00:00+03:00",
        "2026-11-18 07:00:00",
        "20261118T070000Z",
        1_794_985_200,
        1_794_985_200_000,
        1_794_985_200.0,
        "1794985200",
        "1794985200000",
    ],
)
def test_timestamp_in_any_usual_form_is_the_same_moment(value: Any) -> None:
    assert parse_timestamp(value) == 1_794_985_200_000


@pytest.mark.parametrize("value", ["", "x", -1, 0, 5e300, float("inf"), "1970-01-01T00:00:00Z", "2026-13-01"])
def test_timestamp_that_is_no_time_of_ours_raises(value: Any) -> None:
    with pytest.raises((ValueError, OverflowError)):
        parse_timestamp(value)
