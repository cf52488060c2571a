"""The core's benchmarks run and measure; how good the figures are is for the benchmark itself to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_core_benchmark_measures_the_dispatcher(tmp_path: Path) -> None:
    report = tmp_path / "core.json"
    command = [sys.executable, "-m", "tests.bench.core", "--rounds", "1", "--only", "dispatcher", "--json"]
    done = subprocess.run([*command, str(report)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (figure,) = json.loads(report.read_text())
    assert figure["name"] == "dispatcher"
    assert figure["value"] > 1
    assert figure["more"]["turns_per_s"] > 0
