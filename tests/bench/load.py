"""The client of the benchmarks: a process of its own that speaks raw HTTP/1.1.

    python tests/bench/load.py PORT KIND SECONDS CONNECTIONS [RATE]

Without RATE each connection asks again as soon as it is answered (closed loop); with RATE, requests a second
are due at fixed times whoever is answered (open loop), and their latency counts from when they were due.
OUTPOST_KEY holds the API key for the kinds under /v1. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance import loop

PEOPLE: Final = 10_000
BATCH: Final = 100
WINDOW_S: Final = 10  # of the open loop, whose worst is told
NOTICE: Final = "Your balance is 12.50 birr, valid until 30/11."
TEXTS: Final = ("HELP", "BOOK ADDIS HAWASSA TOMORROW 2", "STATUS", "MENU", "NO")
PLACES: Final = ("HAWASSA", "ADAMA", "JIMMA", "DESSIE", "GONDAR", "MEKELLE", "BAHIR DAR", "DIRE DAWA")
DAYS: Final = ("TOMORROW", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")

# kind: (path, messages a request). What each sends is in `Requests`.
KINDS: Final[dict[str, tuple[str, int]]] = {
    "empty": ("/", 1),  # E, the limit
    "accept": ("/api/sms/incoming", 1),  # from a service: put on disk, no turn
    "batch": ("/api/sms/incoming", BATCH),
    "send": ("/v1/messages", 1),  # a client's message: key, credit, queue
    "sends": ("/v1/messages/batch", BATCH),
    "turn": ("/api/sms/incoming", 1),  # a person's text, answered in the body
    "turns": ("/api/sms/incoming", BATCH),
    "talk": ("/api/sms/incoming", 1),  # the same, whole bookings: asked for, held, looked at, cancelled
    "kannel": ("/cgi-bin/sendsms", 1),
}
_WAITING: Final = frozenset({"turn", "turns", "talk"})


class Requests:
    """Makes the next request of a kind. Every message has an id that was never used before."""

    def __init__(self, kind: str) -> None:
        path, self.messages_each = KINDS[kind]
        self._kind = kind
        self._run = f"{os.getpid():x}-{time.time_ns():x}"
        self._next = 0
        fields = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        if kind in _WAITING:
            fields.append("Prefer: wait=30")
        if path.startswith("/v1/"):
            fields.append(f"Authorization: Bearer {os.environ['OUTPOST_KEY']}")
        self._head = "\r\n".join(fields).encode()

    def make(self) -> bytes:
        kind = self._kind
        if kind == "kannel":
            return self._kannel()
        if self.messages_each == 1:
            body = self._message()
        elif kind == "sends":
            body = b'{"messages":[' + b",".join([self._message() for _ in range(BATCH)]) + b"]}"
        else:
            body = b"[" + b",".join([self._message() for _ in range(BATCH)]) + b"]"
        once = b"\r\nIdempotency-Key: %b-%d" % (self._run.encode(), self._next) if kind[:4] == "send" else b""
        return self._head + once + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _message(self) -> bytes:
        number = self._next = self._next + 1
        kind = self._kind
        if kind in _WAITING:
            sender, text = f"+2519{number % PEOPLE:08d}", self._words(number)
        elif kind[:4] == "send":
            return f'{{"to":"+2519{number % 10**8:08d}","text":"{NOTICE}","lane":"bulk"}}'.encode()
        else:
            sender, text = "8400", NOTICE
        return (
            f'{{"from":"{sender}","to":"+251911000001","message":"{text}",'
            f'"timestamp":1800000000000,"messageId":"{self._run}-{number}"}}'
        ).encode()

    def _words(self, number: int) -> str:
        turn, person = divmod(number, PEOPLE)
        if self._kind != "talk":
            return TEXTS[turn % len(TEXTS)] if turn else TEXTS[person % len(TEXTS)]
        step = (turn + person) % 4  # people are not all at the same point of their booking
        if step:
            return ("", "YES", "STATUS", "CANCEL")[step]
        return f"BOOK ADDIS {PLACES[person % 8]} {DAYS[person // 8 % 7]} {1 + person % 2}"

    def _kannel(self) -> bytes:
        self._next += 1
        return (
            "GET /cgi-bin/sendsms?username=bench&password=bench&from=8400"
            f"&to=%2B2519{self._next % 10**8:08d}&text=Your+balance+is+12.50+birr%2C+valid+until+30%2F11."
            " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        ).encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on the way. answered: called with its status."""

    def __init__(self, answered: Callable[[Connection, int], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    def post(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = buffer.find(b"Content-Length:", 0, head)
        length = int(buffer[at + 15 : buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(buffer) >= head + 4 + length:
            self._buffer = b""
            self._answered(self, int(buffer[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._answered(self, 0)


class Load:
    """One run: what was sent, when, and what came back."""

    def __init__(self, kind: str, connections: int, rate: float | None) -> None:
        self._requests = Requests(kind)
        self._connections = connections
        self._rate = rate
        self.statuses: dict[int, int] = {}
        self.latencies: list[float] = []
        self.times: list[float] = []  # when each was due, for windows
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()  # when each request that found no connection was due
        self._over = False
        self._busy = 0
        self._drained = asyncio.Event()

    def _answered(self, connection: Connection, status: int) -> None:
        if not status and self._over:
            return
        now = time.perf_counter()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(now - connection.due)
        self.times.append(connection.due)
        if not status:
            raise SystemExit("a connection was lost")
        if self._over:
            self._rest(connection)
        elif self._rate is None:
            connection.post(self._requests.make(), now)
        elif self._waiting:
            connection.post(self._requests.make(), self._waiting.popleft())
        else:
            self._rest(connection)

    def _rest(self, connection: Connection) -> None:
        self._busy -= 1
        self._idle.append(connection)
        if self._over and not self._busy:
            self._drained.set()

    async def run(self, port: int, seconds: float) -> dict[str, Any]:
        running = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, made = await running.create_connection(lambda: Connection(self._answered), "127.0.0.1", port)
            self._idle.append(made)
        begun = time.perf_counter()
        if self._rate is None:
            self._busy = self._connections
            for connection in list(self._idle):
                connection.post(self._requests.make(), time.perf_counter())
            self._idle.clear()
            await asyncio.sleep(seconds)
        else:
            await self._at_fixed_times(begun, seconds, self._rate)
        took = time.perf_counter() - begun
        answers = len(self.latencies)
        good = self._good()
        self._over = True
        if self._busy:
            await asyncio.wait_for(self._drained.wait(), 120)
        return self._told(begun, took, answers, good)

    async def _at_fixed_times(self, begun: float, seconds: float, rate: float) -> None:
        sent = 0
        while (now := time.perf_counter()) < begun + seconds:
            while begun + sent / rate <= now:
                due = begun + sent / rate
                sent += 1
                if self._idle:
                    self._busy += 1
                    self._idle.popleft().post(self._requests.make(), due)
                else:
                    self._waiting.append(due)
            await asyncio.sleep(0.001)

    def _good(self) -> int:
        return self.statuses.get(200, 0) + self.statuses.get(202, 0)

    def _told(self, begun: float, took: float, answers: int, good: int) -> dict[str, Any]:
        """messages_s: answered in time, a second; all_good: messages with a good answer, late ones too."""
        each = self._requests.messages_each
        windows: dict[int, list[float]] = {}
        for at, latency in zip(self.times, self.latencies, strict=True):
            windows.setdefault(int((at - begun) / WINDOW_S), []).append(latency)
        counted = sorted(self.latencies[:answers])
        return {
            "messages_s": good * each / took,
            "answers": answers,
            "all_good": self._good() * each,
            "not_sent": len(self._waiting) * each,
            "bad": {
                str(status): count for status, count in self.statuses.items() if status not in (200, 202)
            },
            **{f"p{p}_ms": 1000 * _part(counted, p) for p in (50, 95, 99)},
            "max_ms": 1000 * counted[-1] if counted else 0.0,
            "worst_window_p99_ms": 1000
            * max((_part(sorted(each), 99) for each in windows.values()), default=0),
        }


def _part(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


async def run(port: int, kind: str, seconds: float, connections: int, rate: float | None) -> dict[str, Any]:
    return await Load(kind, connections, rate).run(port, seconds)


if __name__ == "__main__":
    port_, kind_, seconds_, connections_ = sys.argv[1:5]
    rate_ = float(sys.argv[5]) if len(sys.argv) > 5 else None
    print(json.dumps(loop.run(run(int(port_), kind_, float(seconds_), int(connections_), rate_))))
