"""Sending by the API: what is taken, charged, repeated, refused and told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.web.v1.shapes import iso

TO = "+251911234567"


def sms(**changes: Any) -> dict[str, Any]:
    return {"to": TO, "text": "Your bus leaves at 6"} | changes


async def test_send_takes_charges_and_queues_in_one_commit(office: Any) -> None:
    client, key = await office.client("acme", credit=10)
    status, body = await office.call(
        "POST",
        "/v1/messages",
        key,
        json=sms(to="0911234567", text="ሰላም", reference="r1", lane="otp"),
        idem="1",
    )
    assert status == 202
    assert body == {
        "id": "out_1",
        "status": "queued",
        "to": TO,
        "encoding": "ucs2",
        "segments": 1,
        "units": 1,
        "reference": "r1",
    }
    (row,) = office.offered
    assert (row.id, row.recipient, row.key.lane, row.key.client_id) == (1, TO, "otp", client.id)
    (books,) = await office.books()
    assert (books["balance"], books["reserved"]) == (9, 1)


async def test_send_counts_segments_and_the_price_of_the_longest_prefix(office: Any) -> None:
    from appliance.store import prices as price_ops

    for prefix, units, from_ms in (("+251", 2, 0), ("+2517", 5, 0), ("+2517", 7, office.now_ms + 1)):
        await office.write(price_ops.set_price, prefix, units, from_ms, 0, actor="test")
    _, key = await office.client("acme")
    for to, text, units in ((TO, "x" * 161, 4), ("+251711234567", "x", 5), ("+254712345678", "x", 1)):
        status, body = await office.call("POST", "/v1/messages", key, json=sms(to=to, text=text), idem=to)
        assert (status, body["units"]) == (202, units)
    office.now_ms += 1
    _, body = await office.call("POST", "/v1/messages/preview", key, json=sms(to="+251711234567"))
    assert body["units"] == 7


@pytest.mark.parametrize(
    ("states", "balance", "reserved"),
    [
        ([], 9, 1),
        (["sending"], 9, 1),
        (["sending", "sent"], 9, 0),
        (["sending", "sent", "delivered"], 9, 0),
        (["sending", "failed"], 10, 0),
        (["expired"], 10, 0),
        (["cancelled"], 10, 0),
        (["sending", "sent", "failed"], 9, 0),
    ],
)
async def test_credit_is_settled_when_sent_and_returned_when_nobody_took_it(
    office: Any, states: list[str], balance: int, reserved: int
) -> None:
    _, key = await office.client("acme", credit=10)
    await office.call("POST", "/v1/messages", key, json=sms(), idem="1")
    await office.move(1, *states)
    (books,) = await office.books()
    assert (books["balance"], books["reserved"]) == (balance, reserved)
    _, credits = await office.call("GET", "/v1/credits", key)
    assert credits == {"balance": balance, "reserved": reserved, "low_mark": 0}


async def test_credit_that_does_not_reach_is_402_and_nothing_is_queued(office: Any) -> None:
    _, key = await office.client("acme", credit=1)
    status, body = await office.call("POST", "/v1/messages", key, json=sms(text="x" * 200), idem="1")
    assert (status, body["type"]) == (402, "urn:outpost:problem:credit")
    assert not office.offered
    # the same key again, when there is credit: the refusal was not kept as the answer
    from appliance.store import gateway as ops

    await office.write(ops.add_credit, 1, 5, office.now_ms, actor="test")
    status, _ = await office.call("POST", "/v1/messages", key, json=sms(text="x" * 200), idem="1")
    assert status == 202


async def test_credit_never_goes_below_zero_under_concurrent_requests(office: Any) -> None:
    _, key = await office.client("acme", credit=7)
    answers = await asyncio.gather(
        *(office.call("POST", "/v1/messages", key, json=sms(), idem=str(n)) for n in range(25))
    )
    statuses = [status for status, _ in answers]
    assert sorted(set(statuses)) == [202, 402]
    assert statuses.count(202) == 7 == len(office.offered)
    (books,) = await office.books()
    assert books["balance"] == 0


async def test_idempotency_same_key_and_body_is_one_message_and_one_answer(office: Any) -> None:
    _, key = await office.client("acme")
    first = await office.call("POST", "/v1/messages", key, json=sms(), idem="k-1")
    again = await office.call("POST", "/v1/messages", key, json=sms(), idem="k-1")
    assert first == again
    assert len(office.offered) == 1
    status, body = await office.call("POST", "/v1/messages", key, json=sms(text="other"), idem="k-1")
    assert (status, body["type"]) == (422, "urn:outpost:problem:key-reused")


async def test_idempotency_key_of_one_client_is_nothing_to_another(office: Any) -> None:
    _, mine = await office.client("acme")
    _, theirs = await office.client("bolt")
    assert (await office.call("POST", "/v1/messages", mine, json=sms(), idem="k"))[1]["id"] == "out_1"
    assert (await office.call("POST", "/v1/messages", theirs, json=sms(), idem="k"))[1]["id"] == "out_2"


async def test_idempotency_together_one_is_taken_and_the_other_waits_or_gets_its_answer(office: Any) -> None:
    _, key = await office.client("acme")
    answers = await asyncio.gather(
        *(office.call("POST", "/v1/messages", key, json=sms(), idem="k") for _ in range(5))
    )
    assert {status for status, _ in answers} <= {202, 409}
    assert len(office.offered) == 1


async def test_idempotency_repeated_by_many_at_once_is_answered_to_all(office: Any) -> None:
    _, key = await office.client("acme")
    body = {"to": TO, "text": "x"}
    first = await office.call("POST", "/v1/messages", key, json=body, idem="1")
    asked = (office.call("POST", "/v1/messages", key, json=body, idem="1") for _ in range(20))
    assert [answer for answer in await asyncio.gather(*asked) if answer != first] == []


async def test_idempotency_answer_is_given_again_though_the_client_is_too_fast_now(office: Any) -> None:
    _, key = await office.client("acme")
    await office.write(_set_rate, 1, 1)
    office.gateway.forget_keys()
    first = await office.call("POST", "/v1/messages", key, json=sms(), idem="k")
    status, body = await office.call("POST", "/v1/messages", key, json=sms(), idem="other")
    assert (status, body["type"]) == (429, "urn:outpost:problem:too-fast")
    assert await office.call("POST", "/v1/messages", key, json=sms(), idem="k") == first


def _set_rate(db: Any, client_id: int, per_second: int) -> None:
    db.execute("UPDATE client SET per_second = ? WHERE id = ?", (per_second, client_id))


@pytest.mark.parametrize(
    ("idem", "code"), [(None, "idempotency-key-missing"), ("x" * 129, "idempotency-key")]
)
async def test_idempotency_key_missing_or_malformed_is_400(office: Any, idem: str | None, code: str) -> None:
    _, key = await office.client("acme")
    status, body = await office.call("POST", "/v1/messages", key, json=sms(), idem=idem)
    assert (status, body["type"]) == (400, f"urn:outpost:problem:{code}")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (sms(to="911"), "$.to"),
        (sms(to="+251111234567"), "$.to"),
        (sms(text=""), "$.text"),
        (sms(text="x" * 1531), "$.text"),
        (sms(text="a\x00"), "$.text"),
        ({"to": TO}, "$.text"),
        (sms(template="t"), "$.text"),
        (sms(lane="fast"), "$.lane"),
        (sms(validity_s=0), "$.validity_s"),
        (sms(send_at="tomorrow"), "$.send_at"),
        (sms(send_at="2026-11-18T10:00:00"), "$.send_at"),
        (sms(extra=1), "$.extra"),
    ],
)
async def test_send_bad_message_is_400_that_says_where(office: Any, body: dict[str, Any], where: str) -> None:
    _, key = await office.client("acme")
    status, problem = await office.call("POST", "/v1/messages", key, json=body, idem="1")
    assert status == 400
    assert [error["where"] for error in problem["errors"]] == [where]
    assert not office.offered


async def test_batch_takes_each_message_for_itself(office: Any) -> None:
    _, key = await office.client("acme", credit=3)
    batch = {"messages": [sms(), sms(to="x1234"), sms(text="x" * 200), sms(text="y" * 200), 5]}
    status, body = await office.call("POST", "/v1/messages/batch", key, json=batch, idem="b")
    assert status == 202
    assert (body["accepted"], body["refused"]) == (2, 3)
    assert [result["status"] for result in body["results"]] == [
        "queued", "refused", "queued", "refused", "refused",
    ]  # fmt: skip
    assert body["results"][1]["problem"]["errors"][0]["where"] == "$.messages[1].to"
    assert body["results"][3]["problem"]["status"] == 402
    assert await office.call("POST", "/v1/messages/batch", key, json=batch, idem="b") == (status, body)
    assert len(office.offered) == 2


async def test_batch_of_1000_is_one_commit_and_1001_is_refused(office: Any) -> None:
    _, key = await office.client("acme", credit=5000)
    await office.write(_set_rate, 1, 10_000)
    office.gateway.forget_keys()
    commits = office.store.writer.snapshot()["commits"]
    batch = {"messages": [sms()] * 1000}
    status, body = await office.call("POST", "/v1/messages/batch", key, json=batch, idem="b")
    assert (status, body["accepted"]) == (202, 1000)
    assert office.store.writer.snapshot()["commits"] == commits + 1
    batch["messages"].append(sms())
    status, _ = await office.call("POST", "/v1/messages/batch", key, json=batch, idem="c")
    assert status == 400
    await office.books()


async def test_preview_tells_what_forced_ucs2_and_sends_nothing(office: Any) -> None:
    _, key = await office.client("acme")
    status, body = await office.call("POST", "/v1/messages/preview", key, json=sms(text="Pay 5 → now"))
    assert status == 200
    assert (body["encoding"], body["segments"], body["forced_by"]) == ("ucs2", 1, "→")
    assert not office.offered


async def test_message_tells_its_life_and_list_pages_through_all(office: Any) -> None:
    _, key = await office.client("acme")
    for number in range(5):
        await office.call("POST", "/v1/messages", key, json=sms(reference=str(number)), idem=str(number))
    await office.move(1, "sending", "sent", "delivered")
    status, body = await office.call("GET", "/v1/messages/out_1", key)
    assert (status, body["status"], body["charge"]) == (200, "delivered", "settled")
    assert [step["status"] for step in body["life"]] == ["queued", "sending", "sent", "delivered"]
    seen = []
    cursor = ""
    while True:
        _, page = await office.call("GET", f"/v1/messages?limit=2{cursor}", key)
        seen += [message["reference"] for message in page["messages"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["4", "3", "2", "1", "0"]
    _, page = await office.call("GET", "/v1/messages?status=delivered", key)
    assert [message["id"] for message in page["messages"]] == ["out_1"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "status=gone", "cursor=5", "foo=1", "limit=1&limit=2"]
)
async def test_list_bad_parameter_is_400(office: Any, query: str) -> None:
    _, key = await office.client("acme")
    status, body = await office.call("GET", f"/v1/messages?{query}", key)
    assert (status, body["type"]) == (400, "urn:outpost:problem:bad-parameter")


async def test_message_that_is_held_back_says_why_and_until_when(office: Any) -> None:
    _, key = await office.client("acme")
    opens_ms = 1_795_000_600_000
    office.gateway.held = lambda lane: ("quiet hours", opens_ms) if lane == "bulk" else None
    await office.call("POST", "/v1/messages", key, json=sms(lane="bulk"), idem="1")
    await office.call("POST", "/v1/messages", key, json=sms(), idem="2")
    _, body = await office.call("GET", "/v1/messages/out_1", key)
    assert (body["status"], body["reason"]) == ("queued", "quiet hours")
    assert body["next_attempt_at"] == iso(opens_ms)
    _, page = await office.call("GET", "/v1/messages", key)
    assert [(each["id"], each["reason"]) for each in page["messages"]] == [
        ("out_2", ""),
        ("out_1", "quiet hours"),
    ]
    await office.move(1, "sending", "sent")
    _, body = await office.call("GET", "/v1/messages/out_1", key)
    assert (body["status"], body["next_attempt_at"]) == ("sent", None)


async def test_cancel_returns_the_units_and_is_409_when_it_is_too_late(office: Any) -> None:
    _, key = await office.client("acme", credit=10)
    for number in range(2):
        await office.call("POST", "/v1/messages", key, json=sms(), idem=str(number))
    await office.move(2, "sending")
    status, body = await office.call("POST", "/v1/messages/out_1/cancel", key)
    assert (status, body["status"], body["charge"]) == (200, "cancelled", "refunded")
    status, body = await office.call("POST", "/v1/messages/out_2/cancel", key)
    assert (status, body["type"]) == (409, "urn:outpost:problem:not-queued")
    (books,) = await office.books()
    assert books["balance"] == 9


async def test_send_at_and_validity_are_kept_and_a_later_message_is_not_offered_yet(office: Any) -> None:
    _, key = await office.client("acme")
    at = "2026-11-18T15:00:00+03:00"
    status, body = await office.call(
        "POST", "/v1/messages", key, json=sms(send_at=at, validity_s=600), idem="1"
    )
    assert status == 202
    assert not office.offered
    _, body = await office.call("GET", "/v1/messages/out_1", key)
    assert body["next_attempt_at"] == "2026-11-18T12:00:00.000Z"
    assert body["expires_at"] == "2026-11-18T12:10:00.000Z"


async def test_disk_nearly_full_refuses_bulk_first_and_otp_last(
    office: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    import shutil
    from types import SimpleNamespace

    office.gateway._data_dir = tmp_path
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200 * 1024**2))
    _, key = await office.client("acme")
    statuses = {}
    for lane in ("bulk", "normal", "otp"):
        statuses[lane], _ = await office.call("POST", "/v1/messages", key, json=sms(lane=lane), idem=lane)
    assert statuses == {"bulk": 503, "normal": 503, "otp": 202}


async def test_queue_full_refuses_bulk_first_and_otp_last(office: Any, monkeypatch: Any) -> None:
    from appliance.gateway import service
    from appliance.message import Lane

    bounds = {Lane.BULK: 1, Lane.NORMAL: 2, Lane.REPLY: 3, Lane.OTP: 4}
    monkeypatch.setattr(service, "QUEUE_BOUNDS", bounds)
    _, key = await office.client("acme")
    taken = []
    for number in range(6):
        for lane in ("bulk", "normal", "otp"):
            office.now_ms += 1000  # each sees the queue as it is
            status, body = await office.call(
                "POST", "/v1/messages", key, json=sms(lane=lane), idem=f"{lane}{number}"
            )
            if status == 202:
                taken.append(lane)
            else:
                assert (status, body["type"]) == (503, "urn:outpost:problem:queue-full")
    assert taken == ["bulk", "normal", "otp", "otp"]


async def test_old_answers_are_dropped_and_young_ones_kept(office: Any) -> None:
    from appliance.store import gateway as ops

    _, key = await office.client("acme")
    await office.call("POST", "/v1/messages", key, json=sms(), idem="old")
    office.now_ms += ops.ANSWERS_KEPT_MS
    await office.call("POST", "/v1/messages", key, json=sms(), idem="young")
    assert await office.write(ops.drop_old_answers, office.now_ms + 1) == 1
    assert await office.store.reader.run(ops.stored_answer, 1, "young") is not None


async def test_low_credit_is_told_once_by_webhook(office: Any) -> None:
    from appliance.store import webhooks

    _, key = await office.client("acme", credit=4, low_mark=3)
    await office.write(webhooks.add_endpoint, 1, "http://x", "credits.low", webhooks.new_secret(), 0)
    for number in range(3):
        await office.call("POST", "/v1/messages", key, json=sms(), idem=str(number))
    events = await office.store.reader.run(
        lambda db: db.execute("SELECT type, body FROM webhook_event").fetchall()
    )
    assert [kind for kind, _ in events] == ["credits.low"]
    assert '"balance":2' in events[0][1]


async def test_event_of_a_message_gives_the_clients_own_reference_back(office: Any) -> None:
    import json

    from appliance.store import webhooks

    _, key = await office.client("acme")
    await office.write(webhooks.add_endpoint, 1, "http://x", "", webhooks.new_secret(), 0)
    await office.call("POST", "/v1/messages", key, json=sms(reference="order-7"), idem="1")
    await office.move(1, "expired")
    (body,) = await office.store.reader.run(
        lambda db: [row[0] for row in db.execute("SELECT body FROM webhook_event")]
    )
    data = json.loads(body)["data"]
    assert (data["id"], data["status"], data["reference"]) == ("out_1", "expired", "order-7")
    assert (data["segments"], data["units"]) == (1, 1)
