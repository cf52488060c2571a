from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from appliance.web import make_app


def form(name: str, data: bytes) -> FormData:
    fields = FormData()
    fields.add_field("file", data, filename=name, content_type="text/csv")
    return fields


async def test_file_brought_is_knowledge_and_stands_in_the_audit_log(bench: Any) -> None:
    answer = await bench.client.post(
        "/assistant/knowledge", data=form("en.csv", b"question,answer\nToilet?,Yes\n"), allow_redirects=False
    )
    assert answer.status == 303
    html = await (await bench.client.get("/assistant")).text()
    assert "Toilet?" in html and "import:en.csv" in html and "No model is configured" in html
    assert bench.store.db.execute("SELECT action, what FROM audit").fetchall() == [
        ("knowledge.bring", "en.csv: 1 new or changed, 0 gone")
    ]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("en.csv", b"q,a\n", "want the columns question,answer"),
        ("notes.txt", b"hello", "want a name such as en.csv"),
        ("en.md", b"\xff\xfe", "not UTF-8"),
        ("en.csv", b"question,answer\nA?,\n", "line 2: a question or an answer is empty"),
    ],
)
async def test_file_with_mistakes_is_400_and_changes_nothing(
    bench: Any, name: str, data: bytes, told: str
) -> None:
    answer = await bench.client.post("/assistant/knowledge", data=form(name, data))
    assert answer.status == 400 and told in await answer.text()
    assert bench.store.db.execute("SELECT count(*) FROM knowledge").fetchone() == (0,)


async def test_entry_is_removed_once(bench: Any) -> None:
    await bench.client.post("/assistant/knowledge", data=form("en.csv", b"question,answer\nA?,B\n"))
    (entry,) = bench.store.db.execute("SELECT id FROM knowledge").fetchone()
    assert (await bench.client.post(f"/assistant/knowledge/{entry}/remove")).status == 200
    assert (await bench.client.post(f"/assistant/knowledge/{entry}/remove")).status == 404
    assert bench.store.db.execute("SELECT count(*) FROM knowledge_search").fetchone() == (0,)


async def test_endpoint_and_breaker_are_shown(bench: Any) -> None:
    model = {
        "endpoint": "http://127.0.0.1:11434/v1", "model": "llama", "kind": "openai", "has_key": False,
        "asking": 2,
        "breaker": {"state": "open", "reason": "HTTP 500 thrice", "retry_in_s": 12.0, "history": []},
    }  # fmt: skip
    services = dataclasses.replace(bench.services, model=lambda: model)
    client: TestClient[web.Request, web.Application] = TestClient(TestServer(make_app(services)))
    await client.start_server()
    try:
        html = await (await client.get("/assistant")).text()
    finally:
        await client.close()
    assert "HTTP 500 thrice" in html and "tried again in 12 s" in html and "rests" in html
