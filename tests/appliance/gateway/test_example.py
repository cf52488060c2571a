"""The example client and the examples of the page are tried on the real API."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from appliance.gateway.webhooks import sign
from appliance.store.webhooks import new_secret
from appliance.web.v1 import OPERATIONS

DOCS = Path(__file__).parents[3] / "docs"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("outpost_client", DOCS / "examples" / "outpost_client.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client_module = example()


def box_of(office: Any, key: str, **settings: Any) -> Any:
    return client_module.Outpost(key, str(office.http.make_url("/")), **settings)


async def told(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The client blocks, as a program's would, so it runs beside the loop that serves it."""
    return await asyncio.to_thread(call, *args, **named)


async def test_client_sends_looks_lists_and_cancels(office: Any) -> None:
    _, key = await office.client("acme")
    box = box_of(office, key)
    receipt = await told(box.send, "0911234567", "Hello", lane="otp", reference="4711")
    assert (receipt["status"], receipt["to"]) == ("queued", "+251911234567")
    assert (await told(box.message, receipt["id"]))["reference"] == "4711"
    batch = await told(box.send_batch, [{"to": "0911234568", "text": "x"}, {"to": "nobody", "text": "x"}])
    assert (batch["accepted"], batch["refused"]) == (1, 1)
    assert [each["to"] for each in await told(lambda: list(box.messages(status="queued")))] == [
        "+251911234568",
        "+251911234567",
    ]
    assert (await told(box.cancel, receipt["id"]))["status"] == "cancelled"
    assert (await told(box.preview, "0911234567", "ሰላም"))["forced_by"] == "ሰ"
    assert (await told(box.credits))["reserved"] == 1
    assert (await told(box.usage, by="hour"))["lanes"][0]["messages"] == 1
    assert (await told(box.call, "GET", "/v1/usage.csv")).startswith("period,lane,status,")


async def test_client_same_key_sends_once(office: Any) -> None:
    _, key = await office.client("acme")
    box = box_of(office, key)
    first = await told(box.send, "0911234567", "Hello", key="order-1")
    assert await told(box.send, "0911234567", "Hello", key="order-1") == first
    assert len(await told(lambda: list(box.messages()))) == 1


async def test_client_runs_a_campaign(office: Any) -> None:
    _, key = await office.client("acme")
    box = box_of(office, key)
    await told(box.put_template, "hello", {"en": "Hello {name}"}, {"name": "text"})
    await told(box.put_contacts, [{"number": "0911234567", "name": "Sara"}], "all")
    assert [each["name"] for each in await told(lambda: list(box.contacts("all")))] == ["Sara"]
    made = await told(box.add_campaign, "news", "all", template="hello", per_minute=60)
    assert (await told(box.change_campaign, made["id"], "pause"))["status"] == "paused"
    assert (await told(box.campaign, made["id"]))["contacts"] == 1
    assert await told(lambda: list(box.received())) == []


async def test_client_refusal_has_the_problem(office: Any) -> None:
    _, key = await office.client("acme", credit=0)
    with pytest.raises(client_module.OutpostError) as refused:
        await told(box_of(office, key).send, "0911234567", "Hello")
    assert (refused.value.status, refused.value.code) == (402, "credit")
    with pytest.raises(client_module.OutpostError) as refused:
        await told(box_of(office, "op_wrong").credits)
    assert refused.value.status == 401


async def test_client_repeats_with_the_same_key_while_the_box_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A box that is full, then loses a connection, then answers."""
    keys: list[str] = []
    pauses: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", pauses.append)

    async def busy(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            return web.json_response({"type": "x:full"}, status=503, headers={"Retry-After": "7"})
        if len(keys) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": "out_1"}, status=202)

    app = web.Application()
    app.router.add_post("/v1/messages", busy)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        box = client_module.Outpost("op_x", f"http://127.0.0.1:{runner.addresses[0][1]}")
        assert await told(box.send, "0911234567", "Hello") == {"id": "out_1"}
    finally:
        await runner.cleanup()
    assert len(keys) == 3 and len(set(keys)) == 1
    assert pauses[0] == 7.0 and 0 < pauses[1] <= 1.0


async def test_client_call_that_may_not_be_repeated_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda pause_s: pytest.fail("it was repeated"))
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        box = client_module.Outpost("op_x", f"http://127.0.0.1:{unheard.getsockname()[1]}")
        with pytest.raises(OSError, match=r"refused"):
            await told(box.add_webhook, "https://example.org/hook")


def test_verify_webhook_takes_what_the_box_signs_and_nothing_else() -> None:
    secret, body = new_secret(), b'{"type": "message.delivered"}'
    headers = {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": "1000",
        "Webhook-Signature": f"v1,AAAA {sign(secret, 'evt_1', 1000, body)}",
    }
    verify = client_module.verify_webhook
    assert verify(secret, headers, body, now_s=1100) == {"type": "message.delivered"}
    for wrong in (
        lambda: verify(secret, headers, body + b" ", now_s=1100),
        lambda: verify(new_secret(), headers, body, now_s=1100),
        lambda: verify(secret, headers, body, now_s=1301),
        lambda: verify(secret, {**headers, "Webhook-Id": "evt_2"}, body, now_s=1100),
        lambda: verify(secret, {}, body, now_s=1100),
    ):
        with pytest.raises(ValueError, match=r"signed|old|no webhook"):
            wrong()


def curls() -> list[tuple[str, str]]:
    """(method, path) of every curl on the page that speaks to the API."""
    text = (DOCS / "gateway.md").read_text().replace("\\\n", " ")
    found = []
    for line in re.findall(r"(?m)^curl .*$", text):
        path = re.search(r"(?:\$API|/v1)(/[^\s\"?]*)", line)
        if path is not None:
            method = re.search(r"-X (\w+)", line)
            found.append((method[1] if method else "POST" if " -d " in line else "GET", path[1]))
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_page_has_a_curl_for_every_call(operation: Any) -> None:
    wanted = re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path.removeprefix("/v1")))
    assert [path for method, path in curls() if method == operation.method and wanted.fullmatch(path)]


def test_page_has_no_curl_that_leads_nowhere() -> None:
    routes = [
        (each.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", each.path.removeprefix("/v1"))))
        for each in OPERATIONS
    ]
    for method, path in curls():
        assert any(method == known and route.fullmatch(path) for known, route in routes), (method, path)


def test_page_explains_every_status() -> None:
    from appliance.message import OutboundState

    text = (DOCS / "gateway.md").read_text()
    assert [state for state in OutboundState if f"| `{state}` |" not in text] == []
