"""`outpost handset`: a phone in the terminal, on the simulated network of a running demo.

What is typed is sent to the box, what arrives is shown, with the segments it took and the ticks of a
delivery. Lines from a pipe work too: each is sent when the one before it has been answered.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from appliance.commands.asking import DEMO_DIR
from appliance.exits import Exit
from appliance.message import normalise_number
from firmware_bridge.errors import BridgeError
from firmware_bridge.pdu import segment

__all__ = ["configure", "run"]

RETRY_S: Final = 0.5
CLOCK: Final = "%H:%M"
HELP: Final = """\
  anything else is sent as a text. Also:
  /count TEXT   how many segments a text would take      /to NUMBER   text another number
  /off, /on     switch the phone off and on again        /quit        leave (or Ctrl-D)"""


def configure(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data-dir", type=Path, metavar="DIR", help="the demo's data directory")
    where.add_argument("--control", type=Path, metavar="SOCKET", help="the simulator's control socket")
    parser.add_argument(
        "--number", type=_number, metavar="+2519...", help="its own number (default: the next free one)"
    )
    parser.add_argument("--to", metavar="NUMBER", help="whom to text (default: the box)")
    parser.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="S",
        help="with lines from a pipe: how long to wait for each answer, and for more after the last",
    )
    parser.add_argument("--replies", type=int, metavar="N", help="with a pipe: end when N texts have come")


def _number(text: str) -> str:
    number = normalise_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no mobile number; want one such as +251911234567")
    return number


def run(args: argparse.Namespace) -> int:
    path = args.control or (args.data_dir or DEMO_DIR) / "network" / "control.sock"
    return Handset(path, args, Screen(sys.stdin.isatty() and sys.stdout.isatty())).run()


class Screen:
    """Prints lines, on a terminal above the line that is being typed."""

    PROMPT: Final = "> "

    def __init__(self, interactive: bool) -> None:
        self.interactive = interactive
        self._colours = interactive and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()
        self._typing = False
        if interactive:
            import readline  # arrow keys and history for input(); loading it is enough

            self._readline = readline

    def read(self) -> str | None:
        """A typed line; None at the end of input."""
        try:
            if not self.interactive:
                line = sys.stdin.readline()
                return line.rstrip("\r\n") if line else None
            self._typing = True
            return input(self.PROMPT)
        except EOFError:
            return None
        finally:
            self._typing = False

    def fold(self, text: str) -> list[str]:
        """Lines of a text, on a terminal cut at words to fit it; a file gets them as they are."""
        lines = text.splitlines() or [""]
        if not self.interactive:
            return lines
        width = max(20, shutil.get_terminal_size().columns - 4)
        return [part for line in lines for part in textwrap.wrap(line, width) or [""]]

    def show(self, text: str, style: str = "") -> None:
        """One or more lines. style: an SGR number, used on terminals only."""
        with self._lock:
            if self._colours and style:
                text = f"\x1b[{style}m{text}\x1b[0m"
            if self._typing:  # wipe the line being typed, say it, and put the line back
                typed = self._readline.get_line_buffer()
                sys.stdout.write(f"\r\x1b[K{text}\n{self.PROMPT}{typed}")
            else:
                sys.stdout.write(text + "\n")
            sys.stdout.flush()


class Link:
    """The connection to the simulator. Answers and events come out of `inbox` as dicts; None: it ended."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._socket.settimeout(None)
        self._lines = self._socket.makefile("rb")

    def ask(self, **request: Any) -> None:
        """Send one request; raises OSError when the other side has gone."""
        self._socket.sendall(json.dumps(request).encode() + b"\n")

    def next(self) -> dict[str, Any] | None:
        """Wait for one line."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return json.loads(line) if line else None

    def close(self) -> None:
        """Hang up; wakes a `next` that waits in another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


class Handset:
    """One phone: a thread reads the network, the main thread reads the keyboard."""

    def __init__(self, path: Path, args: argparse.Namespace, screen: Screen) -> None:
        self._path = path
        self._number: str | None = args.number
        self._to: str | None = args.to
        self._wait_s: float = args.wait
        self._replies_wanted: int | None = args.replies
        self._screen = screen
        self._link: Link | None = None
        self._leaving = False
        self._error: str | None = None
        self._attached = threading.Event()  # the network has answered, or it never will: see _error
        self._heard = threading.Condition()  # guards the three counts, for lines from a pipe
        self._texts = 0  # that came
        self._asked = 0  # to be sent
        self._settled = 0  # of these: sent or refused
        self._sending: list[str] = []  # texts asked to be sent, in order, until their answer comes

    # --- life

    def run(self) -> int:
        reader = threading.Thread(target=self._listen, name="network", daemon=True)
        reader.start()
        if not self._attached.wait(None if self._screen.interactive else self._wait_s):
            self._error = f"no simulated network at {self._path}: start it with `make run` or `outpost demo`"
        if self._error is not None:
            print(f"outpost handset: {self._error}", file=sys.stderr)
            return int(Exit.NOT_RUNNING)
        try:
            self._chat()
        except KeyboardInterrupt:
            if not self._screen.interactive:
                raise
        finally:
            self._leaving = True
            if self._link is not None:
                self._link.close()
        return int(Exit.STOPPED)

    def _chat(self) -> None:
        if self._screen.interactive:
            self._screen.show("  type a text and press Enter; /help for more", "2")
            while (line := self._screen.read()) is not None:
                if line.strip() == "/quit":
                    return
                self._typed(line)
            return
        while (line := self._screen.read()) is not None:
            if line.strip():
                self._screen.show(f"{time.strftime(CLOCK)} me: {line}")
                before = self._texts
                self._typed(line)
                if not line.startswith("/"):
                    self._until_text_after(before)
        wanted = self._replies_wanted
        if wanted is not None:
            self._until(lambda: self._texts >= wanted and self._settled >= self._asked)
            return
        before = -1
        while before != self._texts:
            before = self._texts
            self._until_text_after(before)

    def _until_text_after(self, before: int) -> None:
        enough = self._replies_wanted
        self._until(lambda: self._texts > before or (enough is not None and self._texts >= enough))

    def _until(self, happened: Callable[[], bool]) -> None:
        """Wait until it happens, but not longer than was allowed."""
        with self._heard:
            self._heard.wait_for(happened, self._wait_s)

    def _count(self, what: str) -> None:
        with self._heard:
            if what == "text":
                self._texts += 1
            else:
                self._settled += 1
            self._heard.notify_all()

    # --- the network's side

    def _listen(self) -> None:
        """Connect, show what comes, and connect again when the network comes back."""
        said_missing = False
        while not self._leaving:
            try:
                link = Link(self._path)
            except OSError:
                if not said_missing and (self._attached.is_set() or self._screen.interactive):
                    self._screen.show(f"  no network at {self._path}; waiting for it", "33")
                    said_missing = True
                time.sleep(RETRY_S)
                continue
            try:
                self._converse(link)
            except OSError:
                pass
            link.close()
            self._link = None
            self._sending.clear()
            if self._error is not None:
                self._attached.set()
                return
            if not self._leaving:
                self._screen.show("  the network has gone; waiting for it to come back", "33")
                said_missing = True

    def _converse(self, link: Link) -> None:
        """One connection from attach to its end."""
        link.ask(op="attach", id="attach", **({"number": self._number} if self._number else {}))
        while (message := link.next()) is not None:
            if message.get("id") == "attach":
                if "error" in message:
                    self._error = message["error"]
                    return
                self._joined(link, message)
            elif message.get("event") == "sms":
                self._show_text(message)
            elif message.get("event") == "report":
                self._show_tick(message)
            elif message.get("id") == "send":
                text = self._sending.pop(0) if self._sending else ""
                if "error" in message:
                    self._count("refused")
                    self._screen.show(f"  ✗ not sent: {message['error']}: {text[:40]}", "31")
            elif "error" in message:
                self._screen.show(f"  {message['error']}", "31")

    def _joined(self, link: Link, answer: dict[str, Any]) -> None:
        again, self._number = self._attached.is_set(), answer["number"]
        self._to = self._to or answer.get("service")
        self._link = link
        if again:
            self._screen.show(f"  back on the network as {self._number}", "33")
        else:
            self._screen.show(f"  phone {self._number}, texting {self._to or 'nobody yet (/to NUMBER)'}", "2")
        self._attached.set()

    def _show_text(self, event: dict[str, Any]) -> None:
        count = event["segments"]
        size = "" if count == 1 else f"  ({count} segments)"
        body = "\n".join(f"  {line}" for line in self._screen.fold(event["text"]))
        self._screen.show(f"{time.strftime(CLOCK)} {event['from']}:{size}\n{body}", "36")
        self._count("text")

    def _show_tick(self, event: dict[str, Any]) -> None:
        """One tick: the network has it. Two: the other side has it."""
        if event["state"] in ("sent", "failed"):
            self._count(event["state"])
        match event["state"]:
            case "sent":
                self._screen.show("  ✓ sent", "2")
            case "delivered":
                self._screen.show("  ✓✓ delivered", "32")
            case "failed":
                self._screen.show(f"  ✗ refused by the network, cause {event.get('cause', '?')}", "31")
            case state:
                self._screen.show(f"  ✗ {state}", "31")

    # --- the keyboard's side

    def _typed(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "":
                return
            case "/help":
                self._screen.show(HELP)
            case "/count":
                self._screen.show(f"  {measure(rest)}", "2")
            case "/to":
                self._to = rest.strip() or self._to
                self._screen.show(f"  texting {self._to}", "2")
            case "/off":
                self._request(op="detach", id="detach", number=self._number)
                self._screen.show("  switched off; /on switches it on again", "33")
            case "/on":
                self._request(op="attach", id="attach", number=self._number)
            case _ if word.startswith("/") and word[1:].isalpha():
                self._screen.show(f"  no such command: {word}\n{HELP}", "33")
            case _:
                self._send(line)

    def _send(self, text: str) -> None:
        if self._to is None:
            self._screen.show("  whom? /to NUMBER says it", "33")
            return
        self._screen.show(f"  {measure(text)}", "2")
        self._sending.append(text)
        self._asked += 1
        self._request(op="send", id="send", to=self._to, text=text, **{"from": self._number})

    def _request(self, **request: Any) -> None:
        try:
            if self._link is None:
                raise ConnectionError
            self._link.ask(**request)
        except OSError:
            self._screen.show("  ✗ no network; not sent", "31")


def measure(text: str) -> str:
    """`2 segments, UCS-2 because of 'ሰ', 12 characters left`."""
    try:
        shape = segment(text)
    except BridgeError as error:
        return str(error)
    count = len(shape.parts)
    alphabet = "GSM-7" if shape.encoding == "gsm7" else f"UCS-2 because of {shape.forced_by!r}"
    return f"{count} segment{'s' if count > 1 else ''}, {alphabet}, {shape.units_left} characters left"
