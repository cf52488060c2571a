"""A small scripted modem on a pty, for tests that need to decide every byte; the simulator is for the
rest."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import tty
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from firmware_bridge.modem import Modem, ModemHealth, ModemSettings, Received
from firmware_bridge.pdu import StatusReport

Answer = str | bytes | Callable[["FakeModem", str], "str | bytes | None"] | None


def tpdu_length(pdu: str) -> int:
    """Octets behind the SCA, as +CMGR announces them."""
    return len(pdu) // 2 - 1 - int(pdu[:2], 16)


class FakeModem:
    """Answers from `rules` (regular expression -> answer), later rules first. An answer is text whose lines
    are framed with CR LF, bytes written as they are, None for silence, or a function of (fake, line)."""

    def __init__(self) -> None:
        self.store: dict[int, str] = {}
        self.rules: list[tuple[str, Answer]] = []
        self.seen: list[str] = []
        self.pdus: list[str] = []
        self.mr = 0
        self.echo = True
        self.echoes_always = False
        self.prompt = b"\r\n> "
        self.sent_answer: Answer = None
        self._buffer = b""
        self._expecting_pdu = False
        self._changed = asyncio.Event()
        self.master = -1
        self.open()

    # -- the pty

    def open(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        os.set_blocking(self.master, False)
        asyncio.get_running_loop().add_reader(self.master, self._readable)

    def close(self) -> None:
        if self.master >= 0:
            asyncio.get_running_loop().remove_reader(self.master)
            os.close(self.master)
            os.close(self._slave)
            self.master = -1

    def write(self, data: bytes) -> None:
        if self.master >= 0:
            os.write(self.master, data)

    def say(self, text: str) -> None:
        """Lines, each framed by CR LF."""
        self.write("".join(f"\r\n{line}\r\n" for line in text.split("\n")).encode("latin-1"))

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def asked(self, pattern: str) -> int:
        return sum(re.fullmatch(pattern, line) is not None for line in self.seen)

    def on(self, pattern: str, answer: Answer) -> None:
        self.rules.insert(0, (pattern, answer))

    # -- the modem

    def _readable(self) -> None:
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return
        self._buffer += data
        while True:
            if self._expecting_pdu:
                match = re.search(rb"[\x1a\x1b]", self._buffer)
                if match is None:
                    break
                body, end = self._buffer[: match.start()], match[0]
                self._buffer = self._buffer[match.end() :]
                self._expecting_pdu = False
                if end == b"\x1b":
                    self.say("OK")
                else:
                    self._pdu(body.decode().strip())
                continue
            if b"\r" not in self._buffer:
                break
            raw, self._buffer = self._buffer.split(b"\r", 1)
            line = raw.replace(b"\x1b", b"").decode("latin-1").strip()
            if self.echo:
                self.write(raw + b"\r")
            if line:
                self._line(line)
        self._changed.set()

    def _line(self, line: str) -> None:
        self.seen.append(line)
        if line == "ATE0" and not self.echoes_always:
            self.echo = False
        for pattern, answer in self.rules:
            if re.fullmatch(pattern, line):
                self._give(answer, line)
                return
        if re.fullmatch(r"AT\+CMGS=\d+", line):
            self._expecting_pdu = True
            self.write(self.prompt)
            return
        self._give(self._built_in(line), line)

    def _give(self, answer: Answer, line: str) -> None:
        if callable(answer):
            answer = answer(self, line)
        if isinstance(answer, bytes):
            self.write(answer)
        elif answer is not None:
            self.say(answer)

    def _pdu(self, pdu: str) -> None:
        self.pdus.append(pdu)
        answer = self.sent_answer
        if answer is None:
            self.mr = (self.mr + 1) % 256
            answer = f"+CMGS: {self.mr}\nOK"
        self._give(answer, pdu)

    def _built_in(self, line: str) -> str:
        if match := re.fullmatch(r"AT\+CMGR=(\d+)", line):
            pdu = self.store.get(int(match[1]))
            return (
                "+CMS ERROR: 321"
                if pdu is None
                else f"+CMGR: 0,,{len(pdu) // 2 - 1 - int(pdu[:2], 16)}\n{pdu}\nOK"
            )
        if match := re.fullmatch(r"AT\+CMGD=(\d+)", line):
            self.store.pop(int(match[1]), None)
            return "OK"
        if line == "AT+CMGL=4":
            rows = [f"+CMGL: {i},1,,{tpdu_length(p)}\n{p}" for i, p in self.store.items()]
            return "\n".join([*rows, "OK"])
        used = f"{len(self.store)},20"
        return {
            "AT+CGMI": "Acme\nOK",
            "AT+CGMM": "M1\nOK",
            "AT+CGMR": "1.0\nOK",
            "AT+CGSN": "490154203237518\nOK",
            "AT+CIMI": "636011234567890\nOK",
            "AT+CCID": '+CCID: "8925101234567890123F"\nOK',
            "AT+CPIN?": "+CPIN: READY\nOK",
            "AT+CPMS=?": '+CPMS: ("SM"),("SM"),("SM")\nOK',
            "AT+CPMS?": f'+CPMS: "SM",{used},"SM",{used},"SM",{used}\nOK',
            'AT+CPMS="SM","SM","SM"': f"+CPMS: {used},{used},{used}\nOK",
            "AT+CNMI=?": "+CNMI: (0-2),(0-3),(0,2),(0-2),(0,1)\nOK",
            "AT+CSCA?": '+CSCA: "+251911000000",145\nOK',
            "AT+CREG?": "+CREG: 1,1\nOK",
            "AT+CEREG?": "ERROR",
            "AT+CSQ": "+CSQ: 20,99\nOK",
            "AT+COPS?": '+COPS: 0,0,"Ethio telecom",7\nOK',
            "AT+CCLK?": '+CCLK: "26/11/22,17:31:00+12"\nOK',
            "AT+CNUM": '+CNUM: "","+251911000001",145\nOK',
        }.get(line, "OK")


class Harness:
    """A Modem and what it handed over."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reports: list[StatusReport] = []
        self.undecodable: list[tuple[bytes, str]] = []
        self.health: list[ModemHealth] = []
        self.wire: list[str] = []
        self.changed = asyncio.Event()
        self.refuse: Exception | None = None
        self.before_accept: Callable[[], None] | None = None
        self.modem: Modem
        self._task: asyncio.Task[None] | None = None

    def start(self, port: str, **settings: Any) -> Modem:
        extra = settings.pop("extra", {})
        self.modem = Modem(
            ModemSettings(**{"name": "m0", "port": port, **settings}),
            on_deliver=self._deliver,
            on_status_report=self._report,
            on_undecodable=self._undecodable,
            on_change=self._change,
            wire_log=self.wire.append,
            **extra,
        )
        self._task = asyncio.create_task(self.modem.run())
        return self.modem

    async def stop(self) -> None:
        if self._task is not None:
            await self.modem.stop()
            async with asyncio.timeout(5):
                await self._task

    async def ready(self) -> None:
        async with asyncio.timeout(15):
            await self.modem.wait_ready()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _deliver(self, received: Received) -> None:
        if self.before_accept is not None:
            self.before_accept()
        if self.refuse is not None:
            raise self.refuse
        self.received.append(received)
        self.changed.set()

    async def _report(self, report: StatusReport, raw: bytes) -> None:
        self.reports.append(report)
        self.changed.set()

    async def _undecodable(self, raw: bytes, error: str) -> None:
        self.undecodable.append((raw, error))
        self.changed.set()

    def _change(self, health: ModemHealth) -> None:
        self.health.append(health)
        self.changed.set()


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeModem]:
    modem = FakeModem()
    yield modem
    modem.close()


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[Harness]:
    one = Harness()
    yield one
    await one.stop()


@pytest_asyncio.fixture
async def fake_too() -> AsyncIterator[FakeModem]:
    modem = FakeModem()
    yield modem
    modem.close()


@pytest_asyncio.fixture
async def harness_too() -> AsyncIterator[Harness]:
    one = Harness()
    yield one
    await one.stop()
