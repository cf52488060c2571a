"""Keys: every route asks for one, and nobody sees anybody else's anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from appliance.gateway.keys import SCOPES, allows_address, key_id, make_key, proves
from appliance.gateway.service import GUESSES_A_MINUTE
from appliance.gateway.ussd import Dialled, UssdAnswer
from appliance.store import gateway as ops
from appliance.web.v1 import OPERATIONS

BODIES: dict[str, Any] = {
    "send_message": {"to": "+251911234567", "text": "x"},
    "send_batch": {"messages": [{"to": "+251911234567", "text": "x"}]},
    "preview_message": {"to": "+251911234567", "text": "x"},
    "put_template": {"texts": {"en": "Hello {name}"}, "variables": {"name": "text"}},
    "add_webhook": {"url": "https://example.org/hook"},
    "replay_webhook": {},
    "add_key": {"scopes": ["read"]},
    "rotate_key": {},
    "put_contacts": {"contacts": [{"number": "0911234567", "name": "Abebe"}], "group": "hello.all"},
    "change_members": {"add": ["0911234567"]},
    "add_campaign": {"name": "hello", "group": "hello.all", "text": "x"},
    "dial_ussd": {"code": "*804#"},
}
# Of the routes with a name in them, those that need a thing of that name to be there.
OF_NAMES = ("delete_template", "delete_group", "change_members")


async def _answered(name: str | None, code: str, replies: Sequence[str] = ()) -> Dialled:
    return Dialled(modem="modem0", answers=(UssdAnswer(state="done", text="7.50 birr"),))


def path_of(operation: Any, things: dict[str, str]) -> str:
    """The operation's address with somebody's own ids in it."""
    kind = operation.path.split("/")[2]
    return str(operation.path.replace("{id}", things[kind]).replace("{name}", things[kind]))


async def things_of(office: Any, name: str) -> tuple[str, dict[str, str]]:
    """A client that has one of everything: its key, and the id of each."""
    office.gateway.dial = _answered
    _, key = await office.client(name)
    _, sent = await office.call("POST", "/v1/messages", key, json=BODIES["send_message"], idem="first")
    await office.call("PUT", "/v1/templates/hello", key, json=BODIES["put_template"])
    _, hook = await office.call("POST", "/v1/webhooks", key, json=BODIES["add_webhook"])
    _, made = await office.call("POST", "/v1/keys", key, json=BODIES["add_key"])
    await office.call("POST", "/v1/contacts", key, json=BODIES["put_contacts"])
    _, people = await office.call("GET", "/v1/contacts", key)
    _, campaign = await office.call("POST", "/v1/campaigns", key, json=BODIES["add_campaign"], idem="c")
    return key, {
        "contacts": people["contacts"][0]["id"],
        "groups": "hello.all",
        "campaigns": campaign["id"],
        "messages": sent["id"],
        "templates": "hello",
        "webhooks": str(hook["id"]),
        "keys": made["info"]["id"],
    }


async def do(
    office: Any, operation: Any, things: dict[str, str], key: str, idem: str = "walk"
) -> tuple[int, Any]:
    answer: tuple[int, Any] = await office.call(
        operation.method,
        path_of(
            operation,
            {"credits": "", "usage": "", "usage.csv": "", "inbound": "", "rules": "", "ussd": "", **things},
        ),
        key,
        json=BODIES.get(operation.name),
        idem=idem if operation.idempotent else None,
    )
    return answer


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_route_without_a_right_key_is_401(office: Any, operation: Any) -> None:
    key, things = await things_of(office, "acme")
    wrong = key[:-4] + ("AAAA" if not key.endswith("AAAA") else "BBBB")
    for bad in ("", "nonsense", wrong, make_key(1, frozenset(SCOPES), 0).text, f"op_{'a' * 10}_{'b' * 43}"):
        status, body = await do(office, operation, things, bad)
        assert (status, body["type"]) == (401, "urn:outpost:problem:bad-key"), bad


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_route_with_a_key_that_ended_or_is_for_another_place_is_refused(
    office: Any, operation: Any
) -> None:
    key, things = await things_of(office, "acme")
    client = (await office.gateway.authenticate(key, "127.0.0.1", "read")).client
    every = " ".join(SCOPES)
    ended = await office.key(client, every, expires_at_ms=office.now_ms)
    revoked = await office.key(client, every)
    await office.write(ops.revoke_key, client.id, key_id(revoked), office.now_ms, actor="test")
    for bad in (ended, revoked):
        assert (await do(office, operation, things, bad))[0] == 401
    elsewhere = await office.key(client, every, networks="192.0.2.0/24 2001:db8::/32")
    status, body = await do(office, operation, things, elsewhere)
    assert (status, body["type"]) == (403, "urn:outpost:problem:address")
    await office.write(ops.set_client, client.id, office.now_ms, actor="test", state="suspended")
    office.gateway.forget_keys()
    status, body = await do(office, operation, things, key)
    assert (status, body["type"]) == (403, "urn:outpost:problem:suspended")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_route_with_a_key_of_every_other_scope_is_403(office: Any, operation: Any) -> None:
    key, things = await things_of(office, "acme")
    client = (await office.gateway.authenticate(key, "127.0.0.1", "read")).client
    others = " ".join(scope for scope in SCOPES if scope != operation.scope)
    narrow = await office.key(client, others)
    status, body = await do(office, operation, things, narrow)
    assert (status, body["type"]) == (403, "urn:outpost:problem:scope")


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if "{id}" in each.path or each.name in OF_NAMES],
    ids=lambda operation: operation.name,
)
async def test_route_to_another_clients_thing_is_404_and_changes_nothing(office: Any, operation: Any) -> None:
    key, things = await things_of(office, "acme")
    _, stranger = await office.client("bolt")
    before = await _all_of(office, key)
    status, _ = await do(office, operation, things, stranger)
    assert status == 404
    assert await _all_of(office, key) == before


async def _all_of(office: Any, key: str) -> list[Any]:
    return [
        await office.call("GET", path, key)
        for path in (
            *("/v1/messages", "/v1/templates", "/v1/webhooks", "/v1/keys", "/v1/credits"),
            *("/v1/contacts", "/v1/groups", "/v1/campaigns"),
        )
    ]


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.method == "GET"], ids=lambda each: each.name
)
async def test_list_never_shows_another_clients_things(office: Any, operation: Any) -> None:
    _, things = await things_of(office, "acme")
    _, stranger = await office.client("bolt", credit=0)
    status, body = await do(office, operation, things, stranger)
    if "{" in operation.path:
        assert status == 404
        return
    assert status == 200
    text = str(body)
    assert "out_1" not in text and "hello" not in text and "example.org" not in text
    assert things["keys"] not in text


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_route_works_for_its_owner(office: Any, operation: Any) -> None:
    """The walk above proves something only if the same calls succeed with the right key."""
    key, things = await things_of(office, "acme")
    status, body = await do(office, operation, things, key)
    assert status in operation.answers, body


async def test_key_expired_revoked_or_of_a_suspended_client_is_refused(office: Any) -> None:
    client, key = await office.client("acme")
    short = await office.key(client, "read", expires_at_ms=office.now_ms + 1000)
    assert (await office.call("GET", "/v1/credits", short))[0] == 200
    office.now_ms += 1000
    assert (await office.call("GET", "/v1/credits", short))[0] == 401
    _, made = await office.call("POST", "/v1/keys", key, json={"scopes": ["read"]})
    assert (await office.call("DELETE", f"/v1/keys/{made['info']['id']}", key))[0] == 204
    assert (await office.call("GET", "/v1/credits", made["key"]))[0] == 401
    await office.write(ops.set_client, client.id, office.now_ms, actor="test", state="suspended")
    office.gateway.forget_keys()
    assert (await office.call("GET", "/v1/credits", key))[0] == 403


async def test_key_rotated_works_on_for_the_overlap_only(office: Any) -> None:
    _, key = await office.client("acme")
    old_id = key_id(key)
    status, made = await office.call("POST", f"/v1/keys/{old_id}/rotate", key, json={"overlap_minutes": 5})
    assert status == 201
    assert (await office.call("GET", "/v1/credits", key))[0] == 200
    office.now_ms += 5 * 60_000
    assert (await office.call("GET", "/v1/credits", key))[0] == 401
    assert (await office.call("GET", "/v1/credits", made["key"]))[0] == 200


async def test_key_bound_to_networks_is_refused_elsewhere(office: Any) -> None:
    client, _ = await office.client("acme")
    there = await office.key(client, "read", networks="192.0.2.0/24")
    here = await office.key(client, "read", networks="10.0.0.0/8 127.0.0.0/8")
    assert (await office.call("GET", "/v1/credits", there))[0] == 403
    assert (await office.call("GET", "/v1/credits", here))[0] == 200


async def test_guessing_from_one_address_has_to_wait(office: Any) -> None:
    _, key = await office.client("acme")
    wrong = f"op_{'a' * 10}_{'b' * 43}"
    for _ in range(GUESSES_A_MINUTE):
        assert (await office.call("GET", "/v1/credits", wrong))[0] == 401
    assert (await office.call("GET", "/v1/credits", wrong))[0] == 429
    # Who has a right key, or shows none, is not made to wait for it.
    assert (await office.call("GET", "/v1/credits", key))[0] == 200
    assert (await office.call("GET", "/v1/credits"))[0] == 401
    office.now_ms += 60_000
    assert (await office.call("GET", "/v1/credits", wrong))[0] == 401


async def test_key_is_stored_as_a_hash_and_admin_actions_are_in_the_audit(office: Any) -> None:
    _, key = await office.client("acme")
    await office.call("POST", "/v1/keys", key, json={"scopes": ["read"]})
    secret = key.split("_", 2)[2]  # it may hold an underscore of its own
    dump = await office.store.reader.run(lambda db: "\n".join(map(str, db.execute("SELECT * FROM api_key"))))
    assert secret not in dump and key not in dump
    actions = await office.store.reader.run(
        lambda db: [row[0] for row in db.execute("SELECT action FROM audit ORDER BY id")]
    )
    assert actions == ["client.add", "client.credit", "key.add", "key.add"]


def test_key_proves_itself_and_nothing_else() -> None:
    made = make_key(7, frozenset({"send"}), 1000, expires_at_ms=2000)
    assert key_id(made.text) == made.row.id
    assert proves(made.text, made.row, 1999)
    assert not proves(made.text, made.row, 2000)
    assert not proves(made.text, None, 1999)
    assert not proves(make_key(7, frozenset({"send"}), 1000).text, made.row, 1999)


@pytest.mark.parametrize("scopes", [frozenset(), frozenset({"operator"})])
def test_key_with_unknown_scopes_is_not_made(scopes: frozenset[str]) -> None:
    with pytest.raises(ValueError, match="scopes"):
        make_key(1, scopes, 0)


def test_address_is_matched_with_its_network() -> None:
    assert allows_address("", "anything")
    assert allows_address("192.0.2.0/24", "::ffff:192.0.2.9")
    assert not allows_address("192.0.2.0/24", "2001:db8::1")
    assert not allows_address("192.0.2.0/24", "not an address")
