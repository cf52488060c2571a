from __future__ import annotations

from collections.abc import Callable

from appliance.trial import AGENT, AGENT_PIN, Trial

ABEBE, SARA, HANA = "+251911111111", "+251922222222", "+251933333333"
LINE = "BOOK ADDIS GONDAR TOMORROW 1 AT 04:30"


def fill(trial: Trial, seats: int) -> None:
    """Sell all departures of the day but leave the dialogue of ABEBE holding the last one's seats."""
    for number in range(3 * seats):
        sender = f"+2519440000{number:02}"
        trial.text(sender, "BOOK ADDIS GONDAR TOMORROW 1")
        trial.text(sender, "YES")


def test_full_day_shows_the_next_and_offers_the_waiting_list(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(seats_per_bus=1)
    fill(trial, 1)
    (reply,) = trial.text(SARA, "BOOK ADDIS GONDAR TOMORROW 1")
    assert reply.text.startswith("Nothing Addis Ababa-Gondar on Mon 23 Nov (14 Hidar). Tue 24 Nov")
    assert reply.text.endswith("Number, or WAIT (waiting list).")
    (reply,) = trial.text(SARA, "wait")
    assert reply.text == "You are on the waiting list. I text you when seats come free."


def test_seats_given_back_are_told_to_the_first_who_waits(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(seats_per_bus=1)
    fill(trial, 1)
    for person in (SARA, HANA):
        trial.text(person, "BOOK ADDIS GONDAR TOMORROW 1")
        trial.text(person, "WAIT")
    replies = trial.text("+251944000000", "CANCEL")
    assert [(reply.to, reply.text[:21]) for reply in replies] == [
        (None, "Cancelled: your seats"),
        (SARA, "Seats are free again:"),
    ]
    assert trial.db.execute("SELECT number FROM waiting WHERE told_ms IS NULL").fetchall() == [(HANA,)]


def test_hold_that_runs_out_tells_who_waits(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(seats_per_bus=1)
    fill(trial, 1)
    trial.text(SARA, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(SARA, "WAIT")
    said = trial.pass_time(trial.now_ms + 31 * 60_000)
    assert [reply.to for _, reply in said].count(SARA) == 1


def test_last_seat_taken_by_a_faster_person_is_told_in_the_same_turn(
    make_trial: Callable[..., Trial],
) -> None:
    trial = make_trial(seats_per_bus=2)
    trial.text(ABEBE, "BOOK ADDIS GONDAR TOMORROW 2")
    trial.text(SARA, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(SARA, "YES")
    (reply,) = trial.text(ABEBE, "YES")
    assert reply.text.startswith("Sorry, somebody was faster: 1 seat left at 04:30.")
    (reply,) = trial.text(ABEBE, "1")
    assert "04:30, 1 seat" in reply.text
    trial.text(ABEBE, "YES")
    assert trial.sessions[ABEBE].state == "WAIT_PAYMENT"


def test_departure_sold_out_meanwhile_lists_the_others(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(seats_per_bus=1)
    trial.text(ABEBE, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(SARA, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(SARA, "YES")
    gone, others = trial.text(ABEBE, "YES")
    assert gone.text == "Sorry, that departure has no seats left."
    assert "1) 05:00\n2) 05:30" in others.text


def test_agent_pays_late_for_moved_seats_and_the_ticket_names_the_new_ones(
    make_trial: Callable[..., Trial],
) -> None:
    trial = make_trial(seats_per_bus=3)
    trial.text(ABEBE, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(ABEBE, "YES")
    code = trial.sessions[ABEBE].data["holds"][0][0]
    trial.pass_time(trial.now_ms + 31 * 60_000)
    trial.text(SARA, "BOOK ADDIS GONDAR TOMORROW 1")
    trial.text(SARA, "YES")
    _, ticket = trial.text(AGENT, f"PAY {code} {AGENT_PIN}")
    assert (ticket.to == ABEBE and "Seats 2." in ticket.text) or "Seat 2." in ticket.text
