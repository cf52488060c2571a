"""The radio benchmark runs and measures; how well the driver does is for the benchmark itself to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_radio_benchmark_measures_the_driver(tmp_path: Path) -> None:
    report = tmp_path / "radio.json"
    command = [sys.executable, str(Path(__file__).with_name("radio.py")), "--radio", "0.05", "--modems", "2"]
    command += ["--seconds", "0.5", "--peers", "bare loop", "--peer-modems", "2", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours, box, bare = json.loads(report.read_text())["rows"]
    assert [row["program"] for row in (ours, box, bare)] == ["outpost", "whole box", "bare loop"]
    for row in (ours, box):
        assert row["arrived"] == 26  # 13 for each modem: 3 to warm up, 10 measured
        assert 0.3 < row["share"] <= 1.0
        assert row["gap_ms_p50"] < 50
        assert row["cpu_percent"] > 0
    assert "outpost" in done.stdout
