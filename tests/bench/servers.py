"""What is measured, started and stopped: E, the appliance as shipped, and Kannel."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from appliance.commands.asking import NotRunning, ask
from appliance.config import load as load_config

__all__ = [
    "OUT",
    "ROOT",
    "SERVER_CORE",
    "Box",
    "Figure",
    "Peer",
    "boxed",
    "empty",
    "kannel",
    "load",
    "rss_mib",
]

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
OUT: Final = ROOT / ".outpost" / "bench"
SERVER_CORE: Final = 0
CLIENT_CORE: Final = (os.cpu_count() or 1) - 1
CONNECTIONS: Final = 100
Figure = dict[str, Any]

KANNEL: Final = """\
group = core
admin-port = {admin}
admin-password = bench
smsbox-port = {smsbox}
box-allow-ip = "127.0.0.1"
store-type = file
store-location = "{folder}/kannel.store"
log-file = "{folder}/bearerbox.log"
log-level = 4

group = smsc
smsc = fake
smsc-id = bench
port = {smsc}
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
log-file = "{folder}/smsbox.log"
log-level = 4

group = sendsms-user
username = bench
password = bench
max-messages = 1
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pin(core: int | None) -> Callable[[], None] | None:
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


def _until(found: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        if found():
            return
        time.sleep(0.005)
    raise SystemExit(f"bench: waited in vain for {what}")


def _open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def _process(command: list[str], core: int | None, **named: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=_pin(core), **named)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def empty(core: int | None = SERVER_CORE) -> Iterator[int]:
    """E: an empty aiohttp handler on one core. Gives its port."""
    port = free_port()
    with _process([sys.executable, str(HERE / "empty.py"), str(port)], core):
        _until(lambda: _open(port), "E")
        yield port


class Box:
    """The appliance as shipped, without a modem: one worker, metrics and limits on, on the real disk.

    core: where the main process runs, as E does; the worker may go to the other. None: both go where they
    like. key: of a client with credit and a rate limit that is not met.
    """

    def __init__(self, folder: Path, core: int | None = SERVER_CORE) -> None:
        self.folder, self.core = folder, core
        self.port = free_port()
        self.key = ""
        self.pid = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Box]:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "outpost.toml"
        config.write_text(
            f'data_dir = "{self.folder}/data"\n[http]\nlisten = "127.0.0.1:{self.port}"\n'
            '[workers]\nmin = 1\nmax = 1\n[log]\nlevel = "error"\n'
        )
        command = [sys.executable, "-m", "appliance", "run", "--config", str(config)]
        with _process(command, self.core) as process:
            self.pid = process.pid
            _until(lambda: process.poll() is not None or _open(self.port), "the appliance")
            yield self

    def ready(self) -> None:
        """Wait for the worker, set it free, and make a client."""
        _until(self._has_worker, "a worker")
        for pid in self.workers():
            os.sched_setaffinity(pid, range(os.cpu_count() or 1))
        for request in (
            {"do": "add", "name": "bench"},
            {"do": "credit", "name": "bench", "units": 10**12},
            {"do": "limits", "name": "bench", "per_second": 10**6},
        ):
            self._ask({"op": "client", **request})
        self.key = self._ask({"op": "client", "do": "key", "name": "bench", "scopes": ["send"]})["key"]

    def _has_worker(self) -> bool:
        with contextlib.suppress(NotRunning):  # the page answers a moment before the control socket does
            return bool(self.workers())
        return False

    def workers(self) -> list[int]:
        return [each["pid"] for each in self.state()["dispatcher"]["workers"] if each["state"] == "ready"]

    def state(self) -> dict[str, Any]:
        """As `outpost check` gets it."""
        return self._ask({"op": "check"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = ask(load_config(self.folder / "outpost.toml").control_socket, request)
        return answer

    def handled(self) -> int:
        """Turns committed since the start."""
        return int(self.state()["dispatcher"]["handled"])

    def post(self, text: str) -> int:
        """One message by HTTP; its status."""
        body = json.dumps({"from": "8400", "message": text}).encode()
        url = f"http://127.0.0.1:{self.port}/api/sms/incoming"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)


@contextlib.contextmanager
def boxed(folder: Path, core: int | None = SERVER_CORE) -> Iterator[Box]:
    """An appliance that is ready for everything."""
    with Box(folder, core).running() as box:
        box.ready()
        yield box


class Peer(NamedTuple):
    """Another program. port: where it takes messages; pids: of its processes."""

    port: int
    pids: tuple[int, ...]

    def until_idle(self, limit_s: float = 60.0) -> None:
        """What it has accepted is worked off, so that it takes nothing from the next window."""
        limit, before = time.monotonic() + limit_s, -1.0
        while time.monotonic() < limit:
            used = sum(map(cpu_s, self.pids))
            if used - before < 0.02:
                return
            before = used
            time.sleep(0.25)


@contextlib.contextmanager
def kannel(folder: Path, core: int | None = SERVER_CORE) -> Iterator[Peer | None]:
    """bearerbox, smsbox and an SMSC that takes everything, on one core; None where it is not installed."""
    bearerbox = shutil.which("bearerbox", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if bearerbox is None:
        yield None
        return
    ports = {name: free_port() for name in ("admin", "smsbox", "smsc", "sendsms")}
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "kannel.conf"
    config.write_text(KANNEL.format(folder=folder, **ports))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with _process([bearerbox, str(config)], core, **quiet) as first:
        _until(lambda: _open(ports["smsbox"]), "bearerbox")
        with socket.create_connection(("127.0.0.1", ports["smsc"])) as smsc:
            taker = threading.Thread(target=_take_all, args=(smsc, core), daemon=True)
            taker.start()
            with _process([bearerbox.replace("bearerbox", "smsbox"), str(config)], core, **quiet) as second:
                _until(lambda: _open(ports["sendsms"]), "smsbox")
                yield Peer(ports["sendsms"], (first.pid, second.pid))
            smsc.shutdown(socket.SHUT_RDWR)
            taker.join(5)


def _take_all(smsc: socket.socket, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(threading.get_native_id(), {core})
    with contextlib.suppress(OSError):
        while smsc.recv(1 << 16):
            pass


def load(
    port: int,
    kind: str,
    seconds: float,
    connections: int = CONNECTIONS,
    rate: float | None = None,
    *,
    key: str = "",
    core: int | None = CLIENT_CORE,
) -> Figure:
    """Run the client; what was refused is told on the terminal."""
    command = [sys.executable, str(HERE / "load.py"), str(port), kind, str(seconds), str(connections)]
    done = subprocess.run(
        [*command, *([str(rate)] if rate else [])],
        check=True, stdout=subprocess.PIPE, preexec_fn=_pin(core), env={**os.environ, "OUTPOST_KEY": key},
    )  # fmt: skip
    got: Figure = json.loads(done.stdout)
    if got["bad"]:
        print(f"  {kind}: refused: {got['bad']}", file=sys.stderr)
    return got


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def rss_mib(pid: int, only: Sequence[int] | None = None) -> float:
    """Resident memory of a process and its children, or those of them that are named."""
    pages = sum(
        int(Path(f"/proc/{each}/statm").read_text().split()[1])
        for each in (pid, *(children(pid) if only is None else only))
    )
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
