"""The documents name all there is: settings, exit codes, commands, metrics, routes; their links resolve."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from appliance.commands import COMMANDS
from appliance.config import Setting, settings
from appliance.exits import Exit

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]


def shown(value: object) -> str:
    if value is msgspec.NODEFAULT:
        return "has to be given"
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


@pytest.mark.parametrize("setting", list(settings()), ids=lambda s: s.path)
def test_setting_is_documented_with_default_and_bounds(setting: Setting) -> None:
    row = f"| `{setting.path}` | {shown(setting.default)} | {setting.want} | {setting.description} |"
    assert row in (ROOT / "docs" / "configuration.md").read_text().splitlines()


def test_no_setting_is_documented_that_is_gone() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    named = re.findall(r"(?m)^\| `([a-z_.\[\]]+)` \|", text)
    assert named == [setting.path for setting in settings()]


def test_every_setting_is_read_by_something() -> None:
    code = "\n".join(p.read_text() for p in (ROOT / "appliance").rglob("*.py") if p.name != "config.py")
    read = set(re.findall(r"\.([a-z_]+)\b|\"([a-z_]+)\"", code))
    names = {name for pair in read for name in pair if name}
    indirect = {"listen"}  # by Http.host and Http.port
    assert [s.path for s in settings() if s.path.rpartition(".")[2] not in names | indirect] == []


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    for code in Exit:
        assert f"| {code.value} | {code.name} |" in text


def test_every_command_is_in_some_document() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if f"outpost {name}" not in text] == []


def test_every_metric_is_documented_and_none_that_is_gone() -> None:
    code = "\n".join(p.read_text() for p in (ROOT / "appliance" / "observe").glob("*.py"))
    there = set(re.findall(r'"(outpost_[a-z_]+)"', code))
    told = set(re.findall(r"(?m)^\| `(outpost_[a-z_]+)` \|", (ROOT / "docs" / "metrics.md").read_text()))
    assert there == told


def test_every_route_is_documented() -> None:
    code = (ROOT / "appliance" / "web" / "app.py").read_text()
    routes = re.findall(r'router\.add_(?:get|post)\(\s*r?"([^"]+)"', code)
    assert routes
    text = "\n".join(page.read_text() for page in PAGES)
    plain = [re.sub(r"\{([a-z]+)[^}]*\}+", r"{\1}", route) for route in routes]
    assert [route for route in plain if f"{route}`" not in text and f"{route} " not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_and_pictures_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [p.name for p in DOCS if f"docs/{p.relative_to(ROOT / 'docs').as_posix()}" not in text] == []
