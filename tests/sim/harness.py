"""The whole box as its users meet it: processes of their own, a pty between, phones on the other side."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from appliance.commands.trace import flat

ROOT = Path(__file__).parents[2]
AGENT = "+251911000900"
AGENT_PIN = "2580"
PATIENCE_S = 20.0


class Gone(AssertionError):
    """Something that had to come within PATIENCE_S did not."""


def wait_for(what: str, condition: Any, patience_s: float = PATIENCE_S) -> Any:
    """Call `condition` until it gives a true value; processes have no events that a test could await."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise Gone(f"{what}: not within {patience_s} s")


class Line:
    """A JSON-lines connection to a unix socket: answers are returned, events are kept."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def ask(self, **request: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._next(PATIENCE_S)
            if message is None:
                raise Gone(f"no answer to {request}")
            if "event" in message:
                self.events.append(message)
            else:
                assert "error" not in message, message
                return message

    def poll(self) -> None:
        while (message := self._next(0.02)) is not None:
            self.events.append(message)

    def close(self) -> None:
        self._socket.close()

    def _next(self, patience_s: float) -> dict[str, Any] | None:
        self._socket.settimeout(patience_s)
        while b"\n" not in self._buffer:
            try:
                got = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not got:
                raise Gone("the connection ended")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


class Handset:
    """A phone on the simulated network."""

    def __init__(self, control: Path, number: str, service: str) -> None:
        self.number, self.service = number, service
        self.line = Line(control)
        self.line.ask(op="attach", number=number)
        self._read = 0

    def send(self, text: str) -> None:
        self.line.ask(op="send", **{"from": self.number}, to=self.service, text=text)

    def texts(self) -> list[str]:
        """Everything that arrived since it was switched on."""
        self.line.poll()
        return [event["text"] for event in self.line.events if event["event"] == "sms"]

    def next(self) -> str:
        """The next text that was not read yet."""
        texts: list[str] = wait_for(f"a text at {self.number}", self._unread)
        self._read += 1
        return texts[0]

    def _unread(self) -> list[str]:
        return self.texts()[self._read :]

    def says(self, text: str) -> str:
        """Send, and return what comes back."""
        self.send(text)
        return self.next()


class Network:
    """The modem simulator in a process of its own, so that it outlives the appliance under test."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.control = folder / "control.sock"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "simulate", "--link", str(folder), *options],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        wait_for("the simulator", self.control.exists)
        self._handsets: list[Handset] = []

    def handset(self, number: str, service: str = "+251911000001") -> Handset:
        phone = Handset(self.control, number, service)
        self._handsets.append(phone)
        return phone

    def modem(self, index: int = 0) -> Path:
        return self.folder / f"modem{index}"

    def state(self) -> dict[str, Any]:
        line = Line(self.control)
        try:
            return line.ask(op="state")
        finally:
            line.close()

    def close(self) -> None:
        for phone in self._handsets:
            phone.line.close()
        self._process.terminate()
        self._process.wait(5)


class Outpost:
    """`outpost run` in a process of its own."""

    def __init__(self, folder: Path, modems: list[Path], extra: str = "") -> None:
        self.data = folder / "data"
        self.config = folder / "outpost.toml"
        tables = "".join(f'[[modem]]\nname = "modem{i}"\nport = "{path}"\n' for i, path in enumerate(modems))
        self.config.write_text(
            f'data_dir = "{self.data}"\n[http]\nlisten = "127.0.0.1:0"\n{tables}'
            f'[payments]\nagents = ["{AGENT}"]\n{extra}'
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "appliance", "run", "--config", str(self.config)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        try:
            wait_for("the appliance", self._answers)
            wait_for("the control socket", (self.data / "outpost.sock").exists)
            self.ask(op="agent", do="pin", number=AGENT, pin=AGENT_PIN)
        except Gone as error:
            raise Gone(f"{error}\n{self.log.read_text()[-4000:]}") from None

    def ask(self, **request: Any) -> dict[str, Any]:
        line = Line(self.data / "outpost.sock")
        try:
            return line.ask(**request)
        finally:
            line.close()

    @property
    def url(self) -> str:
        return str(self.ask(op="check")["http"]["listen"]).rstrip("/")

    def post(self, body: Any, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/sms/incoming",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    def until_modem_ready(self) -> None:
        """Ready, or working with an alarm: one that is pulled out often has one about its power supply."""

        def works(modem: dict[str, Any]) -> bool:
            return modem["state"] == "ready" or (modem["state"] == "degraded" and bool(modem["alarms"]))

        wait_for("the modem", lambda: all(works(modem) for modem in self.ask(op="check")["modems"]))

    def lives(self, what: str) -> list[dict[str, Any]]:
        """What `outpost trace` tells of a number or an id."""
        messages = flat(self.ask(op="trace", what=what)["messages"])
        return [{**message["row"], "steps": message["steps"]} for message in messages]

    def count(self, query: str) -> int:
        """The one number that a query gives, read beside the running appliance."""
        db = sqlite3.connect(f"file:{self.data / 'outpost.db'}?mode=ro", uri=True)
        try:
            return int(db.execute(query).fetchone()[0])
        finally:
            db.close()

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.ask(op="check")["dispatcher"]["workers"]]

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> tuple[int, float]:
        """SIGTERM; the exit code and how long it took, in seconds."""
        assert self.process is not None
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10), time.monotonic() - started

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        try:
            return bool(self.get("/healthz"))
        except (OSError, Gone):
            return False
