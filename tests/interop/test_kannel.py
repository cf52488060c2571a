"""Kannel's bearerbox (AT driver) and smsbox on a simulated modem."""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.simulator import SimulatorThread

FIRST, PHONE = "+251911000001", "+251922000001"

CONFIG = """\
group = core
admin-port = {admin}
admin-password = secret
smsbox-port = {smsbox}
log-file = "{folder}/bearerbox.log"
log-level = 0
box-allow-ip = "127.0.0.1"

group = smsc
smsc = at
smsc-id = sim
modemtype = auto
device = {port}
speed = 115200
my-number = {number}
validityperiod = 167
sim-buffering = true

group = modems
id = generic
name = "Generic Modem"
init-string = "AT+CNMI=1,2,0,1,0"
message-storage = "SM"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
global-sender = {number}
log-file = "{folder}/smsbox.log"

group = sendsms-user
username = interop
password = interop
max-messages = 3
concatenation = true

group = sms-service
keyword = default
get-url = "http://127.0.0.1:{web}/?from=%p&text=%a"
max-messages = 0
catch-all = true
"""


def free_port() -> int:
    """Kannel cannot be told to choose for itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def web() -> Iterator[tuple[int, list[dict[str, list[str]]]]]:
    """A web server that notes what Kannel tells it."""
    came: list[dict[str, list[str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="web")
    thread.start()
    yield server.server_port, came
    server.shutdown()
    thread.join()
    server.server_close()


def test_kannel_sends_and_receives(
    tmp_path: Path,
    simulator: SimulatorThread,
    program: Callable[..., subprocess.Popen[bytes]],
    wait_until: Callable[..., Any],
    which: Callable[[str], str],
    web: tuple[int, list[dict[str, list[str]]]],
) -> None:
    web_port, told = web
    came: list[dict[str, Any]] = []
    simulator.call(lambda running: running.phone(came.append, PHONE))
    sendsms = free_port()
    config = tmp_path / "kannel.conf"
    config.write_text(
        CONFIG.format(
            admin=free_port(),
            smsbox=free_port(),
            sendsms=sendsms,
            web=web_port,
            folder=tmp_path,
            port=simulator.ports["modem0"],
            number=FIRST,
        )
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    program(which("bearerbox"), config, **quiet)
    wait_until(
        lambda: simulator.call(lambda running: running.world.modems["modem0"].settings.cnmi.mode) != 0,
        what="bearerbox to set the modem up",
    )
    program(which("smsbox"), config, **quiet)
    query = urllib.parse.urlencode(
        {"username": "interop", "password": "interop", "to": PHONE, "text": "out by kannel"}
    )

    def send() -> str | None:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{sendsms}/cgi-bin/sendsms?{query}", timeout=5
            ) as r:
                return str(r.read().decode())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            return None  # smsbox is not up yet

    accepted = wait_until(send, what="smsbox to listen")
    wait_until(lambda: came, what="the phone to get what Kannel was given")
    simulator.call(lambda running: running.deliver(PHONE, FIRST, "in by kannel"))
    wait_until(lambda: told, what="Kannel to tell the web server")

    assert accepted[:2] in ("0:", "3:")  # accepted, or queued because the modem is not up yet
    assert [(event["from"], event["text"]) for event in came] == [(FIRST, "out by kannel")]
    assert told == [{"from": [PHONE], "text": ["in by kannel"]}]
