"""The table, the JSON and the chart say what was measured and whether it is enough."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.bench.report import Row, chart, keep, table

ROWS = [
    Row("a", "as good as it gets", 0.9, 0.6, 0.85),
    Row("b", "good enough", 0.7, 0.6, 0.85),
    Row("c", "not enough", 0.5, 0.6, 0.85),
    Row("d", "less is better & enough", 2.0, 2.8, 1.5, less=True, more={"mib": 90}),
    Row("e", "no mark", 12_345.6, None, None),
    Row("f", "nothing may be lost", 0.0, 0, None, less=True),
]

VERDICTS = ["goal", "must", "SHORT", "must", "", "must"]


@pytest.mark.parametrize(("row", "verdict"), list(zip(ROWS, VERDICTS, strict=True)))
def test_row_verdict_follows_its_marks(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_table_has_a_line_for_each_figure() -> None:
    lines = table(ROWS).splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert lines[3].split()[-4:] == ["0.5", ">=0.6", ">=0.85", "SHORT"]
    assert lines[5].split()[-1] == "12,346"


def test_keep_writes_all_that_was_measured(tmp_path: Path) -> None:
    keep(ROWS, {"rounds": 5}, tmp_path / "x.json")
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["args"] == {"rounds": 5}
    assert kept["figures"][3]["more"] == {"mib": 90}
    assert [figure["verdict"] for figure in kept["figures"]] == [row.verdict for row in ROWS]


def test_chart_is_well_formed_and_has_a_bar_for_each_figure_with_a_mark() -> None:
    root = ET.fromstring(chart(ROWS))
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 4  # the ground and the bars
