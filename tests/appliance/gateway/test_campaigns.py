"""Contacts, groups and campaigns: expanded in slices, paid slice by slice, to nobody twice."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from appliance.gateway import campaigns as service_module
from appliance.gateway.campaigns import CampaignService
from appliance.store import campaigns as ops
from appliance.store import gateway as gateway_ops
from appliance.store import people as people_ops
from appliance.store import webhooks as webhook_ops
from appliance.store.effects import EffectContext

TEMPLATE = {"texts": {"en": "Hello {name}", "am": "ሰላም {name}"}, "variables": {"name": "text"}}


def number(place: int) -> str:
    return f"+2519110{place:05}"


async def crowd(office: Any, key: str, count: int, **fields: Any) -> None:
    contacts = [{"number": number(place), "name": f"N{place}", **fields} for place in range(count)]
    body = {"contacts": contacts, "group": "all"}
    status, made = await office.call("POST", "/v1/contacts", key, json=body)
    assert (status, made) == (200, {"created": count, "updated": 0})


async def campaign(office: Any, key: str, **fields: Any) -> str:
    body = {"name": "news", "group": "all", "text": "Hello", "per_minute": 60_000, **fields}
    status, made = await office.call(
        "POST", "/v1/campaigns", key, json=body, idem=str(fields.get("name", "campaign"))
    )
    assert status == 201, made
    return str(made["id"])


async def look(office: Any, key: str, what: str) -> dict[str, Any]:
    return dict((await office.call("GET", f"/v1/campaigns/{what}", key))[1])


async def run(office: Any) -> None:
    """What the service does until nothing is due."""
    service = CampaignService(office.gateway)
    while await service.step():
        pass


async def recipients(office: Any) -> list[tuple[str, str]]:
    return await office.store.reader.run(
        lambda db: db.execute("SELECT recipient, text FROM outbound ORDER BY id").fetchall()
    )


async def test_campaign_reaches_each_contact_once_in_its_language(office: Any) -> None:
    _, key = await office.client("acme")
    await office.call("PUT", "/v1/templates/hello", key, json=TEMPLATE)
    contacts = [
        {"number": number(0), "name": "Abebe", "language": "am"},
        {"number": number(1), "variables": {"name": "Sara", "other": 7}, "language": "om"},
        {"number": number(2)},
    ]
    await office.call("POST", "/v1/contacts", key, json={"contacts": contacts, "group": "all"})
    what = await campaign(office, key, text=None, template="hello")
    await office.call("DELETE", "/v1/templates/hello", key)  # a campaign keeps the template it was made of
    await run(office)
    assert await recipients(office) == [(number(0), "ሰላም Abebe"), (number(1), "Hello Sara")]
    done = await look(office, key, what)
    assert (done["status"], done["accepted"], done["refused"]) == ("done", 2, 1)
    assert "missing" in done["refused_why"] and done["messages"] == {"queued": 2}
    assert [row.recipient for row in office.offered] == [number(0), number(1)]
    await office.books()


async def test_campaign_is_made_into_messages_in_slices_of_the_asked_pace(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 30)
    what = await campaign(office, key, per_minute=120)
    await run(office)
    assert (await look(office, key, what))["accepted"] == 10, "a slice is a twelfth of a minute"
    office.now_ms += 4_999
    await run(office)
    assert (await look(office, key, what))["accepted"] == 10
    office.now_ms += 1
    await run(office)
    assert (await look(office, key, what))["accepted"] == 20


async def test_campaign_scheduled_waits_for_its_time(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 2)
    what = await campaign(office, key, start_at="2026-11-20T10:00:00Z")
    start_ms = 1_795_168_800_000
    office.now_ms = start_ms - 1
    await run(office)
    assert (await look(office, key, what))["status"] == "scheduled"
    assert (await office.call("POST", f"/v1/campaigns/{what}/pause", key))[1]["status"] == "paused"
    assert (await office.call("POST", f"/v1/campaigns/{what}/resume", key))[1]["status"] == "scheduled"
    office.now_ms = start_ms
    await run(office)
    assert (await look(office, key, what))["status"] == "done"


async def test_campaign_without_credit_pauses_tells_why_and_goes_on_where_it_was(office: Any) -> None:
    client, key = await office.client("acme", credit=7)
    await office.write(
        webhook_ops.add_endpoint, client.id, "https://example.org/", "", webhook_ops.new_secret(), 0
    )
    await crowd(office, key, 10)
    what = await campaign(office, key)
    await run(office)
    paused = await look(office, key, what)
    assert (paused["status"], paused["accepted"], paused["units"]) == ("paused", 7, 7)
    assert "credit" in paused["reason"]
    told = await office.store.reader.run(
        lambda db: [orjson.loads(row[0]) for row in db.execute("SELECT body FROM webhook_event ORDER BY id")]
    )
    assert [(event["type"], event["data"]["id"]) for event in told] == [("campaign.paused", what)]
    await office.books()
    await office.write(gateway_ops.add_credit, client.id, 100, office.now_ms, actor="test")
    await office.call("POST", f"/v1/campaigns/{what}/resume", key)
    await run(office)
    assert (await look(office, key, what))["status"] == "done"
    assert [to for to, _ in await recipients(office)] == [number(place) for place in range(10)]
    await office.books()


async def test_campaign_of_a_suspended_client_pauses(office: Any) -> None:
    client, key = await office.client("acme")
    await crowd(office, key, 2)
    what = await campaign(office, key)
    await office.write(gateway_ops.set_client, client.id, 0, actor="test", state="suspended")
    await run(office)
    await office.write(gateway_ops.set_client, client.id, 0, actor="test", state="active")
    paused = await look(office, key, what)
    assert (paused["status"], paused["reason"]) == ("paused", "the client is suspended")
    assert await recipients(office) == []


async def test_campaign_passes_over_who_said_stop_and_counts_them(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 3)
    ctx = EffectContext(office.now_ms, number(1), 0)
    await office.write(people_ops.opt_out, ctx, {"word": "STOP"})
    what = await campaign(office, key)
    await run(office)
    done = await look(office, key, what)
    assert (done["accepted"], done["opted_out"], done["units"]) == (2, 1, 2)
    assert [to for to, _ in await recipients(office)] == [number(0), number(2)]
    shown = (await office.call("GET", "/v1/contacts?group=all", key))[1]["contacts"]
    assert [each["opted_out"] for each in shown] == [False, True, False]


async def test_campaign_consent_only_passes_over_contacts_without_it(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 2)
    consent = {"words": "Yes, text me", "how": "web form", "at": "2026-10-01T08:00:00+03:00"}
    body = {"contacts": [{"number": number(1), "consent": consent}], "group": "all"}
    assert (await office.call("POST", "/v1/contacts", key, json=body))[1] == {"created": 0, "updated": 1}
    what = await campaign(office, key, consent_only=True)
    await run(office)
    done = await look(office, key, what)
    assert (done["accepted"], done["refused_why"]) == (1, "no consent is kept of the contact")
    # Bringing the contact up to date without a consent leaves the one that is kept.
    await office.call("POST", "/v1/contacts", key, json={"contacts": [{"number": number(1)}]})
    (kept,) = [
        each["consent"]
        for each in (await office.call("GET", "/v1/contacts", key))[1]["contacts"]
        if each["number"] == number(1)
    ]
    assert kept["words"] == "Yes, text me" and kept["at"] == "2026-10-01T05:00:00.000Z"
    assert kept["told_by"].startswith("key ")


async def test_campaign_cancelled_takes_its_queued_messages_back(office: Any) -> None:
    _, key = await office.client("acme", credit=100)
    await crowd(office, key, 30)
    what = await campaign(office, key, per_minute=120)
    await run(office)
    await office.move(1, "sending", "sent")
    status, body = await office.call("POST", f"/v1/campaigns/{what}/cancel", key)
    assert (status, body["status"]) == (200, "cancelled")
    office.now_ms += 60_000
    await run(office)
    assert (await look(office, key, what))["messages"] == {"sent": 1, "cancelled": 9}
    assert (await office.call("GET", "/v1/credits", key))[1]["balance"] == 99
    assert (await office.call("POST", f"/v1/campaigns/{what}/resume", key))[0] == 409
    await office.books()


async def test_campaign_done_is_cancelled_while_messages_of_it_wait(office: Any) -> None:
    _, key = await office.client("acme", credit=100)
    await crowd(office, key, 2)
    what = await campaign(office, key)
    await run(office)
    assert (await look(office, key, what))["status"] == "done"
    assert (await office.call("POST", f"/v1/campaigns/{what}/cancel", key))[0] == 200
    await run(office)
    assert (await look(office, key, what))["messages"] == {"cancelled": 2}
    again = await campaign(office, key, name="again")
    await run(office)
    await office.move(3, "sending", "sent")
    await office.move(4, "sending", "sent")
    assert (await office.call("POST", f"/v1/campaigns/{again}/cancel", key))[0] == 409
    await office.books()


async def test_campaign_slice_that_comes_twice_counts_once(office: Any) -> None:
    """A crash after the commit repeats at most the reading: the mark in the row refuses the second one."""
    _, key = await office.client("acme")
    await crowd(office, key, 3)
    await campaign(office, key)
    (due,) = await office.store.reader.run(ops.due_campaigns, office.now_ms, 8)
    message = gateway_ops.NewMessage(
        recipient=number(0),
        text="x",
        lane="bulk",
        encoding="gsm7",
        segments=1,  # type: ignore[arg-type]
    )
    part = ops.Slice(due.id, due.after_contact, [(1, message)], False, 1.0)
    first = await office.write(ops.commit_slice, part, office.now_ms)
    second = await office.write(ops.commit_slice, part, office.now_ms)
    assert (first.state, len(first.placed), second) == ("running", 1, ops.SliceDone("", []))
    await office.books()


async def test_campaign_waits_while_too_many_of_its_messages_are_queued(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "QUEUED", 5)
    monkeypatch.setattr(service_module, "SLICE", 5)
    _, key = await office.client("acme")
    await crowd(office, key, 8)
    what = await campaign(office, key)
    for _ in range(3):
        office.now_ms += 1_000
        await run(office)
    assert (await look(office, key, what))["accepted"] == 5
    for outbound_id in range(1, 6):
        await office.move(outbound_id, "sending", "sent")
    office.now_ms += service_module.PUT_OFF_MS
    await run(office)
    assert (await look(office, key, what))["accepted"] == 8


async def test_campaign_asked_twice_with_one_key_is_one_campaign(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 1)
    body = {"name": "news", "group": "all", "text": "Hello"}
    first = await office.call("POST", "/v1/campaigns", key, json=body, idem="one")
    again = await office.call("POST", "/v1/campaigns", key, json=body, idem="one")
    assert first == again and first[0] == 201
    other = await office.call("POST", "/v1/campaigns", key, json={**body, "name": "old"}, idem="one")
    assert (other[0], other[1]["type"]) == (422, "urn:outpost:problem:key-reused")
    assert len((await office.call("GET", "/v1/campaigns", key))[1]["campaigns"]) == 1


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"group": "nobody"}, "$.group"),
        ({"text": None}, "$.text"),
        ({"template": "hello"}, "$.text"),
        ({"text": None, "template": "none"}, "$.template"),
        ({"start_at": "tomorrow"}, "$.start_at"),
        ({"start_at": "2026-11-20T10:00:00"}, "$.start_at"),
        ({"lane": "otp"}, "$.lane"),
    ],
)
async def test_campaign_that_cannot_be_is_refused_with_its_place(
    office: Any, fields: dict[str, Any], where: str
) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 1)
    body = {"name": "news", "group": "all", "text": "Hello", **fields}
    status, problem = await office.call("POST", "/v1/campaigns", key, json=body, idem="x")
    assert (status, problem["errors"][0]["where"]) == (400, where)


async def test_contact_with_a_wrong_number_refuses_all_of_the_request(office: Any) -> None:
    _, key = await office.client("acme")
    body = {"contacts": [{"number": "0911234567"}, {"number": "nobody"}], "group": "all"}
    status, problem = await office.call("POST", "/v1/contacts", key, json=body)
    assert (status, problem["errors"][0]["where"]) == (400, "$.contacts[1].number")
    assert (await office.call("GET", "/v1/groups", key))[1] == {"groups": []}


async def test_group_members_come_go_and_are_listed_in_pages(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 5)
    change = {"add": [number(9)], "remove": [number(0), number(3)]}
    status, body = await office.call("POST", "/v1/groups/all/members", key, json=change)
    assert (status, body) == (200, {"contacts": 3, "unknown": [number(9)]})
    _, first = await office.call("GET", "/v1/contacts?group=all&limit=2", key)
    _, rest = await office.call("GET", f"/v1/contacts?group=all&limit=2&cursor={first['next']}", key)
    listed = [each["number"] for page in (first, rest) for each in page["contacts"]]
    assert (listed, rest["next"]) == ([number(1), number(2), number(4)], None)
    gone = first["contacts"][0]["id"]
    assert (await office.call("DELETE", f"/v1/contacts/{gone}", key))[0] == 204
    assert (await office.call("GET", "/v1/groups", key))[1] == {"groups": [{"name": "all", "contacts": 2}]}


async def test_group_deleted_cancels_what_was_to_go_to_it(office: Any) -> None:
    _, key = await office.client("acme")
    await crowd(office, key, 3)
    what = await campaign(office, key, start_at="2027-01-01T00:00:00Z")
    assert (await office.call("DELETE", "/v1/groups/all", key))[0] == 204
    cancelled = await look(office, key, what)
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "its group was deleted")
    await run(office)
    assert await recipients(office) == []


async def test_service_started_works_a_new_campaign_off_and_stops(office: Any) -> None:
    import asyncio

    _, key = await office.client("acme")
    await crowd(office, key, 450)
    service = CampaignService(office.gateway)
    await service.start()
    try:
        what = await campaign(office, key)
        async with asyncio.timeout(20):
            while (await look(office, key, what))["status"] != "done":
                office.now_ms += 1_000
                office.gateway.on_campaign()
    finally:
        await service.stop()
    assert (await look(office, key, what))["messages"] == {"queued": 450}
    assert len({to for to, _ in await recipients(office)}) == 450
