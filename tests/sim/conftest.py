"""A network and a box for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.harness import Network, Outpost


@pytest.fixture
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    made = Network(tmp_path_factory.mktemp("net"), "--radio", "0")
    yield made
    made.close()


@pytest.fixture
def outpost(tmp_path: Path, network: Network) -> Iterator[Outpost]:
    made = Outpost(tmp_path, [network.modem()])
    made.start()
    yield made
    made.close()
