"""Messages that were set aside: shown with the cause, and given another turn from our own page only."""

from __future__ import annotations

from typing import Any

AT_MS = 1_794_999_000_000
ROW = (
    "INSERT INTO inbound (channel, sender, text, received_at_ms, state, reason, attempts, handled_at_ms)"
    " VALUES ('modem:one', '+251911234567', 'crash <me>', ?, 'set_aside', 'the app raised KeyError', 2, ?)"
    " RETURNING id"
)


def set_aside(bench: Any) -> int:
    return int(bench.store.db.execute(ROW, (AT_MS, AT_MS)).fetchone()[0])


def state_of(bench: Any, number: int) -> tuple[str, int]:
    found: tuple[str, int] = bench.store.db.execute(
        "SELECT state, attempts FROM inbound WHERE id = ?", (number,)
    ).fetchone()
    return found


async def test_aside_is_shown_with_its_cause(bench: Any) -> None:
    assert "Nothing is set aside" in await (await bench.client.get("/aside")).text()
    set_aside(bench)
    html = await (await bench.client.get("/aside")).text()
    assert "crash &lt;me&gt;" in html and "the app raised KeyError" in html


async def test_aside_again_owes_the_message_a_turn_once_and_is_written_down(bench: Any) -> None:
    number = set_aside(bench)
    answer = await bench.client.post(f"/messages/in/{number}/again", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, f"/messages/in/{number}")
    assert state_of(bench, number) == ("accepted", 0)
    assert bench.store.db.execute("SELECT action, what FROM audit").fetchall() == [
        ("message.again", f"in {number}")
    ]
    assert (await bench.client.post(f"/messages/in/{number}/again")).status == 409


async def test_aside_again_from_another_site_is_refused(bench: Any) -> None:
    number = set_aside(bench)
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    answer = await bench.client.post(f"/messages/in/{number}/again", headers=headers)
    assert answer.status == 403
    assert state_of(bench, number) == ("set_aside", 2)
