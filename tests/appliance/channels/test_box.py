"""The whole appliance with two providers and no modem, driven by its control socket and its callbacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from appliance.config import parse
from appliance.outbound.router import RouteRule
from appliance.server import Appliance
from tests.emulators.africas_talking import AfricasTalkingEmulator
from tests.emulators.twilio import TwilioEmulator, sign
from tests.emulators.vendor import Fault

SECRET = "0123456789abcdef"
PUBLIC = "https://box.example"
SETTINGS = """
data_dir = "{folder}"
[http]
listen = "127.0.0.1:0"
[[route]]
name = "at"
kind = "africas_talking"
username = "u"
api_key = "k"
url = "{at}"
price = 35
prefixes = ["+251"]
callback_secret = "{secret}"
[[route]]
name = "tw"
kind = "twilio"
account_sid = "AC1"
auth_token = "t"
sender = "OUTPOST"
url = "{tw}"
price = 900
callback_secret = "{secret}"
public_url = "{public}"
"""


class Box:
    def __init__(self, appliance: Appliance, at: AfricasTalkingEmulator, tw: TwilioEmulator) -> None:
        self.appliance, self.at, self.tw = appliance, at, tw

    async def ask(self, **request: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.appliance.config.control_socket))
        writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return answer

    async def rows(self) -> list[tuple[Any, ...]]:
        sql = "SELECT route, state, reason FROM outbound ORDER BY id"
        return await self.appliance.store.reader.run(lambda db: db.execute(sql).fetchall())

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.01)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> int:
        url = self.appliance.address.rstrip("/") + path
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=form, headers=headers) as answer,
        ):
            return answer.status


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with AfricasTalkingEmulator("k") as at, TwilioEmulator("AC1", "t") as tw:
        text = SETTINGS.format(folder=tmp_path, at=at.url, tw=tw.url, secret=SECRET, public=PUBLIC)
        appliance = Appliance(parse(text, name="outpost.toml", folder=tmp_path, env={}))
        await appliance.start()
        yield Box(appliance, at, tw)
        await appliance.stop()


async def test_message_fails_over_and_its_signed_report_comes_back(box: Box) -> None:
    box.at.nobody = "InsufficientBalance"
    answer = await box.ask(op="send", to="0911234567", text="Your bus leaves at 06:00.")
    assert answer["ok"]

    async def sent() -> bool:
        return [row[:2] for row in await box.rows()] == [("tw", "sent")]

    await box.until(sent)
    path = box.tw.accepted[0]["StatusCallback"].removeprefix(PUBLIC)
    form = {"MessageSid": box.tw.accepted[0]["sid"], "MessageStatus": "delivered", "To": "+251911234567"}
    assert await box.post(path, form) == 403
    assert await box.post(path, form, **{"X-Twilio-Signature": sign("t", PUBLIC + path, form)}) == 200
    assert (await box.rows())[0][:2] == ("tw", "delivered")
    trace = json.dumps(await box.ask(op="trace", what="out:1"))
    assert "status 405 (InsufficientBalance)" in trace
    assert "at: refused it before" in trace


async def test_text_to_a_providers_number_is_answered_from_it(box: Box) -> None:
    form = {"id": "i1", "from": "+251911234569", "to": "8400", "text": "HELP"}
    assert await box.post(f"/callbacks/at/{SECRET}/inbound", form) == 200

    async def answered() -> bool:
        return [row[:2] for row in await box.rows()] == [("at", "sent")]

    await box.until(answered)
    assert box.at.accepted[0]["to"] == "+251911234569"
    assert box.tw.accepted == []


async def test_silent_provider_leaves_a_doubt_and_the_other_one_alone(box: Box) -> None:
    box.at.faults.append(Fault("reset"))
    await box.ask(op="send", to="0911234567", text="once")

    async def doubtful() -> bool:
        return [row[1] for row in await box.rows()] == ["uncertain"]

    await box.until(doubtful)
    assert box.tw.accepted == []


async def test_number_that_no_route_serves_is_refused_with_the_reasons(box: Box) -> None:
    box.appliance.outbound.set_routes([RouteRule("at", {"+2517": 1})])
    answer = await box.ask(op="send", to="0911234567", text="x")
    assert "no prefix of it fits the number" in answer["error"]
