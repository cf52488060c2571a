"""What docs/ says about modems is drawn from the code and the data, or checked against them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from firmware_bridge.ladder import Rung
from firmware_bridge.profiles import load_profiles

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_diagram", DOCS / "state_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docs_state_diagram_is_drawn_from_the_table() -> None:
    page = (DOCS / "firmware_bridge.md").read_text(encoding="utf-8")
    assert script().page_with_diagram(page) == page, "run: python docs/state_diagram.py"


def test_docs_name_every_profile_and_what_to_know_of_it() -> None:
    page = (DOCS / "modems.md").read_text(encoding="utf-8")
    assert script().page_with_families(page) == page, "run: python docs/state_diagram.py"
    for profile in load_profiles():
        assert f"`{profile.name}`" in page


def test_docs_ladder_has_every_step() -> None:
    page = (DOCS / "modems.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d\. ", page.partition("## The ladder")[2], re.MULTILINE)
    assert len(steps) == len(Rung)


def test_docs_ten_lines_are_python_that_compiles() -> None:
    page = (DOCS / "firmware_bridge.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    compile(example, "example", "exec")
    assert sum(line.startswith("    ") for line in example.splitlines()) <= 10
