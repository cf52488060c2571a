"""The other programs of the radio benchmark: gammu-smsd, smstools3, and a loop that does nothing else.

Each starts with its queue full and sends it by itself; the benchmark watches the messages arrive.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from radio_driver import ROOT, TEXT, phone_of

from firmware_bridge.pdu import submits

STOP_S = 10.0


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all that it starts, ended at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class GammuSmsd:
    """gammu-smsd with its files backend, asked to do nothing but send."""

    name = "gammu-smsd"

    @staticmethod
    def missing() -> str | None:
        return None if shutil.which("gammu-smsd") else "gammu-smsd is not installed"

    @staticmethod
    @contextlib.contextmanager
    def sending(ports: list[Path], messages: int, home: Path) -> Iterator[None]:
        """One daemon for each modem, as it has to be with gammu-smsd."""
        with contextlib.ExitStack() as stack:
            for position, port in enumerate(ports):
                base = home / f"gammu{position}"
                for folder in ("inbox", "outbox", "sent", "error"):
                    (base / folder).mkdir(parents=True)
                for number in range(messages):
                    date = f"20260101_{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"
                    name = f"OUTC{date}_00_{phone_of(position)}_sms0.txt"
                    (base / "outbox" / name).write_text(TEXT)
                config = base / "smsdrc"
                config.write_text(
                    f"[gammu]\ndevice = {port}\nconnection = at115200\n"
                    "[smsd]\nservice = files\ndebuglevel = 0\nlogfile = stderr\n"
                    f"inboxpath = {base}/inbox/\noutboxpath = {base}/outbox/\n"
                    f"sentsmspath = {base}/sent/\nerrorsmspath = {base}/error/\n"
                    "loopsleep = 0\nreceivefrequency = 60\nstatusfrequency = 0\n"
                    "checksecurity = 0\nchecksignal = 0\ncheckbattery = 0\nchecknetwork = 0\n"
                )
                stack.enter_context(running(["gammu-smsd", "-c", str(config)], base / "log"))
            yield


class Smstools:
    """smsd of smstools3, one for all modems, with the settings that its users tune for speed."""

    name = "smstools3"

    @staticmethod
    def missing() -> str | None:
        found = shutil.which("smsd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        return None if found else "smsd (smstools) is not installed"

    @staticmethod
    @contextlib.contextmanager
    def sending(ports: list[Path], messages: int, home: Path) -> Iterator[None]:
        base = home / "smstools"
        for folder in ("outgoing", "checked", "incoming", "sent", "failed", "stats"):
            (base / folder).mkdir(parents=True)
        names = [f"GSM{position}" for position in range(len(ports))]
        queues = "".join(f"{name} = {phone_of(position)[1:]}\n" for position, name in enumerate(names))
        for name in names:
            (base / "queue" / name).mkdir(parents=True)
        lines = [
            f"devices = {', '.join(names)}",
            *(
                f"{folder} = {base}/{folder}"
                for folder in ("outgoing", "checked", "incoming", "sent", "failed")
            ),
            f"logfile = {base}/smsd.log",
            f"infofile = {base}/smsd.working",
            f"pidfile = {base}/smsd.pid",
            "loglevel = 4",
            "trust_outgoing = yes",
            "delaytime = 1",
            "[queues]",
            *(f"{name} = {base}/queue/{name}" for name in names),
            "[provider]",
            queues,
        ]
        for name, port in zip(names, ports, strict=True):
            lines += [f"[{name}]", f"device = {port}", "baudrate = 115200", "rtscts = no", "incoming = no"]
            lines += [f"queues = {name}", "report = no", "check_network = 0", "sending_disabled = no"]
        config = base / "smsd.conf"
        config.write_text("\n".join(lines) + "\n")
        for position in range(len(ports)):
            for number in range(messages):
                text = f"To: {phone_of(position)[1:]}\n\n{TEXT}"
                (base / "queue" / names[position] / f"{names[position]}.{number:04}").write_text(text)
        program = shutil.which("smsd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "smsd"
        with running([program, "-t", "-c", str(config)], base / "log"):
            yield


class BareLoop:
    """A blocking loop over one port that knows nothing but AT+CMGS: what the simulator itself allows."""

    name = "bare loop"

    @staticmethod
    def missing() -> str | None:
        return None

    @staticmethod
    @contextlib.contextmanager
    def sending(ports: list[Path], messages: int, home: Path) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for position, port in enumerate(ports):
                command = [sys.executable, __file__, str(port), phone_of(position), str(messages)]
                stack.enter_context(running(command, home / f"bare{position}.log"))
            yield


def bare_loop(port: str, recipient: str, messages: int) -> None:
    """Send and wait, with nothing in between."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd, termios.TCSANOW)
    (submit,) = submits(recipient, TEXT)
    pdu = submit.encode().hex().upper().encode() + b"\x1a"

    def ask(data: bytes, *ends: bytes) -> None:
        os.write(fd, data)
        heard = b""
        while not any(end in heard for end in ends):
            if not select.select([fd], [], [], 60)[0]:
                raise TimeoutError(heard)
            heard += os.read(fd, 4096)

    for command in (b"ATE0\r", b"AT+CMGF=0\r"):
        ask(command, b"OK\r\n", b"ERROR")
    for _ in range(messages):
        ask(b"AT+CMGS=%d\r" % submit.tpdu_length, b"> ")
        ask(pdu, b"OK\r\n", b"ERROR")
    signal.pause()  # the port stays open until the benchmark is done with it


PEERS = (BareLoop, GammuSmsd, Smstools)

if __name__ == "__main__":
    bare_loop(sys.argv[1], sys.argv[2], int(sys.argv[3]))
