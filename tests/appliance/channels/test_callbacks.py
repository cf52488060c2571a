"""Callbacks over HTTP, with the real store behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from appliance.channels.africas_talking import AfricasTalking
from appliance.channels.callbacks import MAX_CALLBACK_OCTETS, Endpoint, routes
from appliance.channels.template import Template
from appliance.channels.template_description import Description
from appliance.channels.twilio import Twilio
from appliance.message import Lane, Outbound
from appliance.store import outbound as ops
from appliance.store import provider as provider_ops
from appliance.store.errors import StoreUnavailable
from appliance.store.outbound import Change
from appliance.store.store import Store
from tests.emulators.twilio import sign

NOW = 1_800_000_000_000
NUMBER = "+251911234567"
AT = "/callbacks/at/s3cret-of-at"
PUBLIC = "https://box.example"


class Box:
    def __init__(self, store: Store, client: TestClient[Any, Any], changes: list[Change]) -> None:
        self.store, self.client, self.changes = store, client, changes

    async def put_sent(self, reference: str | None, channel: str = "at") -> int:
        run = self.store.writer.run
        message = Outbound(recipient=NUMBER, text="x", lane=Lane.NORMAL, route=channel)
        number = await run(ops.insert, message, NOW)
        await run(ops.claim, outbound_id=number, channel=channel, now_ms=NOW)
        if reference is not None:
            await run(provider_ops.settle_accepted, number, channel, reference, NOW)
        return int(number)

    async def state(self, number: int) -> str:
        def read(db: Any) -> str:
            return str(db.execute("SELECT state FROM outbound WHERE id = ?", (number,)).fetchone()[0])

        return await self.store.reader.run(read)

    async def rows(self, sql: str) -> list[Any]:
        return await self.store.reader.run(lambda db: db.execute(sql).fetchall())


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    store = await Store.open(tmp_path)
    described = Description(url="https://sms.example/")
    endpoints = [
        Endpoint("at", AfricasTalking(username="u", api_key="k"), "s3cret-of-at"),
        Endpoint("tw", Twilio(account_sid="AC1", auth_token="t", sender="X"), "s3cret-of-tw", PUBLIC),
        Endpoint("tp", Template(described, variables={}, sender=""), "s3cret-of-tp"),
        Endpoint(
            "far",
            AfricasTalking(username="u", api_key="k"),
            "s3cret-of-far",
            networks=(ipaddress.ip_network("192.0.2.0/24"),),
        ),
        Endpoint("closed", AfricasTalking(username="u", api_key="k"), ""),
    ]
    changes: list[Change] = []
    app = web.Application()
    app.add_routes(routes(endpoints, store, on_changes=changes.extend, clock_ms=lambda: NOW))
    async with TestClient(TestServer(app)) as client:
        yield Box(store, client, changes)
    await store.close()


async def test_report_moves_its_message_and_tells(box: Box) -> None:
    number = await box.put_sent("ATXid_1")
    form = {"id": "ATXid_1", "status": "Success", "phoneNumber": NUMBER}
    assert (await box.client.post(AT + "/report", data=form)).status == 200
    assert await box.state(number) == "delivered"
    assert box.changes == [Change(number, "delivered", "Success")]


async def test_report_repeated_or_late_changes_nothing(box: Box) -> None:
    number = await box.put_sent("ATXid_1")
    for status in ("Success", "Sent", "Success", "Failed", "Buffered"):
        form = {"id": "ATXid_1", "status": status, "phoneNumber": NUMBER}
        assert (await box.client.post(AT + "/report", data=form)).status == 200
    assert await box.state(number) == "delivered"
    assert len(box.changes) == 1
    trace = await box.rows("SELECT state FROM trace WHERE state = 'delivered'")
    assert len(trace) == 1


async def test_report_before_the_answer_is_applied_with_the_answer(box: Box) -> None:
    number = await box.put_sent(None)
    form = {"id": "ATXid_9", "status": "Success", "phoneNumber": NUMBER}
    await box.client.post(AT + "/report", data=form)
    assert await box.state(number) == "sending"
    await box.store.writer.run(provider_ops.settle_accepted, number, "at", "ATXid_9", NOW)
    assert await box.state(number) == "delivered"
    assert await box.rows("SELECT * FROM orphan_provider_report") == []


@pytest.mark.parametrize("path", ["/callbacks/at/wrong/report", "/callbacks/none/s3cret-of-at/report"])
async def test_wrong_secret_and_wrong_route_look_alike(box: Box, path: str) -> None:
    number = await box.put_sent("ATXid_1")
    answer = await box.client.post(path, data={"id": "ATXid_1", "status": "Success"})
    assert (answer.status, await answer.text()) == (404, "404: Not Found")
    assert await box.state(number) == "sent"


@pytest.mark.parametrize("path", ["/callbacks/far/s3cret-of-far/report", "/callbacks/closed//report"])
async def test_caller_off_the_list_and_route_without_secret_are_not_found(box: Box, path: str) -> None:
    assert (await box.client.post(path, data={"id": "1", "status": "Success"})).status == 404


async def test_inbound_is_accepted_once(box: Box) -> None:
    form = {"id": "57b2", "from": NUMBER, "to": "8400", "text": "BOOK", "date": "2026-11-22 13:05:07"}
    for _ in range(2):
        assert (await box.client.post(AT + "/inbound", data=form)).status == 200
    assert await box.rows("SELECT channel, sender, text FROM inbound") == [("at", NUMBER, "BOOK")]


async def test_twilio_signature_is_checked_on_the_public_url(box: Box) -> None:
    number = await box.put_sent(None, "tw")
    await box.store.writer.run(
        ops.settle_whole, number, ops.OutboundState.UNCERTAIN, NOW, "no answer in 30 s", actor="tw"
    )
    path = f"/callbacks/tw/s3cret-of-tw/report?message={number}"
    form = {"MessageSid": "SM5", "MessageStatus": "delivered", "To": NUMBER}
    assert (await box.client.post(path, data=form)).status == 403
    headers = {"X-Twilio-Signature": sign("t", PUBLIC + path, form)}
    answer = await box.client.post(path, data=form, headers=headers)
    assert (answer.status, answer.content_type) == (200, "text/xml")
    assert await box.state(number) == "delivered"
    assert await box.rows("SELECT provider_ref FROM outbound") == [("SM5",)]


async def test_opt_out_at_the_provider_reaches_the_local_list(box: Box) -> None:
    answer = await box.client.get("/callbacks/tp/s3cret-of-tp/stopped", params={"from": NUMBER})
    assert answer.status == 200
    assert await box.rows("SELECT number, opted_out_ms FROM person") == [(NUMBER, NOW)]


async def test_report_of_a_blacklisted_person_fails_and_reaches_the_local_list(box: Box) -> None:
    number = await box.put_sent("ATXid_1")
    form = {"id": "ATXid_1", "status": "Failed", "phoneNumber": NUMBER, "failureReason": "UserInBlacklist"}
    assert (await box.client.post(AT + "/report", data=form)).status == 200
    assert await box.state(number) == "failed"
    assert await box.rows("SELECT number FROM person WHERE opted_out_ms IS NOT NULL") == [(NUMBER,)]


async def test_json_callback_is_read(box: Box) -> None:
    answer = await box.client.post(
        "/callbacks/tp/s3cret-of-tp/inbound", json={"from": NUMBER, "text": "hi", "id": 12}
    )
    assert answer.status == 200
    assert await box.rows("SELECT natural_key FROM inbound") == [("http:12",)]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x" * (MAX_CALLBACK_OCTETS + 1), "application/x-www-form-urlencoded", 413),
        (b"{", "application/json", 400),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 300), "application/x-www-form-urlencoded", 400),
        (b"--x", "multipart/form-data; boundary=x", 415),
    ],
)
async def test_body_that_cannot_be_read_is_refused(
    box: Box, body: bytes, content_type: str, status: int
) -> None:
    answer = await box.client.post(AT + "/report", data=body, headers={"Content-Type": content_type})
    assert answer.status == status


async def test_fault_of_ours_is_told_without_the_secret(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(*_: Any) -> Any:
        raise TypeError("ours")

    monkeypatch.setattr(box.store.writer, "run", run)
    answer = await box.client.post(AT + "/report", data={"id": "1", "status": "Success"})
    assert answer.status == 500
    assert "callback of route at failed" in caplog.text
    assert "s3cret" not in caplog.text


async def test_disk_that_refuses_makes_the_provider_come_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: Any) -> Any:
        raise StoreUnavailable("full", "no space left")

    monkeypatch.setattr(box.store.writer, "run", run)
    answer = await box.client.post(AT + "/report", data={"id": "1", "status": "Success"})
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "5"
