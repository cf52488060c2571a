"""Kannel's sendsms, spoken as its users speak it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance.channels.forms import Form, read_form
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
    answer = await sendsms(office, **login, to="0911234567+0922234567+0911234567", text="x")
    assert answer == (202, "0: Accepted for delivery")  # as smsbox: no list of them
    assert [to for to, *_ in await texts(office)] == ["+251911234567", "+251922234567"]
    status, text = await sendsms(office, **login, to="0911234567+911", text="x")
    assert (status, text) == (202, "0: Accepted for delivery Denied receivers are: 911 (a mobile number)")


@pytest.mark.parametrize(
    ("priority", "lane"), [("", "normal"), ("0", "bulk"), ("1", "reply"), ("2", "reply"), ("3", "otp")]
)
async def test_sendsms_priority_is_a_lane(office: Any, priority: str, lane: str) -> None:
    login = await account(office)
    await sendsms(office, **login, to="0911234567", text="x", priority=priority)
    assert (await texts(office))[0][2] == lane


async def test_sendsms_text_itself_as_the_body_with_kannels_headers(office: Any) -> None:
    login = await account(office)
    headers = {
        "X-Kannel-Username": "acme",
        "X-Kannel-Password": login["password"],
        "X-Kannel-To": "0911234567 0922234567",
        "X-Kannel-Validity": "5",
        "Content-Type": "text/plain; charset=ISO-8859-1",
    }
    async with office.http.post(PATH, data="café".encode("latin-1"), headers=headers) as answer:
        assert (answer.status, await answer.text()) == (202, "0: Accepted for delivery")
    assert [text for _, text, _ in await texts(office)] == ["café", "café"]
    xml = {**headers, "Content-Type": "text/xml"}
    async with office.http.post(PATH, data=b"<x/>", headers=xml) as answer:
        assert (answer.status, await answer.text()) == (400, "Invalid content-type")


async def forms(office: Any) -> list[Form]:
    rows = await office.store.reader.run(lambda db: db.execute("SELECT form FROM outbound").fetchall())
    return [read_form(form) for (form,) in rows]


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"text": "Alarm", "mclass": "0"}, Form(message_class=0)),
        ({"text": "%01%02%FF", "coding": "1"}, Form(coding="8bit", data=b"\x01\x02\xff")),
        (
            {"text": "%30%00", "udh": "%06%05%04%15%81%00%00"},  # a ringing tone: without a coding it is data
            Form(coding="8bit", data=b"0\x00", udh=bytes.fromhex("06050415810000")),
        ),
        ({"text": "A", "udh": "%02%70%00", "coding": "0"}, Form(data=b"A", udh=b"\x02\x70\x00")),
        (
            {"text": "%12%30", "udh": "%02%70%00", "coding": "2"},
            Form(coding="ucs2", data=b"\x120", udh=b"\x02p\x00"),
        ),
        ({"text": "x", "pid": "64"}, Form(data=b"x", pid=64)),
    ],
)
async def test_sendsms_flash_data_and_header_are_kept_for_the_modem(
    office: Any, fields: dict[str, str], form: Form
) -> None:
    login = await account(office)
    assert await sendsms(office, **login, to="0911234567", **fields) == (202, "0: Accepted for delivery")
    assert await forms(office) == [form]
    _, message = await office.call("GET", "/v1/messages/out_1", login["password"])
    assert message["segments"] == 1 and message["encoding"] == form.coding
    await office.books()


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
        ({"to": ""}, 400, "Empty receiver number not allowed, rejected"),
        ({"to": "911"}, 400, "Number(s) has/have been denied by white- and/or black-lists."),
        ({"text": ""}, 400, "Empty text not allowed, rejected"),
        ({"coding": "5"}, 400, "Coding field misformed, rejected"),
        ({"mclass": "9"}, 400, "MClass field misformed, rejected"),
        ({"mwi": "9"}, 400, "MWI field misformed, rejected"),
        ({"mwi": "1"}, 400, "MWI is not supported, rejected"),
        ({"pid": "300"}, 400, "PID field misformed, rejected"),
        ({"priority": "9"}, 400, "Priority field misformed, rejected"),
        ({"validity": "-5"}, 400, "Validity field misformed, rejected"),
        ({"deferred": "-5"}, 400, "Deferred field misformed, rejected"),
        ({"charset": "klingon"}, 400, "Charset or body misformed, rejected"),
        ({"text": "%FF"}, 400, "Charset or body misformed, rejected"),
        ({"text": "%D8%00", "coding": "2"}, 400, "Charset or body misformed, rejected"),
        ({"udh": "%05"}, 400, "UDH field misformed, rejected"),
        (
            {"text": "x" * 200, "coding": "1"},
            400,
            "Message too long: 200 octets; one SMS holds 140, rejected",
        ),
        (
            {"dlr-mask": "99", "dlr-url": "http%3A%2F%2Fx"},
            400,
            "DLR-Mask field misformed, rejected",
        ),
        ({"dlr-url": "ftp%3A%2F%2Fx", "dlr-mask": "31"}, 400, "DLR-URL field misformed, rejected"),
        ({"dlrurl": "ftp%3A%2F%2Fx", "dlrmask": "31"}, 400, "DLR-URL field misformed, rejected"),
        ({"dlr-url": "http%3A%2F%2F127.0.0.1%2F", "dlr-mask": "31"}, 400, "public"),
        ({"account": "a%0Ab"}, 400, "Account field misformed or too long, rejected"),
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
        url = f"{server.make_url('/dlr')}?s=%d&to=%p&from=%P&id=%I&keep=%25x&A=%A&t=%t&n=%n&o=%o&all=%q%Q"
        login = await account(office)
        answer = await sendsms(
            office,
            **login,
            to="0911234567",
            text="x",
            account="4711",
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
    # In a report Kannel's %p is the phone, and %P what the message was sent from.
    assert (heard[0]["to"], heard[0]["from"], heard[0]["id"]) == ("+251911234567", "8400", "out_1")
    assert (heard[0]["n"], heard[0]["o"], heard[0]["all"]) == ("acme", "4711", "+2519112345678400")
    assert heard[0]["A"] == "ACK/"
    receipt = (
        r"id:out_1 sub:001 dlvrd:001 submit date:\d{10} done date:\d{10}"
        r" stat:DELIVRD err:000 text:.*"
    )
    assert re.fullmatch(receipt, heard[1]["A"])
    assert heard[0]["t"] == "2026-11-18 11:06:40"


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


async def test_rapidpros_channel_sends_and_is_told(office: Any) -> None:
    """The request of RapidPro's courier, handlers/kannel: parameters in the order of Go's Encode."""
    office.gateway.private_webhooks = True
    heard: list[str] = []

    async def status(request: web.Request) -> web.Response:
        heard.append(f"{request.path}?{request.query_string}")
        return web.json_response({"message": "Status Update Accepted"})

    courier = web.Application()
    courier.router.add_get("/c/kn/{channel}/status", status)
    login = await account(office)
    async with TestServer(courier) as server, aiohttp.ClientSession() as session:
        told = f"{server.make_url('/c/kn/8eb23e93/status')}?uuid=0197a2f4&status=%d"
        for number, text, more in (
            ("+251911234567", "Simple Message", {}),
            ("911234568", "ሰላም ☺", {"coding": "2", "charset": "utf8", "priority": "1"}),
        ):
            form = {
                **{"dlr-mask": "27", "dlr-url": told, "from": "2020"},
                **{"password": login["password"], "text": text, "to": number, "username": "acme"},
                **more,
            }
            async with office.http.get(f"{PATH}?{urlencode(form)}") as answer:
                assert answer.status // 100 == 2
        assert await texts(office) == [
            ("+251911234567", "Simple Message", "normal"),
            ("+251911234568", "ሰላም ☺", "reply"),
        ]
        await office.move(1, "sending", "sent", "delivered")
        await office.move(2, "sending", "failed")
        reports = KannelReports(office.gateway)
        while await reports.tell_due(session.get):
            pass
    at = "/c/kn/8eb23e93/status?uuid=0197a2f4&status="
    assert sorted(heard) == [f"{at}1", f"{at}16", f"{at}8"]
