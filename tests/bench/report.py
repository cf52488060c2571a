"""The figures as a table for the terminal, as JSON, and as a chart for the documents."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import os
import platform
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Row", "chart", "keep", "table"]

WIDTH, LEFT, LINE, TOP = 900, 430, 24, 64  # of the chart, in pixels
LOW, HIGH = 0.1, 10.0  # of its scale: the figure as a multiple of what it must be


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure. must, goal: None where the issue names none; less: less is better. more: all measured."""

    name: str
    figure: str
    value: float
    must: float | None
    goal: float | None
    less: bool = False
    more: dict[str, Any] = dataclasses.field(default_factory=dict)

    def reaches(self, mark: float | None) -> bool:
        if mark is None:
            return True
        return self.value <= mark if self.less else self.value >= mark

    @property
    def verdict(self) -> str:
        if self.must is None and self.goal is None:
            return ""
        if not self.reaches(self.must):
            return "SHORT"
        if self.goal is not None and not self.reaches(self.goal):
            return "" if self.must is None else "must"
        return "goal" if self.goal is not None else "must"

    @property
    def margin(self) -> float:
        """How many times as good as it must be (or as the goal, where nothing is a must)."""
        mark = self.must if self.must is not None else self.goal
        if not mark or not self.value:
            return 1.0
        return mark / self.value if self.less else self.value / mark


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Plain text, one line a figure."""
    width = max(len(row.figure) for row in rows)
    lines = [f"{'figure':{width}}  {'measured':>9}  {'must':>8} {'goal':>8}  reached"]
    for row in rows:
        sign = "<=" if row.less else ">="
        must, goal = (f"{sign}{_number(mark)}" if mark is not None else "" for mark in (row.must, row.goal))
        lines.append(f"{row.figure:{width}}  {_number(row.value):>9}  {must:>8} {goal:>8}  {row.verdict}")
    return "\n".join(lines)


def keep(rows: Sequence[Row], args: dict[str, Any], target: Path) -> None:
    """Everything that was measured, with the machine it was measured on."""
    machine = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    shown = [dataclasses.asdict(row) | {"verdict": row.verdict} for row in rows]
    target.write_text(json.dumps({"machine": machine, "args": args, "figures": shown}, indent=1) + "\n")


def chart(rows: Sequence[Row]) -> str:
    """An SVG: each figure as a multiple of what it must be, on a logarithmic scale."""
    rows = [row for row in rows if row.must or row.goal]
    height = TOP + LINE * len(rows) + 16
    span = WIDTH - LEFT - 90

    def x(margin: float) -> float:
        part = math.log(min(HIGH, max(LOW, margin)) / LOW) / math.log(HIGH / LOW)
        return LEFT + span * part

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="12" y="24" font-size="16">make bench: each figure as a multiple of what it must be</text>',
        '<text x="12" y="44" fill="#555">right of the line: reached; the small mark is the goal</text>',
    ]
    for mark in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        out.append(
            f'<line x1="{x(mark):.0f}" x2="{x(mark):.0f}" y1="{TOP - 6}" y2="{height - 12}"'
            f' stroke="{"#333" if mark == 1 else "#ddd"}"/>'
            f'<text x="{x(mark):.0f}" y="{TOP - 10}" text-anchor="middle" fill="#555">{mark:g}</text>'
        )
    for place, row in enumerate(rows):
        y = TOP + LINE * place
        colour = {"SHORT": "#c0392b", "must": "#2980b9", "goal": "#27ae60"}.get(row.verdict, "#888")
        start, end = sorted((x(1), x(row.margin)))
        out.append(
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{html.escape(row.figure)}</text>'
            f'<rect x="{start:.0f}" y="{y + 4}" width="{max(2, end - start):.0f}" height="14"'
            f' fill="{colour}"/>'
            f'<text x="{WIDTH - 8}" y="{y + 15}" text-anchor="end">{_number(row.value)}</text>'
        )
        if row.must and row.goal:
            at = x(row.must / row.goal if row.less else row.goal / row.must)
            out.append(f'<line x1="{at:.0f}" x2="{at:.0f}" y1="{y + 2}" y2="{y + 20}" stroke="#333"/>')
    return "\n".join([*out, "</svg>", ""])
