"""What survives a restart of the simulated network: SIMs, stored messages, and what the SMSC still holds.

In a demo the network ends with the appliance. A real one would not: a text on its way, or on the SIM,
when the power fails is still there afterwards, and so it must be here.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from firmware_bridge.pdu import PduDecodeError, StatusReport, Submit
from firmware_bridge.simulator.memory import MessageMemory, Status, Stored
from firmware_bridge.simulator.world import World

__all__ = ["load", "save"]

VERSION = 1


class SlotState(msgspec.Struct):
    index: int
    status: int
    pdu: str
    length: int


class ModemState(msgspec.Struct):
    smsc: str
    last_mr: int
    memories: dict[str, list[SlotState]]


class HeldMessage(msgspec.Struct, tag="message"):
    sender: str
    recipient: str
    submit: str
    mr: int
    accepted_ms: int
    expires_ms: int


class HeldReport(msgspec.Struct, tag="report"):
    recipient: str
    pdu: str


class WorldState(msgspec.Struct):
    version: int
    modems: dict[str, ModemState]
    held: list[HeldMessage | HeldReport]


def _memory(memory: MessageMemory) -> list[SlotState]:
    return [SlotState(index, int(kept.status), kept.pdu.hex(), kept.length) for index, kept in memory]


def save(world: World, path: Path) -> None:
    """Write the state, whole or not at all."""
    timeline = world.timeline
    held: list[HeldMessage | HeldReport] = []
    for number, item in world.network.waiting():
        if isinstance(item, StatusReport):
            held.append(HeldReport(number, item.encode().hex()))
        else:
            left_ms = round((item.expires_at - timeline.now) * 1000)
            held.append(
                HeldMessage(
                    item.sender,
                    item.recipient,
                    item.submit.encode().hex(),
                    item.mr,
                    item.accepted_ms,
                    timeline.utc_ms + left_ms,
                )
            )
    modems = {
        name: ModemState(
            modem.sim.smsc,
            modem.sim.last_mr,
            {store: _memory(memory) for store, memory in modem.memories.items()},
        )
        for name, modem in world.modems.items()
    }
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(msgspec.json.encode(WorldState(VERSION, modems, held)))
    os.replace(fresh, path)


def load(world: World, path: Path) -> bool:
    """Put a saved state into a world of the same modems; False when there is none that can be read."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=WorldState)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    if state.version != VERSION:
        return False
    for name, saved in state.modems.items():
        modem = world.modems.get(name)
        if modem is None:
            continue
        modem.sim.smsc, modem.sim.last_mr = saved.smsc, saved.last_mr
        for store, slots in saved.memories.items():
            if store not in modem.memories:
                continue
            for slot in slots:
                modem.memories[store].put(
                    slot.index, Stored(Status(slot.status), bytes.fromhex(slot.pdu), slot.length)
                )
    for item in state.held:
        try:
            if isinstance(item, HeldReport):
                world.network.put_back_report(item.recipient, StatusReport.decode(bytes.fromhex(item.pdu)))
            else:
                world.network.put_back(
                    item.sender,
                    Submit.decode(bytes.fromhex(item.submit)),
                    item.mr,
                    accepted_ms=item.accepted_ms,
                    expires_ms=item.expires_ms,
                )
        except (PduDecodeError, ValueError):
            continue  # a file that was tampered with costs its own messages only
    return True
