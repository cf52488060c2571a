"""The digest by SMS: at each admin's pace, when there is something, with both sides of what needs a look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.chat_digest import ChatDigest
from appliance.conversation.budget import segments
from appliance.store import chat, moderation
from appliance.store.effects import EffectContext
from appliance.store.outbound import QueuedRow
from appliance.store.store import Store
from appliance.talk_settings import Chat
from appliance.trial import Trial

NOW = 1_795_000_000_000
ADMIN = "+251911000777"
MINE = {"language": "en", "topic": "", "gender": "", "wants": ""}


async def test_digest_goes_out_when_due_and_tells_both_sides(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    now_ms, offered = NOW, list[QueuedRow]()

    def offer(rows: Sequence[QueuedRow]) -> None:
        offered.extend(rows)

    digest = ChatDigest(store, Chat(digest_to=(ADMIN,), digest_minutes=60), lambda: now_ms, offer)
    assert await digest.send_due() == 0  # nothing happened: only the time is noted

    def talk(db: object) -> None:
        for number in range(6):
            one, two = f"+2519111111{number:02}", f"+2519222222{number:02}"
            chat.wait(db, EffectContext(NOW + 1, one, 0), {"alias": f"Ibis{number}", **MINE})  # type: ignore[arg-type]
            ctx = EffectContext(NOW + 2, two, 0)
            chat.pair(db, ctx, {"other": one, "alias": f"Crane{number}", **MINE})  # type: ignore[arg-type]
            chat.report(db, ctx, {"pair": number + 1, "words": "REPORT he asks for money all the time"})  # type: ignore[arg-type]

    await store.writer.run(talk)
    now_ms = NOW + 59 * 60_000
    assert await digest.send_due() == 0
    now_ms = NOW + 61 * 60_000
    assert await digest.send_due() == 1 and len(offered) == 1
    (text,) = await store.reader.run(
        lambda db: db.execute("SELECT text FROM outbound WHERE recipient = ?", (ADMIN,)).fetchone()
    )
    print(text)
    assert text.startswith("Chat: 6 new pairs, 6 active, 6 open reports, 0 flagged texts.")
    assert "#6 Ibis5 +251911111105 1r 0f / Crane5 +251922222205 0r 0f: REPORT he asks" in text
    assert segments(text) <= 3
    assert (await store.reader.run(moderation.looks))[0].action == "chat.digest"
    assert await digest.send_due() == 0
    await store.close()


@pytest.fixture
def box() -> Trial:
    return Trial({"conversation": {"apps": ["chat", "assistant"]}}, now_ms=NOW)


def test_view_shows_what_was_said_to_the_other_and_nothing_else(box: Trial) -> None:
    """Texts to the box, or to another conversation while the pair lasts, are not the partner's to have."""
    box.text("+251911111111", "CHAT")
    box.text("+251922222222", "CHAT")
    box.db.execute(
        "INSERT INTO inbound (id, channel, sender, recipient, text, received_at_ms, state)"
        " VALUES (9, 'http', '+251911111111', '', 'my secret question', ?, 'handled')",
        (NOW + 10,),
    )
    box.db.execute(
        "INSERT INTO outbound (recipient, text, lane, in_reply_to, created_at_ms, expires_at_ms)"
        " VALUES ('+251911111111', 'an answer', 'reply', 9, ?, ?)",
        (NOW + 10, NOW + 99_999),
    )
    view = moderation.view(box.db, 1)
    assert view is not None and len(view.sides) == 2 and view.talk == ()
    shown = moderation.recent_without_chats(box.db, 9)
    assert {row.text for row in shown} == {"my secret question", "an answer"}
    box.close()
