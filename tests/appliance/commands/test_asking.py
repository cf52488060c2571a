"""`outpost send` and `outpost trace` against a daemon's socket that a thread plays."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import main
from appliance.commands.trace import flat, lines
from appliance.exits import Exit

Reply = Callable[[dict[str, Any]], bytes]
STEPS = [
    {"at_ms": 1_700_000_000_000, "state": "queued", "actor": "us", "reason": ""},
    {"at_ms": 1_700_000_003_250, "state": "sent", "actor": "modem:modem0", "reason": "TP-MR 7"},
]
ROW = {
    "kind": "out", "id": 7, "number": "+251911000111", "text": "Hi", "state": "sent", "reason": "",
    "at_ms": 1_700_000_000_000, "channel": "modem:modem0",
}  # fmt: skip
PART = {"sequence": 1, "modem": "modem:modem0", "state": "sent", "tp_mr": 7, "tp_status": 0}
OUT = {"row": ROW, "steps": STEPS, "parts": [PART], "next_attempt_ms": None}
IN = {
    "row": {**ROW, "kind": "in", "id": 3, "number": "+251911000222", "channel": "http", "state": "handled"},
    "steps": [], "parts": [], "next_attempt_ms": None,
}  # fmt: skip
LIVES = [{"inbound": IN, "outbound": [OUT]}, {"inbound": None, "outbound": [OUT]}]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[Reply], list[dict[str, Any]]]]:
    """Answer one request by the given function; the list holds what was asked."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(tmp_path / "outpost.sock"))
    server.listen(1)
    threads: list[threading.Thread] = []

    def start(reply: Reply) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as reader:
                asked.append(json.loads(reader.readline()))
                connection.sendall(reply(asked[0]))

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return asked

    yield start
    for thread in threads:
        thread.join(5)
    server.close()


def test_send_asks_the_daemon_with_the_number_in_full(
    tmp_path: Path, daemon: Callable[[Reply], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = daemon(lambda request: b'{"ok": true, "id": 12}\n')
    assert main(["send", "0911 000 111", "Selam", "--data-dir", str(tmp_path)]) == 0
    assert asked == [{"op": "send", "to": "+251911000111", "text": "Selam", "lane": "normal"}]
    assert "out:12 to +251911000111" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "text"), [("8400", "x"), ("nobody", "x"), ("0911000111", "  ")])
def test_send_refuses_what_cannot_be_sent_without_asking(tmp_path: Path, number: str, text: str) -> None:
    assert main(["send", number, text, "--data-dir", str(tmp_path)]) == Exit.USAGE


def test_send_refusal_of_the_daemon_is_told(
    tmp_path: Path, daemon: Callable[[Reply], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(lambda request: b'{"error": "the queue is full, try again in 5 s"}\n')
    assert main(["send", "0911000111", "x", "--data-dir", str(tmp_path)]) == Exit.FAILED
    assert capsys.readouterr().err == "outpost: the queue is full, try again in 5 s\n"


def test_send_without_a_daemon_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "0911000111", "x", "--data-dir", str(tmp_path)]) == Exit.NOT_RUNNING
    assert "start it with `outpost run`" in capsys.readouterr().err


def test_daemon_that_hangs_up_is_not_a_traceback(
    tmp_path: Path, daemon: Callable[[Reply], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(lambda request: b"")
    assert main(["trace", "7", "--data-dir", str(tmp_path)]) == Exit.NOT_RUNNING
    assert "hung up" in capsys.readouterr().err


def test_trace_prints_each_step_with_the_time_it_took(
    tmp_path: Path, daemon: Callable[[Reply], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = daemon(
        lambda request: (
            json.dumps({"ok": True, "messages": LIVES[1:], "timezone_minutes": 180}).encode() + b"\n"
        )
    )
    assert main(["trace", "0911000111", "--data-dir", str(tmp_path)]) == 0
    assert asked == [{"op": "trace", "what": "+251911000111"}]
    head, text, queued, sent, part = capsys.readouterr().out.splitlines()
    assert head == "out:7 to +251911000111 by modem:modem0: sent"
    assert text.strip() == "'Hi'"
    assert "2023-11-15 01:13:20.000" in queued  # of the box, not of the terminal
    assert "queued" in queued and "+3.250 s" in sent and sent.endswith("sent       modem:modem0 (TP-MR 7)")
    assert part.strip() == "part 1 by modem:modem0: sent, TP-MR 7, TP-Status 0x00"


def test_trace_of_nothing_known_fails(
    tmp_path: Path, daemon: Callable[[Reply], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(lambda request: b'{"ok": true, "messages": []}\n')
    assert main(["trace", "99", "--data-dir", str(tmp_path)]) == Exit.FAILED
    assert capsys.readouterr().out == "nothing is known of 99\n"


def test_trace_lists_each_message_once_and_the_question_first() -> None:
    assert [next(lines(message, 180)) for message in flat(LIVES)] == [
        "in:3 from +251911000222 by http: handled",
        "out:7 to +251911000111 by modem:modem0: sent",
    ]


def test_trace_queued_message_says_when_it_is_tried() -> None:
    assert list(lines({**OUT, "next_attempt_ms": 1_700_000_060_500}, 180))[-1].endswith(
        ".500              next attempt"
    )


def test_trace_held_message_says_why_and_until_when() -> None:
    held = {**OUT, "next_attempt_ms": 1_700_000_000_000, "held": ["quiet hours", 1_700_000_060_500]}
    assert list(lines(held, 180))[-1] == "  held until 2023-11-15 01:14:20.500: quiet hours"
