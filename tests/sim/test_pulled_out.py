"""The modem pulled out in mid-work again and again: what was accepted went out, or says so."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

from firmware_bridge.simulator import SimulatorThread
from tests.sim.harness import Outpost, wait_for

PULLS = int(os.environ.get("OUTPOST_PULLS", "60"))
PEOPLE = [f"+2519440000{number:02d}" for number in range(8)]
SEED = 7


def test_pulled_out_again_and_again_every_message_is_sent_or_visibly_uncertain(tmp_path: Path) -> None:
    arrived: Counter[str] = Counter()
    lock = threading.Lock()

    def heard(event: dict[str, object]) -> None:
        if event["event"] == "sms":
            with lock:
                arrived[str(event["text"])] += 1

    chance = random.Random(SEED)
    link = tmp_path / "net"
    link.mkdir()
    with SimulatorThread(1, link_dir=link, radio_s=0.05, seed=SEED) as network:
        phones = network.call(lambda sim: [sim.phone(heard, number) for number in PEOPLE])
        (modem,) = network.ports
        outpost = Outpost(tmp_path, [network.ports[modem]])
        outpost.start()
        try:
            outpost.until_modem_ready()
            asked: list[str] = []
            texted = 0
            for pull in range(PULLS):
                for _ in range(3):
                    text = f"notice {len(asked)}"
                    outpost.ask(op="send", to=chance.choice(PEOPLE), text=text)
                    asked.append(text)
                texting = chance.choice(phones)
                network.call(lambda sim, phone=texting, n=pull: phone.send("+251911000001", f"text {n}"))
                texted += 1
                time.sleep(chance.uniform(0.0, 0.15))  # chance decides in which step the plug is pulled
                if pull % 2:  # the cable, while the modem has power and goes on; else its power as well
                    network.call(lambda sim: sim.wires[modem].unplug())
                    time.sleep(chance.uniform(0.0, 0.05))
                    network.call(lambda sim: sim.wires[modem].plug_in())
                else:
                    network.call(lambda sim: sim.world.modems[modem].power_off())
                    time.sleep(chance.uniform(0.0, 0.05))
                    network.call(lambda sim: sim.world.modems[modem].boot())
                if pull % 3 == 0:
                    outpost.until_modem_ready()
            outpost.until_modem_ready()

            def settled() -> bool:
                moving = "SELECT count(*) FROM outbound WHERE state IN ('queued', 'sending')"
                handled = "SELECT count(*) FROM inbound WHERE state IN ('handled', 'guarded')"
                return outpost.count(moving) == 0 and outpost.count(handled) == texted

            wait_for("every message settled and every text handled", settled, 90)
            assert outpost.count("SELECT count(*) FROM inbound") == texted
            doubted = {
                text for text in asked if outpost.count(f"SELECT doubted FROM outbound WHERE text = '{text}'")
            }
        finally:
            outpost.close()
    lost = [text for text in asked if not arrived[text] and text not in doubted]
    twice = [text for text in asked if arrived[text] > 1 and text not in doubted]
    print(
        f"{PULLS} pulls: {len(asked)} accepted, {sum(arrived[text] > 0 for text in asked)} arrived,"
        f" {len(doubted)} marked uncertain, {len(lost)} lost, {len(twice)} double; {texted} texts in"
    )
    assert lost == []
    assert twice == []
    assert all(arrived[text] <= 2 for text in doubted)
