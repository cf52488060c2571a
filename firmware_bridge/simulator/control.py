"""The control socket: phones, state and faults for programs in other processes, as JSON lines.

Each request is one line {"op": ..., ["id": ...]}; each gets one line back, {"ok": true, ...} or
{"error": "..."}, with the same "id". Events ({"event": ...}) of the phones attached on a connection come
between. A phone is switched off when its connection ends. docs/simulator.md lists the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from firmware_bridge.errors import BridgeError
from firmware_bridge.simulator import scenario
from firmware_bridge.simulator.acts import Act, perform
from firmware_bridge.simulator.faults import Rule
from firmware_bridge.simulator.phone import Phone

if TYPE_CHECKING:
    from firmware_bridge.simulator.service import Simulator

__all__ = ["OPERATIONS", "ControlServer"]

log = logging.getLogger(__name__)

_MAX_LINE: Final = 65_536  # a text of 255 parts is 40 kB at most
# Unix socket paths end at 108 octets in Linux (sockaddr_un); bind() says so in less helpful words.
_MAX_PATH: Final = 107


class BadRequest(Exception):
    """A request that cannot be done; the text goes back to who asked."""


class _Client:
    """One connection and the phones that are switched on through it."""

    def __init__(self, server: ControlServer, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._writer = writer
        self.phones: dict[str, Phone] = {}

    @property
    def simulator(self) -> Simulator:
        return self._server.simulator

    def tell(self, message: dict[str, Any]) -> None:
        """One line to the client, unless it has gone."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    def leave(self) -> None:
        for number in self.phones:
            self.simulator.world.remove_phone(number)
        self.phones.clear()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Do what one line asks."""
        reference: dict[str, Any] = {}
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            return {"error": f"not a JSON object: {error}"}
        try:
            if "id" in request:
                reference = {"id": request.pop("id")}
            work = OPERATIONS.get(str(request.pop("op", "")))
            if work is None:
                raise BadRequest(f"no such op; want one of {', '.join(OPERATIONS)}")
            self.simulator.catch_up()
            return {"ok": True, **work(self, **request), **reference}
        except TypeError as error:  # unknown or missing fields, by Python's own check of the call
            return {"error": str(error).removeprefix("_").replace("() ", ": "), **reference}
        except (BadRequest, BridgeError, ValueError, KeyError) as error:
            return {"error": str(error), **reference}


def _attach(client: _Client, number: str | None = None) -> dict[str, Any]:
    phone = client.simulator.phone(client.tell, number)
    client.phones[phone.number] = phone
    first = next(iter(client.simulator.world.modems.values()), None)
    return {"number": phone.number, "service": first.number if first else None}


def _detach(client: _Client, number: str) -> dict[str, Any]:
    if client.phones.pop(number, None) is None:
        raise BadRequest(f"{number} is no phone of this connection")
    client.simulator.world.remove_phone(number)
    return {}


def _send(client: _Client, to: str, text: str, **more: str) -> dict[str, Any]:
    """from: a phone of this connection; any other number or name sends once, without a phone."""
    sender = more.pop("from", None)
    if more:
        raise BadRequest(f"send: unknown {', '.join(more)}")
    if sender is None and len(client.phones) == 1:
        sender = next(iter(client.phones))
    if sender is None:
        raise BadRequest("send: from: which number?")
    phone = client.phones.get(sender)
    if phone is not None:
        return dict(phone.send(to, text))
    parts = client.simulator.network.deliver(sender, to, text)
    return {"segments": len(parts)}


def _state(client: _Client) -> dict[str, Any]:
    world = client.simulator.world
    modems = [
        {
            "name": modem.name,
            "number": modem.number,
            "port": str(client.simulator.wires[name].link),
            "device": client.simulator.wires[name].device,
            "open": client.simulator.wires[name].connected,
            "personality": modem.personality.name,
            "imei": modem.imei,
            "iccid": modem.sim.iccid,
            "powered": modem.powered,
            "hung": modem.hung,
            "registration": modem.radio.status,
            "storage": {store: [len(memory), memory.capacity] for store, memory in modem.memories.items()},
            "sent": modem.sent,
            "received": modem.received,
            "boots": modem.boots,
        }
        for name, modem in world.modems.items()
    ]
    network = world.network
    return {
        "modems": modems,
        "phones": sorted(world.phones),
        "network": {
            "name": network.settings.name,
            "smsc": network.settings.smsc,
            "radio_s": network.settings.radio_s,
            "held": network.held_total,
            **network.counts,
        },
    }


def _network(client: _Client, **changes: Any) -> dict[str, Any]:
    """Change what the operator is like; retry_s is one pause for all attempts to deliver again."""
    settings = client.simulator.network.settings
    for key, value in changes.items():
        if key in _TIMES:
            if not isinstance(value, int | float) or value < 0:
                raise BadRequest(f"network: {key}: {value!r}; want seconds")
            setattr(settings, key, (float(value),) if key == "retry_s" else float(value))
        elif key == "unattached" and value in ("hold", "delivered"):
            settings.unattached = value
        elif key == "ussd" and isinstance(value, dict) and all(isinstance(t, str) for t in value.values()):
            settings.ussd.update(value)
        else:
            raise BadRequest(f"network: {key}: {value!r}")
    return {}


def _chosen(client: _Client, modem: str | None) -> list[str]:
    """The modem that is meant, or all."""
    modems = client.simulator.world.modems
    if modem is None:
        return list(modems)
    if modem not in modems:
        raise BadRequest(f"no modem {modem!r}; there are: {', '.join(modems)}")
    return [modem]


def _fault(client: _Client, modem: str | None = None, **rule: Any) -> dict[str, Any]:
    """Put a rule in force: point, do, match, skip, times, chance, seconds, code, text."""
    for name in _chosen(client, modem):
        client.simulator.world.faults.add(msgspec.convert({**rule, "modem": name}, Rule))
    return {}


def _act(client: _Client, modem: str | None = None, **act: Any) -> dict[str, Any]:
    """Let something befall a modem now: do, seconds, code, count, text."""
    wanted = msgspec.convert(act, Act)
    for name in _chosen(client, modem):
        perform(client.simulator.world, client.simulator.world.modems[name], wanted)
    return {}


def _scenario(client: _Client, name: str, modem: str | None = None) -> dict[str, Any]:
    for each in _chosen(client, modem):
        client.simulator.scenarios.append(scenario.start(client.simulator.world, each, name))
    return {"about": scenario.load_scenario(name).about}


def _scenarios(client: _Client) -> dict[str, Any]:
    return {"scenarios": {name: scenario.load_scenario(name).about for name in scenario.scenario_names()}}


def _clear(client: _Client, modem: str | None = None) -> dict[str, Any]:
    """Take all faults back, of one modem or of all; scenarios end."""
    if modem is None:
        for running in client.simulator.scenarios:
            running.stop()
        client.simulator.scenarios.clear()
    for name in _chosen(client, modem):
        client.simulator.world.faults.clear(name)
        client.simulator.world.modems[name].line.become("")
    return {}


_TIMES: Final = ("radio_s", "radio_jitter_s", "downlink_s", "cmms_saves_s", "retry_s", "acknowledge_s")

OPERATIONS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "attach": _attach,
    "detach": _detach,
    "send": _send,
    "state": _state,
    "network": _network,
    "fault": _fault,
    "act": _act,
    "scenario": _scenario,
    "scenarios": _scenarios,
    "clear": _clear,
}


class ControlServer:
    """The listening side. One task per connection; a broken line costs its sender an error, nobody else."""

    def __init__(self, simulator: Simulator, path: Path) -> None:
        self.simulator = simulator
        self.path = path
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the path is too long for a socket."""
        if len(str(self.path).encode()) > _MAX_PATH:
            raise OSError(f"{self.path}: longer than the {_MAX_PATH} octets a Unix socket may have")
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=_MAX_LINE)
        self._inode = self.path.stat().st_ino

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._clients):
            writer.close()
        await self._server.wait_closed()
        # A successor may have made its own already: that one stays.
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, writer)
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                client.tell(client.answer(line))
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # ValueError: a line beyond the limit
            log.debug("control connection ended: %s", error)
        finally:
            client.leave()
            self._clients.discard(writer)
            writer.close()
