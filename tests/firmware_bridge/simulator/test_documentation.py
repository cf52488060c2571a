"""docs/simulator.md names every point, deed, act and request there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware_bridge.simulator.acts import ACTS
from firmware_bridge.simulator.control import OPERATIONS
from firmware_bridge.simulator.faults import POINTS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


def rows(first: str) -> str:
    """Table rows whose first cell has this word in backquotes."""
    return "\n".join(line for line in DOCUMENT.splitlines() if re.match(rf"\| [^|]*`{first}`", line))


@pytest.mark.parametrize("point", POINTS)
def test_document_every_point_and_deed_is_named(point: str) -> None:
    assert [verb for verb in sorted(POINTS[point][1]) if f"`{verb}`" not in rows(point)] == []


@pytest.mark.parametrize("name", [*ACTS, *OPERATIONS])
def test_document_every_act_and_request_is_named(name: str) -> None:
    assert rows(name)
