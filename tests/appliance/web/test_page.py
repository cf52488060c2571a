"""The page, its live updates and the health addresses, on fakes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NamedTuple

import pytest

from appliance.clock import ClockState
from appliance.store.inbound import keep_undecoded
from appliance.web import box
from appliance.web.app import CONTENT_SECURITY_POLICY

SMS = {"from": "+251911234567", "message": "HELP <b>me</b>", "messageId": "p-1"}


async def test_front_shows_the_number_the_modem_and_what_to_do_first(bench: Any) -> None:
    answer = await bench.client.get("/")
    html = await answer.text()
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    for piece in (
        "+251 911 000 001",
        "Ethio telecom",
        "registered at home",
        "-77 dBm",
        "No message yet",
        "4711",
    ):
        assert piece in html, piece


async def test_front_has_no_outside_asset_no_inline_script_and_no_inline_style(bench: Any) -> None:
    await bench.client.post("/api/sms/incoming", json=SMS)
    for path in ("/", "/messages/in/1", "/people/+251911234567"):
        html = await (await bench.client.get(path)).text()
        assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)
        assert not re.search(r"\sstyle=|<style|\son\w+=", html)
        assert re.findall(r"<script[^>]*>", html) in ([], ['<script type="module" src="/static/page.js">'])


async def test_front_escapes_what_people_text(bench: Any) -> None:
    await bench.client.post("/api/sms/incoming", json=SMS)
    html = await (await bench.client.get("/")).text()
    assert "HELP &lt;b&gt;me&lt;/b&gt;" in html
    assert "<b>me" not in html


async def test_front_without_a_modem_and_workers_says_what_is_wrong(bench: Any) -> None:
    bench.modems.clear()
    bench.dispatcher.workers.clear()
    html = await (await bench.client.get("/")).text()
    assert "Needs attention" in html
    assert "No worker is ready" in html
    assert "Add a [[modem]] table" in html


async def test_life_shows_both_sides_of_the_exchange_with_their_steps(bench: Any) -> None:
    await bench.client.post("/api/sms/incoming", json=SMS)
    bench.store.db.execute(
        "INSERT INTO outbound (recipient, text, lane, in_reply_to, state, created_at_ms)"
        " VALUES ('+251911234567', 'We help', 'reply', 1, 'queued', 1795000000100)"
    )
    bench.store.db.execute(
        "INSERT INTO trace (kind, message, at_ms, state, actor, reason)"
        " VALUES ('out', 1, 1795000003000, 'refused', 'modem:gsm1', '+CMS ERROR 38')"
    )
    for path in ("/messages/in/1", "/messages/out/1"):
        html = await (await bench.client.get(path)).text()
        for piece in ("Came in", "We help", "refused", "+CMS ERROR 38", "modem:gsm1", "+2.9 s"):
            assert piece in html, piece


@pytest.mark.parametrize("path", ["/messages/in/99", "/messages/out/99", "/people/+251900000000", "/nowhere"])
async def test_page_of_nothing_is_404_in_the_form_the_caller_reads(bench: Any, path: str) -> None:
    for_people = await bench.client.get(path, headers={"Accept": "text/html,*/*"})
    assert (for_people.status, for_people.content_type) == (404, "text/html")
    for_programs = await bench.client.get(path)
    assert (for_programs.status, for_programs.content_type) == (404, "application/problem+json")


async def test_modem_page_shows_its_history_the_latest_first(bench: Any) -> None:
    class Entry(NamedTuple):
        at_ms: int
        step: str
        reason: str
        outcome: str
        took_s: float | None

    entries = [
        Entry(1_795_000_000_000, "lost", "no answer to AT", "", None),
        Entry(1_795_000_005_000, "reopen", "the port is gone", "well", 1.5),
    ]
    bench.services.modem_history = lambda name: entries if name == "gsm1" else None
    answer = await bench.client.get("/modems/gsm1")
    html = await answer.text()
    assert answer.status == 200
    assert "SIM7600E-H" in html
    assert html.index("the port is gone") < html.index("no answer to AT")
    assert (await bench.client.get("/modems/gsm9")).status == 404


async def test_modem_page_shows_the_texts_that_nobody_could_read(bench: Any) -> None:
    bench.services.modem_history = lambda name: []
    assert "nobody could read" not in await (await bench.client.get("/modems/gsm1")).text()
    await bench.services.store.writer.run(
        keep_undecoded, "modem:gsm1", "0011ZZ", "TP-UD: 9 octets announced, 2 present", 1_795_000_000_000
    )
    html = await (await bench.client.get("/modems/gsm1")).text()
    assert "0011ZZ" in html
    assert "9 octets announced" in html


async def test_front_shows_alarms_of_modems_and_a_clock_that_cannot_be_trusted(
    bench: Any, health: Any
) -> None:
    bench.modems[:] = [health(alarms=("SIM storage at 93 %",))]
    bench.services.clock_state = lambda: ClockState(False, "saved", "it is behind what this box has seen")
    html = await (await bench.client.get("/")).text()
    assert "SIM storage at 93 %" in html
    assert "The clock cannot be trusted: it is behind what this box has seen." in html
    assert "the last known time" in html


async def _parts(response: Any) -> dict[str, str]:
    async with asyncio.timeout(10):
        while True:
            line = await response.content.readline()
            if line.startswith(b"data: "):
                parts: dict[str, str] = json.loads(line[6:])
                return parts


async def test_events_send_every_part_first_then_only_what_changed(bench: Any) -> None:
    async with bench.client.get("/events") as response:
        assert response.content_type == "text/event-stream"
        assert set(await _parts(response)) == {
            "summary", "traffic", "messages", "modems", "queue", "workers", "sessions", "box",
        }  # fmt: skip
        await bench.client.post("/api/sms/incoming", json=SMS)
        changed = await _parts(response)
        assert "m-in-1" in changed["messages"]
        assert "modems" not in changed


async def test_events_end_when_the_server_stops(bench: Any) -> None:
    async with bench.client.get("/events") as response:
        await _parts(response)
        await bench.app.shutdown()
        async with asyncio.timeout(5):
            await response.content.read()


async def test_events_beyond_the_limit_of_viewers_are_503(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.web.live.MAX_VIEWERS", 1)
    async with bench.client.get("/events") as response:
        await _parts(response)
        assert (await bench.client.get("/events")).status == 503


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg"])
async def test_static_files_of_the_page_are_served(bench: Any, name: str) -> None:
    answer = await bench.client.get(f"/static/{name}")
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await bench.client.get(f"/static/{name}", headers=known)).status == 304


@pytest.mark.parametrize("name", ["..%2fapp.py", "app.py", "%252e%252e%2fapp.py"])
async def test_static_gives_nothing_else(bench: Any, name: str) -> None:
    assert (await bench.client.get(f"/static/{name}")).status == 404


async def test_healthz_is_200_and_503_when_the_writer_is_gone(bench: Any) -> None:
    assert (await bench.client.get("/healthz")).status == 200
    bench.store.writer.broken = True
    answer = await bench.client.get("/healthz")
    assert answer.status == 503
    assert (await answer.json())["writer"] == "does not answer"


async def test_readyz_names_everything_that_is_missing(bench: Any) -> None:
    assert (await bench.client.get("/readyz")).status == 200
    bench.store.reader.broken = bench.store.writer.broken = bench.dispatcher.full = True
    bench.dispatcher.workers[0]["state"] = "starting"
    answer = await bench.client.get("/readyz")
    assert answer.status == 503
    missing = (await answer.json())["missing"]
    assert [item.partition(":")[0] for item in missing] == ["store", "store", "workers", "dispatcher"]


async def test_fault_in_a_handler_is_500_without_its_insides(bench: Any, caplog: Any) -> None:
    bench.store.reader.broken = True
    answer = await bench.client.get("/")
    assert answer.status == 500
    assert "the thread is gone" not in await answer.text()
    assert "the thread is gone" in caplog.text


@pytest.mark.parametrize(
    ("dbm", "count"), [(None, 0), (-113, 0), (-109, 1), (-101, 2), (-93, 3), (-77, 4), (-73, 5), (-51, 5)]
)
def test_bars_follow_the_signal(dbm: int | None, count: int) -> None:
    assert box.bars(dbm) == count


def test_number_to_text_is_of_a_ready_modem_first(health: Any) -> None:
    first = health(state="recovering", own_number="+251911000001")
    second = health(own_number="+251911000002")
    assert box.number_to_text([first, second]) == "+251911000002"
    assert box.number_to_text([first]) == "+251911000001"
    assert box.number_to_text([health(own_number=None)]) is None


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (5_400_000, "1 h 30 min"), (172_800_000, "2 days")],
)
def test_duration_is_told_in_words(milliseconds: int, words: str) -> None:
    assert box.duration(milliseconds) == words


def test_clock_shows_the_date_when_it_is_not_today() -> None:
    noon = 1_794_992_400_000  # 18 Nov 2026 12:00 in Addis Ababa
    assert box.clock_text(noon, now_ms=noon + 1000, offset_minutes=180) == "12:00:00"
    assert box.clock_text(noon, now_ms=noon + 86_400_000, offset_minutes=180) == "18 Nov 12:00:00"


@pytest.mark.parametrize("state", ["busy", "full", "ioerr", "readonly", "corrupt", "stopped", "else"])
def test_writer_that_cannot_write_is_named_with_its_mend(bench: Any, state: str, health: Any) -> None:
    bench.store.writer.state = state
    (finding,) = box.find_faults(
        bench.services, [health()], bench.dispatcher.snapshot(), {}, box.Disk(10**12, 10**12)
    )
    assert finding.level == "bad"
    assert finding.mend


async def test_modem_whose_sim_is_set_aside_says_why_on_its_page_and_in_front(bench: Any) -> None:
    hold = "set aside: 5 messages in a row refused"
    balance = {"words": "3.20 birr", "said_at_ms": 1_795_000_000_000, "alarms": ["its bundle has ended"]}
    route = {"name": "modem:gsm1", "state": "not ready", "reason": hold, "hold": hold, "balance": balance}
    bench.services.outbound = lambda: {"lanes": [], "routes": [route]}
    html = await (await bench.client.get("/modems/gsm1")).text()
    assert all(words in html for words in (f"Sends nothing: {hold}", "3.20 birr", "its bundle has ended"))
    assert f"Modem gsm1 sends nothing: {hold}." in await (await bench.client.get("/")).text()


def test_spending_what_is_set_aside_and_workers_that_end_are_told(bench: Any, health: Any) -> None:
    state = dict(bench.dispatcher.snapshot()) | {"aside": 2, "alarm": "3 workers in a row died"}
    spent = [
        {"who": "the box", "segments": 100, "limit": 100},
        {"who": "+251911234567", "segments": 9, "limit": 9},
    ]
    found = box.find_faults(bench.services, [health()], state, {"spent": spent}, box.Disk(10**12, 10**12))
    assert [(each.level, each.what) for each in found] == [
        ("bad", "Workers end at once: 3 workers in a row died."),
        ("bad", "Spending: the box has used 100 of 100 SMS in 24 hours: the brake is on."),
        ("warn", "2 messages are set aside: their turns failed twice."),
        ("warn", "Spending: +251 911 234 567 has used 9 of 9 SMS in 24 hours: the brake is on."),
    ]
