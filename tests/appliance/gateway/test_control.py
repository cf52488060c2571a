"""What `outpost client` asks of the running appliance."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.gateway.control import client_op


async def do(office: Any, what: str, **fields: Any) -> dict[str, Any]:
    return await client_op(office.gateway, {"op": "client", "do": what, **fields})


async def test_client_from_nothing_to_a_sent_message_and_its_usage(office: Any) -> None:
    assert (await do(office, "add", name="acme"))["client"]["balance"] == 0
    assert (await do(office, "credit", name="acme", units=50))["client"]["balance"] == 50
    await do(office, "price", prefix="+2517", units=3)
    key = (await do(office, "key", name="acme", scopes=["send", "read"], days=30))["key"]
    body = {"to": "+251711234567", "text": "x"}
    status, receipt = await office.call("POST", "/v1/messages", key, json=body, idem="1")
    assert (status, receipt["units"]) == (202, 3)
    await office.move(1, "sending", "sent")
    usage = await do(office, "usage", name="acme", days=1)
    assert [(row["status"], row["messages"], row["units"]) for row in usage["usage"]] == [("sent", 1, 3)]
    assert (await do(office, "list"))["clients"][0]["balance"] == 47
    await office.books()


async def test_client_suspended_is_refused_at_once_and_resumed_let_in(office: Any) -> None:
    _, key = await office.client("acme")
    assert (await office.call("GET", "/v1/credits", key))[0] == 200
    await do(office, "suspend", name="acme")
    assert (await office.call("GET", "/v1/credits", key))[0] == 403
    await do(office, "resume", name="acme")
    assert (await office.call("GET", "/v1/credits", key))[0] == 200


async def test_client_key_revoked_ends_at_once(office: Any) -> None:
    await do(office, "add", name="acme")
    made = await do(office, "key", name="acme")
    assert (await office.call("GET", "/v1/credits", made["key"]))[0] == 200
    await do(office, "revoke", name="acme", id=made["id"])
    assert (await office.call("GET", "/v1/credits", made["key"]))[0] == 401


@pytest.mark.parametrize(
    ("what", "fields", "words"),
    [
        ("dance", {}, "client does one of"),
        ("add", {"name": ""}, "1 to 64 characters"),
        ("add", {"name": "acme"}, "already"),
        ("credit", {"name": "nobody", "units": 1}, "no client named"),
        ("credit", {"name": "acme", "units": -1001}, "below zero"),
        ("credit", {"name": "acme", "units": 0}, "no credit"),
        ("credit", {"name": "acme", "units": "5"}, "integer"),
        ("price", {"prefix": "0911", "units": 1}, "want a plus"),
        ("price", {"prefix": "+251", "units": -1}, "integer"),
        ("price", {"prefix": "+251", "units": 1, "from_day": "tomorrow"}, "a day"),
        ("usage", {"name": "acme", "by": "week"}, "day or hour"),
        ("usage", {"name": "acme", "days": 0}, "from 1 on"),
        ("key", {"name": "acme", "scopes": ["all"]}, "scopes are"),
        ("revoke", {"name": "acme", "id": "nope"}, "has no key"),
        ("limits", {"name": "acme", "per_second": 0}, "1 or more"),
    ],
)
async def test_client_wrong_request_says_what_is_wanted(
    office: Any, what: str, fields: dict[str, Any], words: str
) -> None:
    await office.client("acme")
    with pytest.raises(ValueError, match=words):
        await do(office, what, **fields)
    await office.books()


async def test_price_of_a_day_to_come_holds_from_that_day_on(office: Any) -> None:
    _, key = await office.client("acme")
    await do(office, "price", prefix="+2517", units=2)
    await do(office, "price", prefix="+2517", units=5, from_day="2026-11-20")
    body = {"to": "+251711234567", "text": "x"}
    assert (await office.call("POST", "/v1/messages/preview", key, json=body))[1]["units"] == 2
    office.now_ms += (33 * 3600 + 53 * 60 + 20) * 1000  # to 2026-11-20, 00:00 where the box is
    assert (await office.call("POST", "/v1/messages/preview", key, json=body))[1]["units"] == 5
    assert [price["units"] for price in (await do(office, "prices"))["prices"]] == [2, 5]


async def test_every_change_is_in_the_audit(office: Any) -> None:
    await do(office, "add", name="acme")
    made = await do(office, "key", name="acme", scopes=["send"])
    await do(office, "credit", name="acme", units=7, note="invoice 4")
    await do(office, "price", prefix="", units=2)
    await do(office, "suspend", name="acme")
    await do(office, "revoke", name="acme", id=made["id"])
    log = (await do(office, "audit"))["audit"]
    assert [entry["action"] for entry in reversed(log)] == [
        *("client.add", "key.add", "client.credit", "price.set", "client.set", "key.revoke")
    ]
    assert {entry["actor"] for entry in log} == {"operator"}
    assert (await do(office, "audit", limit=1))["audit"][0]["action"] == "key.revoke"
