"""The longest that each placeholder becomes, so that the start can tell which text outgrows its SMS."""

from __future__ import annotations

import datetime as dt

from appliance.conversation.budget import segments
from appliance.conversation.dates import clock, day_short
from appliance.conversation.money import money
from appliance.conversation.phrases import Language, Phrases

__all__ = ["grown"]

# Two long towns of one way, as the sample has them; a longer pair may still take one SMS more.
_TOWNS = {
    "en": ("Debre Birhan", "Wolaita Sodo"),
    "om": ("Dabra Birhaan", "Wolaayitaa Soddoo"),
    "am": ("ደብረ ብርሃን", "ወላይታ ሶዶ"),
}


def _longest(texts: list[str]) -> str:
    return max(texts, key=lambda text: (segments(text), len(text)))


class _Values(dict[str, object]):
    def __missing__(self, name: str) -> str:
        return "x" * 12  # a placeholder that only an app of the operator's own uses


def _values(language: Language, choices: str) -> _Values:
    origin, destination = _TOWNS.get(language.towns, _TOWNS["en"])
    days = _longest([day_short(dt.date(2026, 1, 1) + dt.timedelta(days=n), language) for n in range(366)])
    hours = _longest([clock(minute, language) for minute in range(0, 1440, 30)])
    return _Values({
        "origin": origin, "destination": destination, "via": destination, "near": destination, "date": days,
        "asked": days, "time": hours, "new_time": hours, "until": hours, "price": money(805_000, language),
        "code": "AB3D5F", "alias": "Falcon99", "n": 5, "left": 4, "most": 5, "seats": "41,42,43,44,45",
        "days": 60, "km": 1025, "hours": "22.5", "name": '"' + "x" * 12 + '"', "choices": choices,
        "url": "https://box.example.com/pay/AB3D5F", "account": "telebirr 0911223344",
    })  # fmt: skip


def grown(phrases: Phrases, choices: str) -> list[str]:
    """Texts of the spoken languages that outgrow their SMS, a line each. choices: of LANG."""
    return [
        line
        for code in phrases.spoken
        for line in phrases.over_budget(code, _values(phrases.languages[code], choices))
    ]
