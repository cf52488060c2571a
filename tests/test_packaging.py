"""What a fresh clone needs to be true before anything is installed."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

import appliance

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"(?m)^([a-z0-9][a-z0-9.-]*)==([^\s;\\]+)", (ROOT / lock).read_text())
    return dict(found)


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_version_is_written_once_and_repeated_truly() -> None:
    assert PROJECT["project"]["version"] == appliance.__version__


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_with_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text and "--index" not in text
    for entry in re.split(r"(?m)^(?=[a-z0-9])", text):
        if entry.strip():
            assert "==" in entry and "--hash=sha256:" in entry, entry.splitlines()[0]


def test_locks_agree_and_hold_every_dependency() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert run.items() <= dev.items()
    direct = [re.split(r"[ <>=~;\[]", spec)[0] for spec in PROJECT["project"]["dependencies"]]
    assert set(direct) <= set(run)
    tools = [re.split(r"[ <>=~;\[]", spec)[0] for spec in PROJECT["dependency-groups"]["dev"]]
    assert set(tools) <= set(dev)


def test_makefile_describes_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"(?m)^\.PHONY: (\S+)", text))
    described = set(re.findall(r"(?m)^([a-z-]+):.*## ", text))
    assert phony == described
    assert {"run", "test", "lint", "interop", "bench", "torture", "screenshots", "clean"} <= phony


def test_recipes_of_make_can_be_read_without_running_them() -> None:
    for target in ("run", "test", "lint", "interop", "bench", "torture", "screenshots", "lock"):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_scripts_are_executable_and_parse() -> None:
    for name in tracked():
        path = ROOT / name
        if path.suffix == ".sh" or name == ".ci/run":
            assert path.stat().st_mode & stat.S_IXUSR, name
            subprocess.run(["bash", "-n", str(path)], check=True)


def test_no_tracked_file_names_a_place_of_some_machine() -> None:
    """A path into somebody's home, or the host of a package registry, breaks on the next machine."""
    homes = re.compile(rb"/(?:home|Users)/[a-z]|/root[/]")
    hosts = re.compile(rb"https?://[a-z0-9.-]*(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com)")
    for name in tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" in data[:4096] or name == "tests/test_packaging.py":
            continue
        for pattern in (homes, hosts):
            found = pattern.search(data)
            assert found is None, f"{name}: {found.group().decode()}"


def test_no_source_file_holds_two_concepts() -> None:
    long = {
        name: lines
        for name in tracked()
        if name.endswith(".py") and (lines := (ROOT / name).read_bytes().count(b"\n")) > 600
    }
    assert long == {}


def test_no_tests_folder_is_a_package() -> None:
    """With importmode=importlib, __init__.py files would make equal names of test modules clash."""
    assert [str(p) for p in (ROOT / "tests").rglob("__init__.py")] == []
