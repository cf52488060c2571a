"""One message by hand from the page."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.message import Lane, Outbound


@pytest.fixture
def sent(bench: Any) -> list[Outbound]:
    taken: list[Outbound] = []

    async def send(message: Outbound) -> int:
        taken.append(message)
        return 7

    bench.services.send = send
    return taken


async def test_send_queues_the_message_and_shows_its_life(bench: Any, sent: list[Outbound]) -> None:
    assert "Send one" in await (await bench.client.get("/")).text()
    assert (await bench.client.get("/send")).status == 200
    form = {"to": "0911 23 45 67", "text": "Is anybody\r\nthere?"}
    answer = await bench.client.post("/send", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/messages/out/7")
    assert sent == [Outbound(recipient="+251911234567", text="Is anybody\nthere?", lane=Lane.NORMAL)]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"to": "911", "text": "x"}, "not a mobile number"),
        ({"to": "0911234567", "text": " "}, "1 to 4 SMS"),
        ({"to": "0911234567", "text": "ሰ" * 300}, "1 to 4 SMS"),
        ({}, "not a mobile number"),
    ],
)
async def test_send_wrong_form_is_shown_again_with_what_was_typed(
    bench: Any, sent: list[Outbound], form: dict[str, str], words: str
) -> None:
    answer = await bench.client.post("/send", data=form)
    html = await answer.text()
    assert answer.status == 400
    assert words in html
    assert form.get("to", "") in html
    assert sent == []


async def test_send_from_another_site_or_elsewhere_is_403(bench: Any, sent: list[Outbound]) -> None:
    form = {"to": "0911234567", "text": "x"}
    for headers in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "192.0.2.7"}):
        assert (await bench.client.post("/send", data=form, headers=headers)).status == 403
    assert sent == []


async def test_send_is_not_offered_where_nothing_can_be_sent(bench: Any) -> None:
    assert "Send one" not in await (await bench.client.get("/")).text()
    assert (await bench.client.get("/send")).status == 404
    answer = await bench.client.post("/send", data={"to": "0911234567", "text": "x"})
    assert answer.status == 404
