"""`outpost modems` and `outpost ussd` print for people what the appliance's socket answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import main

MODEM = {
    "name": "one",
    "state": "degraded",
    "reason": "message store 16 of 20 full; draining",
    "since_ms": 0,
    "next_step": "keeps working; see the alarm",
    "port": "/dev/nowhere0",
    "manufacturer": "Acme",
    "model": "M1",
    "firmware": "1.0",
    "profile": "default",
    "operator": "Ethio telecom",
    "registration": 1,
    "signal_dbm": -73,
    "iccid": "8925101234567890123",
    "imei": "490154203237518",
    "smsc": "+251911000000",
    "storage_used": 16,
    "storage_total": 20,
    "sent": 4,
    "received": 5,
    "alarms": ["message store 16 of 20 full; draining"],
    "usb_path": "1-1.3",
    "history": [
        {
            "at_ms": 0,
            "step": "initialise again",
            "reason": "5 sends failed",
            "outcome": "healthy",
            "took_s": 2.0,
        }
    ],
}

Appliance = Callable[[dict[str, Any]], None]


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[tuple[Appliance, list[dict[str, Any]]]]:
    """A socket that answers every request with what the test sets, and notes the requests."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "outpost.sock"))
    server.listen()
    answer: dict[str, Any] = {}
    asked: list[dict[str, Any]] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                asked.append(json.loads(stream.readline()))
                stream.write(json.dumps(answer).encode() + b"\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield answer.update, asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_modems_shows_state_reason_and_history(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers[0]({"ok": True, "modems": [MODEM]})
    assert main(["modems", "--data-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "one  degraded",
        "16 of 20",
        "-73 dBm",
        "Acme M1",
        "USB 1-1.3",
        "initialise again",
        "healthy in 2 s",
    ):
        assert part in shown
    assert "490154203237518" not in shown


def test_modems_of_an_unknown_name_fails(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers[0]({"ok": True, "modems": [MODEM]})
    assert main(["modems", "two", "--data-dir", str(tmp_path)]) == 1


def test_modems_at_asks_one_command(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers[0]({"ok": True, "lines": ["+CSQ: 20,99"]})
    assert main(["modems", "one", "--at", "AT+CSQ", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "+CSQ: 20,99\nOK\n"
    assert answers[1] == [{"op": "at", "modem": "one", "command": "AT+CSQ"}]


def test_ussd_prints_the_answers_and_says_when_a_menu_waits(
    answers: Any, tmp_path: Path, capsys: Any
) -> None:
    answers[0]({"ok": True, "answers": [{"state": "reply_wanted", "text": "1 Data\n2 Voice"}]})
    assert main(["ussd", "*999#", "--data-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2 Voice" in shown
    assert "waits for a reply" in shown
    assert answers[1][0]["any"] is False


def test_ussd_refused_says_why(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers[0]({"error": "*806# is not on this modem's list"})
    assert main(["ussd", "*806#", "--data-dir", str(tmp_path)]) == 1
    assert "not on this modem's list" in capsys.readouterr().err


def test_modems_probe_without_ports_says_what_to_look_at(tmp_path: Path, capsys: Any) -> None:
    assert main(["modems", "--probe", f"{tmp_path}/none*"]) == 1
    assert "plugged in" in capsys.readouterr().out
