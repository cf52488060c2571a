from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable

import pytest

from appliance.apps.chat.masking import mask
from appliance.store.chat import ban
from appliance.trial import Trial

ABEBE, SARA, HANA = "+251911111111", "+251922222222", "+251933333333"


@pytest.fixture
def box(make_trial: Callable[..., Trial]) -> Trial:
    return make_trial({"conversation": {"apps": ["booking", "chat"]}})


def check_pairs(db: sqlite3.Connection) -> None:
    """Nobody in two pairs, nobody in half a pair, nobody waiting while in one."""
    odd = db.execute(
        "SELECT pair_id FROM chat_member GROUP BY pair_id HAVING count(*) <> 2"
        " UNION SELECT id FROM chat_pair WHERE ended_ms IS NULL"
        " AND id NOT IN (SELECT pair_id FROM chat_member)"
    ).fetchall()
    assert odd == []
    both = db.execute(
        "SELECT number FROM chat_member JOIN chat_person USING (number) WHERE waiting_ms IS NOT NULL"
    ).fetchall()
    assert both == []


def test_blocked_and_reported_partners_never_meet_again(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    box.text(SARA, "REPORT bad words")
    assert box.db.execute("SELECT reporter, reported, words FROM chat_report").fetchall() == [
        (SARA, ABEBE, "REPORT bad words")
    ]
    for _ in range(3):
        box.text(ABEBE, "CHAT")
        box.text(SARA, "CHAT")
        assert box.db.execute("SELECT count(*) FROM chat_member").fetchone() == (0,)


def test_different_languages_are_not_matched(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(HANA, "LANG AM")
    box.text(HANA, "CHAT")
    assert box.sessions[HANA].state == "WAITING"


def test_topic_is_matched_with_the_same_or_none(box: Trial) -> None:
    box.text(ABEBE, "CHAT football")
    box.text(SARA, "CHAT music")
    assert box.db.execute("SELECT count(*) FROM chat_member").fetchone() == (0,)
    replies = box.text(HANA, "CHAT Football")
    assert [reply.to for reply in replies] == [None, ABEBE]


def test_idle_pair_ends_and_both_are_told(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    said = box.pass_time(box.now_ms + 31 * 60_000)
    told = {reply.to or sender for sender, reply in said if "nobody wrote" in reply.text}
    assert told == {ABEBE, SARA}
    check_pairs(box.db)


def test_banned_person_is_kept_out_and_leaves_the_pair(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    ban(box.db, ABEBE, box.now_ms + 3_600_000, "spam", box.now_ms)
    assert box.text(ABEBE, "hello?")[0].to is None
    assert box.text(ABEBE, "CHAT")[0].text == "You cannot chat for now."
    box.now_ms += 3_600_000
    assert "You cannot" not in box.text(ABEBE, "CHAT")[0].text


def test_daily_limit_ends_the_day(make_trial: Callable[..., Trial]) -> None:
    box = make_trial({"conversation": {"apps": ["chat"]}, "chat": {"chats_per_day": 1}})
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    box.text(SARA, "END")
    assert box.text(SARA, "CHAT")[0].text.startswith("That was the last chat")


def test_number_never_reaches_the_partner(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    for text in ("0911 11 11 11", "+251-911-111111", "my no is 0.9.1.1.1.1.1.1.1.1", "hi"):
        for reply in box.text(ABEBE, text):
            assert reply.to == SARA
            assert "911" not in reply.text and "11.1" not in reply.text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 0911223344 now", "call *** now"),
        ("+251 911 22 33 44", "***"),
        ("09-11-22-33-44", "***"),
        ("٠٩١١٢٢٣٣٤٤", "***"),
        ("see t.me/abc and www.x.y", "see *** and ***"),
        ("me@mail.com", "***"),
        ("@my_name here", "*** here"),
        ("nine one one two two three three", "***"),
        ("I paid 1,250.00 birr on 12/05/2026", "I paid 1,250.00 birr on 12/05/2026"),
        ("at 10:30 with 3 friends", "at 10:30 with 3 friends"),
    ],
)
def test_mask_takes_out_what_leads_to_a_person(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_random_turns_with_crashes_keep_every_pair_whole(make_trial: Callable[..., Trial]) -> None:
    box = make_trial({"conversation": {"apps": ["booking", "chat"]}, "chat": {"chats_per_day": 10_000}})
    chance = random.Random(7)
    people = [f"+2519{n:08}" for n in range(24)]
    texts = [
        "CHAT",
        "CHAT",
        "CHAT music",
        "NEXT",
        "END",
        "hello",
        "BLOCK",
        "SHARE",
        "MENU",
        "STOP",
        "REPORT x",
    ]
    matched = 0
    for number in range(1500):
        person = chance.choice(people)
        before = box.sessions.get(person)
        box.text(person, chance.choice(texts))
        matched += any(reply.to for reply in box.last.replies) if box.last else 0
        if chance.random() < 0.1 and before is not None:
            # The crash: the turn's session was lost, or is older than what the database holds.
            box.sessions[person] = before
        if number % 50 == 0:
            box.pass_time(box.now_ms + chance.randrange(60_000))
        check_pairs(box.db)
    assert matched > 100
    waiting = box.db.execute("SELECT count(*) FROM chat_person WHERE waiting_ms IS NOT NULL").fetchone()[0]
    for _ in range(10):
        box.pass_time(box.now_ms + 400_000)
    check_pairs(box.db)
    assert waiting <= len(people)


def test_two_who_come_in_one_moment_are_paired_by_the_store_and_told(
    box: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one's look was made before the other waited: nobody is seen, yet they are paired."""
    monkeypatch.setattr(box.looks["chat"], "candidate", lambda *args: None)
    for person in (ABEBE, SARA):
        assert box.text(person, "CHAT")[0].text.startswith("I look for somebody")
    assert box.db.execute("SELECT count(*) FROM chat_member").fetchone() == (2,)
    said = box.pass_time(box.now_ms + 5_000)
    assert {sender for sender, reply in said if reply.text.startswith("You talk with")} == {ABEBE, SARA}
    (reply,) = box.text(ABEBE, "hello")
    assert reply.to == SARA
    check_pairs(box.db)


def test_text_before_the_news_brings_both(box: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box.looks["chat"], "candidate", lambda *args: None)
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    news, relayed = box.text(ABEBE, "hello?")
    assert news.text.startswith("You talk with") and relayed.to == SARA
