"""The ladder's policy: what comes next, how often, and what is remembered of it."""

from __future__ import annotations

from firmware_bridge.ladder import HISTORY, RULES, STABLE_S, Ladder, Rung, Trouble


def climb(
    ladder: Ladder, trouble: Trouble, times: int, *, now: float = 0.0, step_s: float = 10.0
) -> list[Rung | None]:
    return [ladder.next(trouble, "why", now=now + i * step_s, wall_ms=i) for i in range(times)]


def test_ladder_escalates_from_the_question_to_the_plug() -> None:
    assert climb(Ladder(), Trouble.UNSTABLE, 7) == list(Rung)


def test_ladder_begins_where_the_trouble_says() -> None:
    assert climb(Ladder(), Trouble.UNREGISTERED, 2) == [Rung.RADIO, Rung.RESET]
    assert climb(Ladder(), Trouble.SENDS_FAIL, 2) == [Rung.INITIALISE, Rung.RADIO]
    assert climb(Ladder(), Trouble.SILENT, 2) == [Rung.REOPEN, Rung.REBIND]


def test_ladder_proof_settles_the_step_with_its_time() -> None:
    ladder = Ladder()
    ladder.next(Trouble.UNREGISTERED, "not registered", now=100.0, wall_ms=7)
    assert ladder.history[-1].outcome == ""
    ladder.healthy(now=130.0, wall_ms=8)
    entry = ladder.history[-1]
    assert (entry.at_ms, entry.step, entry.reason) == (7, Rung.RADIO.value, "not registered")
    assert (entry.outcome, entry.took_s) == ("healthy", 30.0)


def test_ladder_trouble_soon_after_proof_goes_on_where_it_stopped() -> None:
    ladder = Ladder()
    ladder.next(Trouble.UNREGISTERED, "", now=0.0, wall_ms=0)
    ladder.healthy(now=10.0, wall_ms=0)
    ladder.healthy(now=10.0 + STABLE_S / 2, wall_ms=0)
    assert ladder.next(Trouble.UNREGISTERED, "", now=400.0, wall_ms=0) is Rung.RESET


def test_ladder_lasting_health_starts_from_below_again() -> None:
    ladder = Ladder()
    ladder.next(Trouble.UNREGISTERED, "", now=0.0, wall_ms=0)
    ladder.healthy(now=10.0, wall_ms=0)
    ladder.healthy(now=11.0 + STABLE_S, wall_ms=0)
    assert ladder.rung is None
    assert ladder.next(Trouble.UNREGISTERED, "", now=700.0, wall_ms=0) is Rung.RADIO


def test_ladder_caps_every_step_per_hour_and_then_parks() -> None:
    ladder = Ladder()
    taken = climb(ladder, Trouble.UNREGISTERED, 60, step_s=1.0)
    for rung in (Rung.RADIO, Rung.RESET, Rung.REOPEN, Rung.REBIND):
        assert taken.count(rung) == RULES[rung].per_hour
    assert taken[-1] is None
    assert ladder.history[-1].step == "parked"


def test_ladder_parked_frees_its_steps_after_an_hour() -> None:
    ladder = Ladder()
    climb(ladder, Trouble.SILENT, 20, step_s=1.0)
    due = ladder.free_at(Trouble.SILENT, now=100.0)
    assert 3600.0 <= due <= 3620.0
    assert ladder.next(Trouble.SILENT, "", now=due + 1, wall_ms=0) is not None


def test_ladder_patience_grows_with_every_round() -> None:
    ladder = Ladder()
    climb(ladder, Trouble.UNREGISTERED, 1)
    first = ladder.proof_s
    climb(ladder, Trouble.UNREGISTERED, 4, now=100.0)
    assert ladder.rung is Rung.RADIO
    assert ladder.proof_s == 2 * first


def test_ladder_history_is_bounded() -> None:
    ladder = Ladder()
    for at in range(2 * HISTORY):
        ladder.note("port lost", "x", wall_ms=at)
    assert len(ladder.history) == HISTORY
    assert ladder.history[-1].at_ms == 2 * HISTORY - 1
