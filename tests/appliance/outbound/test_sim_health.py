"""What sets a SIM aside, what does not, and how it comes back."""

from __future__ import annotations

from appliance.outbound.sim_health import FIRST_REST_S, REPORT_WAIT_S, SimHealth

BARRED = "+CMS ERROR: 21 (short message transfer rejected)"


def number(index: int) -> str:
    return f"+2519110000{index:02d}"


def refuse(health: SimHealth, people: int, count: int, code: int = 21, now: float = 0.0) -> None:
    for index in range(count):
        assert health.acquire(index, number(index % people), now)
        health.refused(number(index % people), code, BARRED, now)


def fall_silent(health: SimHealth, people: int = 10) -> None:
    for index in range(10):
        health.reported(number(index % people), delivered=False, now=0.0)


def silent() -> SimHealth:
    health = SimHealth()
    health.reported(number(1), delivered=True, now=0.0)
    fall_silent(health)
    return health


def test_refused_five_times_for_several_people_is_set_aside_with_the_reason() -> None:
    health = SimHealth()
    refuse(health, people=4, count=4)
    assert health.trouble(0.0) == ""
    refuse(health, people=4, count=1)
    assert health.trouble(0.0) == f"set aside: 5 messages in a row refused, the last: {BARRED}"
    assert not health.acquire(9, number(9), 1.0)


def test_code_that_can_only_mean_the_sim_sets_it_aside_after_three_people() -> None:
    health = SimHealth()
    refuse(health, people=2, count=8, code=8)
    assert health.trouble(0.0) == ""
    assert health.acquire(9, number(9), 0.0)
    health.refused(number(9), 8, BARRED, 0.0)
    assert health.trouble(0.0).startswith("set aside: 9 messages in a row refused")


def test_one_bad_number_refused_again_and_again_is_not_the_sim() -> None:
    health = SimHealth()
    refuse(health, people=1, count=20, code=21)
    assert health.trouble(0.0) == ""


def test_a_message_that_is_taken_ends_the_row() -> None:
    health = SimHealth()
    refuse(health, people=4, count=4)
    health.sent(0.0)
    refuse(health, people=4, count=4)
    assert health.trouble(0.0) == ""


def test_codes_that_speak_of_the_message_do_not_count() -> None:
    health = SimHealth()
    refuse(health, people=20, count=20, code=1)
    assert health.trouble(0.0) == ""


def test_probe_of_a_barred_sim_passes_alone_and_its_acceptance_proves_it() -> None:
    health = SimHealth()
    refuse(health, people=5, count=5)
    now = health.wait_s(0.0)
    assert now == FIRST_REST_S
    assert health.acquire(7, number(7), now)
    assert not health.acquire(8, number(8), now)
    assert health.acquire(7, number(7), now)  # its second part
    assert health.trouble(now).startswith("set aside, one message tries it: 5 messages")
    health.sent(now)
    assert health.trouble(now) == ""


def test_each_probe_that_fails_doubles_the_rest() -> None:
    health = SimHealth()
    refuse(health, people=5, count=5)
    now, rests = 0.0, []
    for message in range(8):
        rests.append(health.wait_s(now))
        now += rests[-1]
        assert health.acquire(100 + message, number(message), now)
        health.refused(number(message), 8, BARRED, now)
    assert rests[:4] == [300.0, 600.0, 1200.0, 2400.0]
    assert max(rests) == rests[-1] == 4 * 3600.0


def test_probe_that_was_not_sent_lets_the_next_one_try() -> None:
    health = SimHealth()
    refuse(health, people=5, count=5)
    assert health.acquire(7, number(7), FIRST_REST_S)
    health.unknown(FIRST_REST_S)
    assert health.acquire(8, number(8), FIRST_REST_S)


def test_reports_that_all_fail_after_one_that_did_not_set_it_aside() -> None:
    health = silent()
    assert health.trouble(0.0) == "set aside: the last 10 messages were taken but not delivered"


def test_reports_that_never_said_delivered_say_nothing_of_the_sim() -> None:
    health = SimHealth()
    fall_silent(health)
    assert health.trouble(0.0) == ""


def test_reports_of_a_few_dead_numbers_are_not_the_sim() -> None:
    health = SimHealth()
    health.reported(number(1), delivered=True, now=0.0)
    fall_silent(health, people=4)
    assert health.trouble(0.0) == ""


def test_silent_sim_comes_back_when_the_probe_is_delivered_not_when_it_is_taken() -> None:
    health, now = silent(), FIRST_REST_S
    assert health.acquire(7, number(7), now)
    health.sent(now)
    assert health.trouble(now) != ""
    health.reported(number(8), delivered=True, now=now)  # an older message to somebody else
    assert health.trouble(now) != ""
    health.reported("0911000007", delivered=True, now=now)
    assert health.trouble(now) == ""


def test_silent_sim_whose_probe_fails_rests_longer() -> None:
    health, now = silent(), FIRST_REST_S
    assert health.acquire(7, number(7), now)
    health.sent(now)
    health.reported(number(7), delivered=False, now=now)
    assert health.wait_s(now) == 2 * FIRST_REST_S


def test_probe_without_a_report_is_given_up_after_its_time() -> None:
    health, now = silent(), FIRST_REST_S
    assert health.acquire(7, number(7), now)
    health.sent(now)
    assert not health.acquire(8, number(8), now + REPORT_WAIT_S - 1)
    assert health.acquire(8, number(8), now + REPORT_WAIT_S)
