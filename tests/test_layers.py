"""Rules about imports that a contract of import-linter cannot say. Its contracts stand in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a pure package may not touch: I/O, clocks, threads, chance, the other layer.
IMPURE = frozenset(
    "aiohttp aiosqlite appliance asyncio concurrent diskcache multiprocessing os random secrets select serial"
    " signal socket sqlite3 subprocess termios threading time tty uvloop".split()
)
# Rules of purity for the apps: they may name the nouns and the conversation kit of their own side.
APP_MAY = {"appliance.conversation", "appliance.message", "appliance.apps"}


def sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Each imported module's dotted name (for `from a import b` both "a" and "a.b") and its node."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*package, base]).rstrip(".")
            yield base, node
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", ["firmware_bridge/pdu", "firmware_bridge/at"])
def test_pure_package_imports_nothing_impure(package: str) -> None:
    paths = sources(package)
    assert paths
    for path in paths:
        for name, _ in imports(path):
            assert name.split(".")[0] not in IMPURE, f"{short(path)} imports {name}"


def test_apps_and_the_kit_are_pure() -> None:
    allowed_of_ours = {"appliance"}
    for path in sources("appliance/apps"):
        for name, _ in imports(path):
            assert name.split(".")[0] not in IMPURE - allowed_of_ours, f"{short(path)} imports {name}"
            if name.startswith("appliance."):
                assert any(name == may or name.startswith(f"{may}.") for may in APP_MAY), (
                    f"{short(path)} imports {name}"
                )


def test_uvloop_is_imported_in_one_place() -> None:
    users = {
        short(path)
        for path in sources("firmware_bridge", "appliance", "tests", "docs")
        for name, _ in imports(path)
        if name.split(".")[0] == "uvloop"
    }
    assert users == {"appliance/loop.py"}


def test_no_import_hides_in_a_function_to_dodge_a_cycle() -> None:
    """A late import is for what is rarely needed; its target must not import us back."""
    top: dict[str, set[str]] = {}
    late: list[tuple[str, str, int]] = []
    for path in sources("firmware_bridge", "appliance"):
        me = short(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        in_function = {
            (inner.lineno, inner.col_offset)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(node)
            if isinstance(inner, ast.Import | ast.ImportFrom)
        }
        for name, node in imports(path):
            if not name.startswith(("appliance", "firmware_bridge")):
                continue
            assert isinstance(node, ast.Import | ast.ImportFrom)
            if (node.lineno, node.col_offset) in in_function:
                late.append((me, name, node.lineno))
            else:
                top.setdefault(me, set()).add(name)

    def reaches(start: str, goal: str) -> bool:
        seen, todo = set(), [start]
        while todo:
            here = todo.pop()
            if here == goal:
                return True
            if here not in seen:
                seen.add(here)
                todo.extend(top.get(here, ()))
        return False

    cycles = [f"{me}:{line} imports {name}" for me, name, line in late if reaches(name, me)]
    assert cycles == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "appliance.dispatcher.worker",
            {"aiohttp", "uvloop", "aiosqlite", "jinja2", "serial", "prometheus_client"},
        ),
        ("appliance.conversation.shell", {"aiohttp", "uvloop", "aiosqlite", "jinja2", "serial"}),
        ("firmware_bridge.modem", {"aiohttp", "aiosqlite", "jinja2", "appliance", "uvloop"}),
        ("appliance.commands", {"aiohttp", "uvloop", "sqlite3", "serial", "asyncio", "msgspec"}),
    ],
)
def test_module_loads_without_what_it_must_not_carry(module: str, unwanted: set[str]) -> None:
    """In a fresh interpreter: what a worker or a small command imports is memory and time on every start."""
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert unwanted.isdisjoint(done.stdout.split())
