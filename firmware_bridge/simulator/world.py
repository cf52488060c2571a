"""Modems, SIMs and one operator together, without any I/O: what tests step through and the shell runs.

`receive` and `advance` are told the time; `outputs` gives what the modems said. Same seed, same story.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from firmware_bridge.simulator.faults import Faults
from firmware_bridge.simulator.modem import GsmModem
from firmware_bridge.simulator.network import Network, NetworkSettings
from firmware_bridge.simulator.personality import load_personality
from firmware_bridge.simulator.phone import Phone, PhoneEvent
from firmware_bridge.simulator.sim_card import SimCard
from firmware_bridge.simulator.timeline import Timeline

__all__ = ["ModemSpec", "World", "default_number"]

FIRST_NUMBER: Final = 251911000001
FIRST_PHONE: Final = 251922000001


def default_number(position: int) -> str:
    """The number of the modem at a position: +251911000001, then one more each."""
    return f"+{FIRST_NUMBER + position}"


@dataclass(frozen=True, slots=True)
class ModemSpec:
    """One modem to be made. number None: the default of its position. capacity: slots of the SIM."""

    name: str | None = None
    number: str | None = None
    personality: str = "generic"
    pin: str | None = None
    smsc: str | None = None
    capacity: int | None = None


@dataclass(slots=True)
class World:
    """All that is simulated. modems: by name, in order of making."""

    seed: int = 0
    settings: NetworkSettings = field(default_factory=NetworkSettings)
    timeline: Timeline = field(default_factory=Timeline)
    faults: Faults = field(init=False)
    network: Network = field(init=False)
    modems: dict[str, GsmModem] = field(default_factory=dict)
    phones: dict[str, Phone] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = Faults(self.chance("faults"))
        self.network = Network(
            self.timeline, rng=self.chance("network"), settings=self.settings, faults=self.faults
        )

    def chance(self, what: str) -> random.Random:
        """A source of chance of its own for each part, so that one part's draws do not move another's."""
        return random.Random(f"{self.seed}/{what}")

    # --- modems

    def add_modems(self, specs: Sequence[ModemSpec]) -> None:
        """Make modems, powered and registering."""
        for spec in specs:
            self.add_modem(spec)

    def add_modem(self, spec: ModemSpec) -> GsmModem:
        """Make one modem. Raises ValueError when its name or number is taken."""
        position = len(self.modems)
        name = spec.name or f"modem{position}"
        if name in self.modems:
            raise ValueError(f"there is a modem {name!r} already")
        personality = load_personality(spec.personality)
        sim = SimCard(
            number=spec.number or default_number(position),
            serial=position + 1,
            smsc=self.settings.smsc if spec.smsc is None else spec.smsc,
            mcc_mnc=self.settings.mcc_mnc,
            pin=spec.pin,
            capacity=spec.capacity or personality.storages.get("SM", 50),
            base=personality.index_base,
        )
        self.modems[name] = GsmModem(
            name,
            serial=position + 1,
            timeline=self.timeline,
            network=self.network,
            sim=sim,
            personality=personality,
            rng=self.chance(name),
        )
        return self.modems[name]

    # --- phones

    def add_phone(self, on_event: Callable[[PhoneEvent], None], number: str | None = None) -> Phone:
        """Switch a phone on, by default with the next free number. Raises ValueError when it is taken."""
        if number is None:
            free = FIRST_PHONE
            while f"+{free}" in self.network.subscribers:
                free += 1
            number = f"+{free}"
        phone = Phone(self.network.canonical(number), self.network, on_event)
        self.phones[phone.number] = phone
        return phone

    def remove_phone(self, number: str) -> None:
        """Switch a phone off; nothing happens when there is none."""
        phone = self.phones.pop(number, None)
        if phone is not None:
            phone.switch_off()

    def changes(self) -> object:
        """Something that differs after anything happened that a restart must not lose."""
        modems = tuple(
            (modem.sim.last_mr, modem.sim.smsc, tuple(memory.changes for memory in modem.memories.values()))
            for modem in self.modems.values()
        )
        return modems, self.network.held_total, tuple(self.network.counts.values())

    # --- time and bytes

    def next_deadline(self) -> float | None:
        """When something is due next."""
        return self.timeline.next_deadline()

    def advance(self, now: float) -> None:
        """Let time go on."""
        self.timeline.advance(now)

    def receive(self, modem: str, data: bytes, *, now: float) -> None:
        """A client wrote bytes to a modem."""
        self.timeline.advance(now)
        self.modems[modem].receive(data)

    def outputs(self) -> Iterator[tuple[str, bytes]]:
        """What the modems have said since the last call, piece by piece."""
        for name, modem in self.modems.items():
            for piece in modem.take_output():
                yield name, piece
