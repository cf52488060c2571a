"""A modem of habits drawn by chance: what bytes real ones send differs in all of this at once.

Written beside the simulator and without its code, after what python-gsmmodem, ModemManager, gammu and the
issue trackers of their users know of modems. It keeps to TS 27.005 where a habit does not say otherwise.
"""

from __future__ import annotations

import asyncio
import os
import pty
import random
import re
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from firmware_bridge.pdu import Address, Scts, StatusReport, Submit, delivers

WHEN: Final = Scts.from_utc_ms(1_790_000_000_000, zone_minutes=180)
CHATTER: Final = (
    "^RSSI:17", "^BOOT:36371,0,0,0,7", "+ZUSIMR:2", "+CREG: 1", "+CIEV: 2,4", "RING", "+CSQ: 20,99",
    "^MODE:5,4", '+CUSD: 0,"hello",15', "*PSUTTZ: 26,11,22", "$QCRSSI: 9", "%SYSSTATUS: 1",
    "UNDER-VOLTAGE WARNNING",
)  # fmt: skip
DISPENSABLE: Final = (
    "+CSMS", "+CMMS", "+CNMI=?", "+CNMI?", "+CEREG", "+CSQ", "+COPS", "+CCLK", "+CNUM", "+CCID", "+CGMR",
    "+CGMI", "+CPMS=?", "+CPMS?", "+CSCA", "+CMEE", "+CIMI", "+CREG=", "+CNMA", "+CMGL", "+CTZU", "+CPIN",
    "^", "+QCCID",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Habits:
    """What one modem does its own way."""

    lead: str
    end: str
    colon: str
    echo_goes: bool
    prompt: bytes
    prompt_s: float
    refusal: str
    missing: frozenset[str]
    sent: str  # of {mr}
    sent_s: float
    store: str
    direct: bool
    one_line: bool
    header: str  # of {stat}, {length}
    empty: str
    report: str  # "+CDS", "SM", "SR" or ""
    chatter: float
    in_prompt: bool
    cut: int  # reads are cut into so many octets; 0: not
    text_mode: bool  # it was left in text mode, with something unread shown in it
    index: int

    @classmethod
    def drawn(cls, seed: int) -> Habits:
        rng = random.Random(seed)
        return cls(
            lead=rng.choice(("\r\n", "\r\n", "\r\n", "", "\n")),
            end=rng.choice(("\r\n", "\r\n", "\r\r\n", "\n", "\r\n\r\n", "\r")),
            colon=rng.choice((": ", ": ", ":", ":  ")),
            echo_goes=rng.random() < 0.7,
            prompt=rng.choice((b"\r\n> ", b"\r\n> ", b">", b"\r\n>", b"\r\n>\r\n", b"\r\n> \r\n", b"> ")),
            prompt_s=rng.choice((0.0, 0.0, 0.05, 0.3)),
            refusal=rng.choice(
                ("ERROR", "+CME ERROR: 100", "+CME ERROR: unknown", "COMMAND NOT SUPPORT", "+CMS ERROR: 303",
                 "+CME ERROR: operation not allowed", "TOO MANY PARAMETERS", "MODEM ERROR: 4")
            ),
            missing=frozenset(rng.sample(DISPENSABLE, rng.randint(0, 10))),
            sent=rng.choice(("{mr}", "{mr}", '{mr},"26/11/22,10:00:00+12"', "  {mr}", "{mr},")),
            sent_s=rng.choice((0.0, 0.0, 0.05, 0.4)),
            store=rng.choice(("SM", "SM", "ME", "MT")),
            direct=rng.random() < 0.25,
            one_line=rng.random() < 0.15,
            header=rng.choice(
                ("{stat},,{length}", "{stat},,{length}", '{stat},"",{length}', "{stat},{length}",
                 '{stat},"A, b",{length}', "{stat} , , {length}")
            ),
            empty=rng.choice(("+CMS ERROR: 321", "OK", "ERROR", "+CMS ERROR: Invalid memory index")),
            report=rng.choice(("+CDS", "+CDS", "SM", "SR", "")),
            chatter=rng.choice((0.0, 0.0, 0.1, 0.5)),
            in_prompt=rng.random() < 0.25,
            cut=rng.choice((0, 0, 1, 3, 17)),
            text_mode=rng.random() < 0.2,
            index=rng.choice((0, 1, 1, 23)),
        )  # fmt: skip


class OddModem:
    """On a pty at `path`, in the running loop. `sent`: the submits it took."""

    def __init__(self, habits: Habits, seed: int) -> None:
        self.habits = habits
        self.sent: list[Submit] = []
        self.slots: dict[str, dict[int, str]] = {"SM": {}, "ME": {}, "SR": {}}
        self.seen: list[str] = []
        self._changed = asyncio.Event()
        self._rng = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._echo = True
        self._memory = "ME" if habits.store == "ME" else "SM"
        self._pdu_mode = not habits.text_mode
        self._phase = 0
        self._cnmi: list[str] = ["0"] * 5
        self._mr = self._rng.randrange(256)
        self._awaiting: Callable[[str | None], None] | None = None
        self._buffer = b""
        self._out = b""
        self._writing = False
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path, self._slave = os.ttyname(slave), slave
        os.set_blocking(self.master, False)
        self._loop.add_reader(self.master, self._readable)
        if habits.text_mode:
            self._say('+CMT: "+251911222333",,"26/11/22,10:00:00+12"', "old news")

    def close(self) -> None:
        self._loop.remove_reader(self.master)
        os.close(self.master)
        os.close(self._slave)
        self.master = -1

    async def until(self, condition: Callable[[], Any], timeout_s: float = 20) -> None:
        """Until it holds, looked at after each command."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # -- the network's side

    def arrive(self, text: str) -> None:
        """A text for this SIM."""
        (deliver,) = delivers("+251911222333", text, WHEN)
        pdu = deliver.encode().hex().upper()
        if self._cnmi[1] == "2" or (self.habits.direct and self._cnmi[1] == "1"):
            self._two_lines("+CMT", ",{length}", pdu)
            return
        memory = "ME" if self.habits.store == "ME" else "SM"
        index = self._keep(memory, pdu)
        if self._cnmi[1] != "0":
            self._code("+CMTI", f'"{self.habits.store}",{index}')

    def _reported(self, submit: Submit, mr: int) -> None:
        report = StatusReport(
            recipient=Address.parse(submit.recipient.digits), scts=WHEN, discharge_time=WHEN, status=0, mr=mr
        )
        pdu, how = report.encode().hex().upper(), self.habits.report
        if not how or self._cnmi[3] == "0":
            return
        if how == "+CDS" and self._cnmi[3] == "1":
            self._two_lines("+CDS", "{length}", pdu)
        else:
            memory = how if how != "+CDS" else "SM"
            self._code("+CDSI", f'"{memory}",{self._keep(memory, pdu)}')

    def _keep(self, memory: str, pdu: str) -> int:
        slots, index = self.slots[memory], self.habits.index
        while index in slots:
            index += 1
        slots[index] = pdu
        return index

    # -- bytes

    def _two_lines(self, name: str, form: str, pdu: str) -> None:
        head = f"{name}{self.habits.colon}{form.format(length=_length(pdu))}"
        if self.habits.one_line:
            self._say(f"{head},{pdu}")
        else:
            self._put(f"{self.habits.lead}{head}\r\n{pdu}{self.habits.end}")

    def _code(self, name: str, rest: str) -> None:
        self._say(f"{name}{self.habits.colon}{rest}")

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._put(f"{self.habits.lead}{line}{self.habits.end}")
            if self.habits.chatter and self._rng.random() < self.habits.chatter:
                self._put(f"{self.habits.lead}{self._rng.choice(CHATTER)}{self.habits.end}")

    def _put(self, text: str | bytes) -> None:
        self._out += text.encode("latin-1") if isinstance(text, str) else text
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        if self.master < 0:
            return
        cut = self.habits.cut or len(self._out)
        os.write(self.master, self._out[:cut])
        self._out = self._out[cut:]
        self._writing = bool(self._out)
        if self._out:
            self._loop.call_later(0.0002, self._write)

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self.master, 4096)
        except OSError:
            return
        while True:
            if self._awaiting is not None:
                found = re.search(rb"[\x1a\x1b]", self._buffer)
                if found is None:
                    return
                body, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
                then, self._awaiting = self._awaiting, None
                then(None if found[0] == b"\x1b" else body.decode("latin-1").strip())
                continue
            raw, found_cr, rest = self._buffer.partition(b"\r")
            if not found_cr:
                return
            self._buffer = rest
            if self._echo:
                self._put(raw.replace(b"\x1b", b"") + b"\r")
            line = raw.replace(b"\x1b", b"").decode("latin-1").strip()
            if line.upper().startswith("AT"):
                self.seen.append(line)
                self._do(line[2:])
                self._changed.set()

    # -- commands

    def _do(self, command: str) -> None:
        if any(command.startswith(name) for name in self.habits.missing):
            self._say(self.habits.refusal)
            return
        if command == "E0":
            self._echo = not self.habits.echo_goes
        if found := re.fullmatch(r"\+CMGS=(\d+)", command):
            length = int(found[1])
            self._loop.call_later(self.habits.prompt_s, self._prompt, length)
            return
        answer = self._answer(command)
        self._say(*([self.habits.refusal] if answer is None else answer))

    def _prompt(self, length: int) -> None:
        if self.master < 0:
            return
        self._awaiting = lambda body: self._submitted(body, length)
        self._put(self.habits.prompt)
        if self.habits.in_prompt:
            self._put("\r\n^RSSI:11\r\n")

    def _submitted(self, body: str | None, length: int) -> None:
        if body is None:
            self._say("OK")
            return
        if _length(body) != length:
            self._say("+CMS ERROR: 304")
            return
        self._mr = (self._mr + 1) % 256
        submit = Submit.decode(bytes.fromhex(body))
        self.sent.append(submit)
        mr = self._mr

        def answer() -> None:
            if self.master < 0:
                return
            self._say(f"+CMGS{self.habits.colon}{self.habits.sent.format(mr=mr)}", "OK")
            if submit.status_report:
                self._reported(submit, mr)

        self._loop.call_later(self.habits.sent_s, answer)

    def _answer(self, command: str) -> list[str] | None:
        colon = self.habits.colon
        if (
            not command
            or command[0] in "EVQ&^Z"
            or command.startswith(("+CMEE", "+CREG=", "+CEREG=", "+CTZ"))
        ):
            return ["OK"] if not command.startswith("^") else None
        if found := re.fullmatch(r"\+CMG([RD])=(\d+)(?:,\d)?", command):
            slots, index = self.slots[self._memory], int(found[2])
            if found[1] == "D":
                slots.pop(index, None)
                return ["OK"]
            if index not in slots:
                return ["OK"] if self.habits.empty == "OK" else [self.habits.empty]
            return [*self._shown("+CMGR", "", slots[index]), "OK"]
        if command == "+CMGL=4":
            if not self._pdu_mode:
                return ["ERROR"]
            rows = (self._shown("+CMGL", f"{i},", pdu) for i, pdu in self.slots[self._memory].items())
            return [line for row in rows for line in row] + ["OK"]
        if found := re.match(r'\+CPMS="(\w+)"', command):
            if found[1] not in self.slots:
                return None
            self._memory = found[1]
            return [f"+CPMS{colon}{self._counts()},{self._counts()},{self._counts()}", "OK"]
        if found := re.fullmatch(r"\+CNMI=([\d,]+)", command):
            wanted = found[1].split(",")
            if len(wanted) < 4 or (wanted[3] == "1" and self.habits.report in ("SM", "SR")):
                return None
            self._cnmi = (wanted + ["0"] * 5)[:5]
            return ["OK"]
        if command.startswith("+CMGF="):
            self._pdu_mode = command == "+CMGF=0"
            return ["OK"]
        if command.startswith("+CSMS="):
            self._phase = int(command[-1])
            return [f"+CSMS{colon}1,1,1", "OK"]
        if command == "+CNMA":
            return ["OK"] if self._phase else ["+CMS ERROR: 340"]
        fixed: dict[str, Any] = {
            "+CPMS?": f'"{self._memory}",{self._counts()},"SM",{self._counts()},"SM",{self._counts()}',
            "+CPMS=?": '("SM","ME","SR"),("SM","ME"),("SM","ME")',
            "+CNMI=?": "(0-2),(0-3),(0,2),(0-2),(0,1)",
            "+CNMI?": ",".join(self._cnmi),
            "+CPIN?": "READY",
            "+CSCA?": '"+251911000000",145',
            "+CREG?": "0,1",
            "+CSQ": "20,99",
            "+COPS?": '0,0,"Ethio telecom",7',
            "+CMGF?": "0" if self._pdu_mode else "1",
        }
        if command in fixed:
            return [f"{command.rstrip('?=')}{colon}{fixed[command]}", "OK"]
        plain = {
            "+CGMI": "Odd",
            "+CGMM": "One",
            "+CGMR": "R1",
            "+CGSN": "490154203237518",
            "+CIMI": "636011234567890",
        }
        return [plain[command], "OK"] if command in plain else None

    def _counts(self) -> str:
        return f"{len(self.slots[self._memory])},30"

    def _shown(self, name: str, index: str, pdu: str) -> list[str]:
        header = f"{name}{self.habits.colon}{index}{self.habits.header.format(stat=0, length=_length(pdu))}"
        return [f"{header},{pdu}"] if self.habits.one_line else [header, pdu]


def _length(pdu: str) -> int:
    return len(pdu) // 2 - 1 - int(pdu[:2], 16)
