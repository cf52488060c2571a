from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import check, main
from appliance.config import Config, ModemConfig
from appliance.exits import Exit
from appliance.talk_settings import Assistant, Chat

MODEM = ModemConfig(name="m0", port="/dev/ttyUSB2")
READY: dict[str, Any] = {
    "name": "m0", "state": "ready", "reason": "", "next_step": "",
    "manufacturer": "SIMCom", "model": "SIM7600", "iccid": "8925101", "own_number": None,
    "registration": 1, "operator": "ethio telecom", "signal_dbm": -79,
    "smsc": "+251911000000", "storage_used": 0, "storage_total": 40,
}  # fmt: skip


def grades(health: dict[str, Any]) -> dict[str, str]:
    return {finding.what: finding.grade for finding in check.findings_of_modem(MODEM, health)}


def test_modem_in_order_has_nothing_wrong() -> None:
    assert set(grades(READY).values()) == {"ok"}


@pytest.mark.parametrize(
    ("change", "what", "grade"),
    [
        ({"manufacturer": None, "model": None, "state": "recovering"}, "m0 port", "bad"),
        ({"iccid": None, "state": "parked", "reason": "SIM not inserted"}, "m0 SIM", "bad"),
        ({"registration": 2}, "m0 registration", "bad"),
        ({"registration": 3}, "m0 registration", "bad"),
        ({"registration": None}, "m0 registration", "bad"),
        ({"registration": 5}, "m0 registration", "note"),
        ({"signal_dbm": -111}, "m0 signal", "note"),
        ({"smsc": ""}, "m0 SMSC", "bad"),
        ({"storage_used": 40}, "m0 storage", "bad"),
        ({"state": "recovering"}, "m0", "bad"),
    ],
)
def test_modem_fault_is_found_and_has_a_way_to_mend_it(change: dict[str, Any], what: str, grade: str) -> None:
    findings = {f.what: f for f in check.findings_of_modem(MODEM, READY | change)}
    assert findings[what].grade == grade
    assert findings[what].mend


@pytest.mark.parametrize(
    ("now_s", "last_seen_s", "grade"),
    [
        (0.0, None, "bad"),
        (check.WRITTEN_S + 100.0, None, "ok"),
        (check.WRITTEN_S + 100.0, check.WRITTEN_S + 150.0, "ok"),
        (check.WRITTEN_S + 100.0, check.WRITTEN_S + 5_000.0, "bad"),
    ],
)
def test_clock_in_the_past_is_found(now_s: float, last_seen_s: float | None, grade: str) -> None:
    [finding] = check.findings_of_clock(now_s, last_seen_s)
    assert finding.grade == grade


def test_disk_with_a_folder_that_can_be_made_is_fine(tmp_path: Path) -> None:
    assert [f.grade for f in check.findings_of_disk(tmp_path / "new" / "deep")] == ["ok"]


def test_disk_where_the_folder_is_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [finding] = check.findings_of_disk(tmp_path / "file")
    assert finding.grade == "bad" and finding.mend


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_check_of_a_box_that_is_fine_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "outpost.toml"
    file.write_text('data_dir = "data"\n[http]\nlisten = "127.0.0.1:0"\n')
    assert main(["check", "--config", str(file)]) == 0
    assert capsys.readouterr().out.endswith("all is well\n")


def test_check_tells_all_that_is_wrong_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outpost.toml"
    with taken_port() as port:
        file.write_text(
            f'data_dir = "data"\n[http]\nlisten = "127.0.0.1:{port}"\n'
            '[[modem]]\nname = "m0"\nport = "/dev/no-such"\n'
        )
        assert main(["check", "--config", str(file), "--wait", "0.5"]) == Exit.FAILED
    out = capsys.readouterr().out
    assert "bad  http.listen" in out and "ss -ltnp" in out
    assert "bad  m0 port: /dev/no-such" in out
    assert out.endswith("2 things are wrong\n")


def test_check_of_a_broken_configuration_tells_each_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outpost.toml"
    file.write_text("a = 1\nb = 2\n")
    assert main(["check", "--config", str(file)]) == Exit.FAILED
    assert capsys.readouterr().err.count("unknown; want one of") == 2


def test_check_without_a_file_checks_the_demo_where_nothing_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "DEMO_DIR", tmp_path)
    monkeypatch.setattr(check, "DEFAULT_CONFIG", str(tmp_path / "none.toml"))
    assert main(["check"]) == Exit.FAILED
    assert "none.toml: cannot be read" in capsys.readouterr().err
    (tmp_path / "outpost.toml").write_text(f"data_dir = '{tmp_path}'\nunknown = 1\n")
    assert main(["check"]) == Exit.FAILED
    assert "outpost.toml: unknown" in capsys.readouterr().err


def test_files_that_the_start_would_refuse_are_named(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text('language = "en"\nconfidence = "x"\ndigits = [["a"]]\n')
    broken = Config(chat=Chat(words=str(tmp_path)))
    keyless = Config(assistant=Assistant(endpoint="https://m.example/v1", model="m", api_key="file:/no/key"))
    assert [finding.found for finding in check.findings_of_files(broken)] == [
        "en.toml: digits: 1 lists; want ten, for 0 to 9"
    ]
    (finding,) = check.findings_of_files(keyless)
    assert finding.grade == "bad" and "/no/key cannot be read" in finding.found
    assert list(check.findings_of_files(Config())) == []
