"""Field troubles by name: each file is read, each shows on the wire, the same every time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from firmware_bridge.simulator import scenario
from firmware_bridge.simulator.acts import Act, perform
from firmware_bridge.simulator.faults import POINTS, Faults, Rule

BOX, PHONE = "+251911000001", "+251922000001"


def befall(bench: Any, **act: Any) -> None:
    perform(bench.world, bench.world.modems["modem0"], Act(**act))
    bench.wait(0.0)


# --- the files


@pytest.mark.parametrize("name", scenario.scenario_names())
def test_scenario_file_is_read_runs_and_stops(name: str, make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=3.0)
    running = scenario.start(bench.world, "modem0", name)
    bench.wait(7200.0)
    running.stop()
    modem = bench.world.modems["modem0"]

    assert scenario.load_scenario(name).about
    assert bench.world.faults.rules == []
    assert modem.boots >= 1


def test_scenario_unknown_name_lists_what_there_is(bench: Any) -> None:
    with pytest.raises(ValueError, match="vanish-renamed"):
        scenario.start(bench.world, "modem0", "flood")


@pytest.mark.parametrize("name", ["field-day", "lost-answer", "garbage"])
def test_scenario_same_seed_same_story(name: str, make_bench: Callable[..., Any]) -> None:
    def story(seed: int) -> bytes:
        bench = make_bench(seed=seed, radio_s=0.5)
        bench.phone(PHONE)
        scenario.start(bench.world, "modem0", name)
        said = b""
        for at in range(60):
            said += "\n".join(bench.send("modem0", PHONE, f"text {at}", report=True)).encode()
            bench.wait(60.0)
            bench.write("modem0", b"\x1b\rATE0\rAT+CNMI=2,1,0,1,0\rAT+CMGL=4\rAT+CMGD=1,4\r")
            said += bench.read("modem0")
        return said

    assert story(1) == story(1)
    assert story(1) != story(2)


# --- the rules


def test_rule_skip_and_times_count_strikes() -> None:
    faults = Faults(random.Random(0))
    faults.add(Rule(point="submit", do="lie", skip=2, times=2))

    assert [faults.strikes("submit", "modem0") is not None for _ in range(6)] == [0, 0, 1, 1, 0, 0]


def test_rule_of_another_modem_or_number_does_not_strike() -> None:
    faults = Faults(random.Random(0))
    faults.add(Rule(point="submit", do="lie", modem="modem1", match="^\\+2519"))

    assert faults.strikes("submit", "modem0", "+251911") is None
    assert faults.strikes("submit", "modem1", "+44") is None
    assert faults.strikes("submit", "modem1", "+251911") is not None


@pytest.mark.parametrize(("point", "do"), [("moon", "lie"), ("submit", "fly")])
def test_rule_unknown_point_or_deed_is_refused(point: str, do: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="want one of"):
        msgspec.convert({"point": point, "do": do}, Rule)


@pytest.mark.parametrize(
    ("point", "do"), [(point, do) for point, (_, verbs) in POINTS.items() for do in sorted(verbs)]
)
def test_rule_every_deed_leaves_a_modem_that_can_be_brought_back(bench: Any, point: str, do: str) -> None:
    bench.phone(PHONE)
    rule = bench.world.faults.add(
        Rule(point=point, do=do, seconds=2.0, code=38, text="+CMS ERROR: 500", times=3)
    )
    for _ in range(3):
        bench.send("modem0", PHONE, "x", report=True)
        bench.world.network.deliver(PHONE, BOX, "y")
        bench.at("modem0", "+CMGD=1")
        bench.wait(20.0)
        bench.write("modem0", b"\x1b\r")
    bench.world.faults.clear()
    befall(bench, do="reset")
    bench.quiet("modem0")

    assert rule.struck > 0
    assert bench.send("modem0", PHONE, "after")[-1] == "OK"
    bench.wait(1.0)
    assert bench.texts()[-1] == "after"


# --- what a fault looks like from outside


def test_fault_lost_answer_message_is_out_and_nothing_is_said(bench: Any) -> None:
    bench.phone(PHONE)
    bench.world.faults.add(Rule(point="result", do="swallow", times=1))

    said = bench.send("modem0", PHONE, "out")
    bench.wait(60.0)

    assert said == []
    assert bench.texts() == ["out"]
    assert bench.at("modem0", "") == ["OK"]


def test_fault_brownout_in_send_nothing_went_out(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(radio_s=3.0)
    bench.phone(PHONE)
    bench.world.faults.add(Rule(point="pdu", do="brownout", seconds=5.0))

    bench.send("modem0", PHONE, "never")
    bench.wait(2.5)

    modem = bench.world.modems["modem0"]
    assert (modem.powered, modem.boots, bench.texts()) == (True, 2, [])


def test_fault_delete_ignored_says_ok_and_keeps(bench: Any) -> None:
    bench.world.network.deliver(PHONE, BOX, "sticky")
    bench.wait(0.0)
    bench.world.faults.add(Rule(point="delete", do="ignore", times=1))

    assert [bench.at("modem0", "+CMGD=1")[-1] for _ in range(2)] == ["OK", "OK"]
    assert bench.at("modem0", "+CMGR=1") == ["+CMS ERROR: 321"]


def test_fault_delivery_doubled_comes_again_with_the_same_stamp(bench: Any) -> None:
    bench.world.faults.add(Rule(point="deliver", do="double", times=1))
    bench.world.network.deliver(PHONE, BOX, "twice")
    bench.wait(60.0)

    bodies = [line for line in bench.at("modem0", "+CMGL=4") if line.startswith("07")]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


def test_act_hang_swallows_and_goes_on(bench: Any) -> None:
    befall(bench, do="hang", seconds=10.0)
    silent = bench.at("modem0", "+CSQ")
    bench.wait(10.0)

    assert silent == []
    assert bench.at("modem0", "+CNMI?") == ["+CNMI: 2,1,0,1,0", "OK"]


def test_act_vanish_loses_settings_and_keeps_the_sim(bench: Any) -> None:
    bench.world.network.deliver(PHONE, BOX, "kept")
    bench.wait(0.0)
    powers: list[bool] = []
    bench.world.modems["modem0"].on_power = powers.append
    befall(bench, do="vanish", seconds=5.0, text="renamed")
    bench.wait(5.0)

    modem = bench.world.modems["modem0"]
    assert (powers, modem.port_name, len(modem.sim.messages)) == ([False, True], "modem0-1", 1)
    assert bench.at("modem0", "+CNMI?")[-2:] == ["+CNMI: 0,0,0,0,0", "OK"]


@pytest.mark.parametrize(("code", "served"), [(2, False), (3, False), (5, True)])
def test_act_registration_decides_service(bench: Any, code: int, served: bool) -> None:
    bench.at("modem0", "+CREG=1")
    befall(bench, do="registration", code=code, seconds=60.0)

    told = bench.lines("modem0")
    answer = bench.send("modem0", PHONE, "x")[-1]
    bench.wait(60.0)

    assert told == [f"+CREG: {code}"]
    assert answer == ("OK" if served else "+CMS ERROR: 331")
    assert bench.send("modem0", PHONE, "x")[-1] == "OK"


@pytest.mark.parametrize(("state", "error"), [("busy", 314), ("absent", 310), ("failed", 313)])
def test_act_sim_trouble_is_told_and_ends(bench: Any, state: str, error: int) -> None:
    befall(bench, do="sim", text=state, seconds=30.0)

    assert bench.at("modem0", "+CMGL=4") == [f"+CMS ERROR: {error}"]
    bench.wait(30.0)
    assert bench.at("modem0", "+CMGL=4") == ["OK"]


@pytest.mark.parametrize(("left", "state"), [(3, "SIM PIN"), (2, "SIM PIN"), (0, "SIM PUK")])
def test_act_pin_locks_the_sim(bench: Any, left: int, state: str) -> None:
    befall(bench, do="pin", text="1234", count=left)
    bench.at("modem0", "E0")

    assert bench.at("modem0", "+CPIN?")[0] == f"+CPIN: {state}"
    assert bench.at("modem0", "+CPINR")[0] == f"+CPINR: SIM PIN,{left},3"


def test_act_fill_leaves_the_network_holding(bench: Any) -> None:
    befall(bench, do="fill")
    bench.world.network.deliver(PHONE, BOX, "waits")
    bench.wait(0.0)
    held = bench.world.network.held(BOX)
    bench.at("modem0", "+CMGD=1,4")
    bench.wait(0.0)

    assert held == 1
    assert bench.world.network.held(BOX) == 0


def test_act_storm_cuts_into_a_prompt(bench: Any) -> None:
    bench.at("modem0", "+CMGS=15")
    befall(bench, do="storm", text="+ZUSIMR:2", count=3)

    assert bench.lines("modem0") == ["+ZUSIMR:2"] * 3


def test_act_mr_wraps(bench: Any) -> None:
    befall(bench, do="mr", code=255)

    assert [bench.send("modem0", PHONE, "x")[0] for _ in range(2)] == ["+CMGS: 255", "+CMGS: 0"]


def test_bad_line_split_keeps_order_and_every_byte(bench: Any) -> None:
    befall(bench, do="line", text="split", code=1)
    bench.write("modem0", b"AT+CSQ\r")
    bench.wait(0.0105)
    first = bench.read("modem0")
    befall(bench, do="line")
    bench.write("modem0", b"AT\r")
    bench.wait(1.0)

    assert first == b"\r\n+CSQ: 20"
    assert bench.read("modem0") == b",99\r\n\r\nOK\r\n\r\nOK\r\n"


def test_bad_line_noise_hits_its_share(bench: Any) -> None:
    befall(bench, do="line", text="noisy", count=500)
    bench.write("modem0", b"AT+CLAC\r")
    noisy = bench.read("modem0")
    befall(bench, do="line")
    bench.write("modem0", b"AT+CLAC\r")
    good = bench.read("modem0")

    differing = sum(a != b for a, b in zip(noisy, good, strict=True))
    assert 0.4 < differing / len(good) < 0.6


def test_world_a_thousand_hours_of_field_days_pass_in_seconds(make_bench: Callable[..., Any]) -> None:
    """A patient program on a bad modem: what it was told is sent arrives, once; the rest is in doubt."""
    bench = make_bench(radio_s=3.0)
    bench.phone(PHONE)
    scenario.start(bench.world, "modem0", "field-day")
    sent = doubtful = 0
    for at in range(1000):
        bench.write("modem0", b"\x1b\rATE0\r")
        bench.read("modem0")
        answer = bench.send("modem0", PHONE, f"text {at}")
        bench.wait(3600.0)
        sent += "OK" in answer
        doubtful += not answer
        bench.write("modem0", b"\x1b\rATE0\rAT+CMGD=1,4\r")

    texts = bench.texts()
    assert len(set(texts)) == len(texts)
    assert sent <= len(texts) <= sent + doubtful
    assert sent > 800
