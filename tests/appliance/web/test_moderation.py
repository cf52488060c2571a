"""The chat's pages: both sides with what is known of them, bans and reports, and the trace of every look."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.console import Console
from appliance.store import chat
from appliance.store.effects import EffectContext

NOW = 1_795_000_000_000
ABEBE, SARA = "+251911111111", "+251922222222"


@pytest.fixture
def pair(bench: Any) -> int:
    """Two who talk: one text passed as it was, one masked, one refused."""
    db = bench.store.db

    def effect(name: str, who: str, **args: Any) -> None:
        getattr(chat, name)(db, EffectContext(NOW - 60_000, who, 0), args)

    mine = {"language": "en", "topic": "", "wants": ""}
    effect("wait", ABEBE, alias="Ibis21", gender="m", **mine)
    effect("pair", SARA, other=ABEBE, alias="Crane55", gender="f", **mine)
    (pair_id,) = db.execute("SELECT max(id) FROM chat_pair").fetchone()
    for number, text, passed in (
        (ABEBE, "hello <b>you</b>", "Ibis21: hello <b>you</b>"),
        (SARA, "call 0922222222", "Crane55: call ***"),
        (ABEBE, "send me airtime", ""),
    ):
        (row,) = db.execute(
            "INSERT INTO inbound (channel, sender, recipient, text, received_at_ms, state)"
            " VALUES ('http', ?, '8400', ?, ?, 'handled') RETURNING id",
            (number, text, NOW - 50_000),
        ).fetchone()
        if passed:
            db.execute(
                "INSERT INTO outbound (recipient, text, lane, in_reply_to, created_at_ms, expires_at_ms)"
                " VALUES (?, ?, 'reply', ?, ?, ?)",
                (SARA if number == ABEBE else ABEBE, passed, row, NOW - 50_000, NOW),
            )
    effect("flag", ABEBE, pair=pair_id, kind="refused", text="send me airtime")
    effect("report", SARA, pair=pair_id, words="REPORT asks for airtime")
    return int(pair_id)


def audit(bench: Any) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = bench.store.db.execute(
        "SELECT actor, action, what FROM audit ORDER BY id"
    ).fetchall()
    return rows


async def test_pair_shows_both_sides_and_the_look_is_audited(bench: Any, pair: int) -> None:
    html = await (await bench.client.get(f"/chat/{pair}")).text()
    for shown in ("Ibis21", "Crane55", "hello &lt;b&gt;you&lt;/b&gt;", "passed on as: Crane55: call ***"):
        assert shown in html
    assert html.count("not passed on") == 1 and "woman" in html
    assert audit(bench) == [("this machine", "chat.look", f"pair {pair}")]


async def test_look_is_audited_under_the_name_of_the_sign_in(bench: Any, pair: int) -> None:
    sign_in = base64.b64encode(b"hana:secret").decode()
    await bench.client.get("/chat", headers={"Authorization": f"Basic {sign_in}"})
    assert audit(bench) == [("hana", "chat.list", "1 reports, 1 flags")]
    assert "hana" in await (await bench.client.get("/chat")).text()


async def test_empty_chat_is_no_look_at_anybody(bench: Any) -> None:
    html = await (await bench.client.get("/chat")).text()
    assert "Nobody talks" in html and audit(bench) == []


async def test_report_upheld_bans_and_tells_the_partner_once(bench: Any, pair: int) -> None:
    fields = {"upheld": "yes", "hours": "24"}
    answer = await bench.client.post("/chat/reports/1", data=fields, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/chat")
    db = bench.store.db
    assert db.execute("SELECT number, banned_ms FROM chat_person WHERE banned_ms > 0").fetchall() == [
        (ABEBE, NOW + 86_400_000)
    ]
    assert db.execute("SELECT count(*) FROM chat_member").fetchone() == (0,)
    notices = db.execute("SELECT recipient, text FROM outbound WHERE in_reply_to IS NULL").fetchall()
    assert notices == [(SARA, "chat.partner_left")]
    assert [action for _, action, _ in audit(bench)] == ["chat.uphold", "chat.ban"]
    again = await bench.client.post("/chat/reports/1", data=fields)
    assert again.status == 409 and len(audit(bench)) == 2


async def test_report_rejected_bans_nobody(bench: Any, pair: int) -> None:
    await bench.client.post("/chat/reports/1", data={"upheld": "no", "hours": "24"})
    db = bench.store.db
    assert db.execute("SELECT state, decided_by FROM chat_report").fetchall() == [
        ("rejected", "this machine")
    ]
    assert db.execute("SELECT count(*) FROM chat_member").fetchone() == (2,)


async def test_ban_and_unban_by_number(bench: Any, pair: int) -> None:
    fields = {"number": "0911 11 11 11", "hours": "168", "reason": "spam", "back": "https://evil.example/"}
    answer = await bench.client.post("/chat/ban", data=fields, allow_redirects=False)
    assert answer.headers["Location"] == "/chat"
    assert "spam" in await (await bench.client.get("/chat")).text()
    await bench.client.post("/chat/unban", data={"number": ABEBE})
    assert bench.store.db.execute(
        "SELECT banned_ms FROM chat_person WHERE number = ?", (ABEBE,)
    ).fetchone() == (None,)


@pytest.mark.parametrize("fields", [{}, {"number": "x", "hours": "24"}, {"number": ABEBE, "hours": "5"}])
async def test_ban_with_wrong_fields_is_400_and_bans_nobody(bench: Any, fields: dict[str, str]) -> None:
    assert (await bench.client.post("/chat/ban", data=fields)).status == 400
    assert bench.store.db.execute("SELECT count(*) FROM chat_person").fetchone() == (0,)


async def test_end_tells_both(bench: Any, pair: int) -> None:
    await bench.client.post(f"/chat/{pair}/end")
    await bench.client.post(f"/chat/{pair}/end")
    rows = bench.store.db.execute("SELECT recipient FROM outbound WHERE in_reply_to IS NULL").fetchall()
    assert sorted(rows) == [(ABEBE,), (SARA,)]


@pytest.mark.parametrize("path", ["/chat/ban", "/chat/unban", "/chat/1/end", "/chat/reports/1"])
async def test_form_of_another_sites_page_is_403(bench: Any, pair: int, path: str) -> None:
    answer = await bench.client.post(path, headers={"Origin": "http://evil.example"})
    assert answer.status == 403 and audit(bench) == []


async def test_pages_are_shown_to_nobody_elsewhere(bench: Any, pair: int) -> None:
    for path in ("/chat", f"/chat/{pair}", "/assistant"):
        assert (await bench.client.get(path, headers={"X-Forwarded-For": "192.0.2.7"})).status == 403
    assert audit(bench) == []


async def test_chat_texts_are_hidden_on_the_other_pages(bench: Any, pair: int) -> None:
    for path in ("/", f"/people/{ABEBE}", "/messages/in/1", "/messages/out/1"):
        html = await (await bench.client.get(path)).text()
        assert "hello &lt;b&gt;" not in html and "call ***" not in html, path
        assert f"/chat/{pair}" in html or "in the chat" in html, path


async def test_no_such_pair_is_404(bench: Any) -> None:
    assert (await bench.client.get("/chat/77")).status == 404


async def test_trace_hides_what_strangers_say_to_each_other(bench: Any, pair: int) -> None:
    console = Console(
        store=bench.store,
        outbound=cast("Any", SimpleNamespace(held=lambda lane: None)),
        modems=(),
        dialler=cast("Any", None),
        region="ET",
        timezone_minutes=180,
        state=dict,
    )
    for what in (ABEBE, "in:1"):
        told = json.dumps(await console.handlers()["trace"]({"what": what}))
        assert f"(in the chat, pair {pair})" in told
        assert "hello" not in told and "airtime" not in told
