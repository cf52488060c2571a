from __future__ import annotations

import asyncio

import pytest

from appliance import loop


async def _which() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_loop_asked_for_by_environment_is_the_stock_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTPOST_LOOP", "asyncio")
    assert loop.run(_which()) == "asyncio"


def test_loop_without_uvloop_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTPOST_LOOP", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    assert loop.run(_which()) == "asyncio"


def test_loop_with_uvloop_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    monkeypatch.delenv("OUTPOST_LOOP", raising=False)
    assert loop.run(_which()) == "uvloop"
    assert loop.loop_name() == "uvloop"


async def test_loop_of_the_tests_is_the_one_in_their_name(request: pytest.FixtureRequest) -> None:
    assert await _which() in request.node.name
