"""What a person wants, read from one text: intent, towns, day, hour, passengers, ticket code.

Pure: the same text, towns and day give the same answer. The dialogue decides what to do with it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from appliance.apps.booking.codes import find_code
from appliance.apps.booking.passengers import passengers_of
from appliance.conversation.dates import Moment, number_of, read
from appliance.conversation.words import Lexicon, Names, Tag, has_word, tag

__all__ = ["Request", "understand"]


class Request(msgspec.Struct, frozen=True):
    """One text, understood.

    intent: book, search, help, cancel, stop, status, greet, ask_price, other or clarify. origin and
    destination: keys of towns, several when unclear, none when not named; place: a town named alone, whose
    role the text does not tell (it is in destination too). unknown: a word that stands where a town should.
    bare: the whole text is this number. concepts: all that was heard.
    """

    intent: str
    origin: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    unknown: str = ""
    moment: Moment = Moment()
    passengers: int | None = None
    code: str = ""
    bare: int | None = None
    concepts: frozenset[str] = frozenset()


@lru_cache(maxsize=4096)  # pure, and many people send the same words: "1", YES, the line on the poster
def understand(
    text: str, lexicon: Lexicon, names: Names, today: dt.date, calendar: str, *, horizon_days: int = 90
) -> Request:
    """Read a text. calendar: how bare day numbers are counted ("gregorian" or "ethiopian")."""
    tags = tag(text, lexicon, names)
    concepts = frozenset(value for t in tags if t.kind == "word" for value in t.values)
    code = find_code(text)
    # Words as written: a code such as 9D7X6U alone falls into six tags.
    if code and not (len(text.split()) <= 6 and _code_fits(text, code, concepts)):
        code = ""
    tags = _slang(tags)
    origin, destination, place, unknown = _places(tags)
    moment = read(tags, today, calendar, horizon_days=horizon_days) if not code else Moment()
    passengers = passengers_of(tags, moment.used) if not code else None
    numbers = [n for t in tags if (n := number_of(t)) is not None]
    bare = numbers[0] if len(numbers) == 1 and all(_is_number_or_filler(t) for t in tags) else None
    intent = _intent(tags, concepts, code, bool(origin or destination), moment, passengers)
    if intent == "stop":
        return Request(intent, concepts=concepts)
    if not tags and "?" in text:
        intent = "help"
    if intent in ("book", "search", "ask_price") and (
        len(origin) > 1 or len(destination) > 1 or moment.unclear
    ):
        intent = "clarify"
    return Request(intent, origin, destination, place, unknown, moment, passengers, code, bare, concepts)


def _code_fits(text: str, code: str, concepts: frozenset[str]) -> bool:
    """A code stands alone, or beside a word that goes with one: AWASH7 in a sentence is a town."""
    return len(text.split()) == 1 or bool(
        concepts & {"check", "status", "pay", "cancel", "refund", "ticket", "book"}
    )


def _is_number_or_filler(t: Tag) -> bool:
    return number_of(t) is not None or (t.kind == "word" and bool({"filler", "hash"} & set(t.values)))


_VERBS: Final = frozenset(
    {"b", "be", "get", "come", "book", "reserve", "know", "pay", "buy", "c", "see", "reach"}
)
_DAYS: Final = ("today", "tomorrow", "after_tomorrow", *(f"wd_{n}" for n in range(1, 8)))


def _slang(tags: list[Tag]) -> list[Tag]:
    """Read "addis 2 hawassa" as to, and "4 tomorrow" as for: digits that stand for words become them."""
    out = list(tags)
    for at, t in enumerate(tags):
        if has_word(tags, at, "seat") and t.text == "seat" and _counts_in_amharic(tags, at - 1):
            out[at] = Tag("word", "seat", ("hour",), "", ("am",))
        if t.text == "and" and has_word(tags, at + 1, "seat", "ticket", "person") and _amharic(tags, at):
            out[at] = Tag("word", "and", ("num_1",), "", ("am",))
        if t.kind != "number" or at + 1 >= len(tags):
            continue
        place_next = tags[at + 1].kind in ("name", "unknown") and tags[at + 1].role != "from"
        english = at > 0 and "en" in tags[at - 1].languages
        going = at > 0 and (
            tags[at - 1].kind == "name"
            or (english and has_word(tags, at - 1, "bus", "search", "ask_price", "seat", "ticket"))
        )
        verbs = set(tags[at - 1].text.split()) if has_word(tags, at - 1, "want", "book") else set()
        going = going or bool(verbs & {"go", "going"})
        verb_next = has_word(tags, at + 1, "want", "to", "book") and tags[at + 1].text[:2] in ("go", "tr")
        verb_next = verb_next or (has_word(tags, at - 1, "how", "want") and has_word(tags, at + 1, "book"))
        asked = has_word(tags, at - 1, "how", "how_to", "want", "know")
        verb_next = verb_next or (asked and tags[at + 1].text in _VERBS)
        if t.text == "2" and ((going and place_next) or (at > 0 and verb_next)):
            out[at] = Tag("word", "2", ("to",), "", ("en",))
        elif t.text == "4" and (
            has_word(tags, at + 1, *_DAYS)
            or (has_word(tags, at - 1, "seat", "ticket", "bus") and number_of(tags[at + 1]) is not None)
            or (place_next and has_word(tags, at - 1, "ask_price", "bus", "ticket"))
        ):
            out[at] = Tag("word", "4", ("for",), "", ("en",))
    return out


def _amharic(tags: Sequence[Tag], at: int) -> bool:
    """ "and tiket" is one ticket where the rest is Amharic in Latin letters and nobody was counted before."""
    counted = at and (number_of(tags[at - 1]) is not None or has_word(tags, at - 1, "person", "kin"))
    return not counted and any(
        t.languages and set(t.languages) <= {"am", "ti"} and t.text.isascii() for t in tags
    )


def _counts_in_amharic(tags: Sequence[Tag], at: int) -> bool:
    """ "sidist seat" is six o'clock, ሰዓት in Latin letters; "six seat" is English."""
    return (
        at >= 0
        and tags[at].kind == "word"
        and number_of(tags[at]) is not None
        and tags[at].languages == ("am",)
    )


def _places(
    tags: Sequence[Tag],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str]:
    """Origin, destination, a place without a role, and a word where a town should be."""
    origin: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    plain: list[tuple[str, ...]] = []
    beneficiary: tuple[str, ...] = ()
    suffixed = False  # the destination was told by an ending alone
    unknown = ""
    for at, t in enumerate(tags):
        if t.kind == "unknown":
            if (
                not unknown
                and len(t.text) >= 3
                and (has_word(tags, at - 1, "from", "to") or t.role in ("from", "to"))
            ):
                unknown = t.text
            continue
        if t.kind != "name" or has_word(tags, at - 1, "via") or has_word(tags, at + 1, "via"):
            continue
        role = _role(tags, at)
        if (
            not role
            and has_word(tags, at + 1, "to")
            and at + 2 < len(tags)
            and tags[at + 2].kind == "unknown"
        ):
            role = "from"  # "Gondar to Debark": only the other town is unknown
        if role == "from" and not origin:
            origin = t.values
        elif role == "to" and destination and not origin and (t.role == "to" or suffixed):
            origin, destination = destination, t.values  # Ambootii Finfinneetti: the two endings fold alike
        elif role == "to" and not destination:
            destination, suffixed = t.values, t.role == "to"
        elif role == "for" and not beneficiary:
            beneficiary = t.values
        else:
            plain.append(t.values)
    if beneficiary:  # "for Adama" is where they go, unless another town is
        if destination:
            plain.insert(0, beneficiary)
        else:
            destination = beneficiary
    plain = [p for p in plain if p not in (origin, destination)] or plain[:0]
    if len(plain) >= 2 and not origin and not destination:
        return plain[0], plain[1], (), unknown
    if plain and origin and not destination:
        return origin, plain[0], (), unknown
    if plain and destination and not origin:
        return plain[0], destination, (), unknown
    if plain and not origin and not destination:
        return (), plain[0], plain[0], unknown
    return origin, destination, (), unknown


def _role(tags: Sequence[Tag], at: int) -> str:
    if has_word(tags, at + 1, "from_after"):
        return "from"
    if has_word(tags, at + 1, "to_after"):
        return "to"
    if tags[at].role:
        return tags[at].role
    before = at - 1
    while before > 0 and has_word(tags, before, "filler"):
        before -= 1
    if has_word(tags, before, "from"):
        return "from"
    if has_word(tags, before, "to"):
        return "to"
    if has_word(tags, before, "for") and before == at - 1:
        return "for"
    return ""


def _intent(
    tags: Sequence[Tag],
    concepts: frozenset[str],
    code: str,
    towns: bool,
    moment: Moment,
    passengers: int | None,
) -> str:
    travel = towns or bool(moment.days)
    if concepts & {"stop"} and not towns and not concepts & {"book", "bus", "ticket"} and len(tags) <= 8:
        return "stop"
    if "stop_idle" in concepts and len(tags) == 1:
        return "stop"
    if concepts & {"cancel", "refund"}:
        return "cancel"
    if code:
        return "status"
    if "status" in concepts and not (towns and (moment.days or passengers)):
        return "status"
    kept = bool(concepts & {"ticket", "seat", "pay", "code"})
    if kept and not towns:
        mine = "arrive" in concepts or "code" in concepts or _mine(tags)
        if "missing" in concepts or (mine and not concepts & {"book", "want", "how", "how_to"}):
            return "status"
    how_to = "how_to" in concepts or ("how" in concepts and bool(concepts & _DOING))
    how_to = how_to or ("where" in concepts and bool(concepts & {"pay", "ask_price"}))
    if how_to and not towns and concepts & {"pay", "where"}:
        return "help"
    if "ask_price" in concepts and not ("book" in concepts and passengers and moment.days):
        return "ask_price"
    if ("help" in concepts or how_to) and not towns:
        return "help"
    if "menu" in concepts and not towns:
        return "help"
    if "birr" in concepts and towns and not passengers and not concepts & {"book", "ticket"}:
        return "ask_price"
    if "pay" in concepts and not travel and not concepts & {"book", "search"}:
        return "help"
    asks = "search" in concepts
    wants = bool(concepts & {"book", "ticket"}) or (
        "want" in concepts and bool(travel or concepts & {"bus", "seat"})
    )
    if asks and "greet" in concepts and not travel and not concepts & {"bus", "ticket", "seat"}:
        return "greet"
    if asks and not ("book" in concepts and passengers):
        return "search" if travel or concepts & {"bus", "ticket", "seat"} or len(tags) <= 3 else "other"
    if wants and _about_travel(tags, concepts, travel):
        return "book"
    if "check" in concepts:
        return "status"
    if towns:
        bound = bool(concepts & {"to", "to_after"}) or any(t.role == "to" for t in tags)
        way = ("to", "to_after", "from", "from_after", "filler")
        plain = bound and all(t.kind == "name" or has_word(tags, at, *way) for at, t in enumerate(tags))
        return "book" if passengers or plain or (moment.days and "bus" not in concepts) else "search"
    if "bus" in concepts:
        strange = sum(t.kind == "unknown" for t in tags)
        return "other" if "yesterday" in concepts or strange >= 2 else "search"
    if "seat" in concepts and passengers:
        return "book"
    if "greet" in concepts and "no" not in concepts and sum(t.kind == "unknown" for t in tags) <= 2:
        return "greet"
    known = sum(t.kind != "unknown" and not has_word(tags, at, "filler") for at, t in enumerate(tags))
    if (
        moment.days
        or moment.minutes
        or moment.window
        or passengers
        or concepts & {"yes", "no", "more", "want", "back"}
    ):
        return "clarify" if known * 2 >= len(tags) else "other"
    return "other"


def _mine(tags: Sequence[Tag]) -> bool:
    """ "my ticket", "tikeetii koo": of what somebody has already."""
    return any(
        has_word(tags, at, "ticket", "seat")
        and (has_word(tags, at - 1, "my") or has_word(tags, at + 1, "my_after"))
        for at in range(len(tags))
    )


_DOING: Final = frozenset({"book", "ticket", "pay"})


def _about_travel(tags: Sequence[Tag], concepts: frozenset[str], travel: bool) -> bool:
    """ "I want to go to the cinema" has a verb of travel and nothing else of it."""
    if travel or concepts & {"ticket", "bus", "seat"}:
        return True
    strange = sum(t.kind == "unknown" for t in tags)
    return strange <= 1
