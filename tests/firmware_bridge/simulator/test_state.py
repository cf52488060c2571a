"""What survives a restart of the simulated network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware_bridge.pdu import Deliver, StatusReport, submits
from firmware_bridge.simulator import ModemSpec, NetworkSettings, Simulator, World, state
from firmware_bridge.simulator.timeline import Timeline

BOX, PHONE = "+251911000001", "+251922000001"


def restarted(path: Path, *, later_ms: int = 0) -> World:
    timeline = Timeline(epoch_ms=1_700_000_000_000 + later_ms)
    world = World(settings=NetworkSettings(), timeline=timeline)
    world.add_modem(ModemSpec())
    assert state.load(world, path)
    return world


def test_state_keeps_sim_messages_and_the_mr(tmp_path: Path, bench: Any) -> None:
    bench.world.network.deliver(PHONE, BOX, "on the SIM")
    bench.send("modem0", PHONE, "sent before")
    state.save(bench.world, tmp_path / "state.json")

    sim = restarted(tmp_path / "state.json").modems["modem0"].sim

    assert [Deliver.decode(kept.pdu).text for _, kept in sim.messages] == ["on the SIM"]
    assert sim.next_mr() == 1


def test_state_keeps_what_the_network_holds_and_its_validity(tmp_path: Path, bench: Any) -> None:
    for text, validity_s in (("long", 86_400), ("short", 300)):
        bench.submit("modem0", submits(PHONE, text, validity_s=validity_s, status_report=True)[0])
    state.save(bench.world, tmp_path / "state.json")

    world, came = restarted(tmp_path / "state.json", later_ms=301_000), []
    world.advance(0.0)
    world.add_phone(came.append, PHONE)
    world.modems["modem0"].settings.cnmi.ds = 1
    world.modems["modem0"].settings.cnmi.mode = 2
    world.advance(1.0)
    said = b"".join(world.modems["modem0"].take_output()).decode().split("\r\n")

    assert [event["text"] for event in came] == ["long"]
    assert [StatusReport.decode(bytes.fromhex(line)).mr for line in said if line.startswith("07")] == [0]


def test_state_file_of_nonsense_is_a_fresh_start(tmp_path: Path, make_bench: Callable[..., Any]) -> None:
    (tmp_path / "state.json").write_text("{nonsense")

    assert not state.load(make_bench().world, tmp_path / "state.json")


async def test_simulator_keep_finds_its_messages_after_a_restart(tmp_path: Path) -> None:
    async with Simulator(1, link_dir=tmp_path, keep=True) as simulator:
        simulator.deliver(BOX, PHONE, "held over the restart")

    came: list[dict[str, Any]] = []
    async with Simulator(1, link_dir=tmp_path, keep=True) as simulator:
        simulator.phone(came.append, PHONE)
        simulator.world.advance(simulator.world.timeline.now)

    assert [event["text"] for event in came] == ["held over the restart"]
