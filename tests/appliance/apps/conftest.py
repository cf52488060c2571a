from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from appliance.trial import AGENT, SETTINGS, Trial, read_time

NOW = read_time("2026-11-22 09:00")
PEOPLE = {
    "abebe": "+251911111111",
    "sara": "+251922222222",
    "hana": "+251933333333",
    "agent": AGENT,
}


@pytest.fixture
def people() -> dict[str, str]:
    return PEOPLE


@pytest.fixture
def make_trial() -> Iterator[Callable[..., Trial]]:
    """Boxes in memory; the clock stands at Sunday 22 November 2026, 09:00."""
    made: list[Trial] = []

    def make(settings: dict[str, object] | None = None, *, seats_per_bus: int = 45) -> Trial:
        trial = Trial(settings or SETTINGS, now_ms=NOW, seats_per_bus=seats_per_bus)
        made.append(trial)
        return trial

    yield make
    for trial in made:
        trial.close()


@pytest.fixture
def trial(make_trial: Callable[..., Trial]) -> Trial:
    return make_trial()
