"""A SIM that its operator stopped: parked with its reason, another takes over, nothing is lost or doubled.

The whole box against the simulator, in which one of two SIMs goes bad while messages are under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.harness import Line, Network, Outpost, wait_for

PEOPLE = [f"+2519330000{number:02d}" for number in range(12)]
UNTRIED = "SELECT count(*) FROM outbound WHERE state = 'queued' AND attempts = 0 OR state = 'sending'"
RETRY_S = 90.0  # a text that the bad SIM was refused is tried again only after a pause


class Phones:
    """Everybody's phone on one connection: what arrived, how often."""

    def __init__(self, control: Path) -> None:
        self.line = Line(control)
        for number in PEOPLE:
            self.line.ask(op="attach", number=number)

    def arrived(self) -> Counter[str]:
        self.line.poll()
        return Counter(event["text"] for event in self.line.events if event["event"] == "sms")


@pytest.fixture
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    made = Network(tmp_path_factory.mktemp("net"), "--radio", "0", "--modems", "2")
    yield made
    made.close()


@pytest.fixture
def phones(two: Network) -> Iterator[Phones]:
    made = Phones(two.control)
    yield made
    made.line.close()


@pytest.fixture
def box(tmp_path: Path, two: Network) -> Iterator[Outpost]:
    made = Outpost(tmp_path, [two.modem(0), two.modem(1)])
    made.start()
    made.until_modem_ready()
    yield made
    made.close()


def modem(box: Outpost, name: str) -> dict[str, Any]:
    (found,) = (each for each in box.ask(op="modems")["modems"] if each["name"] == name)
    return dict(found)


def send(box: Outpost, count: int, start: int) -> list[str]:
    texts = [f"notice {number}" for number in range(start, start + count)]
    for number, text in enumerate(texts):
        box.ask(op="send", to=PEOPLE[number % len(PEOPLE)], text=text)
    return texts


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"point": "submit", "do": "refuse", "code": 21, "skip": 3}, "refused, the last"),
        ({"point": "report", "do": "fail", "code": 0x43, "skip": 3}, "taken but not delivered"),
    ],
    ids=["refuses everything", "reports all fail"],
)
def test_sim_that_goes_bad_is_parked_and_the_other_takes_over(
    phones: Phones, box: Outpost, fault: dict[str, Any], words: str
) -> None:
    phones.line.ask(op="fault", modem="modem0", **fault)
    texts: list[str] = []
    while not modem(box, "modem0")["route"].get("hold"):
        assert len(texts) < 400, "a SIM gone bad was never set aside"
        texts += send(box, 10, len(texts))
        wait_for("the texts to be tried", lambda: box.count(UNTRIED) == 0)
    held = modem(box, "modem0")["route"]
    assert words in held["hold"]
    assert "operator" in held["to_do"]
    assert modem(box, "modem0")["state"] == "ready"  # the modem is well; its SIM is not

    before = modem(box, "modem0")["sent"]
    texts += send(box, 20, len(texts))
    wait_for("every text", lambda: phones.arrived().keys() >= set(texts), RETRY_S)
    assert modem(box, "modem0")["sent"] == before
    wait_for("the page", lambda: words in box.get("/modems/modem0"))
    assert "set aside" in box.get("/")

    box.kill()
    box.start()
    box.until_modem_ready()
    assert words in modem(box, "modem0")["route"]["hold"]
    texts += send(box, 10, len(texts))
    wait_for("every text", lambda: phones.arrived().keys() >= set(texts), RETRY_S)
    assert modem(box, "modem0")["sent"] == 0
    assert phones.arrived() == Counter(texts)  # each once
