"""Every reply fits its SMS, counted by the modem side's own segmenting, for the longest names there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

import pytest

from appliance.conversation.budget import segments
from appliance.conversation.dates import clock, day_short
from appliance.conversation.kit import Kit
from appliance.conversation.money import money
from appliance.conversation.phrases import Language
from appliance.trial import AGENT, AGENT_PIN, Trial
from firmware_bridge.pdu import segment

SPOKEN = sorted(Kit({}).phrases.languages)


def longest(texts: Iterable[str]) -> str:
    return max(texts, key=lambda text: (len(text.encode("utf-16-be")), text))


def samples(language: Language, trial: Trial) -> dict[str, object]:
    """The longest value of each placeholder: real towns and routes, all days of two years, all hours."""
    look = trial.looks["booking"]
    towns = {town.key: town.names.get(language.towns, town.key) for town in look.towns()}
    ways = [(towns[origin], towns[destination]) for origin, destination in look._routes]
    origin, destination = max(ways, key=lambda way: len(way[0]) + len(way[1]))
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(730)]
    route = max(look._routes.values(), key=lambda route: route.fare_santim)
    return {
        "origin": origin,
        "destination": destination,
        "via": longest(towns.values()),
        "near": longest(towns.values()),
        "date": longest(day_short(day, language) for day in days),
        "asked": longest(day_short(day, language) for day in days),
        "time": longest(clock(minute, language) for minute in range(0, 1440, 30)),
        "new_time": longest(clock(minute, language) for minute in range(0, 1440, 30)),
        "until": longest(clock(minute, language) for minute in range(0, 1440)),
        "price": money(route.fare_santim * 5, language),
        "code": "AB3D5F",
        "alias": "Falcon99",
        "n": 5,
        "left": 4,
        "most": 5,
        "seats": "41,42,43,44,45",
        "days": 60,
        "km": 1025,
        "hours": "22.5",
        "name": '"' + "x" * 12 + '"',
        "url": "https://box.example.com/pay/AB3D5F",
        "account": "telebirr 0911223344",
        "choices": "LANG EN English, LANG AM Amharic, LANG OM Afaan Oromoo, LANG TI Tigrinya",
    }


@pytest.mark.parametrize("code", SPOKEN)
def test_phrases_filled_with_the_longest_values_fit(code: str, trial: Trial) -> None:
    phrases = trial.shell.kit.phrases
    language = phrases.languages[code]
    values = samples(language, trial)
    grown = phrases.over_budget(code, values)
    assert not grown, "\n".join(grown)
    for key in language.say:
        text = type(phrases)(phrases.languages, [code]).say(code, key, **values)
        assert len(segment(text).parts) == segments(text) <= language.allowed(key), key


@pytest.mark.parametrize(("first", "budget"), [("BOOK {0} {1} {2}", 1), ("ትኬት {0} {1} {2}", 2)])
def test_booking_of_every_sample_route_fits_its_sms(
    first: str, budget: int, make_trial: Callable[..., Trial]
) -> None:
    trial = make_trial()
    amharic = budget == 2
    look = trial.looks["booking"]
    towns = {town.key: town.names["am"] if amharic else town.key for town in look.towns()}
    yes, tomorrow, more = ("አዎ", "ነገ", "ተጨማሪ") if amharic else ("YES", "TOMORROW", "MORE")
    person = "+251944000000"
    for number, (origin, destination) in enumerate(look._routes):
        line = first.format(towns[origin], towns[destination], tomorrow)
        said = []
        for text in (line, more, "1", "2", yes, "STATUS"):
            replies = trial.text(person + f"{number:03}", text)
            said += replies
        state = trial.sessions[person + f"{number:03}"]
        said += trial.text(AGENT, f"PAY {state.data['holds'][0][0]} {AGENT_PIN}")
        for reply in said:
            assert len(segment(reply.text).parts) <= budget, reply.text
        assert state.state == "WAIT_PAYMENT"


@pytest.mark.parametrize(
    "text",
    ["", "plain", "x" * 160, "x" * 161, "x" * 153 * 3, "x" * 152 + "€" + "x" * 10, "€" * 80, "€" * 81,
     "ሀ" * 70, "ሀ" * 71, "ሀ" * 134, "ሀ" * 135, "😀" * 35, "😀" * 36, "ሀ" * 66 + "😀" + "ሀ" * 10, "ñéÄ£\n"],
)  # fmt: skip
def test_budget_counts_as_the_modem_side(text: str) -> None:
    assert segments(text) == len(segment(text).parts)
