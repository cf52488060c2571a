from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.clock import (
    BUILT_MS,
    SAVE_EVERY_MS,
    STEP_MS,
    Clock,
    Line,
    once_a_tick,
    system_clock_is_disciplined,
)

NOW = BUILT_MS + 300 * 86_400_000
HOUR = 3_600_000


class Box:
    """A system clock and a monotonic one that the test moves."""

    def __init__(self, file: Path, system_ms: int, *, disciplined: bool = False) -> None:
        self.file, self.system, self.up, self.disciplined = file, system_ms, 0, disciplined
        self.clock = self.boot()

    def boot(self) -> Clock:
        self.clock = Clock(
            self.file,
            system_ms=lambda: self.system,
            monotonic_ms=lambda: self.up,
            disciplined=lambda: self.disciplined,
        )
        return self.clock

    def pass_ms(self, ms: int) -> None:
        self.system += ms
        self.up += ms


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "clock", NOW)


def test_clock_that_never_moved_is_the_system_clock(box: Box) -> None:
    assert box.clock.now_ms() == NOW
    assert box.clock.trusted


def test_boot_in_the_past_goes_on_from_the_saved_time_and_is_not_trusted(box: Box) -> None:
    box.clock.now_ms()
    box.system = 0  # 1970, as without an RTC
    clock = box.boot()
    assert clock.now_ms() == NOW
    box.pass_ms(5_000)
    assert clock.now_ms() == NOW + 5_000
    assert not clock.trusted
    assert clock.state().source == "saved"


def test_first_boot_ever_in_1970_is_not_trusted(tmp_path: Path) -> None:
    clock = Box(tmp_path / "clock", 0).clock
    assert clock.now_ms() == BUILT_MS
    assert not clock.trusted


def test_network_time_mends_a_clock_in_the_past(box: Box) -> None:
    box.clock.now_ms()
    box.system = 0
    clock = box.boot()
    clock.network_says(NOW + HOUR)
    assert clock.trusted
    assert clock.now_ms() == NOW + HOUR
    box.pass_ms(1_000)
    assert clock.now_ms() == NOW + HOUR + 1_000
    assert clock.state().source == "network"


def test_factory_time_of_a_modem_is_not_believed(box: Box) -> None:
    box.clock.network_says(1_009_843_200_000)  # 02/01/01
    assert box.clock.now_ms() == NOW


def test_network_time_does_not_move_a_clock_that_ntp_steers(box: Box) -> None:
    box.disciplined = True
    box.clock.network_says(NOW + HOUR)
    assert box.clock.now_ms() == NOW
    assert box.clock.state().source == "ntp"


def test_network_time_that_nearly_agrees_changes_nothing(box: Box) -> None:
    box.clock.network_says(NOW + 60_000)
    assert box.clock.now_ms() == NOW


def test_ntp_that_sets_the_clock_later_ends_the_use_of_the_network_time(box: Box) -> None:
    box.system = 0
    clock = box.boot()
    clock.network_says(NOW)
    box.system = NOW + 500
    box.disciplined = True
    clock.network_says(NOW)
    assert clock.now_ms() == NOW + 500


def test_clock_that_ran_ahead_is_led_back_by_the_network(box: Box) -> None:
    box.system = NOW + 1_000 * HOUR
    box.boot().now_ms()
    box.system = NOW
    clock = box.boot()
    assert not clock.trusted
    clock.network_says(NOW + 10_000)
    assert clock.trusted
    assert clock.now_ms() == NOW


def test_message_time_is_a_lower_bound_only_while_untrusted(box: Box) -> None:
    box.clock.message_says(NOW + HOUR)
    assert box.clock.now_ms() == NOW
    box.system = 0
    clock = box.boot()
    clock.message_says(NOW + HOUR)
    assert clock.now_ms() == NOW + HOUR
    assert not clock.trusted


def test_time_is_saved_every_ten_minutes_and_not_more_often(box: Box) -> None:
    box.clock.now_ms()
    first = box.file.read_text()
    box.pass_ms(SAVE_EVERY_MS - 1)
    box.clock.now_ms()
    assert box.file.read_text() == first
    box.pass_ms(1)
    box.clock.now_ms()
    assert int(box.file.read_text()) == NOW + SAVE_EVERY_MS


@pytest.mark.parametrize("content", ["", "garbage", "-5"])
def test_damaged_file_is_no_time(box: Box, content: str) -> None:
    box.file.write_text(content)
    assert box.boot().now_ms() == NOW


def line_of(box: Box, stored: Line | None = None, boot: str = "a") -> int:
    return box.clock.resume(stored, boot)


@pytest.mark.parametrize("jump_ms", [40 * 24 * HOUR, -90_000, STEP_MS, -STEP_MS])
def test_line_of_time_goes_on_until_a_jump_is_taken(box: Box, jump_ms: int) -> None:
    assert line_of(box) == 0
    box.pass_ms(1_000)
    box.system += jump_ms
    assert box.clock.now_ms() == NOW + 1_000
    assert box.clock.jump_ms() == jump_ms
    box.clock.take(jump_ms)
    assert box.clock.now_ms() == NOW + 1_000 + jump_ms and box.clock.jump_ms() == 0
    assert box.clock.trusted


def test_line_of_time_follows_small_corrections_at_once(box: Box) -> None:
    line_of(box)
    for _ in range(4):
        box.system += STEP_MS - 1
        assert box.clock.now_ms() == box.system
    assert box.clock.jump_ms() == 0


def test_clock_that_jumped_and_came_back_before_it_was_looked_at_never_moved(box: Box) -> None:
    line_of(box)
    box.system += 24 * HOUR
    assert box.clock.now_ms() == NOW
    box.system -= 24 * HOUR
    assert box.clock.now_ms() == NOW and box.clock.jump_ms() == 0
    assert box.clock.trusted


def test_system_clock_that_is_set_to_before_this_program_is_not_believed(box: Box) -> None:
    line_of(box)
    box.system = 0
    assert box.clock.now_ms() == NOW and box.clock.jump_ms() == 0
    assert not box.clock.trusted


def test_system_clock_set_back_below_the_saved_time_is_believed(box: Box) -> None:
    line_of(box)
    box.system += 40 * 24 * HOUR
    box.clock.take(box.clock.jump_ms())
    box.clock.now_ms()  # saves the wrong time
    box.system -= 40 * 24 * HOUR
    assert box.clock.jump_ms() == -40 * 24 * HOUR
    assert box.clock.trusted


def test_saved_time_that_ran_ahead_gives_way_to_ntp_at_the_next_boot(box: Box) -> None:
    box.system = NOW + 1_000 * HOUR
    box.boot().now_ms()
    box.system = NOW
    clock = box.boot()
    line_of(box)
    assert not clock.trusted
    box.disciplined = True
    assert clock.confirm()
    assert clock.trusted
    assert clock.jump_ms() == -1_000 * HOUR


def test_program_started_again_in_one_boot_finds_the_jump_it_did_not_see(box: Box) -> None:
    line_of(box)
    stored = box.clock.line("a")
    box.pass_ms(60_000)
    box.system += 40 * 24 * HOUR
    box.boot()
    assert line_of(box, stored) == 40 * 24 * HOUR
    assert box.clock.now_ms() == NOW + 60_000


def test_program_started_again_in_another_boot_begins_a_new_line(box: Box) -> None:
    line_of(box)
    stored = box.clock.line("a")
    box.up, box.system = 0, NOW + 24 * HOUR
    box.boot()
    assert line_of(box, stored, "b") == 0
    assert box.clock.now_ms() == NOW + 24 * HOUR
    assert box.clock.line("b").since_ms == NOW + 24 * HOUR


def test_program_started_again_keeps_the_network_s_time_in_a_box_without_a_clock(box: Box) -> None:
    box.system = 0
    box.boot()
    line_of(box)
    box.clock.network_says(NOW)
    box.clock.take(box.clock.jump_ms())
    stored = box.clock.line("a")
    box.pass_ms(2_000)
    box.boot()
    assert line_of(box, stored) == 0
    assert box.clock.trusted and box.clock.now_ms() == NOW + 2_000


def test_kernel_is_asked_without_an_error() -> None:
    assert system_clock_is_disciplined() in (True, False)


async def test_once_a_tick_asks_once_in_a_turn_of_the_loop_and_again_in_the_next() -> None:
    asked = iter(range(100))
    read = once_a_tick(lambda: next(asked))
    assert (read(), read()) == (0, 0)
    await asyncio.sleep(0)
    assert (read(), read()) == (1, 1)


def test_once_a_tick_outside_of_a_loop_asks_each_time() -> None:
    asked = iter(range(100))
    read = once_a_tick(lambda: next(asked))
    assert (read(), read()) == (0, 1)
