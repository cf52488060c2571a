"""Fault points: off they do nothing, on they strike at the pass that was asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import faults

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.disarm()


def strikes(rule: str, passes: int) -> list[int]:
    faults.arm(rule)
    found = []
    for number in range(1, passes + 1):
        try:
            faults.hit("a.b")
        except (faults.FaultInjected, OSError):
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("a.b=raise", [1]),
        ("a.b=raise@3", [3]),
        ("a.b=raise@3+", [3, 4, 5]),
        ("a.b=ioerr@2", [2]),
        ("x=raise", []),
    ],
)
def test_fault_strikes_at_the_pass_asked_for(rule: str, expected: list[int]) -> None:
    assert strikes(rule, 5) == expected


def test_fault_passes_are_counted_from_arming() -> None:
    strikes("a.b=raise@2", 5)
    assert faults.passes("a.b") == 5
    assert strikes("a.b=raise@2", 3) == [2]


def test_faults_are_off_unless_armed() -> None:
    assert not faults.armed
    faults.arm("")
    assert not faults.armed


@pytest.mark.parametrize("text", ["a.b", "a.b=explode", "a.b=raise@x", "=kill"])
def test_fault_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OUTPOST_FAULTS"):
        faults.parse(text)


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("exit", 70)])
def test_fault_ends_the_process_by_the_environment(action: str, code: int) -> None:
    script = "from appliance import faults\nif faults.armed: faults.hit('a.b')\nprint('alive')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"OUTPOST_FAULTS": f"a.b={action}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, b"")


def test_every_fault_point_is_guarded_by_armed() -> None:
    """A point costs nothing when off only if the call stands under the test of `armed`."""
    for path in (ROOT / "appliance").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {
            call
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "faults.armed" in ast.unparse(node.test)
            for call in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "faults.hit":
                assert node in guarded, f"{path}:{node.lineno}"
