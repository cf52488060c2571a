"""A small run of the Zipf-shaped population: the comparison itself has to hold, whatever the speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.zipf import Population, run

pytestmark = pytest.mark.torture


def test_population_first_client_sends_half_and_the_rest_as_zipf() -> None:
    population = Population(1_000, 1)
    drawn = [population.next() for _ in range(20_000)]
    assert abs(drawn.count(0) / len(drawn) - 0.5) < 0.02
    assert drawn.count(1) > 3 * drawn.count(10) > 0
    assert 0 <= min(drawn) and max(drawn) < 1_000


async def test_population_killed_in_the_middle_books_counts_and_provider_agree(tmp_path: Path) -> None:
    result = await run(tmp_path, clients=300, seconds=4, rate=100)
    assert result.wrong == []
    assert result.requests == result.taken == 400
    assert result.asked_again > 0 and result.senders > 50
