"""A person texts the number and is answered: through pty, disk, worker and back, and through kill -9."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sim.harness import AGENT, AGENT_PIN, Line, Network, Outpost, wait_for

ABEBE, SARA = "+251911223344", "+251922334455"


def code_in(text: str) -> str:
    found = re.search(r"\b[A-HJ-NP-Z2-9]{6}\b", text)
    assert found is not None, text
    return found[0]


def test_booking_in_english_takes_three_texts_and_is_delivered(network: Network, outpost: Outpost) -> None:
    outpost.until_modem_ready()
    abebe, agent = network.handset(ABEBE), network.handset(AGENT)
    offer = abebe.says("BOOK ADDIS HAWASSA TOMORROW 2")
    assert "Hawassa" in offer and "YES" in offer
    code = code_in(abebe.says("YES"))
    assert code in agent.says(f"PAY {code} {AGENT_PIN}")
    assert code in abebe.next()
    states = {life["state"] for life in outpost.lives(ABEBE)}
    assert states <= {"handled", "sent", "delivered"}


def test_booking_in_amharic_is_answered_in_amharic(network: Network, outpost: Outpost) -> None:
    sara = network.handset(SARA)
    offer = sara.says("ትኬት አዲስ አበባ ሀዋሳ ነገ 2")
    assert "ሀዋሳ" in offer
    held = sara.says("አዎ")
    assert code_in(held)


def test_kill_in_the_middle_of_a_booking_goes_on_after_the_start(network: Network, outpost: Outpost) -> None:
    abebe = network.handset(ABEBE)
    abebe.says("BOOK ADDIS HAWASSA TOMORROW 2")
    outpost.kill()
    abebe.send("YES")
    outpost.start()
    assert code_in(abebe.next())


def test_kill_again_and_again_answers_every_text_once(network: Network, outpost: Outpost) -> None:
    phones = [network.handset(f"+2519333000{number:02d}") for number in range(6)]
    for text in ("HELP", "MENU", "STATUS", "LANG"):
        for phone in phones:
            phone.send(text)
        if text != "LANG":
            outpost.kill()
            outpost.start()
    outpost.until_modem_ready()

    def settled() -> bool:
        handled = outpost.count("SELECT count(*) FROM inbound WHERE state = 'handled'")
        moving = outpost.count("SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')")
        return handled == 24 and moving == 0

    wait_for("every text handled and every reply out", settled)
    assert outpost.count("SELECT count(*) FROM inbound") == 24
    assert outpost.count("SELECT count(*) FROM outbound") == 24
    doubted = outpost.count("SELECT count(*) FROM outbound WHERE doubted > 0")
    received = sum(len(phone.texts()) for phone in phones)
    print(f"3 kills: 24 texts in, {received} replies arrived, {doubted} marked uncertain")
    assert 24 - doubted <= received <= 24


def test_killed_worker_is_replaced_and_the_turn_runs_once(outpost: Outpost) -> None:
    def text(number: int) -> tuple[int, int]:
        status, answer = outpost.post(
            {"from": f"+25191155{number:04d}", "to": "8400", "message": "HELP", "messageId": f"k{number}"},
            Prefer="wait=15",
        )
        return status, len(answer.get("replies", []))

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(text, number) for number in range(60)]
        for _ in range(3):
            for pid in outpost.workers():
                with contextlib.suppress(ProcessLookupError):  # it may be gone already
                    os.kill(pid, signal.SIGKILL)
        results = [answer.result() for answer in answers]
    assert results == [(200, 1)] * 60


def test_http_same_message_id_is_one_message_and_one_answer(outpost: Outpost) -> None:
    body = {"from": ABEBE, "to": "8400", "message": "HELP", "messageId": "m1"}
    first = outpost.post(body, Prefer="wait=10")
    second = outpost.post(body, Prefer="wait=10")
    assert first[0] == second[0] == 200
    assert first[1]["replies"] == second[1]["replies"]
    assert first[1]["id"] == second[1]["id"]


def test_http_reply_without_wait_goes_by_the_modem(network: Network, outpost: Outpost) -> None:
    abebe = network.handset(ABEBE)
    status, _ = outpost.post({"from": ABEBE, "to": "8400", "message": "HELP", "messageId": "x"})
    assert status == 202
    assert "BOOK" in abebe.next()


def test_send_and_trace_tell_the_whole_life(network: Network, outpost: Outpost) -> None:
    abebe = network.handset(ABEBE)
    number = outpost.ask(op="send", to=ABEBE, text="Your parcel is here.")["id"]
    assert abebe.next() == "Your parcel is here."

    def states() -> list[str]:
        (life,) = outpost.lives(f"out:{number}")
        return [step["state"] for step in life["steps"]]

    wait_for("the report", lambda: states()[-1] == "delivered")
    assert [state for state in states() if state in ("queued", "sending", "sent", "delivered")] == [
        "queued",
        "sending",
        "sent",
        "delivered",
    ]


def test_long_text_in_and_out_arrives_whole(network: Network, outpost: Outpost) -> None:
    abebe = network.handset(ABEBE)
    long = "ሰላም ለሁሉም 😀 " * 30
    outpost.ask(op="send", to=ABEBE, text=long)
    assert abebe.next() == long
    answered = "this is a long text that nobody understands, " * 8 + "is it?"
    abebe.says(answered)
    texts = [life["text"] for life in outpost.lives(ABEBE) if life["kind"] == "in"]
    assert texts == [answered]


def test_short_codes_and_names_are_kept_and_never_answered(network: Network, outpost: Outpost) -> None:
    line = Line(network.control)
    for sender in ("127", "MPESA"):
        line.ask(op="send", **{"from": sender}, to="+251911000001", text="You have received ETB 100.00")
    line.close()

    guarded = "SELECT count(*) FROM inbound WHERE state = 'guarded' AND sender IN ('127', 'MPESA')"
    wait_for("both texts", lambda: outpost.count(guarded) == 2)
    assert outpost.count("SELECT count(*) FROM outbound") == 0


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_stops_within_three_seconds(network: Network, outpost: Outpost, busy: bool) -> None:
    outpost.until_modem_ready()
    if busy:
        for number in range(20):
            outpost.ask(op="send", to=f"+2519112200{number:02d}", text="x")
    code, took = outpost.terminate()
    assert code == 0, outpost.log.read_text()[-2000:]
    assert took < 3
