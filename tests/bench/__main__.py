"""`make bench`: each figure beside its limit, in turns, in the same run.

    make bench                                          # all of it, ten minutes
    make bench BENCH_ARGS="--only accept turn"          # some of it
    make bench BENCH_ARGS="--long"                      # ten minutes of bookings instead of half a minute
    make bench BENCH_ARGS="--chart docs/pictures/bench.svg"

E and the appliance's main process run on core 0, the client on the last one, which the worker may use too. A
round is one window of the limit and one of ours; the figure is the median of the rounds' ratios, because
absolute numbers of a shared machine swing two- or threefold. The numbers are kept in .outpost/bench/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench import backlog, core, endurance, web
from tests.bench.report import Row, chart, keep, table
from tests.bench.servers import OUT, ROOT

Part = Callable[[argparse.Namespace, Path], list[Row]]


def _core(name: str) -> Part:
    """One of the figures that need no HTTP."""

    def measure(args: argparse.Namespace, folder: Path) -> list[Row]:
        return [
            Row(
                each["name"],
                each["figure"],
                each["value"],
                each["must"],
                each["goal"],
                less=bool(each.get("less_is_better")),
                more=each["more"],
            )
            for each in core.measure(args.rounds, [name])
        ]

    return measure


def _backlog(args: argparse.Namespace, folder: Path) -> list[Row]:
    found: dict[str, Any] = backlog.measure(args.backlog, args.rounds + 2)
    figure = f"next message with {args.backlog:,} queued, to 1,000 queued"
    return [Row("backlog", figure, found["ratio"], 1.5, 1.1, less=True, more=found)]


PARTS: Final[dict[str, Part]] = {
    "accept": web.accept,
    "batch": web.batch,
    "turn": web.turn,
    "turns": endurance.sustained,
    "overload": endurance.overload,
    "dispatcher": _core("dispatcher"),
    "conversation": _core("conversation"),
    "backlog": _backlog,
    "sessions": _core("sessions"),
    "memory": web.memory,
    "start": web.start,
    "cores": _core("cores"),
    "kannel": web.beside_kannel,
    "open": endurance.open_loop,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Speed, each figure beside its limit.")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=2.0, help="seconds a window")
    parser.add_argument("--long", action="store_true", help="ten minutes of bookings")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; not for quoting")
    parser.add_argument("--backlog", type=int, help="messages queued, 5,000,000 unless --quick")
    parser.add_argument("--chart", type=Path, help="where to write the chart besides .outpost/bench/")
    args = parser.parse_args()
    args.open_s = 600.0 if args.long else 5.0 if args.quick else 30.0
    args.sustained_s = args.overload_s = 6.0 if args.quick else 60.0
    args.backlog = args.backlog or (100_000 if args.quick else 5_000_000)
    OUT.mkdir(parents=True, exist_ok=True)
    target = OUT / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    told = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    rows: list[Row] = []
    failed = []
    for name in args.only or PARTS:
        print(f"{time.strftime('%H:%M:%S')} {name} ...", file=sys.stderr, flush=True)
        # On the disk of the checkout: a benchmark of syncs on a tmpfs would be one of nothing.
        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            try:
                found = PARTS[name](args, Path(folder))
            except (
                Exception,
                SystemExit,
            ) as error:  # one part that cannot be measured keeps no other from it
                print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
                failed.append(name)
                continue
        rows += found
        if found:
            print(table(found), file=sys.stderr, flush=True)
            keep(rows, told, target)  # after each part: who stops it here keeps what was measured
            for picture in (target.with_suffix(".svg"), *([args.chart] if args.chart else [])):
                picture.write_text(chart(rows))
    if not rows:
        return 1
    print(table(rows))
    print(f"kept in {target.relative_to(ROOT)}, with a chart beside it")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
