"""`outpost demo`: the appliance with everything embedded. What `make run` calls.

One simulated modem on a pty with its network, the sample timetable, and the data in .outpost/demo under
the checkout, where they survive a restart. It is `outpost run` on a configuration written here.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import functools
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from appliance import loop
from appliance.commands.asking import DEMO_DIR
from appliance.commands.run import prepare_data_dir, refuse, run_config
from appliance.config import Config, ConfigErrors, load
from appliance.exits import Exit, StartRefused
from appliance.store import agents
from appliance.store.store import Store

__all__ = ["AGENT", "AGENT_PIN", "NUMBER", "configure", "free_port", "run"]

NUMBER: Final = "+251911000001"  # what the simulator calls its first modem
AGENT: Final = "+251911000900"  # whose PAY texts count as cash
AGENT_PIN: Final = "2580"  # theirs in the demo only
FIRST_PORT: Final = 8080
PORTS: Final = 20  # tried in a row
MODEM_WAIT_S: Final = 10.0
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

_CONFIG: Final = """\
# Written by `outpost demo` at each start; settings from the environment (OUTPOST__...) go over it.
data_dir = "{data_dir}"

[http]
listen = "127.0.0.1:{port}"

[[modem]]
name = "modem0"
port = "{modem}"
ussd_allow = ["*804#"]

[payments]
agents = ["{agent}"]

[log]
level = "warning"
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", default=str(DEMO_DIR), metavar="DIR", help="where its data are kept")
    parser.add_argument(
        "--telebirr", action="store_true", help="with telebirr's emulator: passengers pay by a link"
    )


def run(args: argparse.Namespace) -> int:
    data = Path(args.data_dir).resolve()
    try:
        prepare_data_dir(data)
        with _only_one(data):
            return _demo(data, telebirr=args.telebirr)
    except StartRefused as error:
        return refuse(error.code, error.line)
    except ConfigErrors as error:
        return refuse(Exit.USAGE, *error.lines)


def free_port(first: int = FIRST_PORT) -> int:
    """The first port of 127.0.0.1 from `first` on that nobody listens on. Raises StartRefused."""
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen(1)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise StartRefused(Exit.PORT_BUSY, f"127.0.0.1:{port}: {error.strerror}") from error
            else:
                return port
    raise StartRefused(Exit.PORT_BUSY, f"127.0.0.1: ports {first} to {first + PORTS - 1} are all taken")


def _demo(data: Path, *, telebirr: bool) -> int:
    network = data / "network"
    with _simulator(network), _telebirr(data / "telebirr", wanted=telebirr) as settings:
        loop.run(_give_pin(data))
        for _ in range(PORTS):
            port = free_port()
            config = _configure(data, port, network / "modem0", settings)
            code = run_config(config, functools.partial(_greet, config, port))
            # Somebody may take the port between the look and the start.
            if code != Exit.PORT_BUSY or config.http.port != port:
                break
        return code


async def _give_pin(data: Path) -> None:
    """The demo's agent has a PIN from the start; a real one gets it by `outpost agent pin`."""
    store = await Store.open(data)
    try:
        if await store.reader.run(agents.find, AGENT) is None:
            salt = secrets.token_hex(16)
            hashed = agents.pin_hash(AGENT_PIN, salt)
            now_ms = time.time_ns() // 1_000_000
            await store.writer.run(agents.set_pin, AGENT, salt, hashed, now_ms, "demo")
    finally:
        await store.close()


def _configure(data: Path, port: int, modem: Path, telebirr: str) -> Config:
    """Write the demo's configuration and read it back, with the environment over it.

    telebirr: the settings that its emulator printed, "" for none.
    """
    file = data / "outpost.toml"
    text = _CONFIG.format(data_dir=data, port=port, modem=modem, agent=AGENT)
    if telebirr:
        text += f'\n{telebirr}public_url = "http://127.0.0.1:{port}"\n'
    file.write_text(text, encoding="utf-8")
    return load(file)


@contextlib.contextmanager
def _telebirr(folder: Path, *, wanted: bool) -> Iterator[str]:
    """Run `outpost emulate telebirr` beside us, and give the settings that it prints."""
    if not wanted:
        yield ""
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "emulate", "telebirr", "--port", "0", "--folder", str(folder)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_end_with_parent(os.getpid()),  # before any thread exists here
    )
    assert process.stdout is not None
    try:
        lines = list(itertools.takewhile(lambda line: not line.startswith("#"), process.stdout))
        if not lines:
            raise StartRefused(
                Exit.FAILED, "telebirr's emulator did not start; try: outpost emulate telebirr"
            )
        yield "".join(lines)
    finally:
        process.terminate()
        process.stdout.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the demo's lock: a second one must not take the first one's simulated network away."""
    with open(data / "demo.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartRefused(Exit.ALREADY_RUNNING, f"{data}: a demo runs here already") from error
        yield


@contextlib.contextmanager
def _simulator(network: Path) -> Iterator[None]:
    """Run `outpost simulate` beside us; it ends when we do, however we end."""
    network.mkdir(mode=0o700, exist_ok=True)
    modem = network / "modem0"
    modem.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "simulate", "--modems", "1", "--link", str(network), "--keep"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the appliance: its modem must not vanish while it stops
        preexec_fn=_end_with_parent(os.getpid()),  # before any thread exists here
    )
    try:
        limit = time.monotonic() + MODEM_WAIT_S
        while not modem.exists():
            if process.poll() is not None or time.monotonic() > limit:
                raise StartRefused(
                    Exit.FAILED, "the modem simulator did not start; try: outpost simulate --help"
                )
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the line above
            os._exit(0)

    return before_exec


def _greet(config: Config, port: int, address: str) -> None:
    """Print how to use it. port: the one that the demo chose."""
    taken = f"   (port {FIRST_PORT} is taken)" if port == config.http.port != FIRST_PORT else ""
    data = config.data_path
    telebirr = config.payments.telebirr.app_id is not None
    handset = ".venv/bin/outpost handset" + ("" if data == DEMO_DIR else f" --data-dir {data}")
    lines = [
        f"Outpost runs.  Page: {address}{taken}",
        f"Number to text: {NUMBER}, by a simulated modem: an SMS takes about 3 s.",
        f"Be a phone, in another terminal:  {handset}",
        "  then text, for one:  BOOK ADDIS HAWASSA TOMORROW 2      (or: HELP)",
        f"The agent who takes the cash:     {handset} --number {AGENT}",
        f"  texts:  PAY, the code of the booking and the PIN {AGENT_PIN}",
        *(["A link comes with held seats: open it in a browser to pay."] if telebirr else []),
        f"Data: {_near(data)}, kept for the next time.  Stop: Ctrl-C",
    ]
    print(*lines, sep="\n", flush=True)


def _near(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
