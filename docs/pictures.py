"""Make the pictures in README.md and docs/ anew: `make screenshots`. Needs chromium.

handset.png is a real session: a demo is started, `outpost handset` runs on a pseudo terminal, the lines below
are typed, and what the terminal showed is drawn by a headless browser. docs/pictures/page.py, if it is there,
takes the page's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
OUT: Final = ROOT / "docs" / "pictures"
COLUMNS: Final = 84
ANSWER_S: Final = 30.0  # the simulated radio takes 3 s a message and way
CHROMIUM: Final = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

# What each person types; each line waits for its answer.
SABA: Final = ["BOOK ADIS HAWASSA TOMORROW 2", "YES"]
AGENT: Final = "+251911000900"
AGENT_PIN: Final = "2580"  # of the demo
KEBEDE: Final = ["ነገ ከአዲስ አበባ ባህር ዳር"]

# The few SGR codes that the handset uses.
COLOURS: Final = {"2": "dim", "32": "green", "33": "yellow", "36": "cyan", "31": "red", "1": "bold"}


class Terminal:
    """A program on a pseudo terminal, with what it has shown so far."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvp(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        self.shown = ""
        self._bytes = b""

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Read until `pattern` shows in what came after the first `after` characters."""
        limit = time.monotonic() + ANSWER_S
        while True:
            found = re.search(pattern, self.shown[after:])
            if found:
                return found
            if time.monotonic() > limit:
                raise SystemExit(f"never saw {pattern!r} in:\n{self.shown}")
            if select.select([self._fd], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self._bytes += os.read(self._fd, 65_536)
                self.shown = self._bytes.decode(errors="ignore")

    def say(self, line: str, pattern: str) -> re.Match[str]:
        before = len(self.shown)
        os.write(self._fd, line.encode() + b"\n")
        return self.wait_for(pattern, after=before)

    def close(self) -> str:
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self._fd)
        return self.shown


@contextlib.contextmanager
def running_demo(data: Path) -> Iterator[str]:
    """A demo with nothing in it yet; gives its banner."""
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "demo", "--data-dir", str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        try:
            yield "".join(lines)
        finally:
            process.terminate()


def handset(data: Path, number: str) -> Terminal:
    terminal = Terminal(
        [sys.executable, "-m", "appliance", "handset", "--data-dir", str(data), "--number", number]
    )
    terminal.wait_for(r"(?s)/help.*> ")
    return terminal


def dialogues(data: Path) -> str:
    """The sessions as the terminal showed them, one after the other."""
    answer = r"(?s)\+251911000001:[^\n]*\n(.*?)\r\n> "
    saba = handset(data, "+251911223344")
    saba.say(SABA[0], answer)
    code = re.search(r"\b[A-Z0-9]{6}\b", saba.say(SABA[1], answer)[1])
    if code is None:
        raise SystemExit(f"no booking code in:\n{saba.shown}")
    seen = len(saba.shown)
    agent = handset(data, AGENT)
    agent.say(f"PAY {code[0]} {AGENT_PIN}", answer)
    agent.close()
    saba.wait_for(answer, after=seen)
    kebede = handset(data, "+251922334455")
    kebede.say(KEBEDE[0], answer)
    first = "$ outpost handset --number +251911223344\n"
    second = "\n$ outpost handset --number +251922334455\n"
    return first + saba.close() + second + kebede.close()


def as_html(shown: str) -> tuple[str, int]:
    """Terminal output as a page, and how many rows it has."""
    rows: list[str] = []
    for raw in shown.replace("\r\n", "\n").split("\n"):
        # "\r, erase the line" is how the handset takes its prompt away before it prints.
        line = re.split(r"\r\x1b\[K", raw)[-1]
        if re.sub(r"\x1b\[[0-9;]*m", "", line).strip() != ">":
            rows.append(line)
    body, height, opened = "", 0, False
    for row in rows:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", row)
        height += max(1, -(-len(plain) // COLUMNS))
        for piece in re.split(r"(\x1b\[[0-9;]*m)", row):
            code = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
            if code is None:
                kind = "prompt" if piece.startswith(("$ ", "> ")) else ""
                body += f'<b class="{kind}">{html.escape(piece)}</b>' if kind else html.escape(piece)
            else:
                body += "</span>" if opened else ""
                opened = code[1] in COLOURS
                body += f'<span class="{COLOURS[code[1]]}">' if opened else ""
        body += "\n"
    page = f"""<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #14181f; }}
pre {{ margin: 0; padding: 22px 26px; color: #d6dbe3; white-space: pre-wrap; word-break: break-word;
      width: {COLUMNS}ch; font: 15px/1.45 "DejaVu Sans Mono", "Noto Sans Ethiopic", monospace; }}
b {{ font-weight: 600; color: #fff; }} .dim {{ color: #7d8796; }} .green {{ color: #6fbf73; }}
.cyan {{ color: #7cc7e8; }} .yellow {{ color: #e0b050; }} .red {{ color: #e06060; }}
</style><pre>{body}</pre>"""
    return page, height


def draw(page: str, rows: int, target: Path, chromium: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "terminal.html"
        source.write_text(page, encoding="utf-8")
        width, height = COLUMNS * 9 + 70, round(rows * 21.75) + 44
        subprocess.run(
            [chromium, *CHROMIUM, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
             f"--screenshot={target}", source.as_uri()],
            check=True, timeout=120, capture_output=True,
        )  # fmt: skip
    print(target.relative_to(ROOT))


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is missing; install it with: sudo apt-get install -y chromium")
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="outpost-") as folder, running_demo(Path(folder)):
        shown = dialogues(Path(folder))
    page, rows = as_html(shown)
    draw(page, rows, OUT / "handset.png", chromium)
    if (OUT / "page.py").exists():
        subprocess.run([sys.executable, str(OUT / "page.py")], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
