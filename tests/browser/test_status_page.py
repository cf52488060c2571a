"""The page in a real browser: it shows, it lives, and its strict policy is never violated."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from aiohttp.test_utils import TestClient, TestServer

from appliance.web import Services, WebSettings, make_app

pytestmark = pytest.mark.browser

SMS = {"from": "+251911234567", "message": "ነገ ከአዲስ አበባ ሐዋሳ 2", "messageId": "b-1"}


def _fakes() -> ModuleType:
    """The stand-ins that the page's own tests use."""
    path = Path(__file__).parents[1] / "appliance" / "web" / "conftest.py"
    spec = importlib.util.spec_from_file_location("web_fakes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Site(NamedTuple):
    client: TestClient[Any, Any]
    store: Any

    def url(self, path: str) -> str:
        return str(self.client.make_url(path))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    fakes = _fakes()
    store = fakes.MemoryStore()
    services = Services(
        store=store,
        dispatcher=fakes.RuleDispatcher(store),
        settings=WebSettings(data_dir=tmp_path),
        modems=lambda: [fakes.Health()],
    )
    async with TestClient(TestServer(make_app(services))) as client:
        yield Site(client, store)
    store.db.close()


async def test_page_in_chromium_shows_messages_as_they_come_without_a_policy_violation(
    site: Site, tab: Any
) -> None:
    await tab.go(site.url("/"))
    assert "+251 911 000 001" in await tab.ask("document.querySelector('.number').innerText")
    await tab.until("document.getElementById('link').dataset.state === 'on'")
    assert await tab.ask("getComputedStyle(document.querySelector('.card')).borderTopStyle") == "solid"

    await site.client.post("/api/sms/incoming", json=SMS)
    await tab.until("document.getElementById('m-in-1')?.dataset.state === 'accepted'")
    assert SMS["message"] in await tab.ask("document.getElementById('m-in-1').innerText")

    # the state changes under the reader's focus, which stays where it is
    await tab.ask("document.querySelector('#m-in-1 a').focus()")
    site.store.db.execute("UPDATE inbound SET state = 'handled', handled_at_ms = received_at_ms WHERE id = 1")
    site.store.feed.publish({"kind": "in", "id": 1, "state": "handled"})
    await tab.until("document.getElementById('m-in-1').dataset.state === 'handled'")
    assert await tab.ask("document.activeElement === document.querySelector('#m-in-1 a')")

    await tab.go(site.url("/messages/in/1"))
    assert "The life of a message" in await tab.ask("document.body.innerText")
    assert tab.complaints == []


async def test_page_in_chromium_fits_a_phone_and_is_labelled(site: Site, tab: Any) -> None:
    await site.client.post("/api/sms/incoming", json=SMS | {"message": "x" * 300})
    await tab.call(
        "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True
    )
    for path in ("/", "/messages/in/1", "/people/+251911234567"):
        await tab.go(site.url(path))
        assert await tab.ask("document.documentElement.scrollWidth") <= 360, path
    await tab.go(site.url("/"))
    unnamed = await tab.ask(
        "[...document.querySelectorAll('section')].filter((section) =>"
        " !document.getElementById(section.getAttribute('aria-labelledby'))?.innerText).length"
    )
    assert unnamed == 0
    assert await tab.ask("document.querySelector('[aria-live=polite]') !== null")
    assert await tab.ask("document.documentElement.lang") == "en"


async def test_page_in_chromium_refuses_a_script_that_got_into_it(site: Site, tab: Any) -> None:
    """The check above can see a violation: one made on purpose is reported."""
    await tab.go(site.url("/"))
    await tab.ask("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')")
    await tab.ask("new Promise((done) => setTimeout(done, 50))")
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)


async def test_life_page_in_chromium_shows_the_next_state_by_itself(site: Site, tab: Any) -> None:
    await site.client.post("/api/sms/incoming", json=SMS)
    await tab.go(site.url("/messages/in/1"))
    assert "No answer yet" in await tab.ask("document.body.innerText")
    site.store.db.execute("UPDATE inbound SET state = 'handled', handled_at_ms = received_at_ms WHERE id = 1")
    await tab.until("document.body.innerText.includes('there was nothing to say')")
    assert tab.complaints == []
