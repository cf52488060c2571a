"""USSD over the API: who may dial what, and a problem document for each way it can fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.dialler import Dialler
from firmware_bridge.errors import NotReady, PortLost, UssdError, UssdNotAllowed, UssdTimeout
from firmware_bridge.ussd import UssdAnswer, UssdState


class FakeModem:
    """Says what it is told to; `dialled` is what was asked of it."""

    def __init__(self, name: str = "modem0") -> None:
        self.name = name
        self.dialled: list[tuple[str, ...]] = []
        self.allowed_any: list[bool] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def ussd(self, code: str, *replies: str, any_code: bool = False) -> tuple[UssdAnswer, ...]:
        self.dialled.append((code, *replies))
        self.allowed_any.append(any_code)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return (
            UssdAnswer(UssdState.REPLY_WANTED, "1 Data\n2 Voice", "+CUSD: 1"),
            UssdAnswer(UssdState.DONE, "ሂሳብዎ 7.50 ብር ነው", "+CUSD: 0"),
        )


def connect(office: Any, *modems: Any) -> None:
    office.gateway.dial = Dialler(modems).dial


async def test_ussd_is_dialled_and_every_answer_given(office: Any) -> None:
    modem = FakeModem()
    connect(office, modem)
    _, key = await office.client("acme")
    status, body = await office.call("POST", "/v1/ussd", key, json={"code": "*999#", "replies": ["2"]})
    assert status == 200
    assert body == {
        "modem": "modem0",
        "answers": [
            {"state": "reply_wanted", "text": "1 Data\n2 Voice"},
            {"state": "done", "text": "ሂሳብዎ 7.50 ብር ነው"},
        ],
    }
    assert modem.dialled == [("*999#", "2")]
    assert modem.allowed_any == [False]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UssdNotAllowed("*805# is not on this modem's list"), 403, "code-not-allowed"),
        (NotReady("modem0: parked, SIM wants PUK"), 503, "modem-not-ready"),
        (PortLost("/dev/modem0: hung up"), 502, "modem-lost"),
        (UssdTimeout("the network did not answer *804# in 40 s"), 504, "ussd-timeout"),
        (UssdError("the modem refused *804#: ERROR"), 502, "ussd-refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
async def test_ussd_that_fails_is_a_problem_that_says_why(
    office: Any, error: Exception, status: int, code: str
) -> None:
    modem = FakeModem()
    modem.error = error
    connect(office, modem)
    _, key = await office.client("acme")
    found, body = await office.call("POST", "/v1/ussd", key, json={"code": "*804#"})
    assert (found, body["type"]) == (status, f"urn:outpost:problem:{code}")
    assert str(error).split(": ")[-1].split(";")[0] in body["detail"]


async def test_ussd_needs_the_scope_admin(office: Any) -> None:
    modem = FakeModem()
    connect(office, modem)
    _, key = await office.client("acme", scopes="send read")
    status, body = await office.call("POST", "/v1/ussd", key, json={"code": "*804#"})
    assert (status, body["type"]) == (403, "urn:outpost:problem:scope")
    assert modem.dialled == []


@pytest.mark.parametrize(
    "code", ['*804#"\r\nAT+CMGD=1,4', "*804#\n", "*804#;+CMGD=1", "", "é", "*" * 65, "*804#\x1a"]
)
async def test_ussd_code_that_is_none_is_refused_before_any_modem(office: Any, code: str) -> None:
    modem = FakeModem()
    connect(office, modem)
    _, key = await office.client("acme")
    status, body = await office.call("POST", "/v1/ussd", key, json={"code": code})
    assert status == 400
    assert body["errors"][0]["where"] == "$.code"
    assert modem.dialled == []


async def test_ussd_with_several_modems_wants_a_name_that_is_known(office: Any) -> None:
    one, two = FakeModem("one"), FakeModem("two")
    connect(office, one, two)
    _, key = await office.client("acme")
    status, body = await office.call("POST", "/v1/ussd", key, json={"code": "*804#"})
    assert (status, body["type"]) == (409, "urn:outpost:problem:which-modem")
    assert "one, two" in body["detail"]
    status, body = await office.call("POST", "/v1/ussd", key, json={"code": "*804#", "modem": "three"})
    assert (status, body["type"]) == (404, "urn:outpost:problem:no-such-modem")
    status, _ = await office.call("POST", "/v1/ussd", key, json={"code": "*804#", "modem": "two"})
    assert status == 200
    assert (one.dialled, two.dialled) == ([], [("*804#",)])


async def test_ussd_on_a_box_without_modems_is_404(office: Any) -> None:
    _, key = await office.client("acme")
    status, _ = await office.call("POST", "/v1/ussd", key, json={"code": "*804#"})
    assert status == 404


async def test_ussd_second_dialogue_on_a_modem_is_told_to_come_back(office: Any) -> None:
    modem, other = FakeModem("one"), FakeModem("two")
    modem.open.clear()
    connect(office, modem, other)
    _, key = await office.client("acme")
    dial = {"code": "*804#", "modem": "one"}
    first = asyncio.create_task(office.call("POST", "/v1/ussd", key, json=dial))
    while not modem.dialled:
        await asyncio.sleep(0)
    async with office.http.post("/v1/ussd", json=dial, headers={"Authorization": f"Bearer {key}"}) as answer:
        assert answer.status == 409
        assert int(answer.headers["Retry-After"]) > 0
    assert (await office.call("POST", "/v1/ussd", key, json={**dial, "modem": "two"}))[0] == 200
    modem.open.set()
    assert (await first)[0] == 200
    assert (await office.call("POST", "/v1/ussd", key, json=dial))[0] == 200
