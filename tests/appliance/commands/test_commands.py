from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import appliance
from appliance import commands

ROOT = Path(__file__).parents[3]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(["--help"])
    assert ended.value.code == 0
    out = " ".join(capsys.readouterr().out.split())  # however the lines were broken
    for name, command in commands.COMMANDS.items():
        assert f" {name} {command.help}" in out


def test_command_unknown_is_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(["dance"])
    assert ended.value.code == commands.EXIT_USAGE
    assert "invalid choice: 'dance'" in capsys.readouterr().err


def test_command_that_is_not_built_in_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(commands.COMMANDS, "dance", commands.Command("appliance.commands.dance", "dance"))
    assert commands.main(["dance"]) == commands.EXIT_USAGE
    assert (
        capsys.readouterr().err == "outpost dance: this build does not have it (appliance.commands.dance)\n"
    )


def test_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        commands.main(["--version"])
    assert capsys.readouterr().out == f"outpost {appliance.__version__}\n"


def test_python_m_appliance_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"outpost {appliance.__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["handset", "--number", "abc"], "'abc' is no mobile number"),
        (["simulate", "--link", "x", "--modems", "many"], "many: want 1 to 256"),
        (["simulate", "--link", "x", "--radio", "slow"], "slow: want 0 to 3600 seconds"),
        (["ussd"], "required: CODE"),
    ],
)
def test_command_wrong_argument_is_told_with_what_is_wanted(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(words)
    assert ended.value.code == commands.EXIT_USAGE
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("port", "told"), [("gone", "no such port"), (".", "is no serial port")])
def test_record_without_a_port_ends_at_once(
    port: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["record", str(tmp_path / port), str(tmp_path / "new")]) == commands.EXIT_USAGE
    assert told in capsys.readouterr().err
