"""USSD from the page of a modem."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.gateway.service import Denied
from appliance.gateway.ussd import Dialled, UssdAnswer


@pytest.fixture
def dialled(bench: Any) -> list[tuple[Any, ...]]:
    taken: list[tuple[Any, ...]] = []

    async def dial(name: str | None, code: str, replies: Sequence[str] = ()) -> Dialled:
        taken.append((name, code, *replies))
        if code == "*805#":
            raise Denied(403, "code-not-allowed", "*805# is not on this modem's list")
        return Dialled(modem=name or "", answers=(UssdAnswer(state="done", text="<7.50> ብር"),))

    bench.services.gateway = SimpleNamespace(dial=dial)
    return taken


@pytest.fixture
def modem(bench: Any) -> str:
    return str(bench.services.modems()[0].name)


async def test_ussd_answer_is_shown_on_the_modems_page(bench: Any, modem: str, dialled: list[Any]) -> None:
    page = await (await bench.client.get(f"/modems/{modem}")).text()
    assert f'action="/modems/{modem}/ussd"' in page
    answer = await bench.client.post(f"/modems/{modem}/ussd", data={"code": " *804# ", "replies": "1  2"})
    html = await answer.text()
    assert answer.status == 200
    assert "&lt;7.50&gt; ብር" in html
    assert "data-again" in page
    assert "data-again" not in html  # asking again would take the answer away
    assert dialled == [(modem, "*804#", "1", "2")]


async def test_ussd_refused_code_is_said_on_the_page(bench: Any, modem: str, dialled: list[Any]) -> None:
    answer = await bench.client.post(f"/modems/{modem}/ussd", data={"code": "*805#"})
    html = await answer.text()
    assert answer.status == 403
    assert "is not on this modem&#39;s list" in html
    assert 'value="*805#"' in html


async def test_ussd_from_another_site_or_elsewhere_is_403(bench: Any, modem: str, dialled: list[Any]) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "192.0.2.7"}):
        answer = await bench.client.post(f"/modems/{modem}/ussd", data={"code": "*804#"}, headers=headers)
        assert answer.status == 403
    assert dialled == []


async def test_ussd_where_nothing_can_be_dialled_says_so(bench: Any, modem: str) -> None:
    answer = await bench.client.post(f"/modems/{modem}/ussd", data={"code": "*804#"})
    assert answer.status == 404
    assert "Nothing can be dialled" in await answer.text()
