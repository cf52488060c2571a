"""Kannel's sendsms, spoken as its users speak it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance.web.kannel import KannelReports, fill_escapes

PATH = "/cgi-bin/sendsms"


async def sendsms(office: Any, **fields: str) -> tuple[int, str]:
    """As RapidPro and scripts do: everything in the query."""
    query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in fields.items())
    async with office.http.get(f"{PATH}?{query}") as answer:
        return answer.status, await answer.text()


async def account(office: Any, **more: Any) -> dict[str, str]:
    _, key = await office.client("acme", **more)
    return {"username": "acme", "password": key}


async def texts(office: Any) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = await office.store.reader.run(
        lambda db: db.execute("SELECT recipient, text, lane FROM outbound ORDER BY id").fetchall()
    )
    return rows


async def test_sendsms_plain_message_is_accepted_in_kannels_words(office: Any) -> None:
    login = await account(office)
    answer = await sendsms(office, **login, to="0911234567", text="Hello+there%21", priority="3")
    assert answer == (202, "0: Accepted for delivery")
    assert await texts(office) == [("+251911234567", "Hello there!", "otp")]
    await office.books()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"text": quote_plus("ሰላም ✓")}, "ሰላም ✓"),
        ({"text": quote_plus("ሰላም"), "coding": "2", "charset": "utf8"}, "ሰላም"),
        ({"text": "%12%30%12%0B%12%1D", "coding": "2"}, "ሰላም"),
        ({"text": "caf%E9", "charset": "ISO-8859-1"}, "café"),
    ],
)
async def test_sendsms_text_is_read_by_its_coding_and_charset(
    office: Any, fields: dict[str, str], text: str
) -> None:
    login = await account(office)
    assert (await sendsms(office, **login, to="%2B251911234567", **fields))[0] == 202
    assert (await texts(office))[0][1] == text


async def test_sendsms_several_receivers_are_several_messages(office: Any) -> None:
    login = await account(office)
    status, text = await sendsms(office, **login, to="0911234567+0922234567", text="x")
    assert (status, text) == (202, "0: Accepted for delivery: +251911234567 +251922234567")
    assert len(await texts(office)) == 2


async def test_sendsms_by_post_form(office: Any) -> None:
    login = await account(office)
    form = {**login, "to": "0911234567", "text": "ሰላም"}
    async with office.http.post(PATH, data=form) as answer:
        assert (answer.status, await answer.text()) == (202, "0: Accepted for delivery")
    assert (await texts(office))[0][1] == "ሰላም"


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"password": "wrong"}, 403, "Authorization failed for sendsms"),
        ({"username": "bolt"}, 403, "Authorization failed for sendsms"),
        ({"to": ""}, 400, "Missing receiver number, rejected"),
        ({"text": ""}, 400, "Empty text not allowed, rejected"),
        ({"to": "911"}, 400, "mobile number"),
        ({"coding": "1"}, 400, "coding"),
        ({"charset": "klingon"}, 400, "Unknown charset"),
        ({"text": "%FF"}, 400, "charset"),
        ({"udh": "%05"}, 400, "binary"),
        ({"validity": "soon"}, 400, "minutes"),
        ({"dlr-url": "ftp%3A%2F%2Fx", "dlr-mask": "31"}, 400, "dlr-url"),
        ({"dlr-url": "http%3A%2F%2F127.0.0.1%2F", "dlr-mask": "31"}, 400, "public"),
        ({"text": "x" * 200}, 402, "credit"),
    ],
)
async def test_sendsms_wrong_request_is_refused_and_nothing_is_sent(
    office: Any, fields: dict[str, str], status: int, words: str
) -> None:
    login = await account(office, credit=1)
    answer = await sendsms(office, **{**login, "to": "0911234567", "text": "x", **fields})
    assert answer[0] == status
    assert words in answer[1]
    assert await texts(office) == []


async def test_dlr_url_is_called_once_for_each_state_of_the_mask_in_order(office: Any) -> None:
    office.gateway.private_webhooks = True
    heard: list[dict[str, str]] = []
    statuses = [500]

    async def hear(request: web.Request) -> web.Response:
        if statuses:
            return web.Response(status=statuses.pop())
        heard.append(dict(request.query))
        return web.Response()

    receiver = web.Application()
    receiver.router.add_get("/dlr", hear)
    async with TestServer(receiver) as server, aiohttp.ClientSession() as session:
        url = f"{server.make_url('/dlr')}?s=%d&to=%P&from=%p&id=%I&keep=%25x"
        login = await account(office)
        answer = await sendsms(
            office,
            **login,
            to="0911234567",
            text="x",
            dlr_mask="9",
            dlr_url=quote_plus(url),
            **{"from": "8400"},
        )
        assert answer[0] == 202
        reports = KannelReports(office.gateway)
        assert await reports.tell_due(session.get) == 0
        await office.move(1, "sending", "sent", "delivered")
        assert await reports.tell_due(session.get) == 1  # the receiver fails: told later
        assert await reports.tell_due(session.get) == 0
        office.now_ms += 10_000
        assert await reports.tell_due(session.get) == 1
        assert await reports.tell_due(session.get) == 1
        assert await reports.tell_due(session.get) == 0
    assert [report["s"] for report in heard] == ["8", "1"]
    assert heard[0]["to"] == "+251911234567"
    assert heard[0]["from"] == "8400"
    assert heard[0]["id"] == "out_1"


@pytest.mark.parametrize(
    ("states", "told"), [(["sending", "failed"], [16]), (["sending", "sent", "failed"], [2])]
)
async def test_dlr_of_a_failure_says_who_refused_it(office: Any, states: list[str], told: list[int]) -> None:
    login = await account(office)
    url = quote_plus("http://example.org/?s=%d")
    await sendsms(office, **login, to="0911234567", text="x", dlr_mask="18", dlr_url=url)
    await office.move(1, *states)
    found = await office.store.reader.run(
        lambda db: db.execute("SELECT status FROM kannel_report").fetchall()
    )
    assert [status for (status,) in found] == told


def test_escapes_are_filled_url_encoded_and_unknown_ones_kept() -> None:
    assert fill_escapes("http://x/?a=%P&b=%d&c=%20&e=%z", {"P": "+251 9", "d": "1"}) == (
        "http://x/?a=%2B251+9&b=1&c=%20&e=%z"
    )
