"""Whatever arrives, something sensible goes back: no text makes a conversation raise, in any state."""

from __future__ import annotations

import random
from collections.abc import Callable

from appliance.conversation.budget import segments
from appliance.trial import AGENT, Trial

PIECES = (
    "BOOK", "addis", "hawassa", "tomorrow", "2", "12-05", "99/99", "0", "31.2.2026", "YES", "NO",
    "MORE", "CANCEL", "STATUS", "CHECK", "PAY", "AB3D5F", "menu", "LANG", "am", "xx", "ነገ", "ከአዲስ",
    "ወደ", "ሀዋሳ", "፲፪", "፻", "፼፼", "ሰው", "እሺ", "25", "25th", "nov", "29 feb", "next week", "6:30",
    "25:61", "12 ሰዓት", "'", '"', "{}", "{n|a|b}", "%s", "\x00", "\u200f", "😀", "ß", "İ", "ﬁ",
    "a" * 300, "ሀ" * 200, "-1", "1e9", "99999999999999999999", "٣", "CHAT", "NEXT", "SHARE", "REPORT",
    "ASK", "?", "WAIT", "REFUND", "EXIT", "stop", "START", "debre", "Debre Zeit", "fri",
    "me and my wife", "DKM1FHSD4J", "\n", "\t", "  ", "MATCH", "NEAR(", "*", "--", ";", "(", "[", "\\",
    "^", "|", "€",
)  # fmt: skip
PEOPLE = ("+251911111111", "+251922222222", AGENT, "127", "MPESA", "8400")


def test_random_talk_never_raises_in_any_state(make_trial: Callable[..., Trial]) -> None:
    chance = random.Random(20261122)
    settings = {
        "conversation": {
            "apps": ["booking", "chat", "assistant"],
            "languages": ["en", "am", "om", "ti", "fr", "sw"],
        },
        "payments": {"agents": [AGENT], "wallets": ["telebirr", "mpesa"]},
    }
    box = make_trial(settings, seats_per_bus=2)
    said = 0
    for number in range(3000):
        person = chance.choice(PEOPLE)
        text = chance.choice((" ", "", ", ")).join(chance.choices(PIECES, k=chance.randrange(1, 6)))
        if chance.random() < 0.2:
            text = "".join(chr(chance.randrange(32, 0x1400)) for _ in range(chance.randrange(40)))
        replies = box.text(person, text, channel="modem:m0")
        said += len(replies)
        for reply in replies:
            assert reply.text and segments(reply.text) <= 10
            assert person.startswith("+") or reply.to not in (None, person)
        if number % 40 == 0:
            box.pass_time(box.now_ms + chance.randrange(3_600_000))
    assert said > 1000
    taken, most = box.db.execute(
        "SELECT count(*), max(seats) FROM (SELECT count(*) AS seats FROM seat GROUP BY departure_id)"
    ).fetchone()
    assert taken == 0 or most <= 2
