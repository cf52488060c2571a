"""The shell: ptys, their links, clients that come and go, the control socket. On both event loops."""

from __future__ import annotations

import asyncio
import json
import os
import tty
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.simulator import Simulator, SimulatorThread

BOX, PHONE = "+251911000001", "+251922000001"


class Client:
    """A program that has a port open."""

    def __init__(self, port: Path) -> None:
        self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.fd)
        self._loop = asyncio.get_running_loop()
        self._data = bytearray()
        self._came = asyncio.Event()
        self.hung_up = False
        self._loop.add_reader(self.fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self.fd, 65_536)
        except OSError:
            data = b""
        if not data:
            self.hung_up = True
            self._loop.remove_reader(self.fd)
        self._data += data
        self._came.set()

    async def until(self, wanted: bytes) -> bytes:
        """Read up to and with `wanted`."""
        async with asyncio.timeout(5):
            while wanted not in self._data and not self.hung_up:
                self._came.clear()
                await self._came.wait()
        assert wanted in self._data, bytes(self._data)
        end = self._data.index(wanted) + len(wanted)
        said = bytes(self._data[:end])
        del self._data[:end]
        return said

    async def end(self) -> None:
        """Wait for the hang-up."""
        async with asyncio.timeout(5):
            while not self.hung_up:
                self._came.clear()
                await self._came.wait()

    async def at(self, command: bytes) -> bytes:
        os.write(self.fd, b"AT" + command + b"\r")
        return await self.until(b"OK\r\n")

    def close(self) -> None:
        self._loop.remove_reader(self.fd)
        os.close(self.fd)


class Control:
    """A program on the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, folder: Path) -> Control:
        return cls(*await asyncio.open_unix_connection(str(folder / "control.sock")))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            message = json.loads(await self._reader.readline())
        assert isinstance(message, dict)
        return message

    async def ask(self, **request: Any) -> dict[str, Any]:
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await self.next()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "n"


async def test_simulator_modem_answers_on_its_link(folder: Path) -> None:
    async with Simulator(2, link_dir=folder) as simulator:
        client = Client(simulator.ports["modem1"])
        assert b"+251911000002" in await client.at(b"+CNUM")
        client.close()


async def test_simulator_client_that_comes_back_finds_the_modem_as_it_was(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        for expected in (0, 2, 2):
            client = Client(simulator.ports["modem0"])
            assert f"+CREG: {expected}".encode() in await client.at(b"E0+CREG?")
            await client.at(b"+CREG=2")
            client.close()


async def test_simulator_what_is_said_to_nobody_is_lost_and_the_message_is_kept(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        client = Client(simulator.ports["modem0"])
        await client.at(b"E0+CNMI=2,1,0,0,0")
        wire = simulator.wires["modem0"]
        client.close()
        async with asyncio.timeout(5):
            while wire.connected:
                await asyncio.sleep(0)
        simulator.deliver(PHONE, BOX, "while away")
        async with asyncio.timeout(5):
            while not len(simulator.world.modems["modem0"].sim.messages):
                await asyncio.sleep(0.001)

        client = Client(simulator.ports["modem0"])
        said = await client.at(b"+CMGL=4")
        client.close()

    assert b"+CMTI" not in said
    assert b"+CMGL: 1,0" in said


async def test_simulator_unplugged_modem_hangs_up_and_comes_back_on_the_link(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        modem, link = simulator.world.modems["modem0"], simulator.ports["modem0"]
        client = Client(link)
        await client.at(b"+CREG=2")

        modem.power_off()
        await client.end()
        gone = not link.is_symlink()
        client.close()
        modem.boot()
        client = Client(link)
        said = await client.at(b"+CREG?")
        client.close()

    assert gone
    assert b"+CREG: 0,1" in said


async def test_simulator_stop_leaves_no_link_behind(folder: Path) -> None:
    async with Simulator(3, link_dir=folder):
        assert sorted(path.name for path in folder.iterdir()) == [
            "control.sock",
            "modem0",
            "modem1",
            "modem2",
        ]

    assert list(folder.iterdir()) == []


async def test_simulator_client_that_does_not_read_does_not_stop_the_others(folder: Path) -> None:
    async with Simulator(2, link_dir=folder) as simulator:
        deaf = os.open(simulator.ports["modem0"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        for _ in range(200):
            os.write(deaf, b"AT+CLAC\r")
            await asyncio.sleep(0)
        client = Client(simulator.ports["modem1"])
        assert await client.at(b"+CSQ")
        client.close()
        os.close(deaf)


async def test_simulator_32_modems_answer_at_once(folder: Path) -> None:
    async with Simulator(32, link_dir=folder, control=False) as simulator:
        clients = [Client(port) for port in simulator.ports.values()]
        said = await asyncio.gather(*(client.at(b"+CNUM") for client in clients))
        for client in clients:
            client.close()

    assert all(f"+2519110000{at + 1:02d}".encode() in answer for at, answer in enumerate(said))


async def test_control_phone_texts_modem_and_gets_the_answer(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        client = Client(simulator.ports["modem0"])
        await client.at(b"E0+CNMI=2,1,0,0,0")
        control = await Control.open(folder)

        attached = await control.ask(op="attach", number="0922000001", id=1)
        sent = await control.ask(op="send", to=BOX, text="hello")
        states = [(await control.next())["state"] for _ in range(2)]
        await client.until(b'+CMTI: "SM",1\r\n')
        simulator.deliver(BOX, PHONE, "answer " * 30)
        event = await control.next()
        client.close()
        await control.close()

    assert attached == {"ok": True, "number": PHONE, "service": BOX, "id": 1}
    assert (sent["segments"], sent["encoding"], states) == (1, "gsm7", ["sent", "delivered"])
    assert (event["from"], event["text"], event["segments"]) == (BOX, "answer " * 30, 2)


async def test_control_closed_connection_switches_its_phones_off(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        control = await Control.open(folder)
        await control.ask(op="attach", number=PHONE)
        await control.close()
        async with asyncio.timeout(5):
            while simulator.world.phones:
                await asyncio.sleep(0.001)
        simulator.deliver(BOX, PHONE, "later")

        control = await Control.open(folder)
        await control.ask(op="attach", number=PHONE)
        event = await control.next()
        await control.close()

    assert event["text"] == "later"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nonsense", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"op":"fly"}', "no such op"),
        (b'{"op":"send","to":"+251911000001"}', "text"),
        (b'{"op":"attach","colour":"red"}', "colour"),
        (b'{"op":"attach","number":"+251911000001"}', "already"),
        (b'{"op":"send","from":"CBE","to":"","text":"x"}', "address"),
        (b'{"op":"network","radio_s":-1}', "radio_s"),
    ],
)
async def test_control_bad_request_is_told_and_the_next_one_works(
    folder: Path, line: bytes, error: str
) -> None:
    async with Simulator(1, link_dir=folder):
        control = await Control.open(folder)
        control._writer.write(line + b"\n")
        answer = await control.next()
        state = await control.ask(op="state")
        await control.close()

    assert error in answer["error"]
    assert state["modems"][0]["name"] == "modem0"


def test_simulator_thread_serves_a_program_that_blocks(folder: Path) -> None:
    with SimulatorThread(1, link_dir=folder) as thread:
        port = os.open(thread.ports["modem0"], os.O_RDWR | os.O_NOCTTY)
        os.write(port, b"AT+CSQ\r")
        said = b""
        while b"OK\r\n" not in said:
            said += os.read(port, 100)
        os.close(port)

    assert b"+CSQ: 20,99" in said


async def test_control_faults_acts_and_scenarios_by_socket(folder: Path) -> None:
    async with Simulator(2, link_dir=folder) as simulator:
        control = await Control.open(folder)
        asked = [
            await control.ask(op="fault", modem="modem0", point="submit", do="refuse", code=38, times=1),
            await control.ask(op="act", modem="modem0", do="mr", code=7),
            await control.ask(op="scenario", modem="modem1", name="lie"),
            await control.ask(op="network", retry_s=0.5, radio_s=1),
        ]
        rules = [(rule.modem, rule.do) for rule in simulator.world.faults.rules]
        last_mr = simulator.world.modems["modem0"].sim.last_mr
        wrong = await control.ask(op="fault", modem="modem0", point="submit", do="fly")
        missing = await control.ask(op="act", modem="modem9", do="reset")
        listed = await control.ask(op="scenarios")
        await control.ask(op="clear")
        await control.close()

        assert [answer["ok"] for answer in asked] == [True] * 4
        assert rules == [("modem0", "refuse"), ("modem1", "lie")]
        assert last_mr == 6
        assert simulator.network.settings.retry_s == (0.5,)
        assert "want one of" in wrong["error"]
        assert "modem9" in missing["error"]
        assert "vanish-renamed" in listed["scenarios"]
        assert simulator.world.faults.rules == []


async def test_control_renamed_modem_comes_back_under_another_name(folder: Path) -> None:
    async with Simulator(1, link_dir=folder) as simulator:
        control = await Control.open(folder)
        await control.ask(op="act", do="vanish", text="renamed")
        gone = not (folder / "modem0").is_symlink()
        await control.ask(op="act", do="return")
        client = Client(folder / "modem0-1")
        said = await client.at(b"+CNUM")
        client.close()
        await control.close()

        assert gone
        assert simulator.ports["modem0"] == folder / "modem0-1"
        assert b"+251911000001" in said


async def test_simulator_that_ends_late_leaves_its_successor_alone(folder: Path) -> None:
    first = Simulator(1, link_dir=folder)
    await first.start()
    async with Simulator(1, link_dir=folder) as second:
        await first.stop()
        control = await Control.open(folder)
        state = await control.ask(op="state")
        await control.close()

        assert state["modems"][0]["device"] == second.wires["modem0"].device
        assert (folder / "modem0").is_symlink()
