"""The store on a disk that is full, fails or is slow: what was promised stays, what failed was not promised.

A process of its own runs the store over a preloaded library that fails on demand; the test speaks to it by
lines of JSON and at the end kills it, as a power cut would.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.store.database import connect_reader, quick_check

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

CHILD = """
import asyncio, json, sys, time
from pathlib import Path
from appliance.dispatcher.dispatcher import Dispatcher
from appliance.message import Inbound
from appliance.store.errors import StoreError
from appliance.store.store import Store

def message(key, sender):
    return Inbound(channel="http", sender=sender, recipient="", text="hello", natural_key=key,
                   received_at_ms=time.time_ns() // 1_000_000)

async def accept(store, key, sender="+251911000001"):
    try:
        accepted = await store.accept(message(key, sender))
    except StoreError as error:
        return {"error": getattr(error, "state", type(error).__name__), "transient": error.transient}
    return {"id": accepted.id, "duplicate": accepted.duplicate}

async def main():
    store = await Store.open(Path(sys.argv[1]))
    store.integrity = "ok" if store._checking is None or await store._checking is None else ""
    dispatcher = None
    loop = asyncio.get_running_loop()
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        started, before = time.monotonic(), store.writer.stats.commits
        answer = {}
        if "accept" in order:
            answer = await accept(store, order["accept"])
        elif "many" in order:
            tasks = [accept(store, f"{order['many']}{n}", f"+2519{n:08d}") for n in range(order["count"])]
            answer = {"answers": await asyncio.gather(*tasks)}
        elif "dispatch" in order:
            dispatcher = Dispatcher(store, min_workers=1, max_workers=1, app_settings={},
                on_outbound=lambda rows: None, clock_ms=lambda: time.time_ns() // 1_000_000,
                factory="tiny_shell:TinyShell")
            await dispatcher.start()
        elif "until" in order:
            while order["until"] != store.writer.state:
                await asyncio.sleep(0.005)
        answer |= {"seconds": time.monotonic() - started, "commits": store.writer.stats.commits - before,
                   "state": store.writer.state, "full": store.writer.full}
        print(json.dumps(answer), flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


class Victim:
    """The store's process and the switch of its disk."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.data = folder / "data"
        self.switch = folder / "switch"
        script = folder / "child.py"
        script.write_text(CHILD)
        paths = [str(ROOT), str(ROOT / "tests" / "appliance" / "dispatcher")]
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "LD_PRELOAD": str(library),
                "FAULTY_DISK": str(self.switch),
                "PYTHONPATH": os.pathsep.join(paths),
            },
        )
        self._line()

    def disk(self, mode: str) -> None:
        scratch = self.switch.with_suffix(".new")
        scratch.write_text(mode)
        scratch.replace(self.switch)

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the store's process ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def rows(self, sql: str) -> list[Any]:
        with closing(connect_reader(self.data / "outpost.db")) as db:
            return db.execute(sql).fetchall()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("disk") / "faulty_disk.so"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-O1", "-o", str(target), str(HERE / "faulty_disk.c")], check=True
    )
    return target


@pytest.fixture
def victim(tmp_path: Path, library: Path) -> Iterator[Victim]:
    victim = Victim(tmp_path, library)
    yield victim
    victim.kill()


def keys(victim: Victim) -> set[str]:
    return {key for (key,) in victim.rows("SELECT natural_key FROM inbound")}


@pytest.mark.parametrize(("fault", "state"), [("enospc", "full"), ("eio_write", "ioerr"), ("eio", "ioerr")])
def test_store_bad_disk_promises_nothing_and_comes_back_by_itself(
    victim: Victim, fault: str, state: str
) -> None:
    promised = set()
    for n in range(5):
        assert "id" in victim.ask(accept=f"before{n}")
        promised.add(f"before{n}")
    victim.disk(fault)
    refused = victim.ask(accept="during")
    assert (refused["error"], refused["transient"]) == (state, True)
    assert refused["full"]  # the intake is told to wait
    victim.disk("")
    assert victim.ask(until="ok")["seconds"] < 5  # the probe finds out; no caller has to
    again = victim.ask(accept="during")
    assert "id" in again
    promised.add("during")
    for n in range(5):
        assert "id" in victim.ask(accept=f"after{n}")
        promised.add(f"after{n}")
    victim.kill()
    assert quick_check(victim.data / "outpost.db") == "ok"
    assert keys(victim) == promised


def test_store_disk_that_fails_now_and_then_keeps_every_promise(victim: Victim) -> None:
    promised: set[str] = set()
    for n, fault in enumerate(["", "eio", "", "enospc", "eio", "", "eio_write", "", ""]):
        victim.disk(fault)
        answers = victim.ask(many=f"r{n}-", count=40)["answers"]
        assert len({tuple(sorted(answer)) for answer in answers}) == 1  # one group, one fate
        promised |= {f"r{n}-{i}" for i, answer in enumerate(answers) if "id" in answer}
    victim.kill()
    assert quick_check(victim.data / "outpost.db") == "ok"
    assert promised <= keys(victim)
    assert len(promised) >= 40 * 4


def test_store_slow_disk_is_shared_by_those_who_wait(victim: Victim) -> None:
    victim.ask(accept="warm")
    victim.disk("slow")
    answer = victim.ask(many="m", count=300)
    assert all("id" in each for each in answer["answers"])
    assert answer["commits"] <= 3  # 300 syncs of 20 ms would be 6 s
    assert answer["seconds"] < 2


def test_dispatcher_turn_that_meets_a_full_disk_is_committed_once_when_there_is_room(victim: Victim) -> None:
    victim.ask(dispatch=True)
    victim.ask(accept="first")
    victim.disk("enospc")
    victim.ask(accept="refused")
    victim.disk("")
    victim.ask(until="ok")
    victim.ask(accept="second")
    for _ in range(400):
        if victim.rows("SELECT count(*) FROM inbound WHERE state = 'handled'") == [(2,)]:
            break
        victim.ask(until="ok")
    victim.kill()
    assert keys(victim) == {"first", "second"}
    assert victim.rows("SELECT text FROM outbound ORDER BY id") == [("1:hello",), ("2:hello",)]
