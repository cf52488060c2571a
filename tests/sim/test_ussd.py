"""USSD in the whole box: the credit of a SIM, and codes dialled by hand, in all the forms that modems use."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.harness import Line, Network, Outpost, wait_for

ROUTE = '[[route]]\nname = "modem0"\nkind = "modem"\n'
MENU = {"*999#": "1 Data\n2 Voice", "*999#>2": "ድምፅ: 30 ደቂቃ"}
Start = Callable[..., tuple[Outpost, Line]]


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Start]:
    """A box and a word with its network; answers: what the network says to a code."""
    opened: list[Any] = []

    def begin(family: str, answers: dict[str, str], route: str) -> tuple[Outpost, Line]:
        network = Network(tmp_path_factory.mktemp("net"), "--radio", "0", "--family", family)
        opened.append(network)
        line = Line(network.control)
        opened.append(line)
        line.ask(op="network", ussd=answers)
        box = Outpost(tmp_path, [network.modem()], ROUTE + route)
        text = box.config.read_text()
        box.config.write_text(text.replace("[[modem]]\n", '[[modem]]\nussd_allow = ["*999#"]\n'))
        box.start()
        opened.append(box)
        box.until_modem_ready()
        return box, line

    yield begin
    for each in reversed(opened):
        each.close()


def balance(box: Outpost) -> str:
    (modem,) = box.ask(op="modems")["modems"]
    return str(modem["route"]["balance"]["words"])


def call(box: Outpost, key: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{box.url}/v1/ussd",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("generic", "Your balance is 45.50 Birr, 120 SMS valid until 31/12/2030."),
        ("generic", "ቀሪ ሂሳብዎ 45.50 ብር ነው"),
        ("huawei_e173", "Your balance is 45.50 Birr. Thank you!"),
        ("huawei_e173", "ቀሪ ሂሳብዎ 45.50 ብር ነው"),
        ("sim800", "Balance: ETB 45.50\nDial *999# for packages"),
    ],
    ids=["plain", "UCS-2", "packed", "UCS-2 on a packing modem", "two lines"],
)
def test_balance_is_read_from_the_networks_answer(start: Start, family: str, text: str) -> None:
    box, line = start(family, {"*804#": text}, 'balance_code = "*804#"\nbalance_floor = 10.0\n')
    wait_for("the balance", lambda: "45.50 birr" in balance(box))
    line.ask(op="network", ussd={"*804#": text.replace("45.50", "3.25")})
    box.ask(op="balance", modem="modem0")
    (modem,) = box.ask(op="modems")["modems"]
    assert "under the floor of 10.00 birr" in modem["route"]["hold"]
    assert "top the SIM up" in modem["route"]["to_do"]

    line.ask(op="attach", number="+251922000001")
    sent = box.ask(op="send", to="+251922000001", text="waits for credit")["id"]
    line.ask(op="network", ussd={"*804#": text.replace("45.50", "99.75")})
    assert box.lives(f"out:{sent}")[0]["state"] == "queued"
    box.ask(op="balance", modem="modem0")
    wait_for("the message", lambda: box.lives(f"out:{sent}")[0]["state"] in ("sent", "delivered"))
    assert "99.75 birr" in balance(box)


def test_balance_in_a_text_of_several_parts_is_read_whole(start: Start) -> None:
    box, line = start("generic", {}, "balance_low = 10.0\n")
    words = "Dear customer, thank you for using our service. " * 5
    line.ask(
        **{"op": "send", "from": "994", "to": "+251911000001", "text": words + "Your balance is 7.75 Birr."}
    )
    wait_for("the balance", lambda: "7.75 birr" in balance(box))


def test_ussd_by_the_api_dials_menus_between_messages_and_keeps_to_the_list(start: Start) -> None:
    box, _ = start("huawei_e173", MENU, "balance_low = 1.0\n")
    box.ask(op="client", do="add", name="acme")
    key = box.ask(op="client", do="key", name="acme", scopes=["admin"])["key"]
    sent = [box.ask(op="send", to="+251922000001", text=f"beside it {n}")["id"] for n in range(20)]
    status, body = call(box, key, {"code": "*999#", "replies": ["2"]})
    assert (status, body["modem"]) == (200, "modem0"), body
    assert body["answers"] == [
        {"state": "reply_wanted", "text": "1 Data\n2 Voice"},
        {"state": "done", "text": "ድምፅ: 30 ደቂቃ"},
    ]
    status, body = call(box, key, {"code": "*804#"})
    assert (status, body["type"]) == (403, "urn:outpost:problem:code-not-allowed")
    for each in sent:
        wait_for("the messages", lambda each=each: box.lives(f"out:{each}")[0]["state"] == "sent")
    assert box.count("SELECT count(*) FROM outbound WHERE state = 'uncertain'") == 0
