from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable

import pytest

from appliance.apps.chat.wishes import Wishes, read_wishes
from appliance.conversation.budget import segments
from appliance.conversation.text import words
from appliance.conversation.wordlists import load_words
from appliance.store.moderation import ban
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


def test_number_told_in_pieces_is_masked_from_the_second_piece_on(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    said = [
        box.text(ABEBE, text)[0].text.partition(": ")[2] for text in ("0911", "2233", "44", "ok?", "hm 5")
    ]
    assert said == ["0911", "***", "***", "ok?", "hm 5"]


def test_number_passes_once_both_said_share_and_not_before(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    box.text(ABEBE, "SHARE")
    assert "***" in box.text(ABEBE, "0911223344")[0].text
    box.text(SARA, "SHARE")
    assert box.text(ABEBE, "0911223344")[0].text.endswith(": 0911223344")
    box.text(SARA, "NEXT")
    box.text(ABEBE, "CHAT")
    box.text(HANA, "CHAT")
    assert "***" in box.text(HANA, "call 0933333333")[-1].text


def test_refused_words_are_not_passed_on_and_the_admins_see_them(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    (reply,) = box.text(ABEBE, "please S3nd  me AIRTIME now")
    assert reply.to is None and reply.text.startswith("That text was not passed on")
    (reply,) = box.text(ABEBE, "you Fuuuck")
    assert reply.to == SARA and reply.text.endswith("you ***")
    assert box.db.execute("SELECT number, kind, text FROM chat_flag").fetchall() == [
        (ABEBE, "refused", "please S3nd  me AIRTIME now"),
        (ABEBE, "masked", "you Fuuuck"),
    ]


def test_amharic_words_are_found_in_every_spelling(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    assert box.text(ABEBE, "ካርድ  ላክልኝ")[0].to is None


@pytest.mark.parametrize(
    ("text", "wishes"),
    [
        ("football", Wishes("fotbal")),
        ("about football please", Wishes("fotbal")),
        ("f", Wishes(wants="f")),
        ("with a girl", Wishes(wants="f")),
        ("m f", Wishes(gender="m", wants="f")),
        ("me m for f", Wishes(gender="m", wants="f")),
        ("i am a woman", Wishes(gender="f")),
        ("me f want m music", Wishes("music", "f", "m")),
        ("ሴት", Wishes(wants="f")),
        ("እኔ ወንድ ነኝ", Wishes(gender="m")),
        ("", Wishes()),
    ],
)
def test_read_wishes_takes_topic_and_genders(text: str, wishes: Wishes) -> None:
    assert read_wishes(words(text), load_words()) == wishes


def test_gender_asked_for_is_held_on_both_sides(box: Trial) -> None:
    box.text(ABEBE, "CHAT ME M FOR F")
    box.text(HANA, "CHAT")  # did not say who she is: Abebe's wish is not met
    assert box.sessions[HANA].state == "WAITING"
    replies = box.text(SARA, "CHAT ME F")
    assert [reply.to for reply in replies] == [None, ABEBE]


def test_who_waited_longest_is_matched_first(box: Trial) -> None:
    box.text(ABEBE, "CHAT music")
    box.now_ms += 1000
    box.text(HANA, "CHAT football")
    box.now_ms += 1000
    assert [reply.to for reply in box.text(SARA, "CHAT")] == [None, ABEBE]


def test_next_while_waiting_keeps_the_place(box: Trial) -> None:
    box.text(ABEBE, "CHAT music")
    box.now_ms += 1000
    box.text(HANA, "CHAT football")
    box.now_ms += 1000
    box.text(ABEBE, "NEXT")
    assert [reply.to for reply in box.text(SARA, "CHAT")] == [None, ABEBE]


def test_who_waits_too_long_is_told_and_matched_with_nobody_later(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    said = box.pass_time(box.now_ms + 61 * 60_000)
    assert [reply.text for _, reply in said] == [
        "There was nobody for you this time. Text CHAT to try again."
    ]
    box.text(SARA, "CHAT")
    assert box.sessions[SARA].state == "WAITING"


def test_end_that_crosses_the_end_leaves_the_chat_and_not_the_box(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    box.text(SARA, "END")
    assert box.text(ABEBE, "END")[0].text == "You left the chat."
    assert not box.sessions[ABEBE].opted_out
    assert box.text(ABEBE, "END")[0].text.startswith("You will get no more messages")


def test_leaving_who_was_matched_in_that_moment_tells_the_partner(
    box: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.text(ABEBE, "CHAT")
    look = box.looks["chat"]
    before, real = look.standing(ABEBE, box.now_ms), look.standing
    box.text(SARA, "CHAT")
    seen = iter([before])
    monkeypatch.setattr(look, "standing", lambda *args: next(seen, None) or real(*args))
    replies = box.text(ABEBE, "END")
    assert [(reply.to, reply.text) for reply in replies] == [
        (SARA, "Your partner left. CHAT finds somebody else."),
        (None, "You left the chat."),
    ]
    check_pairs(box.db)


def test_texts_of_a_day_are_limited_and_come_back_the_next(make_trial: Callable[..., Trial]) -> None:
    box = make_trial({"conversation": {"apps": ["chat"]}, "chat": {"texts_per_day": 2, "idle_minutes": 1440}})
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    assert [box.text(ABEBE, text)[0].to for text in ("one", "two", "three")] == [SARA, SARA, None]
    box.now_ms += 15 * 3_600_000  # past midnight
    assert box.text(ABEBE, "four")[0].to == SARA


def test_long_text_costs_three_sms_at_most(box: Trial) -> None:
    box.text(ABEBE, "CHAT")
    box.text(SARA, "CHAT")
    for text in ("word " * 200, "ቃል " * 200):
        assert segments(box.text(ABEBE, text)[-1].text) == 3


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
