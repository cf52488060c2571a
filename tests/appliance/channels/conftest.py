"""What the tests of the HTTP channels share: a message to send, a session, a gate that is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from appliance.channels.channel import Outcome
from appliance.channels.http import HttpChannel, make_session
from appliance.channels.provider import Callback
from appliance.store.outbound import Claim

SendTo = Callable[..., Claim]


def claim(text: str = "Your seat is held.", to: str = "+251911234567", number: int = 7) -> Claim:
    return Claim(
        outbound_id=number,
        recipient=to,
        text=text,
        lane="normal",
        client_id=1,
        attempt=1,
        want_report=True,
        doubted=False,
        expires_at_ms=None,
        done=frozenset(),
        route="",
    )


@pytest.fixture
def make_claim() -> SendTo:
    return claim


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as opened:
        yield opened


@pytest.fixture
def send() -> Callable[..., object]:
    async def gate() -> None:
        return None

    async def send(channel: HttpChannel, message: Claim) -> Outcome:
        return await channel.send(message, 1, gate)

    return send


@pytest.fixture
def callback() -> Callable[..., Callback]:
    def make(form: dict[str, str], *, kind: str = "report", url: str = "", **headers: str) -> Callback:
        return Callback(
            kind=kind,
            method="POST",
            url=url,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            form=tuple(form.items()),
            fields=form,
        )

    return make
