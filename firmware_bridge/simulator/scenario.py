"""Field troubles by name: scenarios/*.toml say which faults are in force and what happens when."""

from __future__ import annotations

import copy
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

from firmware_bridge.simulator.acts import Act, perform
from firmware_bridge.simulator.faults import Rule
from firmware_bridge.simulator.timeline import Timer

if TYPE_CHECKING:
    from firmware_bridge.simulator.world import World

__all__ = ["Running", "Scenario", "load_scenario", "scenario_names", "start"]

_FOLDER: Final = files("firmware_bridge.simulator").joinpath("scenarios")


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """about: what happens, for people. origin: who has seen it. rule, act: the faults and the events."""

    name: str
    about: str
    origin: str
    rule: tuple[Rule, ...] = ()
    act: tuple[Act, ...] = ()


@cache
def scenario_names() -> tuple[str, ...]:
    """All scenarios there are files for."""
    return tuple(sorted(p.name.removesuffix(".toml") for p in _FOLDER.iterdir() if p.name.endswith(".toml")))


@cache
def load_scenario(name: str) -> Scenario:
    """Read one. Raises ValueError that names the file and what is wrong, or what there is."""
    if name not in scenario_names():
        raise ValueError(f"no scenario {name!r}; there are: {', '.join(scenario_names())}")
    values = tomllib.loads(_FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    try:
        return msgspec.convert({"name": name, **values}, Scenario)
    except (msgspec.ValidationError, ValueError) as error:
        raise ValueError(f"{name}.toml: {error}") from error


class Running:
    """A scenario that has been started on one modem."""

    def __init__(self, world: World, modem: str, scenario: Scenario) -> None:
        self._world = world
        self._modem = modem
        self._timers: list[Timer] = []
        self._rules = [copy.copy(rule) for rule in scenario.rule]
        for rule in self._rules:
            rule.modem = modem
            world.faults.add(rule)
        for act in scenario.act:
            self._schedule(act, act.at_s, 1)

    def _schedule(self, act: Act, delay_s: float, time: int) -> None:
        def happen() -> None:
            perform(self._world, self._world.modems[self._modem], act)
            if act.every_s is not None and (act.times is None or time < act.times):
                self._schedule(act, act.every_s, time + 1)

        self._timers = [timer for timer in self._timers if timer.waiting]
        self._timers.append(self._world.timeline.after(delay_s, happen))

    @property
    def struck(self) -> int:
        """How often its rules have struck."""
        return sum(rule.struck for rule in self._rules)

    def stop(self) -> None:
        """Take the faults back; what has happened stays happened."""
        for timer in self._timers:
            timer.cancel()
        for rule in self._rules:
            self._world.faults.remove(rule)


def start(world: World, modem: str, scenario: str) -> Running:
    """Start a scenario on a modem. Raises ValueError for a name there is none of."""
    if modem not in world.modems:
        raise ValueError(f"no modem {modem!r}; there are: {', '.join(world.modems)}")
    return Running(world, modem, load_scenario(scenario))
