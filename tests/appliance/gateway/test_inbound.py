"""Texts that come in for clients: by keyword, by the number texted, and as answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from appliance.conversation.shell import Shell
from appliance.gateway.control import client_op
from appliance.message import Inbound, InboundState
from appliance.store import inbound as inbound_ops
from appliance.store import turns, views
from appliance.store import webhooks as webhook_ops
from appliance.store.turns import Discarded, TurnWork

PERSON = "+251911000001"


@pytest.fixture
def heard(office: Any) -> Any:
    office.gateway.hear(Shell({"conversation": {"languages": ["en", "am"]}}).opts)
    return office


async def rule(office: Any, name: str, **what: Any) -> int:
    answer = await client_op(office.gateway, {"op": "client", "do": "rule", "name": name, **what})
    return int(answer["id"])


def text(office: Any, words: str, *, to: str = "+251911000900", sender: str = PERSON, **more: Any) -> Inbound:
    return Inbound(
        channel="modem", sender=sender, recipient=to, text=words, received_at_ms=office.now_ms, **more
    )


async def who(office: Any, words: str, **more: Any) -> tuple[str, str]:
    """The state that a text comes to, and the client that has it."""
    accepted = await office.store.accept(text(office, words, **more))

    def look(db: Any) -> tuple[str, str]:
        row = db.execute(
            "SELECT i.state, coalesce(c.name, '') FROM inbound i"
            " LEFT JOIN client_inbound h ON h.inbound_id = i.id"
            " LEFT JOIN client c ON c.id = h.client_id WHERE i.id = ?",
            (accepted.id,),
        ).fetchone()
        return row[0], row[1]

    return await office.store.reader.run(look)


async def events(office: Any) -> list[dict[str, Any]]:
    return await office.store.reader.run(
        lambda db: [orjson.loads(row[0]) for row in db.execute("SELECT body FROM webhook_event ORDER BY id")]
    )


async def test_text_longest_keyword_decides_whatever_the_spelling(heard: Any) -> None:
    await heard.client("acme")
    await heard.client("bolt")
    await rule(heard, "acme", keyword="vote")
    await rule(heard, "bolt", keyword="Vote Red")
    assert await who(heard, "VOTE blue") == ("handled", "acme")
    assert await who(heard, "vote red please") == ("handled", "bolt")
    assert await who(heard, "vote12") == ("handled", "acme")
    assert await who(heard, "devote") == ("accepted", "")
    assert await who(heard, "I vote") == ("accepted", "")


async def test_text_of_a_number_goes_to_its_client_before_any_keyword(heard: Any) -> None:
    await heard.client("acme")
    await heard.client("bolt")
    await rule(heard, "acme", number="0911 000 555")
    await rule(heard, "bolt", keyword="vote")
    assert await who(heard, "vote red", to="+251911000555") == ("handled", "acme")
    assert await who(heard, "vote red") == ("handled", "bolt")
    assert await who(heard, "hello") == ("accepted", "")


async def test_text_that_answers_a_clients_last_message_is_the_clients(heard: Any) -> None:
    _, key = await heard.client("acme")
    await rule(heard, "acme", replies=True)
    body = {"to": PERSON, "text": "Come at 9?", "reference": "visit 7"}
    await heard.call("POST", "/v1/messages", key, json=body, idem="1")
    assert await who(heard, "yes") == ("accepted", ""), "it has not gone out yet"
    await heard.move(1, "sending", "sent")
    assert await who(heard, "yes I will") == ("handled", "acme")
    status, page = await heard.call("GET", "/v1/inbound", key)
    assert status == 200
    shown = [(each["text"], each["in_reply_to"], each["reference"]) for each in page["messages"]]
    assert shown == [("yes I will", "out_1", "visit 7")]
    heard.now_ms += 8 * 24 * 3_600_000
    assert await who(heard, "yes a week late") == ("accepted", "")


async def test_text_after_the_boxs_own_message_answers_the_box(heard: Any) -> None:
    _, key = await heard.client("acme")
    await rule(heard, "acme", replies=True)
    await heard.call("POST", "/v1/messages", key, json={"to": PERSON, "text": "Come?"}, idem="1")
    await heard.move(1, "sending", "sent")
    work = TurnWork(0, PERSON, heard.now_ms, None, [("Which town?", "", "reply")], [])
    asked = await heard.write(turns.converse, text(heard, "book"), None, work)
    await heard.move(asked.queued[0][0], "sending", "sent")
    assert await who(heard, "Hawassa") == ("accepted", "")


@pytest.mark.parametrize("words", ["STOP", "stop please", "Unsubscribe", "START"])
async def test_stop_and_start_are_never_a_clients(heard: Any, words: str) -> None:
    await heard.client("acme")
    await rule(heard, "acme", number="+251911000900")
    assert await who(heard, words) == ("accepted", "")
    assert await who(heard, "stop the bus I want to get in") == ("handled", "acme")


async def test_text_besides_gets_its_turn_too(heard: Any) -> None:
    await heard.client("acme")
    await rule(heard, "acme", keyword="news", besides=True)
    assert await who(heard, "news") == ("accepted", "acme")


async def test_text_from_a_guarded_sender_reaches_no_client(heard: Any) -> None:
    await heard.client("acme")
    await rule(heard, "acme", keyword="vote")
    assert await who(heard, "vote", sender="8400") == ("guarded", "")


async def test_text_for_a_client_is_told_once_and_in_the_accepting_commit(heard: Any) -> None:
    client, _ = await heard.client("acme")
    await heard.write(
        webhook_ops.add_endpoint, client.id, "https://example.org/", "", webhook_ops.new_secret(), 0
    )
    await rule(heard, "acme", keyword="vote")
    message = text(heard, "vote red", natural_key="sim:1")
    crowd = [text(heard, f"vote {n}", sender=f"+25191100{n:04}") for n in range(5)]
    first = await heard.store.accept(message)
    again = await heard.store.accept(message)
    assert (again.id, again.duplicate) == (first.id, True)
    assert len(await heard.store.accept_many([message, *crowd])) == 6
    told = await events(heard)
    assert [event["type"] for event in told] == ["message.received"] * 6
    assert told[0]["data"] == {
        "id": f"in_{first.id}",
        "from": PERSON,
        "to": "+251911000900",
        "text": "vote red",
        "keyword": "vote",
        "in_reply_to": None,
        "reference": "",
        "received_at": told[0]["timestamp"],
    }


async def test_turn_of_a_text_that_is_a_clients_comes_to_nothing(heard: Any) -> None:
    await heard.client("acme")
    await rule(heard, "acme", keyword="vote")
    work = TurnWork(0, PERSON, heard.now_ms, None, [("What?", "", "reply")], [])
    done = await heard.write(turns.converse, text(heard, "vote red"), heard.store.judge_caller, work)
    assert isinstance(done, Discarded) and done.accepted.state is InboundState.GUARDED
    waiting = await heard.store.reader.run(inbound_ops.count_waiting)
    replies = await heard.store.reader.run(lambda db: db.execute("SELECT count(*) FROM outbound").fetchone())
    assert (waiting, replies) == (0, (0,))


async def test_rule_taken_away_ends_at_once_and_the_audit_has_both(heard: Any) -> None:
    await heard.client("acme")
    number = await rule(heard, "acme", keyword="vote")
    assert (await who(heard, "vote"))[1] == "acme"
    await client_op(heard.gateway, {"op": "client", "do": "unrule", "name": "acme", "rule": number})
    assert (await who(heard, "vote"))[1] == ""
    actions = await heard.store.reader.run(
        lambda db: [row[0] for row in db.execute("SELECT action FROM audit WHERE action LIKE 'rule%'")]
    )
    assert actions == ["rule.add", "rule.remove"]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({}, "or it is for replies"),
        ({"keyword": "a", "replies": True}, "or it is for replies"),
        ({"keyword": "!!!"}, "1 to 4 words"),
        ({"keyword": "one two three four five"}, "1 to 4 words"),
        ({"keyword": "Stop"}, "left alone"),
        ({"keyword": "VOTE"}, "exists already"),
        ({"number": "acme"}, "one of the box's own"),
    ],
)
async def test_rule_that_cannot_be_is_refused_with_the_reason(
    heard: Any, what: dict[str, Any], words: str
) -> None:
    await heard.client("acme")
    await rule(heard, "acme", keyword="vote")
    with pytest.raises(ValueError, match=words):
        await rule(heard, "acme", **what)


@pytest.mark.parametrize(
    ("mode", "actors"), [({}, ["modem", "us", "us"]), ({"besides": True}, ["modem", "us"])]
)
async def test_text_for_a_client_was_handled_by_no_worker(
    heard: Any, mode: dict[str, bool], actors: list[str]
) -> None:
    await heard.client("acme")
    await rule(heard, "acme", keyword="vote", **mode)
    accepted = await heard.store.accept(text(heard, "vote red"))
    life = await heard.store.reader.run(views.life_of, "in", accepted.id)
    assert life is not None and life.inbound is not None
    assert [step.actor for step in life.inbound.steps] == actors
