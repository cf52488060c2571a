"""What can befall a modem at a moment of its own, not of a command's: by name, for scenarios and control."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from firmware_bridge.simulator.memory import Status, Stored

if TYPE_CHECKING:
    from firmware_bridge.simulator.modem import GsmModem
    from firmware_bridge.simulator.world import World

__all__ = ["ACTS", "Act", "perform"]


class Act(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One act. seconds: how long it lasts, 0: for good. code, count, text: what `do` needs.

    at_s, every_s, times: when it happens in a scenario; times None: for ever.
    """

    do: str
    seconds: float = 0.0
    code: int = 0
    count: int = 1
    text: str = ""
    at_s: float = 0.0
    every_s: float | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        if self.do not in ACTS:
            raise ValueError(f"act {self.do!r}; want one of {', '.join(ACTS)}")


def _vanish(world: World, modem: GsmModem, act: Act) -> None:
    """Unplugged; back after `seconds`. text: "renamed" gives the port another name then."""
    if act.text == "renamed":
        modem.port_name = f"{modem.name}-{modem.boots}"
    modem.power_off()
    if act.seconds > 0:
        world.timeline.after(act.seconds, modem.boot)


def _return(world: World, modem: GsmModem, act: Act) -> None:
    """Plugged in again."""
    if not modem.powered:
        modem.boot()


def _hang(world: World, modem: GsmModem, act: Act) -> None:
    """The line is dead; after `seconds` it goes on where it stopped."""
    modem.hang()
    if act.seconds > 0:
        modem.schedule(act.seconds, modem.wake)


def _reset(world: World, modem: GsmModem, act: Act) -> None:
    """A restart by itself, with the banner of its family."""
    if modem.powered:
        modem.reset()


def _registration(world: World, modem: GsmModem, act: Act) -> None:
    """code: <stat> of +CREG (2 lost, 3 denied, 5 roaming); home again after `seconds`."""
    modem.radio.grant(act.code)
    if act.seconds > 0:
        world.timeline.after(act.seconds, lambda: modem.radio.grant(1))


def _signal(world: World, modem: GsmModem, act: Act) -> None:
    """code: 0 to 31 of +CSQ, 99 unknown."""
    modem.radio.signal = act.code


def _sim(world: World, modem: GsmModem, act: Act) -> None:
    """text: "busy", "absent" or "failed"; present again after `seconds`."""
    modem.radio.set_sim(act.text or "busy")
    if act.seconds > 0:
        world.timeline.after(act.seconds, lambda: modem.radio.set_sim("present"))


def _pin(world: World, modem: GsmModem, act: Act) -> None:
    """The SIM asks for the PIN in `text` from the next power-up on. code: tries left, 0 locks it."""
    modem.sim.pin = act.text or "1234"
    if act.count < 3:
        modem.sim.pin_tries = act.count
    modem.reset()


def _fill(world: World, modem: GsmModem, act: Act) -> None:
    """Old texts fill the store in which messages are received, but for `code` slots."""
    memory = modem.inbox.memory(2)
    (old,) = world.network.specimens("+251922999999", "an old text")
    while len(memory) < memory.capacity - act.code:
        memory.add(Stored(Status.READ, old.encode(), old.tpdu_length))


def _storm(world: World, modem: GsmModem, act: Act) -> None:
    """`count` unsolicited lines at once, cutting into whatever is being said."""
    for _ in range(act.count):
        modem.say(act.text or "^RSSI:17")


def _garbage(world: World, modem: GsmModem, act: Act) -> None:
    """`count` random bytes."""
    modem.emit(bytes(modem.rng.randrange(256) for _ in range(act.count)))


def _line(world: World, modem: GsmModem, act: Act) -> None:
    """A bad line for `seconds`: "split" into bytes `code` ms apart, "slow", "noisy" (`count` in 1000)."""
    modem.line.become(act.text, delay_s=act.code / 1000, noise=act.count / 1000)
    if act.seconds > 0:
        modem.schedule(act.seconds, lambda: modem.line.become(""))


def _mr(world: World, modem: GsmModem, act: Act) -> None:
    """The next TP-MR is `code`."""
    modem.sim.last_mr = (act.code - 1) % 256


def _texts(world: World, modem: GsmModem, act: Act) -> None:
    """`count` texts arrive from as many people."""
    for at in range(act.count):
        world.network.deliver(f"+2519330{at:05d}", modem.number, act.text or f"text {at}")


ACTS: Final[dict[str, Callable[[World, GsmModem, Act], None]]] = {
    "vanish": _vanish,
    "return": _return,
    "hang": _hang,
    "reset": _reset,
    "registration": _registration,
    "signal": _signal,
    "sim": _sim,
    "pin": _pin,
    "fill": _fill,
    "storm": _storm,
    "garbage": _garbage,
    "line": _line,
    "mr": _mr,
    "texts": _texts,
}


def perform(world: World, modem: GsmModem, act: Act) -> None:
    """Let an act happen now."""
    ACTS[act.do](world, modem, act)
