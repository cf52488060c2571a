"""The assistant in the whole box, its model dead, slow, lying and honest, the box killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.harness import ROOT, Network, Outpost, wait_for

SARA, HANA = "+251922000001", "+251922000002"
UNKNOWN = "I do not know, but a person will answer you"
TIMEOUT_S = 4


class Model:
    """`outpost emulate llm` in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "emulate", "llm", "--port", "0", "--key", "sk-test-secret"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[4]
        self._control = self.url.removesuffix("/v1") + "/emulator"

    def order(self, **order: Any) -> None:
        request = urllib.request.Request(self._control, json.dumps(order).encode())
        urllib.request.urlopen(request, timeout=10).close()

    def requests(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self._control, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["requests"]
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(5)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def model() -> Iterator[Model]:
    made = Model()
    yield made
    made.close()


@pytest.fixture
def box(tmp_path: Path, network: Network, model: Model) -> Iterator[Outpost]:
    made = Outpost(
        tmp_path,
        [network.modem()],
        f'[assistant]\nendpoint = "{model.url}"\nmodel = "m"\napi_key = "sk-test-secret"\n'
        f"timeout_s = {TIMEOUT_S}\n[workers]\nmin = 1\nmax = 1\n[limits]\nnormal = [100, 1000, 5000]\n",
    )
    made.start()
    made.until_modem_ready()
    yield made
    made.close()


def told(box: Outpost) -> int:
    return box.count("SELECT count(*) FROM asking WHERE state = 'told'")


def test_model_honest_dead_slow_and_lying_gives_one_true_answer_each(
    network: Network, box: Outpost, model: Model
) -> None:
    sara = network.handset(SARA)
    assert sara.says("ASK can i take heavy bags 0922000001").startswith("One bag of up to 20 kg")
    (asked,) = model.requests()
    assert (
        "0922000001" not in json.dumps(asked["messages"]) and "[number]" in asked["messages"][-1]["content"]
    )
    modes = ("dead", "slow", "garbage", "invents", "leaks", "obeys", "foreign", "empty", "huge")
    for mode in modes:
        model.order(mode="honest", once=[mode], seconds=20)
        assert sara.says(f"is there a {mode} swimming pool aboard").startswith(UNKNOWN), mode
        # An honest answer between two faults, or the breaker would spare us the next.
        assert sara.says(f"heavy bags, {mode}").startswith("One bag of up to 20 kg"), mode
    assert len(sara.texts()) == 1 + 2 * len(modes)
    assert box.count("SELECT count(*) FROM asking WHERE state <> 'told'") == 0
    log = box.log.read_text()
    assert "sk-test-secret" not in log and "swimming pool" not in log and SARA not in log


def test_slow_model_holds_neither_the_worker_nor_anybody_else(
    network: Network, box: Outpost, model: Model
) -> None:
    """One worker, a model that takes 20 s: others are answered at once, the asker at the deadline."""
    sara, hana = network.handset(SARA), network.handset(HANA)
    model.order(mode="slow", seconds=20)
    sara.send("ASK is there a swimming pool aboard")
    wait_for("the question", lambda: len(model.requests()) == 1)
    for text in ("HELP", "MENU", "STATUS"):
        assert hana.says(text)
    assert sara.texts() == []
    assert sara.says("HELP").startswith("What would you like to know")  # the asker too goes on meanwhile
    assert sara.next().startswith(UNKNOWN)


def test_kill_while_the_model_thinks_asks_again_and_answers_once(
    network: Network, box: Outpost, model: Model
) -> None:
    sara = network.handset(SARA)
    model.order(mode="honest", once=["silent"])
    sara.send("ASK can i take two heavy bags")
    wait_for("the question", lambda: len(model.requests()) == 1)
    box.kill()
    box.start()
    assert sara.next().startswith(("One bag of up to 20 kg", UNKNOWN))
    wait_for("the end", lambda: told(box) == 1)
    box.terminate()
    box.start()
    box.until_modem_ready()
    assert sara.says("HELP").startswith("What would you like to know")  # in order: no second answer before it
    assert len(sara.texts()) == 2


def test_kill_again_and_again_gives_each_question_one_answer(
    network: Network, box: Outpost, model: Model
) -> None:
    phones = [network.handset(f"+25192211000{number}") for number in range(6)]
    model.order(mode="slow", seconds=0.4)
    for turn in range(3):
        for phone in phones:
            phone.send(f"ASK can i take {turn} heavy bags")
        wait_for("something asked", lambda turn=turn: len(model.requests()) > 2 * turn)
        box.kill()
        box.start()
    box.until_modem_ready()
    wait_for("every question told", lambda: told(box) == 18, 60)
    moving = "SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')"
    wait_for("every answer out", lambda: box.count(moving) == 0, 60)
    assert box.count("SELECT count(*) FROM outbound") == 18
    doubted = box.count("SELECT count(*) FROM outbound WHERE doubted > 0")
    received = sum(len(phone.texts()) for phone in phones)
    print(f"3 kills: 18 questions, {received} answers, {doubted} uncertain, {len(model.requests())} requests")
    assert 18 - doubted <= received <= 18


def test_endpoint_that_fails_rests_and_comes_back(network: Network, box: Outpost, model: Model) -> None:
    sara = network.handset(SARA)
    model.order(mode="broken")
    for number in range(5):
        assert sara.says(f"ASK is there a pool number {number}").startswith(UNKNOWN)
    assert len(model.requests()) == 3
    assert "rests" in box.get("/assistant") and "HTTP 500" in box.get("/assistant")
    assert "sk-test-secret" not in box.get("/assistant")


def test_wrong_key_file_stops_the_start_and_says_so_without_the_key(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(
        f'data_dir = "{tmp_path}/data"\n[http]\nlisten = "127.0.0.1:0"\n[assistant]\n'
        'endpoint = "https://model.example/v1"\nmodel = "m"\napi_key = "file:no.key"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "run", "--config", str(tmp_path / "box.toml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2 and "assistant.api_key" in done.stderr and "cannot be read" in done.stderr
