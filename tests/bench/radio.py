"""How near the driver comes to what the radio allows, beside gammu-smsd and smstools3.

    python tests/bench/radio.py [--radio 0.2,3] [--modems 1,32] [--seconds 20] [--peers gammu-smsd]

For each radio time and number of modems one simulator is started (`outpost simulate`), in a process of
its own, and every program sends to it in turn, back to back, one 70-character message after the other.
Phones on the simulated network note when each message arrives; so nobody's own clock is believed:

    share     messages per second and modem, between the fourth and the last arrival, times the radio time
    overhead  what each message took beyond the radio time

`outpost` is the driver alone, `whole box` the real server with its store, where each message's intent is on
disk before its PDU and its result after it. For both it also prints our side of the gap between the answer
to +CMGS and the next AT+CMGS, and the CPU of the process. The bare loop shows what this simulator on this
machine allows anybody. On a busy machine, `chrt -r 5` in front keeps other work out of the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from radio_driver import ROOT, phone_of
from radio_peers import PEERS, running

DRIVER, BOX = "radio_driver.py", "radio_box.py"
PEOPLE = 4  # as in radio_box.py
GOALS = {0.2: 0.98, 3.0: 0.998}
START_S = 20.0
WARM_UP = 3  # messages left out at the start: programs read operator, clock and subscriber meanwhile


class Watcher:
    """The phones of the network: notes when each message arrives."""

    def __init__(self, control: Path, phones: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(control))
        self._buffer = b""
        self.arrivals: dict[str, list[float]] = {}
        for position in range(phones):
            self.ask({"op": "attach", "number": phone_of(position)})

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line = self._line(10.0)
            if line is None:
                raise TimeoutError(f"the simulator does not answer {request}")
            if "event" not in line:
                if "error" in line:
                    raise RuntimeError(line["error"])
                return line
            self._note(line)

    def wait(self, messages: int, timeout_s: float) -> None:
        """Until so many messages have arrived, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while sum(map(len, self.arrivals.values())) < messages:
            line = self._line(deadline - time.monotonic())
            if line is None:
                return
            self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        if line.get("event") == "sms":
            self.arrivals.setdefault(line["to"], []).append(time.monotonic())

    def _line(self, timeout_s: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionError("the simulator has gone")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def simulator(home: Path, modems: int, radio_s: float) -> Iterator[Path]:
    """`outpost simulate` in a process of its own; gives the folder of its ports."""
    link = home / "ports"
    command = [sys.executable, "-m", "appliance", "simulate", "--modems", str(modems)]
    command += ["--link", str(link), "--radio", str(radio_s)]
    with running(command, home / "simulator.log") as process:
        deadline = time.monotonic() + START_S
        while not ((link / "control.sock").exists() and (link / f"modem{modems - 1}").exists()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "simulator.log").read_text())
            time.sleep(0.05)
        yield link


def shares(watcher: Watcher, radio_s: float, people: int = 1) -> dict[str, Any]:
    """What the phones saw: rate and overhead over all modems, and the slowest of them.

    people: how many phones each modem sends to.
    """
    by_modem: dict[int, list[float]] = {}
    modems = len(watcher.arrivals) // people
    for position in range(modems * people):
        by_modem.setdefault(position % modems, []).extend(watcher.arrivals.get(phone_of(position), ()))
    steady = [sorted(times)[WARM_UP:] for times in by_modem.values()]
    periods = [(times[-1] - times[0]) / (len(times) - 1) for times in steady if len(times) > 1]
    if not periods:
        return {"arrived": sum(map(len, watcher.arrivals.values())), "share": None}
    mean = len(periods) / sum(1 / period for period in periods)
    return {
        "arrived": sum(map(len, watcher.arrivals.values())),
        "per_modem_hz": round(1 / mean, 4),
        "share": round(radio_s / mean, 4),
        "share_worst_modem": round(radio_s / max(periods), 4),
        "overhead_ms": round((mean - radio_s) * 1000, 2),
    }


def run_ours(script: str, link: Path, modems: int, messages: int) -> tuple[Watcher, dict[str, Any]]:
    """script: radio_driver.py for the driver alone, radio_box.py for the whole box."""
    phones = modems * (PEOPLE if script == BOX else 1)
    watcher = Watcher(link / "control.sock", phones)
    driver = subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name(script)),
            str(link),
            str(modems),
            str(messages),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    watcher.wait(modems * messages, 600.0)
    out, _ = driver.communicate(timeout=60)
    return watcher, json.loads(out)


def run_peer(peer: Any, link: Path, modems: int, messages: int, radio_s: float, home: Path) -> Watcher:
    watcher = Watcher(link / "control.sock", modems)
    ports = [link / f"modem{position}" for position in range(modems)]
    with peer.sending(ports, messages, home):
        watcher.wait(modems * messages, 30.0 + messages * (radio_s + 3.0))
    return watcher


def measure(radio_s: float, modems: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All programs on one simulator."""
    rows = []
    messages = WARM_UP + max(args.least, round(args.seconds / radio_s))
    with tempfile.TemporaryDirectory(prefix="outpost-radio-") as folder:
        home = Path(folder)
        with simulator(home, modems, radio_s) as link:
            base = {"radio_s": radio_s, "modems": modems, "load": round(os.getloadavg()[0], 2)}
            for program, script, people in (("outpost", DRIVER, 1), ("whole box", BOX, PEOPLE)):
                watcher, own = run_ours(script, link, modems, messages)
                rows.append({"program": program, **base, **shares(watcher, radio_s, people), **own})
                print_row(rows[-1])
                watcher.close()
            wanted = args.peers.split(",") if modems <= args.peer_modems else []
            for peer in (peer for peer in PEERS if peer.name in wanted):
                row = {"program": peer.name, **base, "load": round(os.getloadavg()[0], 2)}
                if (reason := peer.missing()) is not None:
                    rows.append({**row, "missing": reason})
                    continue
                few = WARM_UP + max(args.least, messages // args.peer_part)
                watcher = run_peer(peer, link, modems, few, radio_s, home)
                rows.append({**row, **shares(watcher, radio_s)})
                print_row(rows[-1])
                watcher.close()
    return rows


def print_row(row: dict[str, Any]) -> None:
    if "missing" in row:
        print(f"{row['radio_s']:>7} {row['modems']:>6}  {row['program']:<11} {row['missing']}")
        return
    share = "-" if row["share"] is None else f"{row['share']:.4f}"
    gap = f"{row['gap_ms_p50']:.2f}/{row['gap_ms_p99']:.2f}" if row.get("gap_ms_p50") is not None else ""
    cpu = f"{row['cpu_percent']:.1f}%" if "cpu_percent" in row else ""
    print(
        f"{row['radio_s']:>7} {row['modems']:>6}  {row['program']:<11} {row['arrived']:>6} {share:>7}"
        f" {row.get('share_worst_modem', '-'):>7} {row.get('overhead_ms', '-'):>9} {gap:>11} {cpu:>6}"
        f" {row['load']:>5}",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> None:
    """The goal for each radio time, and how many times each peer's share ours is."""
    for ours in (row for row in rows if row["program"] == "outpost" and row["share"] is not None):
        ratios = []
        for row in rows:
            same = (row["radio_s"], row["modems"]) == (ours["radio_s"], ours["modems"])
            if same and row is not ours and row.get("share"):
                row["outpost_is_times"] = round(ours["share"] / row["share"], 2)
                ratios.append(f"{row['outpost_is_times']} times {row['program']}")
        verdict = ""
        if (goal := GOALS.get(ours["radio_s"])) is not None:
            verdict = f", goal {goal} {'met' if ours['share'] >= goal else 'MISSED'}"
        if ours["load"] > (os.cpu_count() or 1) / 2:
            verdict += f" (other work on this machine: load {ours['load']})"
        print(f"radio {ours['radio_s']} s, {ours['modems']} modem(s): {ours['share']} of 1/latency{verdict}")
        if ratios:
            print(f"    {', '.join(ratios)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--radio", default="0.2,3", help="seconds on the air, one or several")
    parser.add_argument("--modems", default="1,32", help="how many at once, one or several")
    parser.add_argument("--seconds", type=float, default=20.0, help="of sending, for each run of ours")
    parser.add_argument("--least", type=int, default=5, help="messages at least")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS), help="which of them")
    parser.add_argument(
        "--peer-modems", type=int, default=32, help="peers run up to this many modems; 0: none"
    )
    parser.add_argument("--peer-part", type=int, default=4, help="peers send one message in so many of ours")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench" / "radio.json")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(
        f"{'radio s':>7} {'modems':>6}  {'program':<11} {'sms':>6} {'share':>7} {'worst':>7} {'over ms':>9}"
        f" {'gap p50/p99':>11} {'cpu':>6} {'load':>5}"
    )
    rows = []
    for radio_s in map(float, args.radio.split(",")):
        for modems in map(int, args.modems.split(",")):
            rows += measure(radio_s, modems, args)
    summarise(rows)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"cpus": os.cpu_count(), "at": int(time.time()), "rows": rows}, indent=1))
    print(f"written to {args.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
