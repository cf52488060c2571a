"""The inbox of questions: shown, answered once, and only from our own page."""

from __future__ import annotations

from typing import Any

ASKED_MS = 1_794_999_000_000


def asked(bench: Any, words: str = "Do you carry <goats>?") -> int:
    row = bench.store.db.execute(
        "INSERT INTO question (asker, language, words, asked_ms) VALUES ('+251911234567', 'en', ?, ?)"
        " RETURNING id",
        (words, ASKED_MS),
    ).fetchone()
    return int(row[0])


def outbound(bench: Any) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = bench.store.db.execute(
        "SELECT recipient, text, lane FROM outbound"
    ).fetchall()
    return found


async def test_questions_are_shown_and_counted_on_the_front_page(bench: Any) -> None:
    assert "Nobody waits for an answer" in await (await bench.client.get("/questions")).text()
    asked(bench)
    html = await (await bench.client.get("/questions")).text()
    assert "Do you carry &lt;goats&gt;?" in html
    assert "1 question for a person" in await (await bench.client.get("/")).text()


async def test_answer_goes_out_as_sms_and_the_question_is_gone(bench: Any) -> None:
    number = asked(bench)
    answer = await bench.client.post(
        f"/questions/{number}", data={"answer": "Yes,\r\non the roof"}, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/questions")
    assert outbound(bench) == [("+251911234567", "Yes,\non the roof", "reply")]
    assert "Nobody waits" in await (await bench.client.get("/questions")).text()
    again = await bench.client.post(f"/questions/{number}", data={"answer": "No"})
    assert again.status == 409
    assert len(outbound(bench)) == 1


async def test_answer_ticked_to_be_kept_becomes_knowledge(bench: Any) -> None:
    await bench.client.post(f"/questions/{asked(bench)}", data={"answer": "Yes", "learn": "yes"})
    kept = bench.store.db.execute("SELECT answer FROM knowledge WHERE source = 'operator'").fetchall()
    assert kept == [("Yes",)]


async def test_answer_empty_or_too_long_is_400_and_nothing_goes_out(bench: Any) -> None:
    number = asked(bench)
    for text in ("", "   ", "x" * 700):
        answer = await bench.client.post(f"/questions/{number}", data={"answer": text})
        assert answer.status == 400
        assert "1 to 4 SMS" in await answer.text()
    assert outbound(bench) == []


async def test_answer_sent_by_another_sites_page_is_403(bench: Any) -> None:
    number = asked(bench)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await bench.client.post(f"/questions/{number}", data={"answer": "x"}, headers=headers)
        assert answer.status == 403
    elsewhere = {"X-Forwarded-For": "192.0.2.7"}
    assert (await bench.client.get("/questions", headers=elsewhere)).status == 403
    assert outbound(bench) == []
