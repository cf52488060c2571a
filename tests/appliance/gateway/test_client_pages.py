"""The operator's forms for clients: each does what the command line does, and is written down."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.store import webhooks

FORMS = (
    *("key", "revoke", "credit", "limits", "suspend", "resume", "rule", "unrule"),
    *("webhook", "secret", "hook", "replay", "campaign"),
)


async def post(office: Any, path: str, **fields: Any) -> tuple[int, str, str]:
    """Status, where it leads, and the page."""
    async with office.http.post(path, data=fields, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def actions(office: Any) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = await office.store.reader.run(
        lambda db: db.execute("SELECT actor, action FROM audit ORDER BY id").fetchall()
    )
    return rows


async def states(office: Any) -> list[str]:
    found: list[str] = await office.store.reader.run(
        lambda db: [state for (state,) in db.execute("SELECT state FROM webhook_delivery ORDER BY id")]
    )
    return found


async def test_client_made_on_the_page_gets_credit_key_and_sends(office: Any) -> None:
    status, where, _ = await post(office, "/clients", name="acme", credit="1,000")
    assert (status, where) == (303, "/clients/1")
    status, _, page = await post(office, "/clients/1/key", scopes="send", days="30", note="shop")
    found = re.search(r"op_[a-z0-9]{10}_[\w-]{43}", page)
    assert status == 200 and found is not None
    assert found[0] not in (await office.call("GET", "/clients/1"))[1]  # shown this once
    body = {"to": "0911234567", "text": "x"}
    assert (await office.call("POST", "/v1/messages", found[0], json=body, idem="1"))[0] == 202
    assert (await post(office, "/clients/1/credit", units="-900", note="back"))[0] == 303
    assert (await office.books())[0]["balance"] == 99
    assert (await post(office, "/clients/1/suspend"))[:2] == (303, "/clients/1#h-account")
    assert (await office.call("POST", "/v1/messages", found[0], json=body, idem="2"))[0] == 403
    await post(office, "/clients/1/resume")
    await post(office, "/clients/1/revoke", id=found[0][3:13])
    assert (await office.call("POST", "/v1/messages", found[0], json=body, idem="3"))[0] == 401
    page = (await office.call("GET", "/audit"))[1]
    for action in ("client.add", "client.credit", "key.add", "client.set", "key.revoke"):
        assert ("page 127.0.0.1", action) in await actions(office)
        assert action in page


async def test_price_rule_and_limits_are_set_on_the_page(office: Any) -> None:
    from appliance.conversation.shell import Shell

    office.gateway.hear(Shell({"conversation": {"languages": ["en"]}}).opts)
    await office.client("acme")
    assert (await post(office, "/prices", prefix="+2517", units="3", from_day=""))[0] == 303
    assert (await post(office, "/prices", prefix="+2517", units="4", from_day="2026-12-01"))[0] == 303
    page = (await office.call("GET", "/clients"))[1]
    assert "+2517" in page and "to come" in page
    await post(office, "/clients/1/limits", per_second="7", low_mark="50")
    await post(office, "/clients/1/rule", keyword="VOTE")
    page = (await office.call("GET", "/clients/1"))[1]
    assert "keyword VOTE" in page and 'value="7"' in page
    await post(office, "/clients/1/unrule", rule="1")
    assert "keyword VOTE" not in (await office.call("GET", "/clients/1"))[1]


async def test_webhook_is_made_rotated_paused_replayed_and_ended_on_the_page(office: Any) -> None:
    await office.client("acme")
    status, _, page = await post(office, "/clients/1/webhook", url="https://example.org/x", events="")
    assert status == 200 and "whsec_" in page
    for number in range(3):
        await office.write(webhooks.emit, 1, "message.sent", {"id": f"out_{number}"}, "a", office.now_ms)
    await office.write(lambda db: db.execute("UPDATE webhook_delivery SET state = 'dead'"))
    page = (await office.call("GET", "/clients/1/webhooks/1?state=dead"))[1]
    assert page.count("Tell again</button>") == 4  # each, and the form for a range
    assert (await post(office, "/clients/1/replay", webhook="1", event="2"))[1] == "/clients/1/webhooks/1"
    assert await states(office) == ["dead", "pending", "dead"]
    await post(office, "/clients/1/replay", webhook="1", from_time="2020-01-01", until="2030-01-01")
    assert "dead" not in await states(office)
    assert "whsec_" in (await post(office, "/clients/1/secret", webhook="1"))[2]
    await post(office, "/clients/1/hook", webhook="1", to="pause")
    assert "paused" in (await office.call("GET", "/clients/1/webhooks/1"))[1]
    await post(office, "/clients/1/hook", webhook="1", to="remove")
    assert (await office.call("GET", "/clients/1/webhooks/1"))[0] == 404


async def test_campaign_shows_how_far_it_is_and_is_paused_on_the_page(office: Any) -> None:
    _, key = await office.client("acme")
    await office.call(
        "POST", "/v1/contacts", key, json={"contacts": [{"number": "0911234567"}], "group": "all"}
    )
    body = {"name": "Term 2", "group": "all", "text": "x"}
    await office.call("POST", "/v1/campaigns", key, json=body, idem="c")
    page = (await office.call("GET", "/clients/1"))[1]
    assert "Term 2" in page and '<progress max="100" value="0">' in page
    assert (await post(office, "/clients/1/campaign", campaign="1", to="pause"))[0] == 303
    assert (await office.call("GET", "/v1/campaigns/cmp_1", key))[1]["status"] == "paused"
    await post(office, "/clients/1/campaign", campaign="1", to="cancel")
    status, _, page = await post(office, "/clients/1/campaign", campaign="1", to="resume")
    assert status == 400 and "it is cancelled" in page


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("/clients", {"name": "acme"}, "already"),
        ("/clients", {"name": ""}, "1 to 64 characters"),
        ("/prices", {"prefix": "0911", "units": "1"}, "want a plus"),
        ("/prices", {"prefix": "+251", "units": "1", "from_day": "soon"}, "want a day"),
        ("/clients/1/credit", {"units": "-9999"}, "below zero"),
        ("/clients/1/key", {"scopes": "send", "networks": "everywhere"}, "everywhere"),
        ("/clients/1/webhook", {"url": "http://127.0.0.1/"}, "not a public address"),
        ("/clients/1/webhook", {"url": "https://example.org/", "events": "all"}, "types with commas"),
        ("/clients/1/replay", {"webhook": "9"}, "no webhook 9"),
        ("/clients/1/campaign", {"campaign": "9", "to": "pause"}, "no campaign 9"),
    ],
)
async def test_wrong_form_is_shown_again_with_what_is_wrong(
    office: Any, path: str, fields: dict[str, str], words: str
) -> None:
    await office.client("acme")
    status, _, page = await post(office, path, **fields)
    assert status == 400 and 'role="alert"' in page
    assert words in page


@pytest.mark.parametrize("path", ["/clients", "/prices", *(f"/clients/1/{do}" for do in FORMS)])
async def test_form_of_another_site_changes_nothing(office: Any, path: str) -> None:
    await office.client("acme")
    before = await actions(office)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        async with office.http.post(path, data={"name": "x", "units": "1"}, headers=headers) as answer:
            assert answer.status in (403, 421)
    assert await actions(office) == before


async def test_forms_from_elsewhere_need_the_page_password(office: Any) -> None:
    await office.client("acme")
    for path in ("/clients", "/prices", *(f"/clients/1/{do}" for do in FORMS)):
        async with office.http.post(path, data={}, headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
            assert answer.status == 403, path
    for path in ("/clients", "/clients/1", "/audit"):
        async with office.http.get(path, headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
            assert answer.status == 403, path
