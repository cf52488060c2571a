"""The codec does no I/O, reads no clock and knows nothing of what uses it."""

from __future__ import annotations

import ast
from pathlib import Path

import firmware_bridge.pdu

IMPURE = {"appliance", "asyncio", "serial", "socket", "sqlite3", "time", "os", "threading", "random"}


def test_pdu_package_imports_nothing_impure() -> None:
    paths = sorted(Path(firmware_bridge.pdu.__file__).parent.rglob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert IMPURE.isdisjoint(name.split(".")[0] for name in names), path


def test_pdu_package_reads_no_clock() -> None:
    for path in sorted(Path(firmware_bridge.pdu.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today"}, path
