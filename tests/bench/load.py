"""The client of the benchmarks: a process of its own, on a core of its own, that speaks raw HTTP/1.1.

    python tests/bench/load.py PORT KIND SECONDS CONNECTIONS [RATE]

KIND: empty (POST /), accept (a sender that gets no turn), turn (a person's text, answered in the body),
batch (100 accepts a POST), turns (100 turns a POST). Without RATE each connection posts again as soon as it
is answered (closed loop); with RATE, requests a second are due at fixed times whoever is answered (open loop)
and their latency counts from when they were due. Prints one JSON object.
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
from typing import Final, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance import loop

PEOPLE: Final = 10_000
BATCH: Final = 100
TEXTS: Final = ("HELP", "BOOK ADDIS HAWASSA TOMORROW 2", "STATUS", "MENU", "NO")


class Requests:
    """Makes the next request of a kind. Every message has an id that was never used before."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._run = f"{os.getpid():x}-{time.time_ns():x}"
        self._next = 0
        self.messages_each = BATCH if kind in ("batch", "turns") else 1

    def make(self) -> bytes:
        if self._kind in ("batch", "turns"):
            body = b"[" + b",".join(self._message() for _ in range(BATCH)) + b"]"
        else:
            body = self._message()
        path = b"/" if self._kind == "empty" else b"/api/sms/incoming"
        prefer = b"Prefer: wait=30\r\n" if self._kind in ("turn", "turns") else b""
        return (
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"%sContent-Length: %d\r\n\r\n" % (path, prefer, len(body))
        ) + body

    def _message(self) -> bytes:
        number = self._next = self._next + 1
        if self._kind in ("turn", "turns"):
            sender = f"+2519{number % PEOPLE:08d}"
            text = TEXTS[number // PEOPLE % len(TEXTS)] if number >= PEOPLE else TEXTS[number % len(TEXTS)]
        else:
            sender, text = "8400", "Your balance is 12.50 birr, valid until 30/11."
        return (
            f'{{"from":"{sender}","to":"+251911000001","message":"{text}",'
            f'"timestamp":1800000000000,"messageId":"{self._run}-{number}"}}'
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
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) >= head + 4 + length:
            status = int(self._buffer[9:12])
            self._buffer = b""
            self._answered(self, status)


async def run(
    port: int, kind: str, seconds: float, connections: int, rate: float | None
) -> dict[str, object]:
    running = asyncio.get_running_loop()
    requests = Requests(kind)
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    idle: deque[Connection] = deque()
    waiting: deque[float] = deque()  # open loop: when each request that found no connection was due
    over = False
    drained = asyncio.Event()
    busy = 0

    def answered(connection: Connection, status: int) -> None:
        nonlocal busy
        statuses[status] = statuses.get(status, 0) + 1
        latencies.append(time.perf_counter() - connection.due)
        if rate is None and not over:
            connection.post(requests.make(), time.perf_counter())
        elif waiting:
            connection.post(requests.make(), waiting.popleft())
        else:
            busy -= 1
            idle.append(connection)
            if over and busy == 0:
                drained.set()

    for _ in range(connections):
        _, made = await running.create_connection(lambda: Connection(answered), "127.0.0.1", port)
        idle.append(made)
    begun = time.perf_counter()
    if rate is None:
        busy = connections
        for connection in list(idle):
            connection.post(requests.make(), time.perf_counter())
        idle.clear()
        await asyncio.sleep(seconds)
    else:
        sent = 0
        while (now := time.perf_counter()) < begun + seconds:
            while begun + sent / rate <= now:
                due = begun + sent / rate
                sent += 1
                if idle:
                    busy += 1
                    idle.popleft().post(requests.make(), due)
                else:
                    waiting.append(due)
            await asyncio.sleep(0.001)
    took = time.perf_counter() - begun
    counted = sorted(latencies)
    answers, good = len(latencies), statuses.get(200, 0) + statuses.get(202, 0)
    over = True
    if busy:
        await asyncio.wait_for(drained.wait(), 60)
    return {
        "messages_s": good * requests.messages_each / took,
        "answers": answers,
        "bad": {status: count for status, count in statuses.items() if status not in (200, 202)},
        **{f"p{p}_ms": 1000 * counted[min(answers - 1, answers * p // 100)] for p in (50, 95, 99) if counted},
    }


if __name__ == "__main__":
    port_, kind_, seconds_, connections_ = sys.argv[1:5]
    rate_ = float(sys.argv[5]) if len(sys.argv) > 5 else None
    print(json.dumps(loop.run(run(int(port_), kind_, float(seconds_), int(connections_), rate_))))
