"""The collector rests while the program starts and looks seldom afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from appliance import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.enable()


def test_garbage_is_not_looked_for_while_held() -> None:
    garbage.hold()
    assert not gc.isenabled()


def test_garbage_after_the_start_is_found_but_what_stays_is_not_walked() -> None:
    garbage.hold()
    kept: list[object] = []
    kept.append(kept)
    garbage.settle()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(found is kept for found in gc.get_objects())
    assert gc.get_threshold()[0] == garbage.YOUNG
